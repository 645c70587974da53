//! Identifiers that are only ever valid, and the few closed vocabularies shared by all parts.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A LivePerson account (site id): digits, or letters and digits for test accounts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,32}$", example = "12345678")]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an account id is 1 to 32 letters, digits, '-' or '_', for example 12345678")]
pub struct InvalidAccountId;

impl AccountId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// So that a map can be asked by what an address says.
impl Borrow<str> for AccountId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = InvalidAccountId;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let fits = (1..=32).contains(&raw.len())
            && raw
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits {
            Ok(Self(raw.to_owned()))
        } else {
            Err(InvalidAccountId)
        }
    }
}

impl TryFrom<String> for AccountId {
    type Error = InvalidAccountId;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        raw.parse()
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// LivePerson's routing group; `-1` is "Unassigned".
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct SkillId(pub i64);

impl SkillId {
    pub const UNASSIGNED: Self = Self(-1);
}

impl fmt::Display for SkillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The ledger's key of one reminder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReminderId(pub i64);

impl fmt::Display for ReminderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// So many channels there are.
const CHANNELS: usize = if cfg!(feature = "test-channel") { 3 } else { 2 };

/// How a reminder travels.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    Email,
    Sms,
    #[cfg(feature = "test-channel")]
    Probe,
}

impl Channel {
    /// In the order in which they are declared.
    pub const ALL: [Self; CHANNELS] = [
        Self::Email,
        Self::Sms,
        #[cfg(feature = "test-channel")]
        Self::Probe,
    ];

    pub fn as_str(self) -> &'static str {
        self.profile().word
    }

    /// What carries it.
    pub fn provider(self) -> Provider {
        self.profile().provider
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidChannel;

impl fmt::Display for InvalidChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Channel::ALL.map(|channel| format!("\"{channel}\""));
        write!(f, "a channel is {}", words.join(" or "))
    }
}

impl std::error::Error for InvalidChannel {}

impl FromStr for Channel {
    type Err = InvalidChannel;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|c| c.as_str() == raw)
            .ok_or(InvalidChannel)
    }
}

/// What carries a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    Smtp,
    Twilio,
    #[cfg(feature = "test-channel")]
    Probe,
}

impl Provider {
    pub const ALL: [Self; CHANNELS] = [
        Self::Smtp,
        Self::Twilio,
        #[cfg(feature = "test-channel")]
        Self::Probe,
    ];

    /// The word in SQL, metrics, logs and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Twilio => "twilio",
            #[cfg(feature = "test-channel")]
            Self::Probe => "probe",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == word)
    }

    /// What it carries.
    pub fn channel(self) -> Channel {
        match self {
            Self::Smtp => Channel::Email,
            Self::Twilio => Channel::Sms,
            #[cfg(feature = "test-channel")]
            Self::Probe => Channel::Probe,
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
