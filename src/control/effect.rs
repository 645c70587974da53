//! What reminders bring about: how many came back, by rule, and how many would have come back anyway.
//!
//! The difference is told only where a rule has a hold-out share, and of first reminders only: who gets a second one is chosen by
//! not having come back after the first, and those held out were never chosen so. Both groups have passed every other check.

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
use crate::domain::rule::{self, Rule};

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
    pub channel: Channel,
    pub holdout_percent: u8,
    #[serde(flatten)]
    pub outcome: ReturnOutcome,
}

/// Who was reminded, who was not, and who came back.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Outcome)]
pub struct ReturnOutcome {
    pub sent: i64,
    pub held_out: i64,
    /// Of those sent, who came back within an hour.
    pub back_1h: Option<Estimate>,
    pub back_24h: Option<Estimate>,
    /// How much larger the share who came back is than among those held out; null without a hold-out share.
    pub lift: Option<Estimate>,
}

impl From<EffectSums> for ReturnOutcome {
    fn from(EffectSums { all, first }: EffectSums) -> Self {
        let reminded = Share::new(first.back_24h, first.sent);
        let held_out = Share::new(first.held_back_24h, first.held_out);
        Self {
            sent: all.sent,
            held_out: all.held_out,
            back_1h: Share::new(all.back_1h, all.sent).estimate(),
            back_24h: Share::new(all.back_24h, all.sent).estimate(),
            lift: lift(reminded, held_out),
        }
    }
}

#[derive(Clone, Copy, Default)]
struct EffectSums {
    /// All steps.
    all: Sums,
    /// First steps only.
    first: Sums,
}

impl EffectSums {
    fn add(&mut self, of: &OfSkill) {
        self.all = self.all.plus(&of.sums);
        if of.step == 1 {
            self.first = self.first.plus(&of.sums);
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
    let mut total = EffectSums::default();
    for row in &rows {
        total.add(row);
    }
    let mut of_rules = Vec::new();
    for account in ids {
        let rules = db::rules::of_accounts(pool, std::slice::from_ref(account)).await?;
        let own: Vec<&OfSkill> = rows.iter().filter(|t| t.account == *account).collect();
        of_rules.extend(rules.iter().map(|rule| {
            OfRule {
                account: rule.account.clone(),
                skill: rule.skill,
                skill_name: rule
                    .skill
                    .and_then(|skill| names.get(&(account.clone(), skill)).cloned()),
                channel: rule.channel,
                holdout_percent: rule.settings.holdout_percent,
                outcome: counts(rule, &rules, &own).into(),
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

/// What the reminders that a rule covers came to.
fn counts(rule: &Rule, rules: &[Rule], rows: &[&OfSkill]) -> EffectSums {
    let mut counts = EffectSums::default();
    for row in rows.iter().filter(|t| t.channel == rule.channel) {
        if rule::pick(rules, row.skill, rule.channel).is_some_and(|r| r.id == rule.id) {
            counts.add(row);
        }
    }
    counts
}
