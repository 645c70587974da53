//! Twilio's webhooks: what became of a message, and what people answer. Nothing is read before the signature is checked.

use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{OriginalUri, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::State;
use super::error::ApiError;
use crate::channel::optout::{self, Meaning};
use crate::channel::twilio::of_delivery;
use crate::channel::webhook::{Fields, Inbound, Request, StatusCallback};
use crate::db;
use crate::db::links::Report;
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::reminder::ReminderState;
use crate::domain::sms_status::MessageStatus;

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
    // Only a failure says something about the address.
    let failed = matches!(reported(callback.status), Some(state) if state != ReminderState::Delivered.as_str());
    let suppression = failed
        .then(|| of_delivery(callback.status, callback.error_code).suppression())
        .flatten();
    let report = Report {
        attempt: callback.attempt.as_deref().and_then(|id| id.parse().ok()),
        provider_id: &callback.message_sid,
        state: reported(callback.status),
        code: callback.error_code.map(|code| code.to_string()),
    };
    let now = state.clock.now();
    let mut tx = state.pool.begin().await?;
    let known = db::links::report(&mut tx, &report, now).await?;
    if let (Some((account, Some(hash))), Some(suppression)) = (&known, suppression) {
        let expires =
            (suppression == Suppression::BadAddress).then(|| now + chrono::TimeDelta::days(90));
        if let (Ok(account), Ok(hash)) = (AccountId::from_str(account), hash.as_slice().try_into())
        {
            let why = (suppression, "provider");
            db::suppressions::add(&mut tx, &account, Channel::Sms, &hash, why, expires, now)
                .await?;
        }
    }
    tx.commit().await?;
    state.metrics.webhook(
        "status",
        if known.is_some() {
            "applied"
        } else {
            "unknown_message"
        },
    );
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
        let mut tx = state.pool.begin().await?;
        // Twilio's own reading knows words and languages that we do not.
        let meaning = message
            .opt_out
            .map_or_else(|| optout::meaning(&message.body), Meaning::from);
        let result = match meaning {
            Meaning::Stop | Meaning::FreeTextRevocation => {
                for account in state.accounts.keys() {
                    let why = (Suppression::OptedOut, "sms reply");
                    db::suppressions::add(&mut tx, account, Channel::Sms, &hash, why, None, now)
                        .await?;
                }
                "stop"
            }
            // "Yes" lifts only what is there to be lifted.
            Meaning::Start | Meaning::Yes => {
                for account in state.accounts.keys() {
                    db::suppressions::lift(&mut tx, account, Channel::Sms, &hash).await?;
                }
                "start"
            }
            Meaning::Help | Meaning::None => "other",
        };
        tx.commit().await?;
        state.metrics.webhook("inbound", result);
    }
    let empty = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response/>\n";
    Ok(([(header::CONTENT_TYPE, "text/xml")], empty).into_response())
}

/// The reminder's state that a status means, if it says more than "accepted".
fn reported(status: MessageStatus) -> Option<&'static str> {
    let state = status.reminder_state();
    (!matches!(
        state,
        ReminderState::Sent | ReminderState::Sending | ReminderState::Scheduled
    ))
    .then(|| state.as_str())
}
