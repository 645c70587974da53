//! What Twilio posts to us: status callbacks and inbound messages.
//!
//! Nothing is read before the signature has been checked, and the URL that was signed is built from our own public address:
//! proxies rewrite `Host` and scheme, and an attacker chooses `X-Forwarded-*`.

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::{Url, form_urlencoded};

use super::{MessageStatus, is_message_sid};
use crate::channel::adapter::{RejectedWebhook, Request};
use crate::domain::contact::Address;
use crate::secret::Secret;

/// The query parameter of a status callback's URL that names the attempt.
pub const ATTEMPT_PARAM: &str = "rid";

/// Far more than Twilio sends.
const MAX_BODY: usize = 64 * 1024;
const MAX_FIELDS: usize = 200;
/// An SMS of ten segments, with room to spare.
const MAX_TEXT: usize = 2000;

/// Fields of a checked request.
pub struct WebhookFields(Vec<(String, String)>);

impl WebhookFields {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Checks signatures: with any of the tokens, for URLs below one public address.
#[derive(Clone)]
pub struct Verifier {
    /// All of one Twilio account: whoever holds one of them may speak for it. None is chosen by the `AccountSid` that a request claims;
    /// whose tokens fit, from that account it is.
    tokens: Vec<Secret>,
    /// The forms in which the public address may have been signed: Twilio is not consistent about ports and credentials.
    bases: Vec<String>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("tokens", &self.tokens.len())
            .finish_non_exhaustive()
    }
}

impl Verifier {
    /// `public_base` is the address under which the outside world reaches our paths, with a path of its own if a proxy strips one.
    pub fn new(tokens: Vec<Secret>, public_base: &Url) -> Self {
        Self {
            // A setting left empty must not become a key that everybody knows.
            tokens: tokens
                .into_iter()
                .filter(|t| !t.expose().is_empty())
                .collect(),
            bases: bases(public_base),
        }
    }

    /// The form's fields, if the request is Twilio's.
    pub fn verify(&self, request: &Request<'_>) -> Result<WebhookFields, RejectedWebhook> {
        let signature = request.signature.ok_or(RejectedWebhook::Unsigned)?;
        let signature = STANDARD
            .decode(signature)
            .map_err(|_| RejectedWebhook::WrongSignature)?;
        if request.body.len() > MAX_BODY {
            return Err(RejectedWebhook::TooLarge);
        }
        let body_hash = query_value(request.query, "bodySHA256");
        let fields: Vec<(String, String)> = if body_hash.is_some() {
            Vec::new()
        } else {
            form_urlencoded::parse(request.body)
                .into_owned()
                .take(MAX_FIELDS + 1)
                .collect()
        };
        if fields.len() > MAX_FIELDS {
            return Err(RejectedWebhook::TooLarge);
        }
        let tail = signed_tail(request, &fields);
        let matches = |base: &String, token: &Secret| {
            mac(token)
                .chain_update(base)
                .chain_update(&tail)
                .verify_slice(&signature)
                .is_ok()
        };
        if !self
            .bases
            .iter()
            .any(|base| self.tokens.iter().any(|token| matches(base, token)))
        {
            return Err(RejectedWebhook::WrongSignature);
        }
        match body_hash {
            Some(hash) if !is_hash_of(&hash, request.body) => Err(RejectedWebhook::WrongBody),
            _ => Ok(WebhookFields(fields)),
        }
    }
}

fn mac(token: &Secret) -> Hmac<Sha1> {
    Hmac::new_from_slice(token.expose().as_bytes()).expect("HMAC takes keys of any length")
}

/// What is signed after scheme and host: path, query, and every distinct name with each of its distinct values, sorted.
fn signed_tail(request: &Request<'_>, fields: &[(String, String)]) -> String {
    let mut tail = request.path.to_owned();
    if let Some(query) = request.query {
        tail.push('?');
        tail.push_str(query);
    }
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    for (name, value) in sorted {
        tail.push_str(name);
        tail.push_str(value);
    }
    tail
}

fn is_hash_of(hash: &str, body: &[u8]) -> bool {
    let mut actual = String::with_capacity(64);
    for byte in Sha256::digest(body) {
        write!(actual, "{byte:02x}").expect("a string takes everything");
    }
    hash.to_ascii_lowercase()
        .as_bytes()
        .ct_eq(actual.as_bytes())
        .into()
}

fn query_value(query: Option<&str>, name: &str) -> Option<String> {
    form_urlencoded::parse(query?.as_bytes())
        .find(|(n, _)| n == name)
        .map(|(_, value)| value.into_owned())
}

/// The public address with and without its port and its credentials.
fn bases(public: &Url) -> Vec<String> {
    let scheme = public.scheme();
    let host = public.host_str().unwrap_or_default();
    let path = public.path().trim_end_matches('/');
    let port = public.port_or_known_default();
    let ports = [
        String::new(),
        port.map_or(String::new(), |p| format!(":{p}")),
    ];
    let mut users = vec![String::new()];
    if !public.username().is_empty() {
        let password = public.password().map_or(String::new(), |p| format!(":{p}"));
        users.push(format!("{}{password}@", public.username()));
    }
    users
        .iter()
        .flat_map(|user| {
            ports
                .iter()
                .map(move |port| format!("{scheme}://{user}{host}{port}{path}"))
        })
        .collect()
}

/// News about a message of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusCallback {
    /// The attempt, as we put it into the callback's URL.
    pub attempt: Option<String>,
    pub message_sid: String,
    pub account_sid: String,
    /// A status that this program does not know counts as `Accepted`: Twilio has the message, and that is all it proves.
    pub status: MessageStatus,
    pub error_code: Option<u32>,
}

impl StatusCallback {
    /// `None` if it is not about a message.
    pub fn parse(query: Option<&str>, fields: &WebhookFields) -> Option<Self> {
        let status = fields
            .get("MessageStatus")
            .or_else(|| fields.get("SmsStatus"))?;
        Some(Self {
            attempt: query_value(query, ATTEMPT_PARAM).filter(|a| (1..=64).contains(&a.len())),
            message_sid: message_sid(fields)?,
            account_sid: short(fields, "AccountSid"),
            status: MessageStatus::parse(status).unwrap_or(MessageStatus::Accepted),
            error_code: fields.get("ErrorCode").and_then(|code| code.parse().ok()),
        })
    }
}

/// An SMS that somebody sent to one of our numbers. `Debug` shows neither sender nor text.
#[derive(Clone, PartialEq, Eq)]
pub struct Inbound {
    pub message_sid: String,
    pub account_sid: String,
    pub from: Address,
    /// The number of ours it came to.
    pub to: String,
    pub body: String,
    pub messaging_service_sid: Option<String>,
    /// What Twilio itself made of it, with Advanced Opt-Out; it knows words and languages that we do not.
    pub opt_out: Option<OptOut>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptOut {
    Stop,
    Start,
    Help,
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound")
            .field("message_sid", &self.message_sid)
            .field("opt_out", &self.opt_out)
            .finish_non_exhaustive()
    }
}

impl Inbound {
    /// `None` if it is not a message from a phone number.
    pub fn parse(fields: &WebhookFields) -> Option<Self> {
        let from = Address::sms_sender(fields.get("From")?)?;
        let body: String = fields
            .get("Body")
            .unwrap_or_default()
            .chars()
            .take(MAX_TEXT)
            .collect();
        let service = short(fields, "MessagingServiceSid");
        Some(Self {
            message_sid: message_sid(fields)?,
            account_sid: short(fields, "AccountSid"),
            from,
            to: short(fields, "To"),
            body,
            messaging_service_sid: Some(service).filter(|sid| !sid.is_empty()),
            opt_out: match fields.get("OptOutType") {
                Some("STOP") => Some(OptOut::Stop),
                Some("START") => Some(OptOut::Start),
                Some("HELP") => Some(OptOut::Help),
                _ => None,
            },
        })
    }
}

fn message_sid(fields: &WebhookFields) -> Option<String> {
    let sid = fields.get("MessageSid").or_else(|| fields.get("SmsSid"))?;
    is_message_sid(sid).then(|| sid.to_owned())
}

/// A field that is a number or an identifier; empty if it is missing or too long to be one.
fn short(fields: &WebhookFields, name: &str) -> String {
    let value = fields.get(name).filter(|v| v.len() <= 64);
    value.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
