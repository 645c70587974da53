//! A hold: nothing is sent until a person decides, because this database may not be the one that sent.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use super::heartbeat::HeartbeatVerdict;

/// Why sending is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HoldKind {
    /// A backup was restored: what was done since is not known.
    Restored,
    /// The database is new, or another installation's.
    Other,
    /// The database was copied to another server.
    Copied,
    /// For long nothing was written, and nobody remembers what came before.
    Silence,
}

impl HoldKind {
    pub const ALL: [Self; 4] = [Self::Restored, Self::Other, Self::Copied, Self::Silence];

    /// The word in SQL, metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Other => "other",
            Self::Copied => "copied",
            Self::Silence => "silence",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for HoldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a hold came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// `unread restored`: what was due in the lost time counts as perhaps sent.
    Restored,
    /// `unread moved`: this database takes over.
    Moved,
    /// A person says that nothing is missing.
    NothingLost,
    /// A process that remembers the database found nothing missing.
    FoundWhole,
}

impl HoldEnd {
    pub const ALL: [Self; 4] = [
        Self::Restored,
        Self::Moved,
        Self::NothingLost,
        Self::FoundWhole,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Moved => "moved",
            Self::NothingLost => "nothing_lost",
            Self::FoundWhole => "found_whole",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.as_str() == word)
    }
}

/// A hold that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub kind: HoldKind,
    pub found_at: DateTime<Utc>,
    /// The last moment that the database knows of.
    pub lost_from: Option<DateTime<Utc>>,
    /// The last moment that somebody else knows of.
    pub lost_until: Option<DateTime<Utc>>,
    /// Only reminders due before are held; `None`: all.
    pub due_before: Option<DateTime<Utc>>,
    /// The highest counter that somebody else has seen.
    pub counter: i64,
    /// The installation that somebody else knows.
    pub installation: Option<String>,
}

impl Hold {
    /// What a verdict about the database holds.
    pub fn of(verdict: &HeartbeatVerdict, found_at: DateTime<Utc>) -> Option<Self> {
        let hold = |kind| Self {
            kind,
            found_at,
            lost_from: None,
            lost_until: None,
            due_before: None,
            counter: 0,
            installation: None,
        };
        match *verdict {
            HeartbeatVerdict::Same | HeartbeatVerdict::Whole | HeartbeatVerdict::Stranger => None,
            HeartbeatVerdict::Restored {
                lost_from,
                lost_until,
                counter,
            } => Some(Self {
                lost_from: Some(lost_from),
                lost_until: Some(lost_until),
                counter,
                ..hold(HoldKind::Restored)
            }),
            HeartbeatVerdict::Other {
                lost_until,
                counter,
                ref installation,
            } => Some(Self {
                lost_until: Some(lost_until),
                counter,
                installation: Some(installation.clone()),
                ..hold(HoldKind::Other)
            }),
            HeartbeatVerdict::Copied => Some(Self {
                lost_until: Some(found_at),
                ..hold(HoldKind::Copied)
            }),
            HeartbeatVerdict::Silence { from, until } => Some(Self {
                lost_from: Some(from),
                lost_until: Some(until),
                due_before: Some(until),
                ..hold(HoldKind::Silence)
            }),
        }
    }

    /// What is held and why, in one or two sentences.
    pub fn said(&self) -> String {
        match self.kind {
            HoldKind::Restored => format!(
                "All sending is on hold: this database was restored from a backup and has no record of what was sent from {} to {}.",
                shown(self.lost_from),
                shown(self.lost_until)
            ),
            HoldKind::Other => {
                "All sending is on hold: this is not the database that has been sending; it is new, or belongs to another installation."
                    .to_owned()
            }
            HoldKind::Copied => {
                "All sending is on hold: this database was copied or restored here, and the original may still be sending."
                    .to_owned()
            }
            HoldKind::Silence => format!(
                "Reminders due before {} are on hold: nothing was written to this database since {}, and no journal shows whether a \
                 backup was restored in the meantime.",
                shown(self.due_before),
                shown(self.lost_from)
            ),
        }
    }

    /// What a person does about it.
    pub fn fix(&self) -> String {
        let from = shown(self.lost_from);
        match self.kind {
            HoldKind::Restored => format!("Run `unread restored --lost-from {from}`."),
            HoldKind::Other => "If DATABASE_URL is wrong, correct it. If this database is to take over, stop the other one and run \
                                `unread restored --lost-from` with the time when the other one began to send; that carries the opt-outs \
                                over. If it has always been the one that sends here, and another installation's process used it by \
                                mistake, stop that process and run `unread restored --nothing-lost`."
                .to_owned(),
            // What loses nothing comes first: whoever is wrong about `unread moved` has everybody reminded again.
            HoldKind::Copied => {
                let (moment, told) = match self.lost_from {
                    Some(_) => (from.clone(), format!("`unread restored --lost-from {from}`")),
                    None => (
                        "the copy was made".to_owned(),
                        "`unread restored --lost-from` with that moment".to_owned(),
                    ),
                };
                format!(
                    "If this is a test copy, leave it as it is. If it is to take over, stop the other one. If that one may have sent \
                     anything after {moment}, run {told}. Only if it was stopped before, run `unread moved`."
                )
            }
            HoldKind::Silence => format!(
                "If the database was only down, run `unread restored --nothing-lost`. If a backup was restored, run \
                 `unread restored --lost-from {from}`."
            ),
        }
    }
}

fn shown(at: Option<DateTime<Utc>>) -> String {
    at.map_or("an unknown time".to_owned(), |at| {
        at.to_rfc3339_opts(SecondsFormat::Secs, true)
    })
}

/// What the statement that begins an attempt looks at, for those who decide before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldGate {
    /// The counter in the line of the process; `None`: nobody has ever counted.
    pub counter: Option<i64>,
    /// Everything is held.
    pub closed: bool,
    /// What is due before is held.
    pub due_before: Option<DateTime<Utc>>,
}

impl HoldGate {
    /// Whether a reminder is held, for a process that has seen this counter. A database that is behind it may have been restored
    /// a moment ago, and nobody has found out yet.
    pub fn holds(&self, due_at: DateTime<Utc>, seen: i64) -> bool {
        self.closed
            || self.due_before.is_some_and(|before| due_at < before)
            || self.counter.is_some_and(|counter| counter < seen)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::minute;
    use super::*;

    #[test]
    fn the_gate_holds_what_a_hold_names_and_everything_behind_one_s_memory() {
        let open = HoldGate {
            counter: Some(5),
            ..HoldGate::default()
        };
        let closed = HoldGate {
            closed: true,
            ..open
        };
        let partial = HoldGate {
            due_before: Some(minute(10)),
            ..open
        };
        let uncounted = HoldGate::default();
        for (gate, due, seen, holds) in [
            (open, 9, 5, false),
            (open, 9, 4, false),
            (open, 9, 6, true),
            (open, 9, i64::MAX, true),
            (closed, 9, 5, true),
            (partial, 9, 5, true),
            (partial, 10, 5, false),
            (partial, 10, 6, true),
            (uncounted, 9, i64::MAX, false),
        ] {
            assert_eq!(
                gate.holds(minute(due), seen),
                holds,
                "{gate:?} {due} {seen}"
            );
        }
    }

    #[test]
    fn every_hold_names_the_command_that_ends_it() {
        for kind in HoldKind::ALL {
            assert_eq!(HoldKind::parse(kind.as_str()), Some(kind));
            let hold = Hold {
                kind,
                found_at: minute(60),
                lost_from: Some(minute(3)),
                lost_until: Some(minute(59)),
                due_before: (kind == HoldKind::Silence).then_some(minute(60)),
                counter: 7,
                installation: None,
            };
            assert!(hold.said().contains("on hold"), "{}", hold.said());
            assert!(hold.fix().contains("`unread "), "{}", hold.fix());
        }
    }

    #[test]
    fn a_copy_is_told_first_what_loses_nothing_and_from_when() {
        let copied = |lost_from| Hold {
            kind: HoldKind::Copied,
            found_at: minute(60),
            lost_from,
            lost_until: None,
            due_before: None,
            counter: 0,
            installation: None,
        };
        let known = copied(Some(minute(3))).fix();
        let from = shown(Some(minute(3)));
        let restored = format!("`unread restored --lost-from {from}`");
        let (first, then) = (known.find(&restored), known.find("`unread moved`"));
        assert!(first.is_some() && first < then, "{known}");
        let unknown = copied(None).fix();
        let (first, then) = (
            unknown.find("`unread restored --lost-from`"),
            unknown.find("`unread moved`"),
        );
        assert!(first.is_some() && first < then, "{unknown}");
        assert!(!unknown.contains("unknown"), "{unknown}");
    }
}
