//! Rules as a file: all of them out; those that a file names in, all or none.

use serde_json::json;
use sqlx::PgPool;

use super::check::text_problems;
use super::{ChangeAuthor, of_this_version, record};
use crate::channel::render::{Severity, Texts};
use crate::control::{ControlError, Fault};
use crate::db;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::rule::{Difference, Rule, RuleKey, differences};
use crate::jobs::contradictions::{self, RuleSurroundings};
use crate::rules_file::{self, RuleEntry};

/// How an import went.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedRules {
    /// Those that the file names, in the order of account and skill.
    pub rules: Vec<ImportedRule>,
    /// How they were put together, in sentences, where the file has one for each channel.
    pub merged: Vec<String>,
    /// What is stored, but is probably not meant.
    pub warnings: Vec<Fault>,
}

impl ImportedRules {
    /// How many are new, or other than before.
    pub fn changed(&self) -> usize {
        let rules = self.rules.iter();
        rules
            .filter(|rule| rule.what != RuleImport::Unchanged)
            .count()
    }
}

/// What an import did to a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedRule {
    pub key: RuleKey,
    pub what: RuleImport,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RuleImport {
    New,
    /// The settings that differ from before.
    Changed(Vec<Difference>),
    Unchanged,
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
        enabled: rule.enabled,
        settings: rule.settings,
    });
    Ok(entries.collect())
}

/// Stores the rules of a file and publishes them at once; drafts stay. Each rule that changes is audited. What a rule leaves out is the
/// default of one over these channels, those that are configured.
pub async fn import(
    (pool, texts, channels): (&PgPool, &Texts, &[Channel]),
    around: impl Fn(&AccountId) -> RuleSurroundings,
    text: &str,
    by: ChangeAuthor<'_>,
) -> Result<ImportedRules, ControlError> {
    let file = rules_file::parse(text, channels).map_err(|wrong| {
        let faults = wrong.0.into_iter();
        let faults = faults.map(|problem| Fault {
            field: problem.place,
            detail: problem.what,
        });
        ControlError::Invalid(faults.collect())
    })?;
    let mut entries = file.rules;
    let mut warnings = check_texts(texts, &entries).await?;
    for entry in &entries {
        let around = around(&entry.account);
        let found: Result<_, ControlError> =
            contradictions::of(texts, Some(pool), &around, &entry.settings, by.now).await;
        warnings.extend(found?.iter().map(|found| Fault {
            field: place(entry, &found.field()),
            detail: found.sentence(),
        }));
    }
    entries.sort_by_key(RuleEntry::key);
    let mut accounts: Vec<AccountId> = entries.iter().map(|entry| entry.account.clone()).collect();
    accounts.dedup();
    let mut tx = pool.begin().await?;
    db::accounts::ensure(&mut *tx, &accounts, by.now).await?;
    // Two imports at once lock in the same order.
    for account in &accounts {
        db::rules::lock(&mut tx, account).await?;
    }
    let there = db::rules::of_accounts(&mut *tx, &accounts).await?;
    let before = |key: &RuleKey| there.iter().find(|rule| rule.key() == *key);
    for entry in &entries {
        let key = entry.key();
        if let Some(rule) = before(&key) {
            of_this_version(&key, &rule.settings)?;
        }
    }
    let mut rules = Vec::new();
    for entry in &mut entries {
        let key = entry.key();
        // One after the other: the ids of a rule that was just stored count for the next.
        let known = db::rules::known_steps(&mut tx, &key).await?;
        entry.settings.number_steps(&known);
        let (enabled, settings) = (entry.enabled, &entry.settings);
        let put = db::rules::put(&mut tx, &key, enabled, settings, by.name, by.now).await?;
        let what = match put {
            None => RuleImport::Unchanged,
            Some(version) => {
                let what = compared(before(&key), entry);
                let detail = json!({ "version": version, "changes": fields(&what) });
                record(&mut tx, by, "rule.import", &key, detail).await?;
                what
            }
        };
        rules.push(ImportedRule { key, what });
    }
    tx.commit().await?;
    Ok(ImportedRules {
        rules,
        merged: file.merged,
        warnings,
    })
}

fn compared(before: Option<&Rule>, entry: &RuleEntry) -> RuleImport {
    before.map_or(RuleImport::New, |rule| {
        let before = (rule.enabled, &rule.settings);
        RuleImport::Changed(differences(before, (entry.enabled, &entry.settings)))
    })
}

/// The settings that an import touches, by name, for the audit trail: it keeps no address.
fn fields(what: &RuleImport) -> Vec<&str> {
    match what {
        RuleImport::New => vec!["all"],
        RuleImport::Changed(differences) => differences
            .iter()
            .map(|difference| difference.field.as_str())
            .collect(),
        RuleImport::Unchanged => Vec::new(),
    }
}

/// Where something stands, also in a file whose rules were put together.
fn place(entry: &RuleEntry, field: &str) -> String {
    format!("rule {}, {field}", entry.key())
}

/// Renders every text with sample data before any of them is stored. What only looks wrong is returned.
async fn check_texts(texts: &Texts, entries: &[RuleEntry]) -> Result<Vec<Fault>, ControlError> {
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    for entry in entries {
        for (field, problem) in text_problems(texts, &entry.settings).await? {
            let fault = Fault {
                field: place(entry, &field),
                detail: format!("{}; {}", problem.what, problem.fix),
            };
            match problem.severity {
                Severity::Error => faults.push(fault),
                Severity::Warning => warnings.push(fault),
            }
        }
    }
    if faults.is_empty() {
        Ok(warnings)
    } else {
        Err(ControlError::Invalid(faults))
    }
}
