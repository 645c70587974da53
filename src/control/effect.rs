//! What reminders bring about: how many came back, by rule, and how many would have come back anyway.
//!
//! The difference is told only where a rule has a hold-out share, and of first reminders only: who gets a second one is chosen by
//! not having come back after the first, and those held out were never chosen so. Both groups have passed every other check.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::Error;
use super::accounts::Accounts;
use crate::db;
use crate::db::tallies::{OfSkill, Sums};
use crate::domain::effect::{Estimate, Share, lift};
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::{self, Rule};

/// How long after a reminder a coming back counts; a reminder younger than that is not judged yet.
const WINDOW: TimeDelta = TimeDelta::hours(24);

/// The effect of one rule.
#[derive(Clone, Debug)]
pub struct OfRule {
    pub account: AccountId,
    /// The rule's skill; `None`: the account's default.
    pub skill: Option<SkillId>,
    pub skill_name: Option<String>,
    pub channel: Channel,
    pub holdout_percent: u8,
    pub counts: Counts,
}

/// Who was reminded, who was not, and who came back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// All steps.
    pub all: Sums,
    /// First steps only.
    pub first: Sums,
}

impl Counts {
    pub fn within_1h(&self) -> Share {
        Share::new(self.all.back_1h, self.all.sent)
    }

    pub fn within_24h(&self) -> Share {
        Share::new(self.all.back_24h, self.all.sent)
    }

    /// How much larger the share of the reminded who came back within 24 h is, than of those held out.
    pub fn lift(&self) -> Option<Estimate> {
        lift(self.first_reminded(), self.held_out())
    }

    pub fn first_reminded(&self) -> Share {
        Share::new(self.first.back_24h, self.first.sent)
    }

    pub fn held_out(&self) -> Share {
        Share::new(self.first.held_back_24h, self.first.held_out)
    }

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
    pub total: Counts,
    pub rules: Vec<OfRule>,
}

/// The effect of the reminders of the last `days` days, but the last of them, whose recipients still have time. A reminder counts
/// for the rule that covers its skill now.
pub async fn effect(
    pool: &PgPool,
    accounts: &Accounts,
    days: u16,
    now: DateTime<Utc>,
) -> Result<Effect, Error> {
    let ids = accounts.ids();
    let until = now - WINDOW;
    let from = until - TimeDelta::days(i64::from(days));
    let tallies = db::tallies::by_skill(pool, ids, (from, until)).await?;
    let names = db::accounts::skill_names(pool, ids).await?;
    let mut total = Counts::default();
    for tally in &tallies {
        total.add(tally);
    }
    let mut of_rules = Vec::new();
    for account in ids {
        let rules = db::rules::of_accounts(pool, std::slice::from_ref(account)).await?;
        let own: Vec<&OfSkill> = tallies.iter().filter(|t| t.account == *account).collect();
        of_rules.extend(rules.iter().map(|rule| {
            OfRule {
                account: rule.account.clone(),
                skill: rule.skill,
                skill_name: rule
                    .skill
                    .and_then(|skill| names.get(&(account.clone(), skill)).cloned()),
                channel: rule.channel,
                holdout_percent: rule.settings.holdout_percent,
                counts: counts(rule, &rules, &own),
            }
        }));
    }
    of_rules.sort_by_key(|r| std::cmp::Reverse(r.counts.all.sent));
    Ok(Effect {
        from,
        until,
        total,
        rules: of_rules,
    })
}

/// What the reminders that a rule covers came to.
fn counts(rule: &Rule, rules: &[Rule], tallies: &[&OfSkill]) -> Counts {
    let mut counts = Counts::default();
    for tally in tallies.iter().filter(|t| t.channel == rule.channel) {
        if rule::pick(rules, tally.skill, rule.channel).is_some_and(|r| r.id == rule.id) {
            counts.add(tally);
        }
    }
    counts
}
