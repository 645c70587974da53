//! What providers report about messages that they took. Nothing is read before the signature is checked.

use axum::body::Bytes;
use axum::extract::{FromRequest as _, OriginalUri, Request as Incoming};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::AppState;
use super::error::PublicError;
use crate::channel::adapter::Request;
use crate::domain::ids::Provider;
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

/// `POST /{provider}/status`: something has become of a message.
pub async fn status(
    provider: Provider,
    state: AppState,
    uri: OriginalUri,
    request: Incoming,
) -> Result<Response, PublicError> {
    let channel = provider.channel();
    let reporter = || state.context.channels.get(channel)?.reporter();
    let Some(reporter) = reporter() else {
        return Ok(StatusCode::FORBIDDEN.into_response());
    };
    let (signature, body) = match signed(&state, reporter.signature_header(), request).await {
        Ok(signed) => signed,
        Err(refused) => return Ok(refused),
    };
    let request = Request {
        path: uri.path(),
        query: uri.query(),
        signature: signature.as_deref(),
        body: &body,
    };
    let signed = match reporter.read(&request) {
        Ok(Some(signed)) => signed,
        Ok(None) => {
            state.metrics.webhook("status", "unreadable");
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Err(why) => {
            tracing::warn!(%provider, "A report is refused: {why}");
            state.metrics.webhook("status", "refused");
            return Ok(StatusCode::FORBIDDEN.into_response());
        }
    };
    let attempt = signed.attempt.as_deref();
    let ours = report::apply(
        (&state.pool, &state.clock),
        channel,
        attempt,
        &signed.report,
    )
    .await?;
    let result = if ours { "applied" } else { "unknown_message" };
    state.metrics.webhook("status", result);
    Ok(StatusCode::NO_CONTENT.into_response())
}
