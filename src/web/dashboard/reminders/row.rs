//! A reminder as every list shows it.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::control::labels::{explain_code, why};
use crate::control::reminders::ReminderView;
use crate::control::rules::Governing;
use crate::control::story::{state_words, will_not_be_sent};
use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::AccountId;
use crate::domain::reminder::ReminderState;
use crate::web::dashboard::labels::{self, Moment};

/// A reminder as every list shows it.
#[derive(Serialize)]
pub struct ReminderRow<'a> {
    #[serde(flatten)]
    reminder: &'a ReminderView,
    /// Short enough for a row, and told apart.
    who: String,
    when: Moment,
    channel_name: &'static str,
    skill_label: String,
    words: &'static str,
    why: Option<String>,
}

pub fn rows(reminders: &[ReminderView], now: DateTime<Utc>) -> Vec<ReminderRow<'_>> {
    reminders.iter().map(|r| ReminderRow::new(r, now)).collect()
}

impl<'a> ReminderRow<'a> {
    pub fn new(r: &'a ReminderView, now: DateTime<Utc>) -> Self {
        let when = r.sent_at.or(r.ended_at).or(r.next_at).unwrap_or(r.due_at);
        let forbidden = r.suppressed_as.map(will_not_be_sent);
        Self {
            who: labels::short_id(&r.conversation),
            when: labels::time(when, now),
            channel_name: labels::channel(r.channel),
            skill_label: labels::skill(r.skill_name.as_deref(), r.skill),
            words: forbidden.unwrap_or_else(|| state_words(r.state, r.reason.as_ref())),
            why: why_so(r),
            reminder: r,
        }
    }
}

/// Whether the words of the state are the reason's already.
fn says_its_state(r: &ReminderView, reason: &Cause) -> bool {
    let told = match reason.reason() {
        Some(Reason::Scheduled) => true,
        Some(
            Reason::Read
            | Reason::Answered
            | Reason::NewEpisode
            | Reason::ByOperator
            | Reason::HeldOut
            | Reason::Erased,
        ) => r.state == ReminderState::Cancelled,
        _ => false,
    };
    told || r.suppressed_as.is_some()
}

/// Why it is as it is, if there is more to say than its state.
fn why_so(r: &ReminderView) -> Option<String> {
    let settled = matches!(
        r.state,
        ReminderState::Sent | ReminderState::Delivered | ReminderState::Sending
    );
    let reason = r.reason.as_ref();
    let reason = reason.filter(|reason| !settled && !says_its_state(r, reason))?;
    Some(match (r.state, &r.waits_until) {
        (_, Some(until)) => format!("It waits until {until}."),
        (ReminderState::Failed | ReminderState::Undelivered | ReminderState::Unknown, _) => {
            explain_code(r.channel, reason.as_str())
        }
        _ => why(reason),
    })
}

/// A rule as pages link to it.
#[derive(Serialize)]
pub struct RuleLink {
    path: String,
    version: i32,
}

pub fn governing(rule: &Governing, account: &AccountId) -> RuleLink {
    RuleLink {
        path: format!("/rules/{}", rule.path(account)),
        version: rule.version,
    }
}
