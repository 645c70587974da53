//! Incidents: what keeps reminders from going out until somebody does something. The one list of their kinds, and the rule that says when
//! people hear of one: once when it begins, once when it is over, and never of what comes and goes.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::ids::AccountId;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IncidentKind {
    /// All sending is held: the database may not be the one that sent.
    Hold,
    /// A sender is paused, because its provider refuses us.
    SenderPaused,
    /// LivePerson cannot be read for an account.
    LivePerson,
    /// An account has not been scanned for too long.
    NotScanned,
    /// Opt-outs are not noted outside the database.
    Journal,
    /// Background jobs were given up.
    DeadJobs,
}

impl IncidentKind {
    pub const ALL: [Self; 6] = [
        Self::Hold,
        Self::SenderPaused,
        Self::LivePerson,
        Self::NotScanned,
        Self::Journal,
        Self::DeadJobs,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::SenderPaused => "sender_paused",
            Self::LivePerson => "liveperson",
            Self::NotScanned => "not_scanned",
            Self::Journal => "journal",
            Self::DeadJobs => "dead_jobs",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The alert of the monitoring that says the same.
    pub fn alert(self) -> &'static str {
        match self {
            Self::Hold => "UnreadHold",
            Self::SenderPaused => "UnreadCircuitOpen",
            Self::LivePerson => "UnreadLivePersonFails",
            Self::NotScanned => "UnreadNoScan",
            Self::Journal => "UnreadJournalBehind",
            Self::DeadJobs => "UnreadDeadJobs",
        }
    }

    /// How long it must last before anybody is told: what is over by then was none.
    pub fn begins_after(self) -> TimeDelta {
        match self {
            Self::Hold => TimeDelta::zero(),
            Self::SenderPaused => TimeDelta::minutes(2),
            Self::LivePerson | Self::NotScanned | Self::Journal => TimeDelta::minutes(5),
            Self::DeadJobs => TimeDelta::minutes(10),
        }
    }

    /// What it is, in a sentence; `about` is what it is about, where there are several of its kind.
    pub fn sentence(self, about: &str) -> String {
        match self {
            Self::Hold => {
                "All sending is on hold: the database may not be the one that sent.".to_owned()
            }
            Self::SenderPaused => {
                format!("Sending from {about} is paused: its provider refuses us.")
            }
            Self::LivePerson => format!(
                "LivePerson cannot be read for account {about}, so its customers are not reminded."
            ),
            Self::NotScanned => format!(
                "Conversations of account {about} have not been checked for more than ten minutes."
            ),
            Self::Journal => format!(
                "Opt-outs are not noted outside the database ({about}): a restored backup would not know them."
            ),
            Self::DeadJobs => "Background jobs failed repeatedly and were stopped.".to_owned(),
        }
    }

    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Hold => {
                "Decide on the dashboard's overview, or with `unread restored` or `unread moved`."
            }
            Self::SenderPaused => {
                "The page Connections says what the provider answered and what helps."
            }
            Self::LivePerson => {
                "Check the LivePerson credentials (`unread doctor`) and LivePerson's status page."
            }
            Self::NotScanned => "Check that a worker and a scheduler are running.",
            Self::Journal => {
                "Check that the journal's file can be written, or that its receiver answers."
            }
            Self::DeadJobs => "The log of the workers says why.",
        }
    }
}

impl fmt::Display for IncidentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub kind: IncidentKind,
    /// Tells it from others of its kind: a sender, an account, nothing.
    pub about: String,
    /// Whose it is, if it is one account's.
    pub account: Option<AccountId>,
}

/// So long it must be gone before it is over: what comes back sooner has not been away.
pub const OVER_AFTER: TimeDelta = TimeDelta::minutes(10);

/// What is remembered of trouble that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    pub kind: IncidentKind,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
    /// People were told.
    pub has_begun: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncidentStep {
    /// It was seen again.
    Seen,
    /// It was seen again, but so long after the last time, since nothing looked, that it counts as new.
    Anew,
    /// It was seen again, has lasted, and people are told.
    Begins,
    /// It is not there, and may come back.
    Waits,
    /// It was too short to be one.
    Forgotten,
    /// It is over, and people are told.
    Ends,
}

impl Watched {
    /// `is_there`: it is wrong now.
    pub fn step(&self, is_there: bool, now: DateTime<Utc>) -> IncidentStep {
        if is_there && !self.has_begun && now - self.last_seen >= OVER_AFTER {
            return IncidentStep::Anew;
        }
        if is_there {
            let lasted = now - self.first_seen >= self.kind.begins_after();
            return if lasted && !self.has_begun {
                IncidentStep::Begins
            } else {
                IncidentStep::Seen
            };
        }
        match (now - self.last_seen >= OVER_AFTER, self.has_begun) {
            (false, _) => IncidentStep::Waits,
            (true, false) => IncidentStep::Forgotten,
            (true, true) => IncidentStep::Ends,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minute(n: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(n)
    }

    /// What people hear of trouble that is there in these minutes, each with the minute.
    fn told(
        kind: IncidentKind,
        there: impl Fn(i64) -> bool,
        minutes: i64,
    ) -> Vec<(i64, &'static str)> {
        let mut known: Option<Watched> = None;
        let mut told = Vec::new();
        for n in 0..minutes {
            let now = minute(n);
            if known.is_none() && there(n) {
                known = Some(Watched {
                    kind,
                    first_seen: now,
                    last_seen: now,
                    has_begun: false,
                });
            }
            let Some(watched) = &mut known else { continue };
            match watched.step(there(n), now) {
                IncidentStep::Seen => watched.last_seen = now,
                IncidentStep::Anew => (watched.first_seen, watched.last_seen) = (now, now),
                IncidentStep::Begins => {
                    watched.last_seen = now;
                    watched.has_begun = true;
                    told.push((n, "begins"));
                }
                IncidentStep::Waits => {}
                IncidentStep::Forgotten => known = None,
                IncidentStep::Ends => {
                    known = None;
                    told.push((n, "ends"));
                }
            }
        }
        told
    }

    /// The minute, and what is said then.
    type Said = (i64, &'static str);

    /// Whether it is there at a minute.
    type IsThere = fn(i64) -> bool;

    #[test]
    fn each_is_told_once_when_it_begins_and_once_when_it_is_over() {
        use IncidentKind::{Hold, LivePerson, SenderPaused};
        #[rustfmt::skip]
        let cases: [(IncidentKind, IsThere, &[Said]); 7] = [
            (SenderPaused, |_| false, &[]),
            (SenderPaused, |n| n < 2, &[]),
            (SenderPaused, |n| n < 30, &[(2, "begins"), (39, "ends")]),
            (Hold, |n| (5..20).contains(&n), &[(5, "begins"), (29, "ends")]),
            // It comes and goes every few minutes.
            (SenderPaused, |n| n < 60 && n % 5 == 0, &[(5, "begins"), (65, "ends")]),
            (LivePerson, |n| n % 15 == 0, &[]),
            // Twice, an hour apart.
            (SenderPaused, |n| n % 60 < 10 && n < 120, &[(2, "begins"), (19, "ends"), (62, "begins"), (79, "ends")]),
        ];
        for (kind, there, expected) in cases {
            assert_eq!(told(kind, there, 150), expected, "{kind}");
        }
    }

    #[test]
    fn what_was_seen_twice_long_apart_has_not_lasted() {
        let seen_at_noon = |has_begun| Watched {
            kind: IncidentKind::NotScanned,
            first_seen: minute(0),
            last_seen: minute(0),
            has_begun,
        };
        let ten_hours_later = |has_begun| seen_at_noon(has_begun).step(true, minute(600));
        assert_eq!(ten_hours_later(false), IncidentStep::Anew);
        assert_eq!(ten_hours_later(true), IncidentStep::Seen);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for kind in IncidentKind::ALL {
            assert_eq!(IncidentKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(IncidentKind::parse("other"), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_begins_and_ends_are_told_by_turns_and_far_apart(pattern in proptest::collection::vec(any::<bool>(), 1..400)) {
            let there = |n: i64| usize::try_from(n).ok().and_then(|n| pattern.get(n)).copied().unwrap_or_default();
            let told = told(IncidentKind::SenderPaused, there, 420);
            for (place, (_, what)) in told.iter().enumerate() {
                prop_assert_eq!(*what, if place % 2 == 0 { "begins" } else { "ends" });
            }
            // Of what ended nothing new is heard before it has been seen for two minutes again.
            for pair in told.windows(2) {
                prop_assert!(pair[1].0 - pair[0].0 >= 2);
            }
            prop_assert!(told.len() % 2 == 0 || there(419) || told.last().is_some_and(|(n, _)| *n > 400));
        }
    }
}
