//! Brevo's transactional webhooks: one event or a list, from whoever knows the token or the user and password.

use serde::Deserialize;

use super::{event, listed};
use crate::channel::mail_events::{MailEvent, MailEventKind, RejectedEvent};

#[derive(Deserialize)]
struct WireEvent {
    event: String,
    email: String,
    #[serde(rename = "message-id")]
    message_id: String,
}

impl WireEvent {
    fn kind(&self) -> Option<MailEventKind> {
        Some(match self.event.as_str() {
            "delivered" => MailEventKind::Delivered,
            "hard_bounce" | "invalid_email" => MailEventKind::Hard,
            "soft_bounce" | "blocked" | "error" => MailEventKind::Soft,
            "spam" | "complaint" => MailEventKind::Complaint,
            _ => return None,
        })
    }
}

pub fn read(body: &[u8]) -> Result<Vec<MailEvent>, RejectedEvent> {
    let events = listed::<WireEvent>(body)?.into_iter();
    Ok(events
        .filter_map(|wire| event(wire.kind()?, Some(wire.message_id), Some(&wire.email)))
        .collect())
}
