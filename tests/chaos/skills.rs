//! The rules of a chaos run: one for each skill, over one channel or both.

use anyhow::Result;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use sqlx::PgPool;
use unread::clock::Clock;
use unread::db;
use unread::domain::channel::PerChannel;
use unread::domain::ids::{AccountId, Channel, SkillId};
use unread::domain::quiet::{QuietHours, Window};
use unread::domain::rule::{
    Caps, ChannelSettings, InQuietHours, RuleKey, RuleSettings, Step, StepId, When,
};
use unread::sandbox::ACCOUNT;
use unread::sandbox::world::{CUSTOMER_CARE, ORDERS, Skill, UNASSIGNED, World};

use super::Options;

/// The rule of a skill.
#[derive(Debug)]
pub struct SkillRule {
    pub skill: i64,
    pub steps: &'static [Step],
    pub gap: TimeDelta,
}

const fn step(id: StepId, channel: Channel, minutes: i64, when: When) -> Step {
    Step {
        id,
        channel,
        after: TimeDelta::minutes(minutes),
        when,
    }
}

use Channel::{Email, Sms};
use When::{Always, IfNotReached};

/// E-mail only.
pub static MAIL: SkillRule = SkillRule {
    skill: CUSTOMER_CARE,
    steps: &[step(1, Email, 1, Always)],
    gap: TimeDelta::zero(),
};

/// SMS only.
pub static TEXT: SkillRule = SkillRule {
    skill: ORDERS,
    steps: &[step(1, Sms, 1, Always)],
    gap: TimeDelta::zero(),
};

/// Whose e-mails are worth nothing after a minute, and whose texts fall into quiet hours in the middle of the run.
pub static HASTY: SkillRule = SkillRule {
    skill: UNASSIGNED,
    steps: &[step(1, Email, 1, Always), step(2, Sms, 1, IfNotReached)],
    gap: TimeDelta::zero(),
};

/// The e-mail, and at once a text if it does not reach them; then nothing for two hours, whatever else there is to tell them.
pub static BOTH: SkillRule = SkillRule {
    skill: 4_101,
    steps: &[step(1, Email, 1, Always), step(2, Sms, 1, IfNotReached)],
    gap: TimeDelta::minutes(120),
};

/// Two rungs, the second the other way round, as near to each other as the gap allows.
pub static LADDER: SkillRule = SkillRule {
    skill: 4_102,
    steps: &[
        step(1, Email, 1, Always),
        step(2, Sms, 1, IfNotReached),
        step(3, Sms, 2, Always),
        step(4, Email, 2, IfNotReached),
    ],
    gap: TimeDelta::minutes(1),
};

impl SkillRule {
    pub fn all() -> [&'static Self; 5] {
        [&MAIL, &TEXT, &HASTY, &BOTH, &LADDER]
    }

    pub fn is(&self, other: &Self) -> bool {
        self.skill == other.skill
    }

    /// The steps of a step's rung that come before it.
    pub fn earlier(&self, place: usize) -> &'static [Step] {
        let is_first = |at: &usize| self.steps[*at].when == When::Always;
        let first = (0..=place).rev().find(is_first).unwrap_or(0);
        &self.steps[first..place]
    }

    /// From the agent's message to the first step.
    pub fn after(&self) -> TimeDelta {
        self.steps[0].after
    }

    fn settings(&self, usual: i64, quiet: DateTime<Utc>) -> RuleSettings {
        let hasty = self.is(&HASTY);
        let channel = |channel| ChannelSettings {
            max_age: TimeDelta::minutes(if hasty && channel == Email { 1 } else { usual }),
            quiet_hours: if hasty && channel == Sms {
                allowed_until(quiet)
            } else {
                QuietHours::default()
            },
            per_address_24h: 20,
            ..ChannelSettings::default_for(channel)
        };
        RuleSettings {
            steps: self.steps.to_vec(),
            debounce: TimeDelta::zero(),
            in_quiet_hours: InQuietHours::Drop,
            caps: Caps {
                gap: self.gap,
                per_conversation_24h: 20,
                per_consumer_24h: 20,
            },
            channels: PerChannel::of(channel),
            ..RuleSettings::default_for(&Channel::ALL)
        }
    }
}

/// Allowed until then, from twelve hours before on.
fn allowed_until(quiet: DateTime<Utc>) -> QuietHours {
    let (from, to) = ((quiet - TimeDelta::hours(12)).time(), quiet.time());
    let window = |from, to| Window {
        days: Vec::new(),
        from,
        to,
    };
    let allowed = if from < to || to == NaiveTime::MIN {
        vec![window(from, to)]
    } else {
        vec![window(from, NaiveTime::MIN), window(NaiveTime::MIN, to)]
    };
    QuietHours {
        allowed,
        ..QuietHours::default()
    }
}

/// LivePerson has the skills.
pub fn announce(world: &World) -> Result<()> {
    for (rule, name) in [(&BOTH, "Both channels"), (&LADDER, "Two rungs")] {
        let skill = Skill {
            id: rule.skill,
            name: name.to_owned(),
            deleted: false,
        };
        world.set_skill(ACCOUNT, skill)?;
    }
    Ok(())
}

/// Stores the rules.
pub async fn rules(pool: &PgPool, options: &Options, quiet: DateTime<Utc>) -> Result<()> {
    let account: AccountId = ACCOUNT.parse()?;
    let now = Clock::System.now();
    db::accounts::ensure(pool, std::slice::from_ref(&account), now).await?;
    let mut tx = pool.begin().await?;
    for channel in Channel::ALL {
        let live = db::live::LiveChannel {
            since: chrono::DateTime::UNIX_EPOCH,
            by_whom: "chaos".to_owned(),
            at: now,
        };
        db::live::begin(&mut tx, (&account, channel), &live).await?;
    }
    // Long enough that retries have their chance, short enough that the run ends.
    let usual = if options.wait_out_leases { 20 } else { 10 };
    for rule in SkillRule::all() {
        let key = RuleKey {
            account: account.clone(),
            skill: Some(SkillId(rule.skill)),
        };
        let settings = rule.settings(usual, quiet);
        db::rules::put(&mut tx, &key, true, &settings, "chaos", now).await?;
    }
    tx.commit().await?;
    Ok(())
}
