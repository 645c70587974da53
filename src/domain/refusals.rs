//! Whether refusals that name their recipients are about them, or about us.
//!
//! A server that does not like us may say so in the words it has for an unknown mailbox. One such refusal is believed. Many in a
//! row, of different people in different places, with nobody accepted between them, are not: addresses that worked yesterday do not
//! all die within minutes.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

/// Different addresses called bad in a row that are about us, and how many domains they must belong to at least: one domain's server
/// may have lost its users, or its memory.
const BAD_ADDRESSES: usize = 5;
const DOMAINS: usize = 2;
/// Within which time.
const BAD_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// How long a refusal by policy waits for a different recipient to meet the same.
const POLICY_WITHIN: TimeDelta = TimeDelta::hours(1);

/// What is looked back at, at most.
pub const LONGEST: TimeDelta = POLICY_WITHIN;

/// The code of a circuit that a run of bad addresses has opened, and of the attempts that it has turned into ours.
pub const RUN: &str = "rcpt unknown addresses in a row";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// The address is called bad.
    BadAddress,
    /// Some policy: [`super::outcome::Retryable::RecipientPolicy`].
    Policy,
}

impl RefusalKind {
    pub const ALL: [Self; 2] = [Self::BadAddress, Self::Policy];

    /// The word in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadAddress => "bad_address",
            Self::Policy => "policy",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A refusal through one sender, with none accepted since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRefusal {
    pub kind: RefusalKind,
    /// Keyed hashes of the address and of its domain.
    pub recipient: [u8; 16],
    pub domain: [u8; 16],
    /// What the server said, in our words.
    pub code: String,
    pub at: DateTime<Utc>,
}

/// Whether these are a run of bad addresses that is about us.
pub fn is_run(refused: &[RecordedRefusal], now: DateTime<Utc>) -> bool {
    let run: Vec<&RecordedRefusal> = refused
        .iter()
        .filter(|r| r.kind == RefusalKind::BadAddress && r.at >= now - BAD_WITHIN)
        .collect();
    let addresses: BTreeSet<_> = run.iter().map(|r| r.recipient).collect();
    let domains: BTreeSet<_> = run.iter().map(|r| r.domain).collect();
    addresses.len() >= BAD_ADDRESSES && domains.len() >= DOMAINS
}

/// The code of a policy that two different recipients have met, and that is therefore about us. Of several the latest.
pub fn shared_policy(refused: &[RecordedRefusal], now: DateTime<Utc>) -> Option<&str> {
    let policies = || {
        refused
            .iter()
            .filter(|r| r.kind == RefusalKind::Policy && r.at >= now - POLICY_WITHIN)
    };
    let shared = |one: &&RecordedRefusal| {
        policies().any(|other| other.code == one.code && other.recipient != one.recipient)
    };
    policies()
        .filter(shared)
        .max_by_key(|r| r.at)
        .map(|r| r.code.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::START;
    use super::*;

    fn refused(kind: RefusalKind, recipient: u8, domain: u8, minutes_ago: i64) -> RecordedRefusal {
        RecordedRefusal {
            kind,
            recipient: [recipient; 16],
            domain: [domain; 16],
            code: "rcpt 550 5.7.1".to_owned(),
            at: START - TimeDelta::minutes(minutes_ago),
        }
    }

    #[test]
    fn five_different_addresses_of_two_domains_within_ten_minutes_are_a_run() {
        // Recipient, domain, minutes ago.
        for (rows, is_ours, why) in [
            (
                &[(1, 1, 9), (2, 1, 5), (3, 1, 2), (4, 1, 1), (5, 2, 0)][..],
                true,
                "five of two domains",
            ),
            (
                &[(1, 1, 10), (2, 1, 5), (3, 1, 2), (4, 1, 1), (5, 2, 0)],
                true,
                "ten minutes are within",
            ),
            (
                &[(1, 1, 11), (2, 1, 5), (3, 1, 2), (4, 1, 1), (5, 2, 0)],
                false,
                "one is older",
            ),
            (&[(1, 1, 9), (2, 1, 5), (3, 1, 2), (4, 2, 0)], false, "four"),
            (
                &[(1, 1, 9), (2, 1, 5), (3, 1, 2), (4, 1, 1), (5, 1, 0)],
                false,
                "one domain: its server",
            ),
            (
                &[(1, 1, 9), (1, 1, 5), (2, 2, 2), (3, 2, 1), (4, 2, 0)],
                false,
                "one address twice",
            ),
            (&[], false, "none"),
        ] {
            let rows: Vec<_> = rows
                .iter()
                .map(|(r, d, ago)| refused(RefusalKind::BadAddress, *r, *d, *ago))
                .collect();
            assert_eq!(is_run(&rows, START), is_ours, "{why}");
            assert_eq!(shared_policy(&rows, START), None, "{why}");
        }
    }

    #[test]
    fn a_policy_is_about_us_when_a_different_recipient_meets_the_same() {
        let code = "rcpt 550 5.7.1";
        let other = |mut one: RecordedRefusal| {
            one.code = "rcpt 550 5.7.124".to_owned();
            one
        };
        let policy = |recipient, ago| refused(RefusalKind::Policy, recipient, 1, ago);
        for (rows, expected, why) in [
            (vec![policy(1, 5)], None, "one recipient"),
            (vec![policy(1, 5), policy(1, 0)], None, "the same one again"),
            (
                vec![policy(1, 5), policy(2, 0)],
                Some(code),
                "a different one",
            ),
            (vec![policy(1, 61), policy(2, 0)], None, "too long ago"),
            (
                vec![policy(1, 5), other(policy(2, 0))],
                None,
                "another policy",
            ),
            (
                vec![policy(1, 5), other(policy(2, 2)), policy(3, 0)],
                Some(code),
                "one of two policies",
            ),
        ] {
            assert_eq!(shared_policy(&rows, START), expected, "{why}");
            assert!(!is_run(&rows, START), "{why}");
        }
    }

    proptest! {
        #[test]
        fn order_and_repetition_change_nothing(
            rows in prop::collection::vec((any::<bool>(), 0..7_u8, 0..3_u8, 0..90_i64), 0..12), shift in 0..12_usize,
        ) {
            let rows: Vec<RecordedRefusal> = rows
                .into_iter()
                .map(|(bad, r, d, ago)| refused(if bad { RefusalKind::BadAddress } else { RefusalKind::Policy }, r, d, ago))
                .collect();
            let mut turned = rows.clone();
            turned.rotate_left(shift.min(rows.len()));
            turned.extend(rows.clone());
            prop_assert_eq!(is_run(&rows, START), is_run(&turned, START));
            prop_assert_eq!(shared_policy(&rows, START), shared_policy(&turned, START));
            let addresses: BTreeSet<_> = rows.iter().map(|r| r.recipient).collect();
            prop_assert!(!is_run(&rows, START) || addresses.len() >= 5);
        }
    }
}
