//! Where a consumer can be reached: which of LivePerson's many places to believe, and what counts as an address at all.

use std::fmt;

/// What LivePerson told about how to reach the consumer, unchecked, best source first within each list.
#[derive(Clone, Default)]
pub struct ContactSources {
    /// Authenticated `PERSONAL_INFO`, newest first.
    pub authenticated: Vec<RawContact>,
    /// `consumerParticipants`, latest joined first.
    pub participants: Vec<RawContact>,
    /// Unauthenticated engagement attributes, newest first: anyone can put any address there.
    pub unauthenticated: Vec<RawContact>,
}

#[derive(Clone, Default)]
pub struct RawContact {
    pub first_name: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
}

/// An address that mail or SMS can be sent to, and what to call its owner.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    pub address: Address,
    pub first_name: Option<String>,
}

/// A valid, normalised address. `Debug` masks it; only [`Address::expose`] shows it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Local part as given, domain as lower-case A-labels.
    Email(String),
    /// E.164.
    Phone(String),
}

impl Address {
    /// The address itself. Every caller hands it to a provider or hashes it; nobody logs it.
    pub fn expose(&self) -> &str {
        match self {
            Self::Email(address) | Self::Phone(address) => address,
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Email(_) => f.write_str("Email(…)"),
            Self::Phone(_) => f.write_str("Phone(…)"),
        }
    }
}

impl fmt::Debug for ContactSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContactSources").finish_non_exhaustive()
    }
}

impl fmt::Debug for RawContact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawContact").finish_non_exhaustive()
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
