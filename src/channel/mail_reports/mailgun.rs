//! Mailgun's webhooks: one event, with a timestamp and a token that are signed by HMAC-SHA256; the event itself is not.
//!
//! Whoever has seen one request could put another event to its signature, so that a token counts once.

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::event;
use crate::channel::mail_events::{MailEvent, MailEventKind, RejectedEvent, unhex};
use crate::secret::Secret;

/// What we could not take is posted again for eight hours. A token is remembered far longer.
const OLDEST: i64 = 12 * 60 * 60;
const SKEW: i64 = 300;

#[derive(Deserialize)]
struct WireRequest {
    signature: WireSignature,
    #[serde(rename = "event-data")]
    event: serde_json::Value,
}

#[derive(Deserialize)]
struct WireSignature {
    timestamp: String,
    token: String,
    signature: String,
}

#[derive(Deserialize)]
struct WireEvent {
    event: String,
    severity: Option<String>,
    reason: Option<String>,
    recipient: String,
    message: WireMessage,
}

#[derive(Deserialize)]
struct WireMessage {
    headers: WireHeaders,
}

#[derive(Deserialize)]
struct WireHeaders {
    #[serde(rename = "message-id")]
    message_id: String,
}

impl WireEvent {
    fn kind(&self) -> Option<MailEventKind> {
        Some(match (self.event.as_str(), self.severity.as_deref()) {
            ("delivered", _) => MailEventKind::Delivered,
            ("complained", _) => MailEventKind::Complaint,
            ("failed", Some("permanent")) if self.reason.as_deref() == Some("bounce") => {
                MailEventKind::Hard
            }
            ("failed", Some("permanent")) => MailEventKind::Soft,
            // A temporary failure is tried again.
            _ => return None,
        })
    }
}

/// The event, if it is one of those that count, and its token.
pub fn read(
    keys: &[Secret],
    body: &[u8],
    now: i64,
) -> Result<(Option<MailEvent>, String), RejectedEvent> {
    // Only what is signed is looked at before the signature has been checked.
    let request: WireRequest = serde_json::from_slice(body).map_err(|_| RejectedEvent::Unsigned)?;
    let WireSignature {
        timestamp,
        token,
        signature,
    } = request.signature;
    let signature = unhex(&signature).ok_or(RejectedEvent::Unsigned)?;
    // Both are of a known form: else what is the end of one and the beginning of the other could be moved.
    let at = Some(&timestamp)
        .filter(|text| text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse::<i64>().ok())
        .ok_or(RejectedEvent::Unsigned)?;
    if !(32..=100).contains(&token.len()) {
        return Err(RejectedEvent::Unsigned);
    }
    let is_by = |key: &Secret| {
        let mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes());
        mac.expect("HMAC takes keys of any length")
            .chain_update(&timestamp)
            .chain_update(&token)
            .verify_slice(&signature)
            .is_ok()
    };
    if !keys.iter().any(is_by) {
        return Err(RejectedEvent::WrongSignature);
    }
    if !(now.saturating_sub(OLDEST)..=now.saturating_add(SKEW)).contains(&at) {
        return Err(RejectedEvent::Stale);
    }
    let wire: Option<WireEvent> = serde_json::from_value(request.event).ok();
    let event = wire.and_then(|wire| {
        event(
            wire.kind()?,
            Some(wire.message.headers.message_id),
            Some(&wire.recipient),
        )
    });
    Ok((event, token))
}
