//! Who would be reminded in the next hour, who not, and why: from what is stored, at once; or, asked for, from LivePerson as it is
//! at this moment, under the rule in force and under a change that is not published yet.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::accounts::{Accounts, Allowed};
use super::{ControlError, obstacles};
use crate::db;
use crate::db::forecast::ForecastScope;
use crate::db::ledger::ExistingReminder;
use crate::domain::channel::PerChannel;
use crate::domain::conversation::Record;
use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::local_time::clock_time;
use crate::domain::read_state::{ReadState, read_state};
use crate::domain::rule::{Rule, RuleKey, RuleSettings, StepId, pick};
use crate::domain::zone::Zone;
use crate::jobs::context::Context;
use crate::jobs::forecast::{self, ForecastOutcome, Verdict};

/// How far a forecast looks.
const AHEAD: TimeDelta = TimeDelta::hours(1);
/// Reminders told one by one.
const MOST_WAITING: i64 = 100;
/// Unread conversations counted by reason.
const MOST_UNREAD: i64 = 10_000;
/// Conversations asked for at LivePerson: a few calls, under its limit.
pub const MOST_LIVE: usize = 300;
/// Conversations of a live look told one by one.
const MOST_TOLD: usize = 100;

/// What is stored about the next hour.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Forecast {
    pub account: AccountId,
    pub skill: Option<SkillId>,
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    /// Reminders that are due until then, soonest first; the first hundred.
    pub due: Vec<DueReminderView>,
    /// There are more than these.
    pub more: bool,
    /// Unread conversations that have no reminder waiting, by reason; most first.
    pub not: Vec<NotReminded>,
}

/// A reminder that is due.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Due)]
pub struct DueReminderView {
    pub reminder: i64,
    pub conversation: String,
    pub skill: SkillId,
    pub skill_name: Option<String>,
    #[schema(value_type = i16)]
    pub step: StepId,
    pub channel: Channel,
    pub at: DateTime<Utc>,
    /// What holds it up, if anything does: `paused`, `held`, `quiet_hours`; `not_live`: it will not be sent.
    #[schema(value_type = Option<String>)]
    pub held_by: Option<Cause>,
    /// It waits for the rule's hours until this, by the customer's clock.
    #[schema(example = "09:00 on Wed, America/New_York time")]
    pub waits_until: Option<String>,
}

/// People who are not to be reminded, for one reason.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Not)]
pub struct NotReminded {
    #[schema(value_type = String)]
    pub reason: Cause,
    pub conversations: u64,
    /// One of them.
    pub example: String,
}

/// The next hour, as the ledger and the latest scans know it.
pub async fn stored(
    ctx: &Context,
    account: &Allowed<AccountId>,
    skill: Option<SkillId>,
    now: DateTime<Utc>,
) -> Result<Forecast, ControlError> {
    let about = ForecastScope { account, skill };
    let until = now + AHEAD;
    let mut waiting = db::forecast::waiting(&ctx.pool, about, until, MOST_WAITING + 1).await?;
    let most = usize::try_from(MOST_WAITING).unwrap_or_default();
    let more = waiting.len() > most;
    waiting.truncate(most);
    let obstacles = obstacles::of(&ctx.pool, &Accounts::only(account)).await?;
    for waiting in &mut waiting {
        let of = (waiting.skill, waiting.channel);
        if let Some(reason) = obstacles.reason(account, of, waiting.due_at) {
            waiting.reason = Some(reason.into());
        }
    }
    let due = waiting.into_iter().map(|waiting| DueReminderView {
        reminder: waiting.id.0,
        conversation: waiting.conversation,
        skill: waiting.skill,
        skill_name: waiting.skill_name,
        step: waiting.step,
        channel: waiting.channel,
        at: waiting.next_at,
        waits_until: (waiting.reason == Some(Cause::Ours(Reason::QuietHours))).then(|| {
            let zones = Zone::split(waiting.time_zone.as_deref().unwrap_or_default());
            clock_time(waiting.next_at, &zones)
        }),
        held_by: waiting.reason,
    });
    Ok(Forecast {
        account: about.account.clone(),
        skill: about.skill,
        from: now,
        until,
        due: due.collect(),
        more,
        not: unreminded_in(&ctx.pool, about).await?,
    })
}

/// The unread conversations of an account that have no reminder waiting, by reason; most first.
pub async fn unreminded(
    pool: &PgPool,
    account: &Allowed<AccountId>,
) -> Result<Vec<NotReminded>, ControlError> {
    let everywhere = ForecastScope {
        account,
        skill: None,
    };
    Ok(unreminded_in(pool, everywhere).await?)
}

async fn unreminded_in(pool: &PgPool, about: ForecastScope<'_>) -> sqlx::Result<Vec<NotReminded>> {
    let unread = db::forecast::unread(pool, about, MOST_UNREAD).await?;
    let not = unread.into_iter().filter_map(|unread| {
        let reason = unread.reason.unwrap_or(Cause::Ours(Reason::NoRule));
        (reason != Cause::Ours(Reason::Scheduled)).then(|| NotReminded {
            reason,
            conversations: unread.conversations.unsigned_abs(),
            example: unread.example,
        })
    });
    Ok(not.collect())
}

/// A look at LivePerson: what would become of the people there, under the rule in force and under a change.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Live)]
pub struct LiveForecast {
    pub looked_at: DateTime<Utc>,
    /// Conversations that were looked at.
    pub conversations: usize,
    /// So many are open; those that began first are looked at.
    pub open: u32,
    pub unreadable: usize,
    /// Of those looked at, unread ones.
    pub unread: usize,
    pub in_force: RuleEffect,
    pub changed: Option<RuleEffect>,
    /// Unread conversations one by one; the first hundred.
    pub people: Vec<UnreadConversation>,
}

/// What a rule would do.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = Effect)]
pub struct RuleEffect {
    /// Reminders in the next hour.
    pub within_the_hour: usize,
    /// Reminders later than that.
    pub later: usize,
    /// Unread, and not reminded of, by reason.
    pub not: Vec<NotReminded>,
}

/// One unread conversation.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Person)]
pub struct UnreadConversation {
    pub conversation: String,
    pub in_force: ConversationForecast,
    pub changed: Option<ConversationForecast>,
}

/// What would become of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Told)]
pub struct ConversationForecast {
    /// When it would be reminded of.
    pub at: Option<DateTime<Utc>>,
    #[schema(value_type = Option<i16>)]
    pub step: Option<StepId>,
    pub channel: Option<Channel>,
    /// The address, masked.
    pub to: Option<String>,
    /// It is due outside the rule's hours and waits for them until this, by the customer's clock.
    #[schema(example = "09:00 on Wed, America/New_York time")]
    pub waits_until: Option<String>,
    /// Why not, or `scheduled`.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// Why the steps of channels are passed over, by channel: `no_address`, `not_live`, `not_configured`.
    #[schema(value_type = std::collections::BTreeMap<Channel, String>)]
    pub passed_over: BTreeMap<Channel, Reason>,
}

/// Asks LivePerson and decides as a scan would. `change` is a rule's switch and settings that are not published yet. Stores
/// nothing and sends nothing.
pub async fn live(
    ctx: &Context,
    key: &Allowed<RuleKey>,
    change: Option<(bool, RuleSettings)>,
    now: DateTime<Utc>,
) -> Result<LiveForecast, ControlError> {
    let account = ctx.accounts.get(&key.account);
    let account =
        account.ok_or_else(|| ControlError::NotFound(format!("account {}", key.account)))?;
    let seen = forecast::open_conversations(account, key.skill, ctx.window, MOST_LIVE, now).await?;
    let existing = done_before(ctx, &key.account, &seen.records).await?;
    let in_force = db::rules::of_accounts(&ctx.pool, std::slice::from_ref(&key.account)).await?;
    let changed = match change {
        Some((enabled, mut settings)) => {
            let mut conn = ctx.pool.acquire().await?;
            settings.number_steps(&db::rules::known_steps(&mut conn, key).await?);
            Some(with_change(&in_force, key, enabled, settings))
        }
        None => None,
    };
    let mut told = LiveForecast {
        looked_at: now,
        conversations: seen.records.len(),
        open: seen.total,
        unreadable: seen.unreadable,
        unread: 0,
        in_force: RuleEffect::default(),
        changed: changed.as_ref().map(|_| RuleEffect::default()),
        people: Vec::new(),
    };
    for record in &seen.records {
        let concerned = match key.skill {
            Some(skill) => record.skill == skill,
            // The default's people are those whose skill has no rule of its own.
            None => pick(&in_force, record.skill).is_none_or(|rule| rule.skill.is_none()),
        };
        if !concerned || !matches!(read_state(record, account.count_bots), ReadState::Unread(_)) {
            continue;
        }
        told.unread += 1;
        let done = existing.get(&record.id).map_or(&[][..], Vec::as_slice);
        let tell = |rules: &[Rule]| {
            let verdict = forecast::verdict(
                account,
                ctx.installation_of(&account.id),
                rules,
                record,
                done,
                now,
            );
            ConversationForecast::of(verdict)
        };
        let one = UnreadConversation {
            conversation: record.id.clone(),
            in_force: tell(&in_force),
            changed: changed.as_deref().map(tell),
        };
        told.in_force.count(&one.conversation, &one.in_force, now);
        if let (Some(effect), Some(changed)) = (&mut told.changed, &one.changed) {
            effect.count(&one.conversation, changed, now);
        }
        if told.people.len() < MOST_TOLD {
            told.people.push(one);
        }
    }
    Ok(told)
}

/// The reminders that these conversations have had. One that waits would be told as "scheduled" whatever the rule says: only what is
/// done counts.
pub(super) async fn done_before(
    ctx: &Context,
    account: &AccountId,
    records: &[Record],
) -> sqlx::Result<HashMap<String, Vec<ExistingReminder>>> {
    let mut existing = forecast::existing(&ctx.pool, account, records, ctx.clock.now()).await?;
    for reminders in existing.values_mut() {
        reminders.retain(|reminder| !reminder.is_pending());
    }
    Ok(existing)
}

/// The account's rules as they would be.
fn with_change(rules: &[Rule], key: &RuleKey, enabled: bool, settings: RuleSettings) -> Vec<Rule> {
    let others = rules.iter().filter(|rule| rule.key() != *key).cloned();
    let changed = Rule {
        id: 0,
        account: key.account.clone(),
        skill: key.skill,
        enabled,
        version: 0,
        settings,
        live: PerChannel::of(|_| Rule::ALWAYS),
        lost_until: None,
    };
    others.chain([changed]).collect()
}

impl ConversationForecast {
    pub(super) fn of(verdict: Option<Verdict>) -> Self {
        let passed_over = verdict.as_ref().map(|verdict| verdict.passed_over.clone());
        let passed_over = passed_over.unwrap_or_default().into_iter().collect();
        match verdict.map(|verdict| verdict.what) {
            Some(ForecastOutcome::Remind {
                step,
                channel,
                at,
                to,
                waits_until,
            }) => Self {
                at: Some(at),
                step: Some(step),
                channel: Some(channel),
                to: Some(to),
                waits_until,
                reason: Reason::Scheduled,
                passed_over,
            },
            not => Self {
                at: None,
                step: None,
                channel: None,
                to: None,
                waits_until: None,
                reason: match not {
                    Some(ForecastOutcome::Not(reason)) => reason,
                    _ => Reason::NoRule,
                },
                passed_over,
            },
        }
    }
}

impl RuleEffect {
    pub(super) fn count(
        &mut self,
        conversation: &str,
        told: &ConversationForecast,
        now: DateTime<Utc>,
    ) {
        match told.at {
            Some(at) if at <= now + AHEAD => self.within_the_hour += 1,
            Some(_) => self.later += 1,
            None => match self
                .not
                .iter_mut()
                .find(|not| not.reason.reason() == Some(told.reason))
            {
                Some(not) => not.conversations += 1,
                None => self.not.push(NotReminded {
                    reason: told.reason.into(),
                    conversations: 1,
                    example: conversation.to_owned(),
                }),
            },
        }
    }
}
