//! A reminder, its decisions and its attempts, as people and programs see them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::rules::Governing;
use crate::control::story::{self, StoryEntry};
use crate::db::reminders::ReminderCursor;
use crate::db::reports::{AttemptRow, LoggedDecision, Reminder};
use crate::domain::contact::Suppression;
use crate::domain::decide::{Cause, Stage, Verdict};
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::local_time::ZoneSource;
use crate::domain::outcome::OutcomeKind;
use crate::domain::reminder::ReminderState;
use crate::domain::rule::StepId;
use crate::domain::zone::Zone;

/// A reminder: one message owed to one consumer.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Reminder)]
pub struct ReminderView {
    #[schema(value_type = i64)]
    pub id: ReminderId,
    pub account: AccountId,
    pub conversation: String,
    #[schema(value_type = i64)]
    pub skill: SkillId,
    pub skill_name: Option<String>,
    pub channel: Channel,
    pub step: i16,
    pub state: ReminderState,
    /// Why it is in this state, where there is a reason.
    #[schema(value_type = Option<String>)]
    pub reason: Option<Cause>,
    pub unread_since: DateTime<Utc>,
    pub due_at: DateTime<Utc>,
    /// Past this it is not sent any more. Time outside the rule's hours does not count, by the clocks of `time_zones`.
    pub deadline: DateTime<Utc>,
    /// By whose clocks the rule's hours are read; all of them must allow.
    #[schema(value_type = Vec<String>, example = json!(["America/New_York"]))]
    pub time_zones: Vec<Zone>,
    /// What tells the zones: `liveperson`, `number`, or, because nothing better is known, `rule` or `account`. Null where there are
    /// none.
    #[schema(value_type = Option<String>, example = "number")]
    pub zone_source: Option<ZoneSource>,
    /// When it is looked at again.
    pub next_at: Option<DateTime<Utc>>,
    /// It waits, and will not be sent: `opted_out`, `bad_address`, `complaint` or `blocked`.
    #[schema(value_type = Option<String>)]
    pub suppressed_as: Option<Suppression>,
    /// It waits for the rule's hours until this, by the consumer's clock.
    #[schema(example = "09:00 on Wed, America/New_York time")]
    pub waits_until: Option<String>,
    pub sent_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub clicked_at: Option<DateTime<Utc>>,
    /// When the consumer came back, if within 24 hours.
    pub returned_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

impl From<Reminder> for ReminderView {
    fn from(row: Reminder) -> Self {
        Self {
            waits_until: story::waits_until(&row),
            time_zones: Zone::split(row.time_zone.as_deref().unwrap_or_default()),
            id: row.id,
            account: row.account,
            conversation: row.conversation,
            skill: row.skill,
            skill_name: row.skill_name,
            channel: row.channel,
            step: row.step,
            state: row.state,
            reason: row.reason,
            unread_since: row.episode_since,
            due_at: row.due_at,
            deadline: row.deadline,
            zone_source: row.zone_source,
            next_at: row.next_at,
            suppressed_as: row.suppressed_as,
            sent_at: row.sent_at,
            ended_at: row.final_at,
            clicked_at: row.clicked_at,
            returned_at: row.returned_at,
            created_at: row.created_at,
        }
    }
}

/// Reminders that fit, newest first.
#[derive(Clone, Debug)]
pub struct ReminderList {
    pub reminders: Vec<ReminderView>,
    /// Where to go on; `None`: there is no more.
    pub next: Option<ReminderCursor>,
}

/// How many reminders there are of each state.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StateCounts {
    /// From when on those are counted that ended.
    pub since: DateTime<Utc>,
    /// By state; a state without any is left out.
    #[schema(value_type = BTreeMap<String, i64>, example = json!({ "scheduled": 12, "sent": 240 }))]
    pub states: BTreeMap<ReminderState, i64>,
}

impl StateCounts {
    pub(super) fn new(since: DateTime<Utc>, counts: Vec<(ReminderState, i64)>) -> Self {
        let counts = counts.into_iter().filter(|(_, n)| *n > 0);
        Self {
            since,
            states: counts.collect(),
        }
    }

    pub fn of(&self, states: &[ReminderState]) -> i64 {
        let counts = states.iter().filter_map(|state| self.states.get(state));
        counts.sum()
    }
}

/// Everything about one reminder.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Story)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own"
)]
pub struct Detail {
    pub reminder: ReminderView,
    /// What happened, in plain words, oldest first.
    pub lines: Vec<StoryEntry>,
    pub decisions: Vec<DecisionView>,
    pub attempts: Vec<AttemptView>,
    pub may_cancel: bool,
    pub may_send_again: bool,
    /// Whether its address can be told: the reminder is still owed, or it is kept until the fate of a message is known.
    pub may_reveal: bool,
    /// Whether it is known, by keyed hash, whom it went to, so that further messages to the same address can be stopped.
    pub may_opt_out: bool,
    /// The rule that was in force when it was sent or ended; of one that waits, the one that is in force now.
    pub rule: Option<Governing>,
    /// The other reminders of the conversation, newest first.
    pub others: Vec<ReminderView>,
}

/// One recorded answer to "should this be sent now?".
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Decision)]
pub struct DecisionView {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub account: AccountId,
    pub conversation: String,
    /// Of the step that it is about; null: of none.
    pub channel: Option<Channel>,
    /// That step's id within the rule.
    #[schema(value_type = Option<i16>)]
    pub step: Option<StepId>,
    /// Why a scan passed the steps of channels over, by channel.
    #[schema(value_type = BTreeMap<String, String>)]
    pub passed_over: BTreeMap<Channel, Cause>,
    /// Null: there is, or was then, none.
    #[schema(value_type = Option<i64>)]
    pub reminder: Option<ReminderId>,
    /// scan, deliver, sweep or operator.
    #[schema(value_type = String, example = "deliver")]
    pub stage: Stage,
    /// schedule, none, send, cancel, postpone or expire.
    #[schema(value_type = String, example = "postpone")]
    pub verdict: Verdict,
    #[schema(value_type = String, example = "quiet_hours")]
    pub reason: Cause,
    /// When it is looked at again.
    pub until: Option<DateTime<Utc>>,
}

impl From<LoggedDecision> for DecisionView {
    fn from(row: LoggedDecision) -> Self {
        Self {
            id: row.id,
            at: row.at,
            account: row.account,
            conversation: row.conversation,
            channel: row.channel,
            step: row.step,
            passed_over: row
                .passed_over
                .iter()
                .filter_map(|(channel, reason)| Some((channel, reason.clone()?)))
                .collect(),
            reminder: row.reminder,
            stage: row.stage,
            verdict: row.verdict,
            reason: row.reason,
            until: row.until,
        }
    }
}

/// One try to hand a reminder to a provider.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub struct AttemptView {
    pub number: i32,
    pub sender: String,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// `accepted`, `refused`, `not_accepted` or `unknown`; null while it is under way.
    #[schema(value_type = Option<String>)]
    pub outcome: Option<OutcomeKind>,
    pub code: Option<String>,
}

impl From<AttemptRow> for AttemptView {
    fn from(row: AttemptRow) -> Self {
        Self {
            number: row.number,
            sender: row.sender,
            started_at: row.started_at,
            ended_at: row.ended_at,
            outcome: row.outcome,
            code: row.code,
        }
    }
}
