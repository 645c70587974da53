//! What is found of an installation, in the order of how much it says about the whole.

use chrono::{DateTime, Utc};

use super::attention::{Attention, AttentionLevel, AttentionMark, AttentionTopic, STALE_SCAN};
use crate::channel::codes;
use crate::db::circuits::Circuit;
use crate::db::pauses::Pause;
use crate::db::reports::LatestScan;
use crate::db::unreadable::UnreadableCount;
use crate::domain::hold::Hold;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::pause::Scope;
use crate::domain::round::{Round, ScanPace};

/// One thing that was found.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub level: AttentionLevel,
    /// What it means for the whole, if it means something.
    pub sentence: Option<String>,
    /// What a person should do about it, if something.
    pub entry: Option<Attention>,
}

impl Finding {
    fn new(level: AttentionLevel, about: AttentionTopic, what: String, fix: &str) -> Self {
        Self {
            level,
            sentence: None,
            entry: Some(Attention {
                level,
                what,
                fix: fix.to_owned(),
                about,
                mark: None,
            }),
        }
    }

    /// Something that nobody can do anything about but wait.
    fn state(level: AttentionLevel, sentence: &str) -> Self {
        Self {
            level,
            sentence: Some(sentence.to_owned()),
            entry: None,
        }
    }

    fn meaning(mut self, sentence: impl Into<String>) -> Self {
        self.sentence = Some(sentence.into());
        self
    }

    fn dismissed_by(mut self, mark: AttentionMark) -> Self {
        if let Some(entry) = &mut self.entry {
            entry.mark = Some(mark);
        }
        self
    }
}

/// What the overview has read.
#[derive(Clone, Copy)]
pub(super) struct OverviewFacts<'a> {
    pub now: DateTime<Utc>,
    /// When the reader's day began.
    pub midnight: DateTime<Utc>,
    pub scans: &'a [LatestScan],
    pub rounds: &'a [(AccountId, Round)],
    pub pace: ScanPace,
    pub circuits: &'a [Circuit],
    pub pauses: &'a [Pause],
    pub holds: &'a [Hold],
    /// Some rule is switched on.
    pub rules_on: bool,
    /// Some channel of some account is live.
    pub live: bool,
    /// Those that are set up and are not.
    pub not_live: &'a [(&'a AccountId, Channel)],
    /// Today's.
    pub failed: i64,
    /// Of these, those whose rule's text could not be used.
    pub unwritten: i64,
    pub undelivered: i64,
    pub unknown: i64,
    pub expired: i64,
    /// Conversations that cannot be read.
    pub unreadable: UnreadableCount,
    /// Background jobs that were given up.
    pub dead: i64,
}

impl OverviewFacts<'_> {
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut all = self.held();
        all.extend(self.paused());
        all.extend(self.stopped());
        all.extend(self.scanned());
        all.extend(self.slow());
        all.extend(self.today());
        all.extend(self.odd());
        all
    }

    /// The database may not be the one that sent.
    fn held(&self) -> Vec<Finding> {
        let found = self.holds.iter().map(|hold| {
            Finding::new(
                AttentionLevel::Bad,
                AttentionTopic::Hold,
                hold.said(),
                &hold.fix(),
            )
            .meaning(hold.said())
        });
        found.collect()
    }

    fn paused(&self) -> Vec<Finding> {
        // What is paused as a whole says more than its parts.
        let mut pauses: Vec<&Pause> = self.pauses.iter().collect();
        pauses.sort_by_key(|pause| pause.scope != Scope::Everything);
        let found = pauses.into_iter().map(|pause| {
            let what = format!("{} by {}.", paused(&pause.scope), pause.paused_by);
            let finding = Finding::new(
                AttentionLevel::Warn,
                AttentionTopic::Pauses,
                what,
                "Resume it when you are ready.",
            );
            finding.meaning(match pause.scope {
                Scope::Everything => "Your team has paused sending: reminders are on hold.",
                _ => "Some reminders are paused by your team. The rest go out on time.",
            })
        });
        found.collect()
    }

    /// What holds reminders up, or keeps them from being owed.
    fn stopped(&self) -> Vec<Finding> {
        let mut all = Vec::new();
        for circuit in self.circuits {
            let diagnosis = codes::explain(circuit.provider, &circuit.code);
            let what = format!(
                "Sending from {} is paused. {}",
                circuit.sender, diagnosis.paused
            );
            let sentence = format!("Reminders are delayed. {}", diagnosis.paused);
            all.push(
                Finding::new(
                    AttentionLevel::Bad,
                    AttentionTopic::Channels,
                    what,
                    diagnosis.remedy,
                )
                .meaning(sentence),
            );
        }
        if self.unwritten > 0 {
            let what = format!(
                "{} not sent today, because a rule's text cannot be used.",
                counted_were(self.unwritten, "reminder")
            );
            let fix =
                "Open the rules with your own text, fix what is marked, and publish them again.";
            all.push(
                Finding::new(AttentionLevel::Bad, AttentionTopic::Rules, what, fix)
                    .meaning("Some reminders are not sent: a rule's text cannot be used."),
            );
        }
        for (account, channel) in self.not_live {
            let what = format!(
                "{} is not live for account {account}.",
                channel_name(*channel)
            );
            let fix = "It sends nothing yet. See who would be reminded, then go live.";
            let mut finding =
                Finding::new(AttentionLevel::Waiting, AttentionTopic::Live, what, fix);
            if self.live {
                let key = format!("not_live/{account}/{channel}");
                finding = finding.dismissed_by(AttentionMark::lasting(key));
            } else {
                finding = finding.meaning("Nothing is sent yet: no channel is live.");
            }
            all.push(finding);
        }
        if !self.rules_on {
            let what = "No rule is active.".to_owned();
            let fix = "Create one, or turn one on.";
            all.push(
                Finding::new(AttentionLevel::Waiting, AttentionTopic::Rules, what, fix)
                    .meaning("No rule is active, so no customers are reminded."),
            );
        }
        all
    }

    /// Whether LivePerson is read.
    fn scanned(&self) -> Option<Finding> {
        let oldest = self.scans.iter();
        let oldest = oldest.map(|s| s.succeeded_at.unwrap_or(s.started_at)).min();
        if let Some((count, error)) = scan_error(self.scans) {
            let what = format!(
                "LivePerson cannot be read for {}: {error}.",
                counted(count, "skill")
            );
            let fix = "Check the LivePerson credentials and LivePerson's status page.";
            let finding = Finding::new(AttentionLevel::Bad, AttentionTopic::Scans, what, fix);
            return Some(finding.meaning("LivePerson cannot be read, so no reminder can be sent."));
        }
        let Some(oldest) = oldest else {
            return Some(Finding::state(
                AttentionLevel::Waiting,
                "Waiting for the first scan of LivePerson.",
            ));
        };
        if self.now - oldest > STALE_SCAN {
            let what = "Conversations have not been checked for more than ten minutes.".to_owned();
            let fix = "Check that a worker and a scheduler are running.";
            let finding = Finding::new(AttentionLevel::Bad, AttentionTopic::Scans, what, fix);
            return Some(
                finding.meaning("LivePerson has not been scanned for more than ten minutes."),
            );
        }
        let under_way = self.scans.iter().any(|s| s.succeeded_at.is_none());
        under_way.then(|| {
            Finding::state(
                AttentionLevel::Waiting,
                "The first scan of LivePerson is in progress.",
            )
        })
    }

    /// What takes longer than it should: people are reminded later than their rules say.
    fn slow(&self) -> impl Iterator<Item = Finding> {
        let pace = self.pace;
        let slow = self
            .rounds
            .iter()
            .filter(move |(_, round)| !round.keeps_up(pace));
        slow.map(move |(account, round)| {
            let what = format!(
                "Conversations of account {account} are not checked often enough: {}.",
                round.sentence(pace)
            );
            let fix = "Turn off rules for skills that do not need one, or, if LivePerson allows it, raise \
                       UNREAD_LIVEPERSON_RATE_PER_SECOND.";
            Finding::new(AttentionLevel::Warn, AttentionTopic::Scans, what, fix)
                .meaning("Reminders may go out late: conversations are not checked often enough.")
                .dismissed_by(AttentionMark::lasting(format!("slow/{account}")))
        })
    }

    /// Today's reminders that did not reach anybody.
    fn today(&self) -> Vec<Finding> {
        let reminders = |n| counted(n, "reminder");
        let kinds = [
            (
                self.failed,
                "failed",
                format!("{} could not be sent today.", reminders(self.failed)),
                "See what the providers said.",
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
                    "It is not known whether {} arrived today.",
                    reminders(self.unknown)
                ),
                "Send one again if a missed reminder is worse than a duplicate.",
            ),
            (
                self.expired,
                "expired",
                format!("{} expired today.", reminders(self.expired)),
                "See what delayed them.",
            ),
        ];
        let some = kinds.into_iter().filter(|(n, ..)| *n > 0);
        some.map(|(n, state, what, fix)| {
            Finding::new(
                AttentionLevel::Warn,
                AttentionTopic::Reminders(state),
                what,
                fix,
            )
            .dismissed_by(AttentionMark::of_day(state, n, self.midnight))
        })
        .collect()
    }

    /// What whoever runs the service should see.
    fn odd(&self) -> Vec<Finding> {
        let unreadable = self.unreadable.count;
        let kinds = [
            (
                unreadable,
                format!(
                    "{} at LivePerson could not be read.",
                    counted(unreadable, "conversation")
                ),
                "The log has the details. Tell your server administrator.",
                AttentionMark::since("unreadable", self.unreadable.newest),
            ),
            (
                self.dead,
                format!(
                    "{} failed repeatedly.",
                    counted(self.dead, "background job")
                ),
                "The log says why. Tell your server administrator.",
                AttentionMark::counted("dead", self.dead),
            ),
        ];
        let some = kinds.into_iter().filter(|(n, ..)| *n > 0);
        some.map(|(_, what, fix, mark)| {
            Finding::new(AttentionLevel::Warn, AttentionTopic::Scans, what, fix).dismissed_by(mark)
        })
        .collect()
    }
}

fn channel_name(channel: Channel) -> &'static str {
    channel.names().label
}

fn paused(scope: &Scope) -> String {
    let channel = |channel: &Channel| channel.names().inside;
    match scope {
        Scope::Everything => "All sending is paused".to_owned(),
        Scope::Account(account) => format!("Account {account} is paused"),
        Scope::Channel(account, of) => {
            format!("All {} of account {account} is paused", channel(of))
        }
        Scope::Rule(_) => "One rule is paused".to_owned(),
    }
}

/// How many skills cannot be scanned, and the commonest reason.
fn scan_error(scans: &[LatestScan]) -> Option<(i64, &str)> {
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
mod tests;
