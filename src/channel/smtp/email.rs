//! One e-mail, from its parts to the bytes that go over the wire.
//!
//! Names and subjects may come from anybody: they are cleaned *before* lettre sees them, because a line end in a display name
//! makes its builder panic. Identifiers and links come from us; one that could break out of its header is an error, not
//! repaired, so that a mistake of ours is seen.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox as LettreMailbox, MessageBuilder, MultiPart, SinglePart};

use crate::channel::clean;
use crate::domain::contact::Address;
use crate::domain::outcome::{Outcome, Refusal, Retryable};

/// A sender: an address and the name shown for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    address: lettre::Address,
    name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an e-mail address; write support@example.com or Example Support <support@example.com>"
)]
pub struct InvalidMailbox;

impl Mailbox {
    pub fn new(address: &str, name: Option<&str>) -> Result<Self, InvalidMailbox> {
        let address = lettre_address(address).ok_or(InvalidMailbox)?;
        let name = name
            .map(|n| clean::line(n, clean::MAX_NAME))
            .filter(|n| !n.is_empty());
        Ok(Self { address, name })
    }

    /// The sender of one message: with an address of its own, if its rule has one, and under the name of its brand, if the settings
    /// name nobody. One process sends for several brands.
    pub fn for_brand(&self, address: Option<&str>, brand: &str) -> Result<Self, InvalidMailbox> {
        Self::new(
            address.unwrap_or(self.address()),
            self.name().or(Some(brand)),
        )
    }

    pub fn address(&self) -> &str {
        self.address.as_ref()
    }

    /// The part behind the `@`: what Message-IDs end with.
    pub fn domain(&self) -> &str {
        self.address.domain()
    }

    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn to_lettre(&self) -> LettreMailbox {
        LettreMailbox::new(self.name.clone(), self.address.clone())
    }
}

impl FromStr for Mailbox {
    type Err = InvalidMailbox;

    /// `address` or `Name <address>`.
    fn from_str(raw: &str) -> Result<Self, InvalidMailbox> {
        let raw = raw.trim();
        match raw.strip_suffix('>').and_then(|r| r.rsplit_once('<')) {
            Some((name, address)) => Self::new(address, Some(name.trim().trim_matches('"'))),
            None => Self::new(raw, None),
        }
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.address),
            None => self.address.fmt(f),
        }
    }
}

/// One reminder by e-mail. Identifiers are given without angle brackets.
pub struct Email<'a> {
    /// Instead of the channel's own sender.
    pub from: Option<&'a Mailbox>,
    /// Instead of the channel's own reply address.
    pub reply_to: Option<&'a Mailbox>,
    pub to: &'a Address,
    pub to_name: Option<&'a str>,
    pub subject: &'a str,
    pub text: &'a str,
    pub html: Option<&'a str>,
    /// Belongs to the reminder and is the same on every attempt, so that a copy sent twice collapses: `rem.42@example.com`.
    pub message_id: &'a str,
    /// The same for all reminders of one conversation: `conv.5f1c2a9b7d@example.com`. A hash, never the conversation's own id.
    pub thread_ref: &'a str,
    /// Takes a POST with `List-Unsubscribe=One-Click` (RFC 8058).
    pub unsubscribe_url: Option<&'a str>,
    /// `unsubscribe@example.com?subject=token`, without `mailto:`.
    pub unsubscribe_mailto: Option<&'a str>,
    /// `a:b:c:sender`, for Gmail's postmaster pages.
    pub feedback_id: Option<&'a str>,
    pub date: DateTime<Utc>,
}

impl fmt::Debug for Email<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email")
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}

/// An e-mail ready for the wire.
pub(super) struct WireMail {
    pub from: lettre::Address,
    pub to: lettre::Address,
    /// The content with leading dots doubled, closed by the final dot.
    pub wire: String,
}

/// Why an e-mail cannot be written at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwritable {
    #[error("recipient")]
    Recipient,
    #[error("header")]
    Header,
    #[error("content")]
    Content,
}

impl Unwritable {
    pub fn outcome(self) -> Outcome {
        let code = format!("message {self}");
        match self {
            // Deliverable from elsewhere, perhaps: nothing to hold against the address.
            Self::Recipient | Self::Content => Outcome::Refused {
                class: Refusal::Other,
                code,
            },
            Self::Header => Outcome::NotAccepted {
                class: Retryable::Config,
                code,
                retry_after: None,
            },
        }
    }
}

/// Writes the e-mail. Addresses must be ASCII: an address that needs SMTPUTF8 on every server of its way is treated as one that
/// cannot be reached by e-mail.
pub(super) fn write(
    email: &Email<'_>,
    default_from: &Mailbox,
    default_reply_to: Option<&Mailbox>,
) -> Result<WireMail, Unwritable> {
    let Address::Email(to) = email.to else {
        return Err(Unwritable::Recipient);
    };
    let to = lettre_address(to).ok_or(Unwritable::Recipient)?;
    let from = email.from.unwrap_or(default_from);
    let to_name = email
        .to_name
        .map(|n| clean::line(n, clean::MAX_NAME))
        .filter(|n| !n.is_empty());

    let mut builder = lettre::Message::builder()
        .date(email.date.into())
        .from(from.to_lettre())
        .to(LettreMailbox::new(to_name, to.clone()))
        .subject(clean::line(email.subject, clean::MAX_SUBJECT))
        .message_id(Some(in_brackets(email.message_id)?))
        .in_reply_to(in_brackets(email.thread_ref)?)
        .references(in_brackets(email.thread_ref)?);
    if let Some(reply_to) = email.reply_to.or(default_reply_to) {
        builder = builder.reply_to(reply_to.to_lettre());
    }
    let builder = machine_headers(builder, email)?;
    let text = body(email.text);
    let message = match email.html {
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(text, body(html))),
        None => builder.singlepart(SinglePart::plain(text)),
    };
    let message = message.map_err(|_| Unwritable::Content)?;
    Ok(WireMail {
        from: from.address.clone(),
        to,
        wire: to_wire(message.formatted())?,
    })
}

/// The headers other programs read: no vacation replies please, and one click to be left alone.
fn machine_headers(
    builder: MessageBuilder,
    email: &Email<'_>,
) -> Result<MessageBuilder, Unwritable> {
    let mut builder = builder
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Auto-Response-Suppress", "All"));
    let mut unsubscribe = Vec::new();
    if let Some(url) = email.unsubscribe_url {
        unsubscribe.push(in_brackets(url)?);
    }
    if let Some(mailto) = email.unsubscribe_mailto {
        unsubscribe.push(in_brackets(&format!("mailto:{mailto}"))?);
    }
    if !unsubscribe.is_empty() {
        builder = builder.raw_header(header("List-Unsubscribe", &unsubscribe.join(", ")));
    }
    if email.unsubscribe_url.is_some() {
        builder = builder.raw_header(header(
            "List-Unsubscribe-Post",
            "List-Unsubscribe=One-Click",
        ));
    }
    if let Some(feedback_id) = email.feedback_id {
        builder = builder.raw_header(header("Feedback-ID", &clean::line(feedback_id, 128)));
    }
    Ok(builder)
}

/// One kind of line end (lettre passes a lone CR on as it is), and no control characters besides.
fn body(raw: &str) -> String {
    raw.replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// `<value>`, if the value can stand between angle brackets in a header.
fn in_brackets(value: &str) -> Result<String, Unwritable> {
    let fits = (1..=900).contains(&value.len())
        && value
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>');
    if fits {
        Ok(format!("<{value}>"))
    } else {
        Err(Unwritable::Header)
    }
}

/// lettre also accepts `a@b` and `a@[127.0.0.1]`; no visitor has such an address.
fn lettre_address(raw: &str) -> Option<lettre::Address> {
    let fits = raw.len() <= 254 && raw.is_ascii() && !raw.bytes().any(|b| b.is_ascii_control());
    let address: lettre::Address = fits.then(|| raw.parse().ok())??;
    let domain = address.domain();
    (domain.contains('.') && !domain.starts_with('[')).then_some(address)
}

/// Doubles leading dots and adds the final one. A line end that is not CRLF would let one message be read as two by lenient
/// servers, so it is refused rather than passed on.
fn to_wire(content: Vec<u8>) -> Result<String, Unwritable> {
    let content = String::from_utf8(content).map_err(|_| Unwritable::Content)?;
    if !content.is_ascii() {
        return Err(Unwritable::Content);
    }
    let mut wire = String::with_capacity(content.len() + 64);
    for line in content.trim_end_matches("\r\n").split("\r\n") {
        if line.contains(['\r', '\n']) {
            return Err(Unwritable::Content);
        }
        if line.starts_with('.') {
            wire.push('.');
        }
        wire.push_str(line);
        wire.push_str("\r\n");
    }
    wire.push_str(".\r\n");
    Ok(wire)
}

#[cfg(test)]
mod tests;
