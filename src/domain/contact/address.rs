//! Addresses that are only ever valid, and why one must not be written to.

use std::fmt;

use chrono::TimeDelta;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{is_absent, phone};
use crate::domain::ids::Channel;

/// LivePerson stores values of up to 50,000 characters. What is longer than this is no address, and is not looked at.
const LONGEST_EMAIL: usize = 512;

/// A valid, normalised address. `Debug` masks it; only [`Address::expose`] shows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Local part as given, domain as lower-case A-labels.
    Email(String),
    /// E.164.
    Phone(String),
    /// The brand's own id of a consumer: the brand delivers.
    #[cfg(feature = "test-channel")]
    Customer(String),
}

impl Address {
    /// An address of the channel, as a person or LivePerson writes it. `default_region` is for phone numbers in national form.
    pub fn of(channel: Channel, raw: &str, default_region: Option<&str>) -> Option<Self> {
        match channel {
            Channel::Email => Self::email(raw),
            Channel::Sms => Self::phone(raw, default_region),
            #[cfg(feature = "test-channel")]
            Channel::Probe => Self::customer(raw),
        }
    }

    /// A mailbox that every relay accepts: ASCII before the last `@` (no quotes, no comments), a registered-looking domain after
    /// it. Names that need SMTPUTF8, address literals and single-label domains are unusable.
    pub fn email(raw: &str) -> Option<Self> {
        let raw = raw.trim();
        if raw.len() > LONGEST_EMAIL || is_absent(raw) {
            return None;
        }
        let (local, domain) = raw.rsplit_once('@')?;
        let domain = Uts46::new()
            .to_ascii(
                domain.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Verify,
            )
            .ok()?;
        let address = format!("{local}@{domain}");
        let fits = is_dot_atom(local) && is_public(&domain) && address.len() <= 254;
        fits.then_some(Self::Email(address))
    }

    /// A number that exists in the numbering plan of its country. `default_region` (ISO 3166) is for numbers in national form; one
    /// that carries its country code (`+`, `00`, the region's own prefix for calls abroad) is complete.
    ///
    /// Extensions cannot be texted. Premium-rate and shared-cost numbers are refused: whoever types one in would have the
    /// brand pay for it.
    pub fn phone(raw: &str, default_region: Option<&str>) -> Option<Self> {
        if is_absent(raw.trim()) {
            return None;
        }
        phone::e164(raw, default_region).map(Self::Phone)
    }

    /// A customer id of plain signs.
    #[cfg(feature = "test-channel")]
    pub fn customer(raw: &str) -> Option<Self> {
        let raw = raw.trim();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let fits = (1..=64).contains(&raw.len()) && raw.bytes().all(plain) && !is_absent(raw);
        fits.then(|| Self::Customer(raw.to_owned()))
    }

    /// The sender of a message as Twilio names it, so that a STOP meets the address that is texted. `None` if it is no phone: a short
    /// code or a name.
    pub fn sms_sender(raw: &str) -> Option<Self> {
        phone::sender(raw).map(Self::Phone)
    }

    /// The address itself. Every caller hands it to a provider or hashes it; nobody logs it.
    pub fn expose(&self) -> &str {
        match self {
            Self::Email(address) | Self::Phone(address) => address,
            #[cfg(feature = "test-channel")]
            Self::Customer(id) => id,
        }
    }

    pub fn channel(&self) -> Channel {
        match self {
            Self::Email(_) => Channel::Email,
            Self::Phone(_) => Channel::Sms,
            #[cfg(feature = "test-channel")]
            Self::Customer(_) => Channel::Probe,
        }
    }

    /// The ISO 3166 country of a phone number; `None` for e-mail and for numbers of no country (+800).
    pub fn country(&self) -> Option<String> {
        match self {
            Self::Email(_) => None,
            Self::Phone(number) => phone::country(number),
            #[cfg(feature = "test-channel")]
            Self::Customer(_) => None,
        }
    }

    /// What is hashed to recognise the address again: one key for all ways to write it.
    pub fn suppression_key(&self) -> String {
        match self {
            Self::Email(address) => address.to_lowercase(),
            Self::Phone(number) => phone::key(number),
            #[cfg(feature = "test-channel")]
            Self::Customer(id) => format!("customer {id}"),
        }
    }

    /// Enough for a person to recognise it, too little to use it: `a…@example.com`, `+12…43`.
    pub fn masked(&self) -> String {
        match self {
            Self::Email(address) => {
                let (local, domain) = address.rsplit_once('@').unwrap_or_default();
                let first = local.chars().next().unwrap_or('…');
                format!("{first}…@{domain}")
            }
            Self::Phone(number) => {
                let start: String = number.chars().take(3).collect();
                let end: Vec<char> = number.chars().rev().take(2).collect();
                format!("{start}…{}", end.iter().rev().collect::<String>())
            }
            #[cfg(feature = "test-channel")]
            Self::Customer(id) => format!("{}…", id.chars().next().unwrap_or('…')),
        }
    }
}

impl Address {
    /// What an audit trail may say of it, for ever: the domain, or the country and the last two digits.
    pub fn traits(&self) -> String {
        match self {
            Self::Email(address) => {
                let (_, domain) = address.rsplit_once('@').unwrap_or_default();
                domain.to_owned()
            }
            Self::Phone(number) => {
                let country = self.country();
                let last_two = &number[number.len().saturating_sub(2)..];
                format!("{} …{last_two}", country.as_deref().unwrap_or("no country"))
            }
            #[cfg(feature = "test-channel")]
            Self::Customer(_) => "a customer id".to_owned(),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Email(_) => f.write_str("Email(…)"),
            Self::Phone(_) => f.write_str("Phone(…)"),
            #[cfg(feature = "test-channel")]
            Self::Customer(_) => f.write_str("Customer(…)"),
        }
    }
}

/// RFC 5321's `Dot-string`, at most 64 octets. Quoted local parts exist in the standard and in attacks.
fn is_dot_atom(local: &str) -> bool {
    let atom = |part: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
        !part.is_empty() && part.bytes().all(allowed)
    };
    local.len() <= 64 && local.split('.').all(atom)
}

/// At least two labels, and the last is not a number, as in `10.0.0.1`.
fn is_public(domain: &str) -> bool {
    domain
        .rsplit_once('.')
        .is_some_and(|(_, top)| !top.bytes().all(|b| b.is_ascii_digit()))
}

/// Why an address must not be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SuppressionReason)]
pub enum Suppression {
    /// Its owner asked not to be written to.
    OptedOut,
    /// It does not work.
    BadAddress,
    /// Its owner reported a reminder as spam.
    Complaint,
    /// An operator blocked it, or the provider says that it must not be written to. Nobody lifts that by a text message.
    Blocked,
}

impl Suppression {
    pub const ALL: [Self; 4] = [
        Self::OptedOut,
        Self::BadAddress,
        Self::Complaint,
        Self::Blocked,
    ];

    /// The word in SQL, metrics, logs and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OptedOut => "opted_out",
            Self::BadAddress => "bad_address",
            Self::Complaint => "complaint",
            Self::Blocked => "blocked",
        }
    }

    /// Whether its owner has said so: no address of theirs is written to in the episode at hand.
    pub fn is_a_no(self) -> bool {
        matches!(self, Self::OptedOut | Self::Complaint)
    }

    /// How long it holds; `None`: for good. Numbers and mailboxes change hands, a person's wish does not expire.
    pub fn lasts(self) -> Option<TimeDelta> {
        (self == Self::BadAddress).then(|| TimeDelta::days(90))
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}
