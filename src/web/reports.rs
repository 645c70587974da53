//! What providers report about messages that they took. Nothing is read before the signature is checked.

use axum::body::Bytes;
use axum::extract::{FromRequest as _, OriginalUri, Request as Incoming};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::AppState;
use super::error::PublicError;
use crate::channel::adapter::Request;
use crate::domain::ids::{AccountId, Provider};
use crate::jobs::report;

/// A request's signature and its body. The body of one that nobody has signed is not waited for.
pub async fn signed(
    state: &AppState,
    header: &str,
    request: Incoming,
) -> Result<(Option<String>, Bytes), Response> {
    let signature = request.headers().get(header);
    let signature = signature.and_then(|v| v.to_str().ok()).map(str::to_owned);
    let body = match signature {
        Some(_) => Bytes::from_request(request, state).await,
        None => Ok(Bytes::new()),
    };
    let body = body.map_err(IntoResponse::into_response)?;
    Ok((signature, body))
}

/// `POST /{provider}/status`: something has become of a message. Whoever has signed it speaks for the accounts that send with the same
/// account at the provider, and for no others.
pub async fn status(
    provider: Provider,
    state: AppState,
    uri: OriginalUri,
    request: Incoming,
) -> Result<Response, PublicError> {
    let channel = provider.channel();
    let channels = &state.context.channels;
    let reporters = || {
        let all = channels.all(channel);
        all.filter_map(|adapter| Some((adapter, adapter.reporter()?)))
    };
    let Some((_, any)) = reporters().next() else {
        return Ok(StatusCode::FORBIDDEN.into_response());
    };
    let (signature, body) = match signed(&state, any.signature_header(), request).await {
        Ok(signed) => signed,
        Err(refused) => return Ok(refused),
    };
    let request = Request {
        path: uri.path(),
        query: uri.query(),
        signature: signature.as_deref(),
        body: &body,
    };
    let mut read = reporters().map(|(adapter, reporter)| (adapter, reporter.read(&request)));
    let mut refused = None;
    let read = read.find_map(|(adapter, read)| match read {
        Ok(signed) => Some((adapter, signed)),
        Err(why) => {
            refused.get_or_insert(why);
            None
        }
    });
    let (adapter, signed) = match read.ok_or(refused) {
        Ok((adapter, Some(signed))) => (adapter, signed),
        Ok((_, None)) => {
            state.metrics.webhook("status", "unreadable");
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Err(why) => {
            let why = why.map_or_else(String::new, |why| why.to_string());
            tracing::warn!(%provider, "A report is refused: {why}");
            state.metrics.webhook("status", "refused");
            return Ok(StatusCode::FORBIDDEN.into_response());
        }
    };
    let attempt = signed.attempt.as_deref();
    let connection = adapter.connection();
    let speaks_for = |account: &AccountId, sender: &str| {
        let sent_by = channels.of_key(account, channel, sender);
        sent_by.is_some_and(|adapter| adapter.connection() == connection)
    };
    let ours = report::apply(
        (&state.pool, &state.clock),
        channel,
        attempt,
        &signed.report,
        &speaks_for,
    )
    .await?;
    let result = if ours { "applied" } else { "unknown_message" };
    state.metrics.webhook("status", result);
    Ok(StatusCode::NO_CONTENT.into_response())
}
