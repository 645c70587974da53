//! The audit trail as a page: who did what, in sentences, newest first.

mod sentence;

use std::collections::BTreeMap;

use axum::extract::{Query, State as Shared};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::sentence::sentence;
use super::labels::{self, Moment};
use super::{PageError, PageFrame, pauses, rules};
use crate::control;
use crate::control::ControlError;
use crate::control::accounts::Allowed;
use crate::control::audit::EntryView;
use crate::db::audit::AuditFilter;
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::pause::Scope;
use crate::domain::rule::RuleKey;
use crate::web::AppState;
use crate::web::access::RouteTable;

/// Entries on a page.
const SHOWN: i64 = 50;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/activity", show);
}

/// What stands before the dot of actions, and what they are about.
const KINDS: &[(&str, &str)] = &[
    ("rule", "Rules"),
    ("live", "Going live"),
    ("pause", "Pauses"),
    ("resume", "Resumed sending"),
    ("reminder", "Reminders"),
    ("consumer", "Customers"),
    ("suppression", "Opt-outs"),
    ("test", "Test messages"),
    ("circuit", "Paused senders"),
    ("user", "Team"),
    ("token", "API tokens"),
];

#[derive(Deserialize)]
struct ActivityQuery {
    #[serde(default)]
    by: String,
    #[serde(default)]
    action: String,
    before: Option<i64>,
}

#[derive(Serialize)]
struct ActivityPage {
    by: String,
    action: String,
    kinds: Vec<Kind>,
    filtered: bool,
    entries: Vec<EntryRow>,
    older: Option<String>,
}

#[derive(Serialize)]
struct Kind {
    word: &'static str,
    label: &'static str,
    chosen: bool,
}

async fn show(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Query(filter): Query<ActivityQuery>,
) -> Result<Response, PageError> {
    let given = |word: &'_ str| Some(word.trim().to_owned()).filter(|word| !word.is_empty());
    let (by, action) = (given(&filter.by), given(&filter.action));
    let wanted = AuditFilter {
        by: by.as_deref(),
        action: action.as_deref(),
        before: filter.before,
    };
    let mut entries = control::audit::list(&state.pool, &page.accounts, &wanted, SHOWN + 1).await?;
    let more = entries.len() > usize::try_from(SHOWN).unwrap_or_default();
    entries.truncate(usize::try_from(SHOWN).unwrap_or_default());
    let older = entries.last().filter(|_| more).map(|last| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("by", by.as_deref().unwrap_or_default())
            .append_pair("action", action.as_deref().unwrap_or_default())
            .append_pair("before", &last.id.to_string())
            .finish();
        format!("/activity?{query}")
    });
    let subjects = Subjects::of(&page, &state, &entries).await?;
    let values = ActivityPage {
        filtered: by.is_some() || action.is_some() || filter.before.is_some(),
        kinds: kinds(action.as_deref()),
        by: by.unwrap_or_default(),
        action: action.unwrap_or_default(),
        entries: entries
            .iter()
            .map(|entry| EntryRow::new(&state, &subjects, entry))
            .collect(),
        older,
    };
    Ok(page.render("activity.hbs", "Activity", values))
}

fn kinds(chosen: Option<&str>) -> Vec<Kind> {
    let kinds = KINDS.iter();
    let kinds = kinds.map(|(word, label)| Kind {
        word,
        label,
        chosen: chosen == Some(*word),
    });
    kinds.collect()
}

#[derive(Serialize)]
struct EntryRow {
    by: String,
    said: String,
    rest: Option<String>,
    /// Where there is more about it.
    href: Option<String>,
    /// What a published version changed.
    changes: Value,
    when: Moment,
}

impl EntryRow {
    fn new(state: &AppState, subjects: &Subjects, entry: &EntryView) -> Self {
        let told = sentence(entry, &subjects.name(state, entry));
        let changes = subjects.changes(entry).cloned().unwrap_or_default();
        Self {
            by: entry.by.clone(),
            said: told.said,
            // The difference says more than which settings differ.
            rest: told.rest.filter(|_| changes.is_null()),
            href: Subjects::href(entry),
            changes,
            when: labels::time(entry.at, state.clock.now()),
        }
    }
}

/// What entries are about, by the names that people know.
struct Subjects {
    skills: BTreeMap<(AccountId, SkillId), String>,
    /// By the key of a rule and its version.
    changes: BTreeMap<(String, i64), Value>,
    /// Whether who reads it sees several accounts, so that each is named.
    names_accounts: bool,
}

impl Subjects {
    async fn of(
        page: &PageFrame,
        state: &AppState,
        entries: &[EntryView],
    ) -> Result<Self, ControlError> {
        let mut found = Self {
            skills: BTreeMap::new(),
            changes: BTreeMap::new(),
            names_accounts: page.accounts.ids().len() > 1,
        };
        // The newest version that is told of each rule; those before it come with it.
        let mut rules: BTreeMap<String, (RuleKey, i64)> = BTreeMap::new();
        for (entry, key) in entries
            .iter()
            .filter_map(|entry| Some((entry, rule_of(entry)?)))
        {
            let version = version_of(entry).unwrap_or_default();
            let newest = rules.entry(key.to_string()).or_insert((key, version));
            newest.1 = newest.1.max(version);
        }
        for account in page.accounts.each() {
            if !rules.values().any(|(key, _)| key.account == *account) {
                continue;
            }
            for skill in control::accounts::skills(&state.pool, &account).await? {
                let key = (AccountId::clone(&account), skill.id);
                found.skills.insert(key, skill.name);
            }
        }
        for (key, version) in rules.into_values().filter(|(_, version)| *version > 0) {
            if let Ok(key) = page.accounts.rule(key) {
                found.read_versions(state, &key, version).await?;
            }
        }
        Ok(found)
    }

    /// What the versions of a rule up to this one changed.
    async fn read_versions(
        &mut self,
        state: &AppState,
        key: &Allowed<RuleKey>,
        newest: i64,
    ) -> Result<(), ControlError> {
        let before = i32::try_from(newest + 1).ok();
        for version in control::rules::versions(&state.pool, key, before, SHOWN).await? {
            let found = version.changes.iter();
            let found = found.map(|c| (c.field.as_str(), &c.before, &c.after));
            let about = format!("Changes in version {} of {}", version.version, **key);
            let told = rules::differences(&about, ("Before", "After"), found);
            let version = i64::from(version.version);
            self.changes.insert((key.to_string(), version), told);
        }
        Ok(())
    }

    fn name(&self, state: &AppState, entry: &EntryView) -> String {
        let subject = &entry.subject;
        let kind = entry.action.split('.').next().unwrap_or_default();
        match kind {
            "rule" => match subject.parse() {
                Ok(Scope::Rule(key)) => self.rule(state, &key),
                _ => subject.clone(),
            },
            "pause" | "resume" | "live" => match subject.parse() {
                Ok(Scope::Rule(key)) => format!("the rule for {}", self.rule(state, &key)),
                Ok(scope) => pauses::place(state, &scope),
                Err(_) => subject.clone(),
            },
            "reminder" => format!("reminder {subject}"),
            _ => match subject.parse::<Channel>() {
                Ok(channel) => labels::channel(channel).to_owned(),
                Err(_) => subject.clone(),
            },
        }
    }

    fn rule(&self, state: &AppState, key: &RuleKey) -> String {
        let skill = key.skill.map(|skill| {
            let name = self.skills.get(&(key.account.clone(), skill));
            labels::skill(name.map(String::as_str), skill)
        });
        let skill = skill.unwrap_or_else(|| "All other skills".to_owned());
        if self.names_accounts {
            format!("{skill} ({})", state.brand_of(&key.account))
        } else {
            skill
        }
    }

    fn changes(&self, entry: &EntryView) -> Option<&Value> {
        let version = version_of(entry)?;
        self.changes.get(&(entry.subject.clone(), version))
    }

    fn href(entry: &EntryView) -> Option<String> {
        match entry.action.split('.').next().unwrap_or_default() {
            "rule" => rule_of(entry).map(|key| format!("/rules/{key}/history")),
            "reminder" => Some(format!("/reminders/{}", entry.subject)),
            _ => None,
        }
    }
}

fn rule_of(entry: &EntryView) -> Option<RuleKey> {
    match entry.subject.parse() {
        Ok(Scope::Rule(key)) => Some(key),
        _ => None,
    }
}

/// The version that an entry is about whose difference is told.
fn version_of(entry: &EntryView) -> Option<i64> {
    let published = matches!(&*entry.action, "rule.publish" | "rule.import");
    entry.detail.get("version")?.as_i64().filter(|_| published)
}
