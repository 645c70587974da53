//! Postmark's webhooks: one record, from whoever knows the address's user and password.

use serde::Deserialize;

use super::{event, listed};
use crate::channel::mail_events::{MailEvent, MailEventKind, RejectedEvent};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireRecord {
    record_type: String,
    /// Of a bounce.
    #[serde(rename = "Type")]
    kind: Option<String>,
    email: Option<String>,
    /// Of a delivery.
    recipient: Option<String>,
    #[serde(default)]
    headers: Vec<WireHeader>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireHeader {
    name: String,
    value: String,
}

impl WireRecord {
    fn kind(&self) -> Option<MailEventKind> {
        Some(match (self.record_type.as_str(), self.kind.as_deref()) {
            ("Delivery", _) => MailEventKind::Delivered,
            ("SpamComplaint", _) | ("Bounce", Some("SpamComplaint")) => MailEventKind::Complaint,
            ("Bounce", Some("HardBounce" | "BadEmailAddress")) => MailEventKind::Hard,
            // It is tried again, or an answer of a program's.
            (
                "Bounce",
                Some(
                    "Transient"
                    | "AutoResponder"
                    | "Subscribe"
                    | "Unsubscribe"
                    | "AddressChange"
                    | "ChallengeVerification"
                    | "OpenRelayTest",
                ),
            ) => return None,
            ("Bounce", _) => MailEventKind::Soft,
            _ => return None,
        })
    }
}

pub fn read(body: &[u8]) -> Result<Vec<MailEvent>, RejectedEvent> {
    let records = listed::<WireRecord>(body)?.into_iter();
    let events = records.filter_map(|record| {
        let kind = record.kind()?;
        let mut headers = record.headers.into_iter();
        // Postmark's own `MessageID` is not ours.
        let ours = headers.find(|header| header.name.eq_ignore_ascii_case("message-id"));
        let recipient = record.email.as_deref().or(record.recipient.as_deref());
        event(kind, ours.map(|header| header.value), recipient)
    });
    Ok(events.collect())
}
