//! Looking somebody up: what is known of them, and why they were reminded or were not.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ConsumerSelector, conversations_of, recipients};
use crate::control::ControlError;
use crate::control::accounts::{Accounts, Allowed};
use crate::control::answer::{self, HeadlineEvent, HeadlineFacts};
use crate::control::obstacles;
use crate::control::reminders::ReminderView;
use crate::control::rules::Governing;
use crate::control::suppressions::SuppressionView;
use crate::db;
use crate::db::consumers::Conversation;
use crate::db::reminders::{ReminderFilter, ReminderOwner};
use crate::db::reports::Reminder;
use crate::db::suppressions::{AddressHash, Source, SuppressionRow};
use crate::domain::contact::Suppression;
use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::obstacles::{Obstacles, is_obstacle};
use crate::domain::read_state::ReadStatus;
use crate::domain::reminder::ReminderState;
use crate::domain::rule::StepId;
use crate::jobs::context::Context;

/// What is known of a consumer.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Consumer)]
pub struct ConsumerView {
    /// Why they were reminded, or were not.
    pub answer: Explanation,
    pub conversations: Vec<ConversationView>,
    /// The newest fifty.
    pub reminders: Vec<ReminderView>,
    /// What forbids to write to their addresses.
    pub suppressions: Vec<SuppressionView>,
    /// An address is known to which reminders may go.
    #[serde(skip)]
    pub can_be_opted_out: bool,
}

/// A conversation as the last scan left it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Conversation)]
pub struct ConversationView {
    pub id: String,
    #[schema(value_type = i64)]
    pub skill: SkillId,
    pub skill_name: Option<String>,
    pub started_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    pub open: bool,
    /// read, unread or undecided.
    #[schema(value_type = String)]
    pub read_state: ReadStatus,
    pub unread_since: Option<DateTime<Utc>>,
    pub unread_count: i32,
    /// Why there is, or is not, a reminder now; null: it was never decided about.
    #[schema(value_type = Option<String>)]
    pub reason: Option<Cause>,
    /// The step that is scheduled, or would be if the account were live, by its id, and its channel.
    #[schema(value_type = Option<i16>)]
    pub step: Option<StepId>,
    pub channel: Option<Channel>,
    /// Why the steps of channels are passed over for now, by channel.
    #[schema(value_type = BTreeMap<String, String>)]
    pub passed_over: BTreeMap<Channel, Cause>,
    /// When LivePerson was asked.
    pub seen_at: DateTime<Utc>,
}

impl From<Conversation> for ConversationView {
    fn from(row: Conversation) -> Self {
        Self {
            id: row.id,
            skill: row.skill,
            skill_name: row.skill_name,
            started_at: row.started_at,
            closed_at: row.closed_at,
            open: row.open,
            read_state: row.read_state,
            unread_since: row.unread_since,
            unread_count: row.unread_count,
            reason: row.reason,
            step: row.step,
            channel: row.channel,
            passed_over: row
                .passed_over
                .iter()
                .filter_map(|(channel, reason)| Some((channel, reason.clone()?)))
                .collect(),
            seen_at: row.seen_at,
        }
    }
}

impl ConsumerView {
    pub fn is_unknown(&self) -> bool {
        self.reminders.is_empty()
            && self.suppressions.is_empty()
            && self.answer.reason == answer::NEVER_SEEN
    }

    /// Somebody of the team has opted them out, which can be undone.
    pub fn is_opted_out_by_us(&self) -> bool {
        self.suppressions
            .iter()
            .any(|one| one.reason == Suppression::OptedOut && one.source == Source::Operator)
    }
}

/// Why somebody was reminded, or was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Answer)]
pub struct Explanation {
    /// One sentence.
    #[schema(
        example = "No reminder was sent by e-mail: the conversation was waiting for an agent."
    )]
    pub headline: String,
    /// A reminder's state (`sent`, `scheduled` …), a decision's reason, `never_seen` or `channel_off`.
    #[schema(example = "in_queue")]
    pub reason: String,
    /// When that was or, of a reminder that is scheduled, will be.
    pub when: Option<DateTime<Utc>>,
    pub channel: Option<Channel>,
    pub conversation: Option<String>,
    #[schema(value_type = Option<i64>)]
    pub reminder: Option<ReminderId>,
    /// The rule that was in force then.
    pub rule: Option<Governing>,
}

/// Reminders told of at once.
const MOST_REMINDERS: i64 = 50;
/// Decisions of one conversation that an answer looks at.
const MOST_DECISIONS: i64 = 100;

/// Looks somebody up.
pub async fn look_up(
    ctx: &Context,
    account: &Allowed<AccountId>,
    who: &ConsumerSelector,
) -> Result<ConsumerView, ControlError> {
    let pool = &ctx.pool;
    let mut conn = pool.acquire().await?;
    let ids = conversations_of(&mut conn, account, who).await?;
    let mut conversations = db::consumers::conversations(&mut *conn, account, &ids).await?;
    let recipients = recipients(&mut conn, account, who, &ids).await?;
    let hashes: Vec<AddressHash> = recipients.iter().map(|(_, hash)| *hash).collect();
    let mut suppressions = db::suppressions::of(&mut *conn, account, &hashes).await?;
    let now = ctx.clock.now();
    suppressions.retain(|row| row.expires_at.is_none_or(|end| end > now));
    drop(conn);
    let filter = ReminderFilter {
        accounts: vec![AccountId::clone(account)],
        whose: Some(ReminderOwner::Conversations(ids.clone())),
        ..ReminderFilter::default()
    };
    let mut reminders = db::reminders::search(pool, &filter, None, MOST_REMINDERS)
        .await?
        .reminders;
    let obstacles = obstacles::of(pool, &Accounts::only(account)).await?;
    obstacles::mark(&obstacles, &mut reminders);
    for conversation in &mut conversations {
        say_held(conversation, &reminders, &obstacles);
    }
    let channel = match who {
        ConsumerSelector::Address(channel, _) => Some(*channel),
        ConsumerSelector::Consumer(_) | ConsumerSelector::Conversation(_) => None,
    };
    let found = ConsumerRecords {
        ids: &ids,
        conversations: &conversations,
        reminders: &reminders,
        suppressions: &suppressions,
    };
    let answer = answer_of(ctx, account, channel, &found).await?;
    let is_suppressed = |(channel, hash)| {
        suppressions
            .iter()
            .any(|row| (row.channel, row.hash) == (channel, hash))
    };
    Ok(ConsumerView {
        answer,
        can_be_opted_out: recipients.into_iter().any(|to| !is_suppressed(to)),
        conversations: conversations
            .into_iter()
            .map(ConversationView::from)
            .collect(),
        reminders: reminders.into_iter().map(ReminderView::from).collect(),
        suppressions: suppressions
            .into_iter()
            .map(SuppressionView::from)
            .collect(),
    })
}

/// What a look-up has found.
struct ConsumerRecords<'a> {
    ids: &'a [String],
    conversations: &'a [Conversation],
    reminders: &'a [Reminder],
    suppressions: &'a [SuppressionRow],
}

/// `asked` is the channel of the address that was asked for.
async fn answer_of(
    ctx: &Context,
    account: &Allowed<AccountId>,
    asked: Option<Channel>,
    found: &ConsumerRecords<'_>,
) -> Result<Explanation, ControlError> {
    let conversation = answer::conversation_of(found.conversations);
    let id = conversation.map(|c| &c.id);
    // Of what is pruned already, reminders or decisions may be left.
    let id = id.or_else(|| found.reminders.first().map(|r| &r.conversation));
    let id = id.or(found.ids.first()).cloned();
    let decisions = match &id {
        Some(id) => {
            let own = std::slice::from_ref(&**account);
            db::reports::decisions(&ctx.pool, own, Some(id), None, MOST_DECISIONS).await?
        }
        None => Vec::new(),
    };
    let its = |reminder: &&Reminder| Some(&reminder.conversation) == id.as_ref();
    let reminders: Vec<Reminder> = found.reminders.iter().filter(its).cloned().collect();
    let (event, channel) = answer::event(asked, conversation, &reminders, &decisions);
    let of_channel = |row: &&SuppressionRow| channel.is_none_or(|channel| row.channel == channel);
    let suppression = found.suppressions.iter().find(of_channel);
    let (reminder, skill) = match event {
        HeadlineEvent::Reminder(reminder) => (Some(reminder), Some(reminder.skill)),
        HeadlineEvent::Decided(..) | HeadlineEvent::Nothing => {
            (None, conversation.map(|c| c.skill))
        }
    };
    let headline = answer::headline(&HeadlineFacts {
        event,
        channel,
        skill: conversation.and_then(|c| c.skill_name.as_deref()),
        suppression: suppression.map(|row| (row.reason, row.created_at)),
        obstacle: reminder.and_then(obstacle),
        set_up: channel.is_none_or(|channel| ctx.has(account, channel)),
    });
    let nothing = matches!(event, HeadlineEvent::Nothing);
    let rule = match (skill, headline.when) {
        (Some(skill), Some(when)) => {
            let at = when.min(ctx.clock.now());
            Governing::at(&ctx.pool, (account, skill), at).await?
        }
        _ => None,
    };
    Ok(Explanation {
        headline: headline.text,
        reason: headline.reason,
        when: headline.when,
        channel,
        conversation: id.filter(|_| !nothing),
        reminder: reminder.map(|reminder| reminder.id),
        rule,
    })
}

/// Where a reminder waits that will not go at its moment, what stands in its way is the reason.
fn say_held(conversation: &mut Conversation, reminders: &[Reminder], obstacles: &Obstacles) {
    let Some(channel) = conversation.channel else {
        return;
    };
    if conversation.reason != Some(Cause::Ours(Reason::Scheduled)) {
        return;
    }
    let mut its = reminders.iter().filter(|reminder| {
        reminder.conversation == conversation.id && reminder.state == ReminderState::Scheduled
    });
    // Without it nobody knows when it falls due: what holds everything holds it, too.
    let due_at = its.next().map_or(DateTime::<Utc>::MAX_UTC, |it| it.due_at);
    let of = (conversation.skill, channel);
    if let Some(obstacle) = obstacles.reason(&conversation.account, of, due_at) {
        conversation.reason = Some(obstacle.into());
    }
}

/// What stands in the way of a reminder that [`obstacles::mark`] has looked at.
fn obstacle(reminder: &Reminder) -> Option<Reason> {
    let reason = reminder.reason.as_ref()?.reason()?;
    (reminder.state == ReminderState::Scheduled && is_obstacle(reason)).then_some(reason)
}
