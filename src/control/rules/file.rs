//! Rules as a file: all of them out; those that a file names in, all or none.

use serde_json::json;
use sqlx::PgPool;

use super::{ChangeAuthor, changed_fields, of_this_version, record};
use crate::channel::render::{Severity, Texts};
use crate::control::{ControlError, Fault};
use crate::db;
use crate::domain::ids::AccountId;
use crate::domain::rule::RuleKey;
use crate::jobs::contradictions::{self, RuleSurroundings};
use crate::rules_file::{self, RuleEntry};

/// How an import went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedRules {
    /// Rules that the file names.
    pub rules: usize,
    /// New, or other than before.
    pub changed: usize,
    /// What is stored, but is probably not meant.
    pub warnings: Vec<Fault>,
}

/// All rules, as entries of a file. None if a newer version has stored one with what this version does not know.
pub async fn export(pool: &PgPool) -> Result<Vec<RuleEntry>, ControlError> {
    let rules = db::rules::all(pool).await?;
    for rule in &rules {
        of_this_version(&rule.key(), &rule.settings)?;
    }
    let entries = rules.into_iter().map(|rule| RuleEntry {
        account: rule.account,
        skill: rule.skill,
        channel: rule.channel,
        enabled: rule.enabled,
        settings: rule.settings,
    });
    Ok(entries.collect())
}

/// Stores the rules of a file and publishes them at once; drafts stay. Each rule that changes is audited.
pub async fn import(
    (pool, texts): (&PgPool, &Texts),
    around: impl Fn(&AccountId) -> RuleSurroundings,
    text: &str,
    by: ChangeAuthor<'_>,
) -> Result<ImportedRules, ControlError> {
    let mut entries = rules_file::parse(text).map_err(|wrong| {
        let faults = wrong.0.into_iter();
        let faults = faults.map(|problem| Fault {
            field: problem.place,
            detail: problem.what,
        });
        ControlError::Invalid(faults.collect())
    })?;
    let mut warnings = check_texts(texts, &entries).await?;
    for (number, entry) in (1..).zip(&entries) {
        let settings = (entry.channel, &entry.settings);
        let around = around(&entry.account);
        let found: Result<_, ControlError> =
            contradictions::of(texts, Some(pool), &around, settings, by.now).await;
        warnings.extend(found?.iter().map(|found| Fault {
            field: format!("rule {number}, {}", found.field()),
            detail: found.sentence(),
        }));
    }
    // Two imports at once lock in the same order.
    entries.sort_by_key(key);
    let accounts: Vec<AccountId> = entries.iter().map(|entry| entry.account.clone()).collect();
    let mut tx = pool.begin().await?;
    db::accounts::ensure(&mut *tx, &accounts, by.now).await?;
    for entry in &entries {
        db::rules::lock(&mut tx, &key(entry)).await?;
    }
    let there = db::rules::of_accounts(&mut *tx, &accounts).await?;
    let mut changed = 0;
    for rule in there
        .iter()
        .filter(|rule| entries.iter().any(|entry| key(entry) == rule.key()))
    {
        of_this_version(&rule.key(), &rule.settings)?;
    }
    for entry in &entries {
        let key = key(entry);
        let (enabled, settings) = (entry.enabled, &entry.settings);
        let put = db::rules::put(&mut tx, &key, enabled, settings, by.name, by.now).await?;
        let Some(version) = put else { continue };
        changed += 1;
        let before = there.iter().find(|rule| rule.key() == key);
        let fields = changed_fields(before, (enabled, settings));
        let detail = json!({ "version": version, "changes": fields });
        record(&mut tx, by, "rule.import", &key, detail).await?;
    }
    tx.commit().await?;
    Ok(ImportedRules {
        rules: entries.len(),
        changed,
        warnings,
    })
}

fn key(entry: &RuleEntry) -> RuleKey {
    RuleKey {
        account: entry.account.clone(),
        skill: entry.skill,
        channel: entry.channel,
    }
}

/// Renders every text with sample data before any of them is stored. What only looks wrong is returned.
async fn check_texts(texts: &Texts, entries: &[RuleEntry]) -> Result<Vec<Fault>, ControlError> {
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    for (number, entry) in (1..).zip(entries) {
        for (language, template) in &entry.settings.templates {
            for problem in texts.check(entry.channel, template).await? {
                let part = problem.field.as_str();
                let fault = Fault {
                    field: format!("rule {number}, templates.{language}.{part}"),
                    detail: format!("{}; {}", problem.what, problem.fix),
                };
                match problem.severity {
                    Severity::Error => faults.push(fault),
                    Severity::Warning => warnings.push(fault),
                }
            }
        }
    }
    if faults.is_empty() {
        Ok(warnings)
    } else {
        Err(ControlError::Invalid(faults))
    }
}
