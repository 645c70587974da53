//! What people and programs see of how it is: numbers, scans and what they take, and what needs a person.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::attention::{Attention, AttentionLevel};
use crate::control::reminders::ReminderView;
use crate::db::recent_passes::LatestPasses;
use crate::db::reminder_counts::Sums;
use crate::db::reports::LatestScan;
use crate::domain::ids::{AccountId, SkillId};
use crate::domain::round::{Round, ScanPace};

/// How it is now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Overview {
    pub at: DateTime<Utc>,
    pub level: AttentionLevel,
    pub sentence: String,
    /// What needs a person, worst first; without what the person who asks has dismissed on the page.
    pub attention: Vec<Attention>,
    /// Since midnight in the zone asked for.
    pub today: Numbers,
    /// Open conversations with something unread, as the last scans saw them.
    pub unread_now: i64,
    pub open_now: i64,
    /// Reminders that wait for their moment.
    pub waiting: i64,
    pub next: Vec<ReminderView>,
    /// The latest look at each skill that has a rule.
    pub scans: Vec<ScanView>,
    /// How long it takes to scan all skills of an account once.
    pub scan_rounds: Vec<ScanRound>,
}

/// What reminders came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Numbers {
    /// Reminders that came to be owed.
    pub owed: i64,
    pub sent: i64,
    /// Of those sent, whose consumer came back within an hour.
    pub back_1h: i64,
    pub back_24h: i64,
    /// Not sent, because the consumer had read or answered.
    pub cancelled_because_read: i64,
    pub cancelled_otherwise: i64,
    pub expired: i64,
    /// Refused by the provider, or taken and not delivered.
    pub failed: i64,
    /// Of these, taken and not delivered.
    pub undelivered: i64,
    pub unknown: i64,
    pub held_out: i64,
}

impl From<Sums> for Numbers {
    fn from(sums: Sums) -> Self {
        Self {
            owed: sums.owed,
            sent: sums.sent,
            back_1h: sums.back_1h,
            back_24h: sums.back_24h,
            cancelled_because_read: sums.read,
            cancelled_otherwise: sums.cancelled,
            expired: sums.expired,
            failed: sums.failed,
            undelivered: sums.undelivered,
            unknown: sums.unknown,
            held_out: sums.held_out,
        }
    }
}

/// The latest scan of a skill.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Scan)]
pub struct ScanView {
    pub account: AccountId,
    #[schema(value_type = i64)]
    pub skill: SkillId,
    pub skill_name: Option<String>,
    pub started_at: DateTime<Utc>,
    /// When one last ran to its end.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// How long it took.
    pub duration_ms: Option<i64>,
    /// Open conversations that it found; of these, unread ones.
    pub conversations: i32,
    pub unread: i32,
    /// Those that could not be understood.
    pub unreadable: i32,
    /// Why it did not run to its end.
    pub error: Option<String>,
}

impl From<LatestScan> for ScanView {
    fn from(row: LatestScan) -> Self {
        Self {
            account: row.account,
            skill: row.skill,
            skill_name: row.name,
            started_at: row.started_at,
            succeeded_at: row.succeeded_at,
            duration_ms: row.duration_ms,
            conversations: row.conversations,
            unread: row.unread,
            unreadable: row.unreadable,
            error: row.error,
        }
    }
}

/// A full pass over the skills of an account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ScanRound {
    pub account: AccountId,
    /// Skills that are scanned; of these, those that no scan has come to yet.
    pub skills: u32,
    pub never_scanned: u32,
    /// Seconds that a full pass takes at half of the rate at which LivePerson may be called, by what the last ones cost.
    pub seconds: f64,
    /// Calls per second that the settings allow.
    pub calls_per_second: f64,
    /// Seconds from one scan of a skill to the next, as the settings want it.
    pub every_seconds: i64,
    /// Whether a full pass takes no longer than 15 minutes, or than the settings want it.
    pub keeps_up: bool,
    /// Whether conversations that were updated lately are asked for between two full passes.
    pub recent_passes: bool,
    /// When the last full pass began, over the skill that has waited longest for one.
    pub full_pass_at: Option<DateTime<Utc>>,
    /// Conversations of which the last full passes found something new.
    pub full_pass_changed: i64,
    /// Calls to LivePerson that they took.
    pub full_pass_calls: f64,
    /// The last recent pass: when it began, its calls, the conversations that LivePerson listed as updated, and those of which something was
    /// new.
    pub recent_pass_at: Option<DateTime<Utc>>,
    pub recent_pass_calls: i32,
    pub recent_pass_met: i32,
    pub recent_pass_changed: i32,
    /// Agent messages that recent passes should have shown and a full pass found.
    pub missed_by_recent_passes: i64,
    /// When the last of these was found, within the last day: until the day is over there are full passes only.
    pub filter_distrusted_at: Option<DateTime<Utc>>,
    /// The last check of badges that pages have open, which asks whether they were read or closed: when it began, its calls, its conversations,
    /// and those of which something was new.
    pub badge_check_at: Option<DateTime<Utc>>,
    pub badge_check_calls: i32,
    pub badge_check_asked: i32,
    pub badge_check_changed: i32,
}

impl ScanRound {
    pub(super) fn new(round: &Round, pace: ScanPace, latest: LatestPasses) -> Self {
        Self {
            account: latest.account,
            skills: round.skills,
            never_scanned: round.never_scanned,
            seconds: round.seconds(pace),
            calls_per_second: pace.per_second,
            every_seconds: pace.every.num_seconds(),
            keeps_up: round.keeps_up(pace),
            recent_passes: round.needs_recent_passes(pace) && latest.distrusted_at.is_none(),
            full_pass_at: latest.full_at,
            full_pass_changed: latest.full_changed,
            full_pass_calls: latest.full_calls,
            recent_pass_at: latest.recent_at,
            recent_pass_calls: latest.recent_calls,
            recent_pass_met: latest.recent_met,
            recent_pass_changed: latest.recent_changed,
            missed_by_recent_passes: latest.missed,
            filter_distrusted_at: latest.distrusted_at,
            badge_check_at: latest.badges_at,
            badge_check_calls: latest.badge_calls,
            badge_check_asked: latest.badge_asked,
            badge_check_changed: latest.badge_changed,
        }
    }
}
