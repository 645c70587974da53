//! How it is, in one sentence, and what needs a person, worst first.

use chrono::{DateTime, TimeDelta, Utc};

use crate::db::circuits::Circuit;
use crate::db::pages::Scan;
use crate::db::pauses::Pause;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::pause::Scope;
use crate::domain::round::{Pace, Round};
use crate::domain::trouble::Trouble;

/// The last complete scan may be this old before somebody should ask why.
const STALE_SCAN: TimeDelta = TimeDelta::minutes(10);

/// How it is, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub level: Level,
    pub sentence: String,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Bad,
    Warn,
    Waiting,
    Good,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Waiting => "waiting",
            Self::Good => "good",
        }
    }
}

/// Something that needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    pub level: Level,
    pub what: String,
    /// What to do about it.
    pub mend: String,
    pub about: About,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Senders that are paused.
    Channels,
    /// Looks at LivePerson.
    Scans,
    Rules,
    /// Reminders in this state.
    Reminders(&'static str),
}

impl Health {
    /// Worst first: what stops reminders comes before what delays them.
    pub(super) fn of(seen: &Seen<'_>, now: DateTime<Utc>) -> Self {
        let Seen {
            scans,
            circuits,
            pauses,
            rules_on,
            ..
        } = *seen;
        let health = |level, sentence: &str| Self {
            level,
            sentence: sentence.to_owned(),
        };
        if pauses.iter().any(|p| p.scope == Scope::Everything) {
            return health(
                Level::Warn,
                "Sending is paused by your team: what falls due is held.",
            );
        }
        if let Some(circuit) = circuits.first() {
            let trouble = Trouble::of(&circuit.provider, &circuit.code);
            return health(
                Level::Bad,
                &format!("Reminders are held up. {}", trouble.what),
            );
        }
        if scans.iter().any(|s| s.error.is_some()) {
            return health(
                Level::Bad,
                "LivePerson cannot be read, so no reminder can be sent.",
            );
        }
        if !rules_on {
            return health(
                Level::Waiting,
                "No rule is switched on, so nobody is reminded.",
            );
        }
        let Some(oldest) = oldest_scan(scans) else {
            return health(Level::Waiting, "Waiting for the first look at LivePerson.");
        };
        if now - oldest > STALE_SCAN {
            return health(
                Level::Bad,
                "Nobody has looked at LivePerson for more than ten minutes.",
            );
        }
        if scans.iter().any(|s| s.succeeded_at.is_none()) {
            return health(Level::Waiting, "The first look at LivePerson is under way.");
        }
        if !pauses.is_empty() {
            return health(
                Level::Warn,
                "A part of your reminders is paused by your team; the others go out on time.",
            );
        }
        health(Level::Good, "All is well: reminders go out on time.")
    }
}

fn oldest_scan(scans: &[Scan]) -> Option<DateTime<Utc>> {
    scans
        .iter()
        .map(|s| s.succeeded_at.unwrap_or(s.started_at))
        .min()
}

/// What the overview has read.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub scans: &'a [Scan],
    pub rounds: &'a [(AccountId, Round)],
    pub pace: Pace,
    pub circuits: &'a [Circuit],
    pub pauses: &'a [Pause],
    /// Some rule is switched on.
    pub rules_on: bool,
    /// Today's.
    pub failed: i64,
    /// Of these, those whose rule's text could not be used.
    pub unwritten: i64,
    pub undelivered: i64,
    pub unknown: i64,
    pub expired: i64,
    /// Background jobs that were given up.
    pub dead: i64,
}

impl Seen<'_> {
    pub(super) fn attention(&self, now: DateTime<Utc>) -> Vec<Attention> {
        let mut all = self.stopped(now);
        all.extend(self.slow());
        all.extend(self.today());
        all.extend(self.odd());
        all.sort_by_key(|attention| attention.level);
        all
    }

    /// What holds reminders up, or keeps them from being owed.
    fn stopped(&self, now: DateTime<Utc>) -> Vec<Attention> {
        let mut all = Vec::new();
        for pause in self.pauses {
            let what = format!("{} by {}.", paused(&pause.scope), pause.paused_by);
            let mend = "Resume it when you are ready.";
            all.push(attention(Level::Warn, About::Rules, what, mend));
        }
        if !self.rules_on {
            let what = "No rule is switched on.".to_owned();
            let mend = "Write one, or switch one on.";
            all.push(attention(Level::Waiting, About::Rules, what, mend));
        }
        for circuit in self.circuits {
            let trouble = Trouble::of(&circuit.provider, &circuit.code);
            let what = format!(
                "Sending from {} is paused. {}",
                circuit.sender, trouble.what
            );
            all.push(attention(Level::Bad, About::Channels, what, trouble.mend));
        }
        if self.unwritten > 0 {
            let what = format!(
                "{} not sent today, because a rule's text cannot be used.",
                counted_were(self.unwritten, "reminder")
            );
            let mend = "Open the rules with words of their own: what is wrong is marked there. Publish them again.";
            all.push(attention(Level::Bad, About::Rules, what, mend));
        }
        if let Some((count, error)) = scan_error(self.scans) {
            let what = format!(
                "LivePerson cannot be read for {}: {error}.",
                counted(count, "skill")
            );
            let mend = "Check the LivePerson credentials and its status page.";
            all.push(attention(Level::Bad, About::Scans, what, mend));
        } else if oldest_scan(self.scans).is_some_and(|oldest| now - oldest > STALE_SCAN) {
            let what =
                "Conversations have not been looked at for more than ten minutes.".to_owned();
            let mend = "See whether a worker and a scheduler are running.";
            all.push(attention(Level::Bad, About::Scans, what, mend));
        }
        all
    }

    /// What takes longer than it should: people are reminded later than their rules say.
    fn slow(&self) -> impl Iterator<Item = Attention> {
        let pace = self.pace;
        let slow = self
            .rounds
            .iter()
            .filter(move |(_, round)| !round.fits(pace));
        slow.map(move |(account, round)| {
            let what = format!(
                "Conversations of account {account} are not looked at every {} s: {}.",
                pace.every.num_seconds(),
                round.sentence(pace)
            );
            let mend = "Switch off rules of skills that need none, or, if LivePerson allows it, raise UNREAD_LIVEPERSON_RATE_PER_SECOND.";
            attention(Level::Warn, About::Scans, what, mend)
        })
    }

    /// Today's reminders that did not reach anybody.
    fn today(&self) -> Vec<Attention> {
        let reminders = |n| counted(n, "reminder");
        let kinds = [
            (
                self.failed,
                "failed",
                format!("{} could not be sent today.", reminders(self.failed)),
                "See what the providers said about them.",
            ),
            (
                self.undelivered,
                "undelivered",
                format!("{} did not arrive today.", reminders(self.undelivered)),
                "See what the providers reported.",
            ),
            (
                self.unknown,
                "unknown",
                format!(
                    "Nobody knows whether {} arrived today.",
                    reminders(self.unknown)
                ),
                "Send one again if it matters more than a double.",
            ),
            (
                self.expired,
                "expired",
                format!(
                    "{} came too late to be sent today.",
                    reminders(self.expired)
                ),
                "See what held them up.",
            ),
        ];
        let some = kinds.into_iter().filter(|(n, ..)| *n > 0);
        some.map(|(_, state, what, mend)| {
            attention(Level::Warn, About::Reminders(state), what, mend)
        })
        .collect()
    }

    /// What whoever runs the service should see.
    fn odd(&self) -> Vec<Attention> {
        let unreadable: i64 = self.scans.iter().map(|s| i64::from(s.unreadable)).sum();
        let kinds = [
            (
                unreadable,
                format!(
                    "{} at LivePerson cannot be understood.",
                    counted(unreadable, "conversation")
                ),
                "The log names them; tell whoever runs this service.",
            ),
            (
                self.dead,
                format!(
                    "{} failed again and again.",
                    counted(self.dead, "background job")
                ),
                "The log says why; tell whoever runs this service.",
            ),
        ];
        let some = kinds.into_iter().filter(|(n, ..)| *n > 0);
        some.map(|(_, what, mend)| attention(Level::Warn, About::Scans, what, mend))
            .collect()
    }
}

fn attention(level: Level, about: About, what: String, mend: &str) -> Attention {
    Attention {
        level,
        what,
        mend: mend.to_owned(),
        about,
    }
}

fn paused(scope: &Scope) -> String {
    let channel = |channel: &Channel| match channel {
        Channel::Email => "e-mail",
        Channel::Sms => "SMS",
    };
    match scope {
        Scope::Everything => "All sending is paused".to_owned(),
        Scope::Account(account) => format!("Account {account} is paused"),
        Scope::Channel(account, of) => {
            format!("All {} of account {account} is paused", channel(of))
        }
        Scope::Rule(key) => format!("One {} rule is paused", channel(&key.channel)),
    }
}

/// How many skills cannot be scanned, and the commonest reason.
fn scan_error(scans: &[Scan]) -> Option<(i64, &str)> {
    let errors = || scans.iter().filter_map(|s| s.error.as_deref());
    let commonest = errors().max_by_key(|error| errors().filter(|e| e == error).count())?;
    Some((
        i64::try_from(errors().count()).unwrap_or(i64::MAX),
        commonest,
    ))
}

fn counted_were(n: i64, what: &str) -> String {
    let verb = if n == 1 { "was" } else { "were" };
    format!("{} {verb}", counted(n, what))
}

fn counted(n: i64, what: &str) -> String {
    if n == 1 {
        format!("1 {what}")
    } else {
        format!("{n} {what}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn scan(succeeded: Option<i64>, error: Option<&str>) -> Scan {
        Scan {
            account: "12345678".to_owned(),
            skill: -1,
            name: None,
            started_at: at(0),
            succeeded_at: succeeded.map(at),
            duration_ms: None,
            conversations: 0,
            unreadable: 0,
            unread: 0,
            undecided: 0,
            error: error.map(str::to_owned),
        }
    }

    fn seen<'a>(scans: &'a [Scan], circuits: &'a [Circuit], pauses: &'a [Pause]) -> Seen<'a> {
        Seen {
            scans,
            rounds: &[],
            pace: Pace {
                per_second: 5.0,
                every: TimeDelta::seconds(60),
            },
            circuits,
            pauses,
            rules_on: true,
            failed: 0,
            unwritten: 0,
            undelivered: 0,
            unknown: 0,
            expired: 0,
            dead: 0,
        }
    }

    fn pause(scope: Scope) -> Pause {
        Pause {
            scope,
            paused_by: "ann".to_owned(),
            paused_at: at(0),
            note: String::new(),
        }
    }

    fn circuit() -> Circuit {
        Circuit {
            provider: "smtp".to_owned(),
            sender: "a@example.com".to_owned(),
            opened_at: at(0),
            code: "auth 535 5.7.8".to_owned(),
            probe_at: at(1),
        }
    }

    #[test]
    fn the_health_sentence_names_the_worst_first() {
        let fresh = scan(Some(0), None);
        let level = |scans: &[Scan], now| Health::of(&seen(scans, &[], &[]), at(now)).level;
        assert_eq!(level(&[], 0), Level::Waiting);
        assert_eq!(level(std::slice::from_ref(&fresh), 1), Level::Good);
        assert_eq!(level(&[fresh.clone(), scan(None, None)], 1), Level::Waiting);
        assert_eq!(level(std::slice::from_ref(&fresh), 20), Level::Bad);
        let (scans, circuits) = ([scan(Some(0), Some("throttled"))], [circuit()]);
        let both = Health::of(&seen(&scans, &circuits, &[]), at(1));
        assert!(
            both.sentence.contains("The mail server"),
            "{}",
            both.sentence
        );
    }

    #[test]
    fn what_needs_a_person_is_told_worst_first() {
        let scans = [scan(Some(0), Some("LivePerson throttles search"))];
        let circuits = [circuit()];
        let pauses = [pause(Scope::Everything)];
        let seen = Seen {
            failed: 2,
            undelivered: 1,
            unknown: 1,
            ..seen(&scans, &circuits, &pauses)
        };
        let told: Vec<_> = seen.attention(at(1)).into_iter().map(|a| a.about).collect();
        let expected = [
            About::Channels,
            About::Scans,
            About::Rules,
            About::Reminders("failed"),
            About::Reminders("undelivered"),
            About::Reminders("unknown"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_text_that_cannot_be_used_is_told_before_what_failed_because_of_it() {
        let scans = [scan(Some(0), None)];
        let told = |unwritten| {
            let seen = Seen {
                failed: 3,
                unwritten,
                ..seen(&scans, &[], &[])
            };
            seen.attention(at(1))
        };
        assert_eq!(told(0).len(), 1);
        let one = &told(1)[0];
        assert_eq!((one.level, one.about), (Level::Bad, About::Rules));
        let said = "1 reminder was not sent today";
        assert!(one.what.starts_with(said), "{}", one.what);
        let some = &told(3)[0];
        let said = "3 reminders were not sent";
        assert!(some.what.starts_with(said), "{}", some.what);
    }

    #[test]
    fn a_round_that_takes_longer_than_its_interval_needs_a_person() {
        let of = |account: &str, calls| {
            let round = Round {
                skills: 1000,
                never_scanned: 0,
                calls,
            };
            (account.parse().unwrap(), round)
        };
        let scans = [scan(Some(0), None)];
        let rounds = [of("12345678", 1200.0), of("87654321", 10.0)];
        let seen = Seen {
            rounds: &rounds,
            ..seen(&scans, &[], &[])
        };
        let told = seen.attention(at(1));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].level, told[0].about), (Level::Warn, About::Scans));
        assert_eq!(
            told[0].what,
            "Conversations of account 12345678 are not looked at every 60 s: a round over 1,000 skills takes 4 min at 5 calls/s."
        );
    }

    #[test]
    fn what_is_paused_is_not_called_well() {
        let scans = [scan(Some(0), None)];
        let told = |pauses: &[Pause]| Health::of(&seen(&scans, &[], pauses), at(1));
        let everything = told(&[pause(Scope::Everything)]);
        assert_eq!(everything.level, Level::Warn);
        let part = told(&[pause(Scope::Account("12345678".parse().unwrap()))]);
        assert!(part.sentence.contains("A part"), "{}", part.sentence);
        let off = Seen {
            rules_on: false,
            ..seen(&scans, &[], &[])
        };
        assert_eq!(Health::of(&off, at(1)).level, Level::Waiting);
    }
}
