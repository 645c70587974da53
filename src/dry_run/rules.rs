//! Which rules are tried, and what they promise and cannot do.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use sqlx::PgPool;

use super::DryRunProgress;
use super::report::Report;
use crate::app;
use crate::channel::render::Texts;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::db;
use crate::domain::channel::PerChannel;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::owed::Installation;
use crate::domain::rule::{KnownSteps, Rule, RuleSettings};
use crate::jobs::contradictions::{self, RuleSurroundings};
use crate::rules_file::{self, RuleEntry};

pub(super) fn read_rules(path: &Path, config: &Config) -> anyhow::Result<Vec<RuleEntry>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(rules_file::parse(&text, &config.channels_anywhere())?.rules)
}

/// The rules of the file, else of the database, else the defaults of the configured channels.
pub(super) async fn rules(
    config: &Config,
    account: &config::AccountSettings,
    database: Option<&PgPool>,
    file: Option<&[RuleEntry]>,
    progress: &dyn Fn(DryRunProgress<'_>),
) -> anyhow::Result<Vec<Rule>> {
    if let Some(entries) = file {
        let mut rules = Vec::new();
        for entry in entries.iter().filter(|entry| entry.account == account.id) {
            let mut rule = rule_of(entry);
            rule.settings
                .number_steps(&known_steps(database, &rule).await?);
            rules.push(rule);
        }
        return Ok(rules);
    }
    if let Some(pool) = database {
        let rules = db::rules::of_accounts(pool, std::slice::from_ref(&account.id))
            .await
            .context("reading the rules")?;
        if !rules.is_empty() {
            return Ok(rules);
        }
    }
    progress(DryRunProgress::Note(&format!(
        "Account {} has no rules yet: using the default",
        account.id
    )));
    Ok(vec![rule_of(&RuleEntry {
        account: account.id.clone(),
        skill: None,
        enabled: true,
        settings: RuleSettings::default_for(&installation(config, &account.id).channels),
    })])
}

/// What the settings have; where no channel is configured yet, all that there are, to show what they would do.
pub(super) fn installation(config: &Config, account: &AccountId) -> Installation {
    let configured = app::installation(config, config.channels_of(account));
    if configured.channels.is_empty() {
        return Installation::new(Channel::ALL.to_vec(), false);
    }
    configured
}

/// The ids of the steps that a rule has had: what was sent for them is not sent again.
async fn known_steps(database: Option<&PgPool>, rule: &Rule) -> anyhow::Result<KnownSteps> {
    let Some(pool) = database else {
        return Ok(KnownSteps::default());
    };
    let mut conn = pool
        .acquire()
        .await
        .context("reading the steps of a rule")?;
    Ok(db::rules::known_steps(&mut conn, &rule.key()).await?)
}

/// What the rules promise and cannot do, one line each.
pub(super) async fn contradictions(
    rules: &[Rule],
    config: &Config,
    database: Option<&PgPool>,
    clock: &Clock,
    report: &mut Report<impl Write>,
) -> anyhow::Result<()> {
    let texts = Texts::new();
    for rule in rules {
        let around = RuleSurroundings {
            zone: config.time_zone_of(Some(&rule.account)),
            sender: config.channels_of(&rule.account).sender_of_mail(),
        };
        let found: anyhow::Result<_> =
            contradictions::of(&texts, database, &around, &rule.settings, clock.now()).await;
        for found in found? {
            report.contradiction(&rule.key(), found.level().as_str(), &found.sentence())?;
        }
    }
    Ok(())
}

fn rule_of(entry: &RuleEntry) -> Rule {
    Rule {
        id: 0,
        account: entry.account.clone(),
        skill: entry.skill,
        enabled: entry.enabled,
        version: 0,
        settings: entry.settings.clone(),
        live: PerChannel::of(|_| Rule::ALWAYS),
        lost_until: None,
    }
}
