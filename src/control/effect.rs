//! What reminders bring about: how many came back, by rule and by step, and how many would have come back anyway.
//!
//! The difference is told only where a rule has a hold-out share. It compares episodes: those in which somebody was reminded, by whichever
//! step was the first, and those that were held out of the whole rule; who came back within a day of that moment. Both groups have passed
//! every other check. What a single step brings about is told as who came back after it: put down to the last message before.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::ControlError;
use super::accounts::Accounts;
use crate::db;
use crate::db::reminder_counts::{OfSkill, Sums};
use crate::domain::effect::{Estimate, Share, lift};
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::{self, Rule, StepId};

/// How long after a reminder a coming back counts; a reminder younger than that is not judged yet.
const WINDOW: TimeDelta = TimeDelta::hours(24);

/// The effect of a rule's reminders.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OfRule {
    pub account: AccountId,
    /// Null: the account's default.
    #[schema(value_type = Option<i64>)]
    pub skill: Option<SkillId>,
    pub skill_name: Option<String>,
    pub holdout_percent: u8,
    #[serde(flatten)]
    pub outcome: ReturnOutcome,
    /// In the rule's order; those that it has no more come last.
    pub steps: Vec<OfStep>,
}

/// The messages of one step.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OfStep {
    /// Its id within the rule.
    #[schema(value_type = i16)]
    pub step: StepId,
    /// Where it stands in the rule now, from 1; null: the rule has it no more.
    pub place: Option<usize>,
    pub channel: Channel,
    pub sent: i64,
    /// Of those sent, after whom the customer came back within an hour.
    pub back_1h: Option<Estimate>,
    pub back_24h: Option<Estimate>,
}

/// Who was reminded, who was not, and who came back.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Outcome)]
pub struct ReturnOutcome {
    /// Messages.
    pub sent: i64,
    /// Times that a customer had something unread and was reminded of it, by one message or several.
    pub reminded: i64,
    /// Times that a customer had, and was not, because the conversation was in the share that gets none.
    pub held_out: i64,
    /// Of those reminded, who came back within an hour of the first message.
    pub back_1h: Option<Estimate>,
    pub back_24h: Option<Estimate>,
    /// How much larger the share who came back within a day is than among those held out; null without a hold-out share.
    pub lift: Option<Estimate>,
}

impl From<Sums> for ReturnOutcome {
    fn from(sums: Sums) -> Self {
        let reminded = Share::new(sums.reminded_back_24h, sums.reminded);
        let held_out = Share::new(sums.held_back_24h, sums.held_out);
        Self {
            sent: sums.sent,
            reminded: sums.reminded,
            held_out: sums.held_out,
            back_1h: Share::new(sums.reminded_back_1h, sums.reminded).estimate(),
            back_24h: reminded.estimate(),
            lift: lift(reminded, held_out),
        }
    }
}

/// A share of the reminded, and its difference from those held out, over one span of time.
#[derive(Clone, Debug)]
pub struct Effect {
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub total: ReturnOutcome,
    pub rules: Vec<OfRule>,
}

/// The effect of the reminders of the last `days` days, but the last of them, whose recipients still have time. A reminder counts
/// for the rule that covers its skill now.
pub async fn effect(
    pool: &PgPool,
    accounts: &Accounts,
    days: u16,
    now: DateTime<Utc>,
) -> Result<Effect, ControlError> {
    let ids = accounts.ids();
    let until = now - WINDOW;
    let from = until - TimeDelta::days(i64::from(days));
    let rows = db::reminder_counts::by_skill(pool, ids, (from, until)).await?;
    let names = db::accounts::skill_names(pool, ids).await?;
    let mut total = Sums::default();
    for row in &rows {
        total = total.plus(&row.sums);
    }
    let mut of_rules = Vec::new();
    for account in ids {
        let rules = db::rules::of_accounts(pool, std::slice::from_ref(account)).await?;
        let own: Vec<&OfSkill> = rows.iter().filter(|t| t.account == *account).collect();
        of_rules.extend(rules.iter().map(|rule| {
            let covered =
                |row: &&&OfSkill| rule::pick(&rules, row.skill).is_some_and(|r| r.id == rule.id);
            let covered: Vec<&OfSkill> = own.iter().filter(covered).copied().collect();
            let sums = covered
                .iter()
                .fold(Sums::default(), |sums, row| sums.plus(&row.sums));
            OfRule {
                account: rule.account.clone(),
                skill: rule.skill,
                skill_name: rule
                    .skill
                    .and_then(|skill| names.get(&(account.clone(), skill)).cloned()),
                holdout_percent: rule.settings.holdout_percent,
                outcome: sums.into(),
                steps: of_steps(rule, &covered),
            }
        }));
    }
    of_rules.sort_by_key(|r| std::cmp::Reverse(r.outcome.sent));
    Ok(Effect {
        from,
        until,
        total: total.into(),
        rules: of_rules,
    })
}

/// The steps that the rule has, and those it had that something was sent for.
fn of_steps(rule: &Rule, rows: &[&OfSkill]) -> Vec<OfStep> {
    let mut steps: Vec<(StepId, Channel)> = rule
        .settings
        .steps
        .iter()
        .map(|step| (step.id, step.channel))
        .collect();
    let mut gone: Vec<(StepId, Channel)> = rows
        .iter()
        .filter(|row| row.sums.sent > 0)
        .map(|row| (row.step, row.channel))
        .filter(|step| !steps.contains(step))
        .collect();
    gone.sort_unstable();
    gone.dedup();
    steps.extend(gone);
    let of_step = |(step, channel)| {
        let own = rows
            .iter()
            .filter(|row| (row.step, row.channel) == (step, channel));
        let sums = own.fold(Sums::default(), |sums, row| sums.plus(&row.sums));
        OfStep {
            step,
            place: rule.settings.place_of(step, channel).map(|place| place + 1),
            channel,
            sent: sums.sent,
            back_1h: Share::new(sums.back_1h, sums.sent).estimate(),
            back_24h: Share::new(sums.back_24h, sums.sent).estimate(),
        }
    };
    steps.into_iter().map(of_step).collect()
}
