//! The event webhook of `SendGrid`: a list of events, signed with ECDSA P-256 over the timestamp and the raw body.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::Deserialize;

use super::{Header, event, listed};
use crate::channel::mail_events::{MailEvent, MailEventKind, RejectedEvent};

/// What was posted before is posted again for a day, and changes nothing.
const OLDEST: i64 = 25 * 60 * 60;
const SKEW: i64 = 300;

/// What stands before the point of a P-256 key (RFC 5480).
pub(super) const PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The public key that is shown beside a webhook's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendGridKey(Vec<u8>);

impl SendGridKey {
    pub fn parse(raw: &str) -> Result<Self, &'static str> {
        const KEY: &str =
            "the verification key of SendGrid's event webhook, in base64; it begins with MFkw";
        let der = BASE64_STANDARD.decode(raw).map_err(|_| KEY)?;
        let point = der.strip_prefix(&PREFIX[..]).ok_or(KEY)?;
        if point.len() != 65 || point[0] != 4 {
            return Err(KEY);
        }
        Ok(Self(point.to_vec()))
    }
}

/// Signature and timestamp.
pub fn signed(header: Header<'_>) -> Result<(Vec<u8>, &str), RejectedEvent> {
    let signature = header("x-twilio-email-event-webhook-signature");
    let signature = signature.and_then(|text| BASE64_STANDARD.decode(text).ok());
    let timestamp = header("x-twilio-email-event-webhook-timestamp");
    signature.zip(timestamp).ok_or(RejectedEvent::Unsigned)
}

#[derive(Deserialize)]
struct WireEvent {
    event: String,
    email: String,
    #[serde(rename = "smtp-id")]
    smtp_id: String,
    /// Of a bounce: `bounce`, or `blocked`, which says nothing about the mailbox.
    #[serde(rename = "type")]
    kind: Option<String>,
    bounce_classification: Option<String>,
}

impl WireEvent {
    fn kind(&self) -> Option<MailEventKind> {
        Some(match self.event.as_str() {
            "delivered" => MailEventKind::Delivered,
            "spamreport" => MailEventKind::Complaint,
            "bounce" if self.names_the_mailbox() => MailEventKind::Hard,
            // What is dropped was never handed over, because of an earlier event.
            "bounce" | "dropped" => MailEventKind::Soft,
            _ => return None,
        })
    }

    fn names_the_mailbox(&self) -> bool {
        let class = self.bounce_classification.as_deref();
        let class = class.unwrap_or_default().to_ascii_lowercase();
        let is_bounce = self.kind.as_deref() != Some("blocked");
        is_bounce
            && matches!(
                class.as_str(),
                "" | "invalid address" | "mailbox unavailable"
            )
    }
}

pub fn read(
    keys: &[SendGridKey],
    header: Header<'_>,
    body: &[u8],
    now: i64,
) -> Result<Vec<MailEvent>, RejectedEvent> {
    let (signature, timestamp) = signed(header)?;
    let message = [timestamp.as_bytes(), body].concat();
    let is_by = |key: &SendGridKey| {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key.0);
        key.verify(&message, &signature).is_ok()
    };
    if !keys.iter().any(is_by) {
        return Err(RejectedEvent::WrongSignature);
    }
    let at: i64 = timestamp.parse().map_err(|_| RejectedEvent::Stale)?;
    if !(now.saturating_sub(OLDEST)..=now.saturating_add(SKEW)).contains(&at) {
        return Err(RejectedEvent::Stale);
    }
    let events = listed::<WireEvent>(body)?.into_iter();
    Ok(events
        .filter_map(|wire| event(wire.kind()?, Some(wire.smtp_id), Some(&wire.email)))
        .collect())
}
