//! What comes back of a request to Twilio: an answer, or none, and what that means for the message.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::{MessageStatus, codes, wire};
use crate::domain::outcome::{Outcome, Retryable};

/// Enough for a page of fifty messages.
const MAX_ANSWER: usize = 1 << 20;

/// An answer to a request.
pub(super) struct TwilioResponse {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// `None` if it was cut off or too long.
    pub(super) body: Option<Vec<u8>>,
}

/// No answer at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallError {
    /// There was no connection, so nothing was sent. The only case reqwest proves.
    NotConnected,
    TimedOut,
    Lost,
}

impl CallError {
    pub(super) fn of(error: &reqwest::Error) -> Self {
        if error.is_connect() || error.is_builder() {
            Self::NotConnected
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Lost
        }
    }

    pub(super) fn code(self) -> &'static str {
        match self {
            Self::NotConnected => "no connection",
            Self::TimedOut => "no answer in time",
            Self::Lost => "connection lost",
        }
    }

    pub(super) fn outcome(self) -> Outcome {
        let code = self.code().to_owned();
        match self {
            Self::NotConnected => Outcome::NotAccepted {
                class: Retryable::Transient,
                code,
                retry_after: None,
            },
            Self::TimedOut | Self::Lost => Outcome::Unknown { code },
        }
    }
}

pub(super) fn created(answer: &TwilioResponse) -> Outcome {
    let body = answer.body.as_deref().unwrap_or_default();
    if !(200..300).contains(&answer.status) {
        return codes::of_answer(answer.status, wire::error_code(body), answer.retry_after);
    }
    let message: Option<wire::WireSms> = serde_json::from_slice(body).ok();
    let Some(sid) = message.as_ref().and_then(wire::WireSms::sid) else {
        return Outcome::Unknown {
            code: format!("http {} unreadable", answer.status),
        };
    };
    if message.as_ref().map(wire::WireSms::status) == Some(MessageStatus::Scheduled) {
        tracing::warn!(
            sid,
            "Twilio's compliance settings postponed an SMS to a later hour; it may arrive too late"
        );
    }
    Outcome::Accepted {
        provider_id: Some(sid.to_owned()),
    }
}

pub(super) async fn read_body(mut response: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

/// `Retry-After` in seconds, or as a date relative to the answer's own `Date`.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let raw = text(RETRY_AFTER)?.trim();
    if let Ok(seconds) = raw.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |raw| chrono::DateTime::parse_from_rfc2822(raw).ok();
    (date(raw)? - date(text(DATE)?)?).to_std().ok()
}
