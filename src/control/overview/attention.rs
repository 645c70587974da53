//! How it is, in one sentence, and what needs a person, worst first: both told from the same findings, so that they agree.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::findings::Finding;

/// How it is, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HealthSummary {
    pub level: AttentionLevel,
    pub sentence: String,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Level)]
pub enum AttentionLevel {
    Bad,
    Warn,
    Waiting,
    Good,
}

/// Something that needs a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Attention {
    pub level: AttentionLevel,
    pub what: String,
    /// What to do about it.
    pub fix: String,
    #[serde(skip)]
    pub about: AttentionTopic,
    /// How it is dismissed; `None`: it stands for as long as it is so.
    #[serde(skip)]
    pub mark: Option<AttentionMark>,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionTopic {
    /// All sending is held until a person decides.
    Hold,
    /// Senders that are paused.
    Channels,
    /// Looks at LivePerson.
    Scans,
    Rules,
    /// What a person has paused.
    Pauses,
    /// Going live.
    Live,
    /// Reminders in this state.
    Reminders(&'static str),
}

/// What identifies an entry, and how far it has come: it happens anew when that is higher than when it was dismissed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionMark {
    pub key: String,
    pub at: i64,
}

impl AttentionMark {
    /// Of what goes on until it is over.
    pub fn lasting(key: impl Into<String>) -> Self {
        let key = key.into();
        Self { key, at: 0 }
    }

    /// Of what grows in number.
    pub fn counted(key: &str, count: i64) -> Self {
        Self {
            key: key.to_owned(),
            at: count,
        }
    }

    /// Of what grows in number from a day's beginning on: a day later it is new, however many.
    pub fn of_day(key: &str, count: i64, midnight: DateTime<Utc>) -> Self {
        const MOST: i64 = 1_000_000;
        Self {
            key: key.to_owned(),
            at: midnight.timestamp() / 60 * MOST + count.min(MOST - 1),
        }
    }

    /// Of what is new when another one begins.
    pub fn since(key: &str, newest: Option<DateTime<Utc>>) -> Self {
        Self {
            key: key.to_owned(),
            at: newest.map_or(0, |at| at.timestamp_micros()),
        }
    }

    fn is_dismissed(&self, dismissed: &BTreeMap<String, i64>) -> bool {
        dismissed.get(&self.key).is_some_and(|at| *at >= self.at)
    }
}

/// The last complete scan may be this old before somebody should ask why.
pub(super) const STALE_SCAN: TimeDelta = TimeDelta::minutes(10);

/// What a reader is told.
#[derive(Clone, Debug)]
pub(super) struct OverviewSummary {
    pub health: HealthSummary,
    /// Worst first.
    pub attention: Vec<Attention>,
    /// Keys of what was dismissed and is over by now.
    pub over: Vec<String>,
}

impl OverviewSummary {
    /// Of findings in the order of how much they say about the whole, without those that the reader has dismissed.
    pub fn of(findings: Vec<Finding>, dismissed: &BTreeMap<String, i64>) -> Self {
        let mark = |finding: &Finding| finding.entry.as_ref().and_then(|entry| entry.mark.clone());
        let known: Vec<AttentionMark> = findings.iter().filter_map(mark).collect();
        let over = dismissed
            .keys()
            .filter(|key| !known.iter().any(|mark| mark.key == **key));
        let over = over.cloned().collect();
        let mut findings = findings;
        findings.retain(|finding| !mark(finding).is_some_and(|mark| mark.is_dismissed(dismissed)));
        findings.sort_by_key(|finding| finding.level);
        let sentence = findings.iter().find_map(|finding| finding.sentence.clone());
        let level = findings
            .first()
            .map_or(AttentionLevel::Good, |worst| worst.level);
        let attention: Vec<Attention> = findings
            .into_iter()
            .filter_map(|finding| finding.entry)
            .collect();
        let sentence = sentence.unwrap_or_else(|| match attention.len() {
            0 => "All is well: reminders go out on time.".to_owned(),
            1 => "Reminders go out on time. There is one thing to look at.".to_owned(),
            n => format!("Reminders go out on time. There are {n} things to look at."),
        });
        Self {
            health: HealthSummary { level, sentence },
            attention,
            over,
        }
    }
}
