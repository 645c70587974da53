//! Where a consumer can be reached: which of LivePerson's many places to believe, and what counts as an address at all.
//!
//! Everything here was typed by someone, perhaps to do harm. A value that is not plainly usable is treated as missing: an odd
//! mailbox may go without its reminder, but no text of a stranger's choosing reaches a header, and no greeting carries a link.

mod address;
mod name;
mod phone;
#[cfg(test)]
mod tests;

use std::fmt;

use super::ids::Channel;

pub use address::{Address, Suppression};
pub use name::clean_name;
pub use phone::{is_of_a_place, is_of_two_countries, is_region};

/// What LivePerson told about how to reach the consumer, unchecked, best source first within each list.
#[derive(Clone, Default)]
pub struct ContactSources {
    /// Authenticated `PERSONAL_INFO`, newest first.
    pub authenticated: Vec<RawContact>,
    /// `consumerParticipants`, latest joined first.
    pub participants: Vec<RawContact>,
    /// Unauthenticated engagement attributes, newest first: anyone can put any address there.
    pub unauthenticated: Vec<RawContact>,
    /// The brand's own id of the consumer, from authenticated data.
    #[cfg(feature = "test-channel")]
    pub customer_id: Option<String>,
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

/// What an account says about contacts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContactPolicy {
    /// ISO 3166 region of phone numbers given in national form, e.g. `US`; `None`: such numbers are unusable.
    pub default_region: Option<String>,
    /// Believe unauthenticated engagement attributes too, when nothing better is known.
    pub unauthenticated: bool,
}

/// The most trusted usable address of the consumer on the channel. A source without one makes room for the next.
///
/// The first name is that of the same source, or else of the most trusted source that has one.
pub fn choose(
    sources: &ContactSources,
    channel: Channel,
    policy: &ContactPolicy,
) -> Option<Contact> {
    let trusted = || {
        let unauthenticated = policy.unauthenticated.then_some(&sources.unauthenticated);
        sources
            .authenticated
            .iter()
            .chain(&sources.participants)
            .chain(unauthenticated.into_iter().flatten())
    };
    let address_of = |source: &RawContact| {
        let raw = match channel {
            Channel::Email => source.email.as_deref()?,
            Channel::Sms => source.phone.as_deref()?,
            #[cfg(feature = "test-channel")]
            Channel::Probe => sources.customer_id.as_deref()?,
        };
        Address::of(channel, raw, policy.default_region.as_deref())
    };
    let name_of = |source: &RawContact| clean_name(source.first_name.as_deref()?);

    let (source, address) = trusted().find_map(|s| Some((s, address_of(s)?)))?;
    let first_name = name_of(source).or_else(|| trusted().find_map(name_of));
    Some(Contact {
        address,
        first_name,
    })
}

/// Whether LivePerson means "nothing" by this value, or has blanked it (`** LP deleted data **`, `j***@example.com`).
fn is_absent(value: &str) -> bool {
    const PLACEHOLDERS: [&str; 5] = ["", "undefined", "null", "0", "-1"];
    PLACEHOLDERS.iter().any(|p| value.eq_ignore_ascii_case(p)) || value.contains('*')
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
