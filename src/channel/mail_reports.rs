//! What mail providers post in shapes of their own: each verified as far as the provider proves itself, and read into [`MailEvent`]s.
//!
//! Nobody outside this part knows a provider: the web has one route for all of them and hands on what came. An event names a message of ours
//! by its Message-ID and the recipient by address; whether they belong together is for who has the ledger.

mod brevo;
mod mailgun;
mod postmark;
mod sendgrid;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::mail_events::{MOST, MailEvent, MailEventKind, RejectedEvent};
use crate::domain::contact::Address;
use crate::secret::Secret;

pub use sendgrid::SendGridKey;

/// Of each provider what its requests are verified with; several while it is being changed. Empty: they are refused.
#[derive(Clone, Debug, Default)]
pub struct MailReports {
    pub sendgrid: Vec<SendGridKey>,
    /// `user:password` of HTTP basic authentication.
    pub postmark: Vec<Secret>,
    /// Webhook signing keys.
    pub mailgun: Vec<Secret>,
    /// Bearer tokens, or `user:password`.
    pub brevo: Vec<Secret>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailReporter {
    SendGrid,
    Postmark,
    Mailgun,
    Brevo,
}

impl MailReporter {
    pub const ALL: [Self; 4] = [Self::SendGrid, Self::Postmark, Self::Mailgun, Self::Brevo];

    /// The last part of the address that it posts to.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendGrid => "sendgrid",
            Self::Postmark => "postmark",
            Self::Mailgun => "mailgun",
            Self::Brevo => "brevo",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.as_str() == word)
    }
}

/// A request without its body: its headers by name.
pub type Header<'a> = &'a dyn Fn(&str) -> Option<&'a str>;

/// What a request says.
#[derive(Debug, PartialEq, Eq)]
pub struct MailReport {
    pub events: Vec<MailEvent>,
    /// Counts only if no request has had it before.
    pub once: Option<String>,
}

impl MailReports {
    /// Whether nobody would be believed.
    pub fn is_empty(&self) -> bool {
        !MailReporter::ALL.into_iter().any(|each| self.has(each))
    }

    /// Whether requests of this provider could be verified.
    pub fn has(&self, reporter: MailReporter) -> bool {
        match reporter {
            MailReporter::SendGrid => !self.sendgrid.is_empty(),
            MailReporter::Postmark => !self.postmark.is_empty(),
            MailReporter::Mailgun => !self.mailgun.is_empty(),
            MailReporter::Brevo => !self.brevo.is_empty(),
        }
    }

    /// What can be seen from the headers: the body of a request that they condemn is not waited for.
    pub fn greet(&self, reporter: MailReporter, header: Header<'_>) -> Result<(), RejectedEvent> {
        match reporter {
            MailReporter::SendGrid => sendgrid::signed(header).map(drop),
            MailReporter::Postmark => authorised(&self.postmark, header),
            // It signs within the body.
            MailReporter::Mailgun => Ok(()),
            MailReporter::Brevo => authorised(&self.brevo, header),
        }
    }

    /// Verifies a request and reads it. `now` in seconds since 1970.
    pub fn read(
        &self,
        reporter: MailReporter,
        header: Header<'_>,
        body: &[u8],
        now: i64,
    ) -> Result<MailReport, RejectedEvent> {
        self.greet(reporter, header)?;
        let mut once = None;
        let events = match reporter {
            MailReporter::SendGrid => sendgrid::read(&self.sendgrid, header, body, now)?,
            MailReporter::Postmark => postmark::read(body)?,
            MailReporter::Mailgun => {
                let (event, token) = mailgun::read(&self.mailgun, body, now)?;
                once = Some(token);
                event.into_iter().collect()
            }
            MailReporter::Brevo => brevo::read(body)?,
        };
        Ok(MailReport { events, once })
    }
}

/// An event, if it is about a message and a recipient.
fn event(
    kind: MailEventKind,
    message_id: Option<String>,
    recipient: Option<&str>,
) -> Option<MailEvent> {
    Some(MailEvent {
        kind,
        address: Some(recipient.and_then(Address::email)?),
        message_id: Some(message_id.filter(|id| id.len() <= 998)?),
        way_out: None,
    })
}

/// Whether `Authorization` carries one of these: as a bearer token, or as the user and password of basic authentication.
fn authorised(secrets: &[Secret], header: Header<'_>) -> Result<(), RejectedEvent> {
    let given = header("authorization").ok_or(RejectedEvent::Unsigned)?;
    let (scheme, rest) = given.split_once(' ').ok_or(RejectedEvent::Unsigned)?;
    let given = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => rest.trim().to_owned(),
        "basic" => BASE64_STANDARD
            .decode(rest.trim())
            .ok()
            .and_then(|octets| String::from_utf8(octets).ok())
            .ok_or(RejectedEvent::Unsigned)?,
        _ => return Err(RejectedEvent::Unsigned),
    };
    let given = Secret::new(given);
    let right = secrets.contains(&given);
    right.then_some(()).ok_or(RejectedEvent::WrongSignature)
}

/// One event or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    More(Vec<T>),
    One(T),
}

/// What a body lists. An event that is not understood is none of ours: providers add kinds and fields.
fn listed<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<Vec<T>, RejectedEvent> {
    let listed: OneOrMore<serde_json::Value> =
        serde_json::from_slice(body).map_err(|_| RejectedEvent::Unreadable)?;
    let values = match listed {
        OneOrMore::More(values) => values,
        OneOrMore::One(value) if value.is_object() => vec![value],
        OneOrMore::One(_) => return Err(RejectedEvent::Unreadable),
    };
    if values.len() > MOST {
        return Err(RejectedEvent::Unreadable);
    }
    Ok(values
        .into_iter()
        .filter_map(|value| serde_json::from_value(value).ok())
        .collect())
}
