//! Twilio's webhooks: what became of a message, and what people answer. Nothing is read before the signature is checked.

use std::sync::Arc;

use anyhow::Context as _;
use axum::body::Bytes;
use axum::extract::{OriginalUri, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};

use super::State;
use super::error::ApiError;
use super::insist::insist;
use crate::channel::optout::{self, Meaning};
use crate::channel::webhook::{Fields, Inbound, Request, StatusCallback};
use crate::db;
use crate::db::suppressions::{AddressHash, Source};
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel};
use crate::jobs::report::{self, SmsReport};

fn checked(
    state: &State,
    kind: &str,
    uri: &OriginalUri,
    headers: &HeaderMap,
    body: &[u8],
) -> Option<Fields> {
    let request = Request {
        path: uri.path(),
        query: uri.query(),
        signature: headers
            .get("x-twilio-signature")
            .and_then(|v| v.to_str().ok()),
        body,
    };
    match state.verifier.as_ref()?.verify(&request) {
        Ok(fields) => Some(fields),
        Err(why) => {
            tracing::warn!("A Twilio webhook is refused: {why}");
            state.metrics.webhook(kind, "refused");
            None
        }
    }
}

/// `POST /twilio/status`: the status of a message has changed.
pub async fn status(
    Shared(state): Shared<State>,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Some(fields) = checked(&state, "status", &uri, &headers, &body) else {
        return Ok(StatusCode::FORBIDDEN.into_response());
    };
    let Some(callback) = StatusCallback::parse(uri.query(), &fields) else {
        state.metrics.webhook("status", "unreadable");
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let report = SmsReport {
        attempt: callback.attempt.as_deref(),
        sid: &callback.message_sid,
        status: callback.status,
        error_code: callback.error_code,
    };
    let ours = report::sms(&state.pool, report, state.clock.now()).await?;
    let result = if ours { "applied" } else { "unknown_message" };
    state.metrics.webhook("status", result);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /twilio/inbound`: somebody answered an SMS. STOP, in whatever words, stops all our SMS to that number; START lifts it.
/// Twilio itself replies to the keywords; we never do.
pub async fn inbound(
    Shared(state): Shared<State>,
    uri: OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Some(fields) = checked(&state, "inbound", &uri, &headers, &body) else {
        return Ok(StatusCode::FORBIDDEN.into_response());
    };
    if let Some(message) = Inbound::parse(&fields) {
        let hash = state.hasher.address(&message.from);
        let now = state.clock.now();
        // Twilio's own reading knows words and languages that we do not.
        let meaning = message
            .opt_out
            .map_or_else(|| optout::meaning(&message.body), Meaning::from);
        // A number belongs to a person, not to one of the brands that share a Twilio account.
        let accounts: Vec<AccountId> = state.accounts.keys().cloned().collect();
        let result = match meaning {
            Meaning::Stop => {
                stop(&state, accounts, hash, Source::SmsKeyword, now).await?;
                "stop"
            }
            Meaning::FreeTextRevocation => {
                stop(&state, accounts, hash, Source::SmsText, now).await?;
                tracing::info!(
                    sid = message.message_sid,
                    "An SMS reads as an opt-out and is honoured as one"
                );
                "stop"
            }
            Meaning::Start => {
                let mut conn = state.pool.acquire().await?;
                db::suppressions::lift(&mut conn, &accounts, Channel::Sms, &hash, &[]).await?;
                "start"
            }
            // "Yes" lifts only what a keyword did: it is mostly the answer to something else.
            Meaning::Yes => {
                let keyword = [Source::SmsKeyword, Source::Provider];
                let mut conn = state.pool.acquire().await?;
                db::suppressions::lift(&mut conn, &accounts, Channel::Sms, &hash, &keyword).await?;
                "yes"
            }
            Meaning::Help | Meaning::None => "other",
        };
        state.metrics.webhook("inbound", result);
    }
    let empty = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response/>\n";
    Ok(([(header::CONTENT_TYPE, "text/xml")], empty).into_response())
}

/// Suppresses a number, if need be when the database is back: Twilio posts an answer once.
async fn stop(
    state: &State,
    accounts: Vec<AccountId>,
    hash: AddressHash,
    source: Source,
    now: DateTime<Utc>,
) -> Result<(), ApiError> {
    let pool = state.pool.clone();
    let accounts: Arc<[AccountId]> = accounts.into();
    insist(move || {
        let (pool, accounts) = (pool.clone(), accounts.clone());
        async move {
            let mut conn = pool.acquire().await.context("suppressing a number")?;
            let why = (Suppression::OptedOut, source);
            db::suppressions::add(&mut conn, &accounts, Channel::Sms, &hash, why, now)
                .await
                .map(drop)
                .context("suppressing a number")
        }
    })
    .await
}
