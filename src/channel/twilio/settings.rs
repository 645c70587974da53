//! How to reach Twilio, as whom, and from which sender.

use std::fmt;
use std::str::FromStr;

use url::Url;

use crate::secret::Secret;

/// How to reach Twilio, and as whom. `Debug` hides secrets.
#[derive(Clone, Debug)]
pub struct TwilioSettings {
    /// `https://api.twilio.com`, a regional host, or the sandbox.
    pub base_url: Url,
    pub account_sid: String,
    pub auth: TwilioAuth,
    /// Whose webhooks are believed: the account's token, and further ones while that is being changed. An API key never signs anything.
    pub webhook_tokens: Vec<Secret>,
    /// `None`: the account's first number that can send SMS.
    pub sender: Option<TwilioSender>,
    /// Asks Twilio to remove the texts of messages that have ended.
    pub redact_bodies: bool,
    /// SMS per second, all workers together; 0: as fast as we can.
    pub rate_per_second: f64,
}

#[derive(Clone, Debug)]
pub enum TwilioAuth {
    /// The account's auth token.
    Token(Secret),
    ApiKey {
        sid: String,
        secret: Secret,
    },
}

/// Who an SMS comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TwilioSender {
    /// A number in E.164, a short code, or an alphanumeric sender.
    From(String),
    /// A Messaging Service's SID.
    Service(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an SMS sender is a number such as +14155550100, a short code, a name of at most 11 letters, digits, spaces and + - _ &, or a Messaging Service SID (MG…)"
)]
pub struct InvalidSender;

impl FromStr for TwilioSender {
    type Err = InvalidSender;

    fn from_str(raw: &str) -> Result<Self, InvalidSender> {
        let raw = raw.trim();
        let all = |s: &str, is: fn(&u8) -> bool| s.as_bytes().iter().all(is);
        if raw.len() == 34 && raw.starts_with("MG") && all(&raw[2..], u8::is_ascii_hexdigit) {
            return Ok(Self::Service(raw.to_owned()));
        }
        let is_number = raw
            .strip_prefix('+')
            .is_some_and(|n| (7..=15).contains(&n.len()) && all(n, u8::is_ascii_digit));
        let is_short_code = (3..=8).contains(&raw.len()) && all(raw, u8::is_ascii_digit);
        let is_name = (1..=11).contains(&raw.len())
            && all(raw, |b| b.is_ascii_alphanumeric() || b" +-_&".contains(b))
            && raw.bytes().any(|b| b.is_ascii_alphabetic());
        if is_number || is_short_code || is_name {
            Ok(Self::From(raw.to_owned()))
        } else {
            Err(InvalidSender)
        }
    }
}

impl fmt::Display for TwilioSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(sender) | Self::Service(sender) => f.write_str(sender),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TwilioSettingsError {
    #[error("an Account SID is AC and letters and digits")]
    AccountSid,
    #[error("the base URL cannot carry a path: {0}")]
    BaseUrl(Url),
    #[error("no HTTP client: {0}")]
    Http(String),
}
