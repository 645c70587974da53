//! Rules: list, read, draft, publish, discard, delete, history, restore; as a file out and in.
//!
//! A change is written as a draft, looked at, and published. Whoever saves or publishes names what they have read by its
//! [`RuleStamp`]; if somebody else was quicker, nothing is overwritten and the answer says who and when. A draft can always be
//! published: what is faulty is not stored, and the page keeps it.

mod check;
mod contradictions;
mod coverage;
mod draft;
mod file;
mod view;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::ControlError;
use super::accounts::{Accounts, Allowed};
use super::senders::AllowedSenders;
use crate::channel::render::Texts;
use crate::db;
use crate::db::audit::NewAuditEntry;
use crate::db::drafts::Draft;
use crate::domain::ids::Channel;
use crate::domain::rule::{Rule, RuleKey, RuleSettings, differences};

pub use check::{RuleCheck, check, checked};
pub use contradictions::{ContradictionView, RuleContradictions, around, of_key};
pub use coverage::{CoveredBy, SkillCoverage, coverage};
pub use draft::{autosave_draft, save_draft};
pub use file::{ImportedRule, ImportedRules, RuleImport, export, import};
pub use view::{DraftView, Governing, ListView, PublishedRule, RuleStamp, RuleView, VersionView};

/// Entries of a list or of a history at a time, at most.
pub const MOST: i64 = 200;

/// What is written over a rule.
#[derive(Clone, Debug)]
pub struct RuleChange {
    pub enabled: bool,
    /// As [`RuleSettings::parse`] reads them: what is left out comes from the defaults.
    pub settings: Value,
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub struct ChangeAuthor<'a> {
    pub name: &'a str,
    pub now: DateTime<Utc>,
}

/// Rules and drafts, the defaults first.
pub async fn list(
    pool: &PgPool,
    accounts: &Accounts,
    after: Option<&RuleKey>,
    most: i64,
) -> Result<Vec<ListView>, ControlError> {
    let most = most.clamp(1, MOST);
    let listed = db::rule_list::list(pool, accounts.limit(), after, most).await?;
    let pauses = db::pauses::all(pool).await?;
    let listed = listed.into_iter();
    Ok(listed.map(|one| ListView::new(one, &pauses)).collect())
}

/// What there is under a key: the rule, its draft, and what applies without them.
pub async fn read(pool: &PgPool, key: &Allowed<RuleKey>) -> Result<RuleView, ControlError> {
    let mut conn = pool.acquire().await?;
    read_in(&mut conn, key).await
}

async fn read_in(conn: &mut PgConnection, key: &RuleKey) -> Result<RuleView, ControlError> {
    let place = db::rule_list::place(&mut *conn, key).await?;
    if !place.account_known {
        return Err(ControlError::NotFound(format!("account {}", key.account)));
    }
    let rule = db::rules::find(&mut *conn, key).await?;
    let draft = db::drafts::find(&mut *conn, key).await?;
    if let Some(skill) = key.skill
        && place.skill_name.is_none()
        && rule.is_none()
        && draft.is_none()
    {
        let what = format!("skill {skill} in account {}", key.account);
        return Err(ControlError::NotFound(what));
    }
    let latest = db::rules::versions(&mut *conn, key, None, 1).await?.pop();
    let fallback = match key.skill {
        Some(_) => {
            let of_account = RuleKey {
                skill: None,
                ..key.clone()
            };
            db::rules::find(&mut *conn, &of_account).await?
        }
        None => None,
    };
    let pauses = db::pauses::all(conn).await?;
    Ok(RuleView::new(
        key,
        place.skill_name,
        (rule, latest),
        draft,
        fallback,
        &pauses,
    ))
}

/// Makes the draft the rule. From then on every scan and every delivery goes by it.
pub async fn publish(
    pool: &PgPool,
    (texts, senders): (&Texts, &AllowedSenders),
    key: &Allowed<RuleKey>,
    seen: RuleStamp,
    by: ChangeAuthor<'_>,
) -> Result<RuleView, ControlError> {
    // A draft of an earlier release of this program may hold a text that is refused today. Checked before anything is locked: what is
    // published is this revision of the draft or nothing.
    let draft = db::drafts::find(pool, key).await?;
    let checked = match draft.filter(|draft| draft.revision == seen.revision) {
        Some(draft) => {
            let given = serde_json::to_value(draft.settings).unwrap_or_default();
            // It is complete: whatever the channels, nothing is filled in.
            Some(checked(texts, &[], given).await)
        }
        None => None,
    };
    let mut tx = pool.begin().await?;
    let there = unchanged(&mut tx, key, seen).await?;
    let (Some(draft), Some(checked)) = (&there.draft, checked) else {
        return Err(ControlError::Conflict(
            "There is no draft to publish: save one first.".to_owned(),
        ));
    };
    if draft.based_on != there.rule_version() {
        return Err(ControlError::Changed(format!(
            "Someone else published a newer version (version {}) after this draft was started (from version {}). Check the differences, then save \
             the draft again to publish it over that version.",
            there.rule_version(),
            draft.based_on
        )));
    }
    of_this_version(key, &draft.settings)?;
    let mut settings = checked?;
    senders.allow(&settings)?;
    settings.number_steps(&db::rules::known_steps(&mut tx, key).await?);
    let version = db::rules::put(&mut tx, key, draft.enabled, &settings, by.name, by.now).await?;
    db::drafts::remove(&mut tx, key).await?;
    let detail = json!({
        "version": version.unwrap_or(there.rule_version()),
        "changes": changed_fields(there.rule.as_ref(), (draft.enabled, &settings)),
    });
    record(&mut tx, by, "rule.publish", key, detail).await?;
    let view = read_in(&mut tx, key).await?;
    tx.commit().await?;
    Ok(view)
}

/// Throws a draft away; the rule stays as it is.
pub async fn discard(
    pool: &PgPool,
    key: &Allowed<RuleKey>,
    seen: RuleStamp,
    by: ChangeAuthor<'_>,
) -> Result<RuleView, ControlError> {
    let mut tx = pool.begin().await?;
    unchanged(&mut tx, key, seen).await?;
    if !db::drafts::remove(&mut tx, key).await? {
        return Err(ControlError::Conflict(
            "There is no draft to discard.".to_owned(),
        ));
    }
    record(&mut tx, by, "rule.discard", key, json!({})).await?;
    let view = read_in(&mut tx, key).await?;
    tx.commit().await?;
    Ok(view)
}

/// Deletes a skill's own rule, and its draft: the account's default applies again. A default is switched off instead.
pub async fn delete(
    pool: &PgPool,
    key: &Allowed<RuleKey>,
    seen: RuleStamp,
    by: ChangeAuthor<'_>,
) -> Result<RuleView, ControlError> {
    if key.skill.is_none() {
        return Err(ControlError::Conflict(
            "The account's default cannot be deleted: turn it off instead.".to_owned(),
        ));
    }
    let mut tx = pool.begin().await?;
    unchanged(&mut tx, key, seen).await?;
    let Some(version) = db::rules::remove(&mut tx, key, by.name, by.now).await? else {
        return Err(ControlError::NotFound(format!("rule {key}")));
    };
    db::drafts::remove(&mut tx, key).await?;
    record(
        &mut tx,
        by,
        "rule.delete",
        key,
        json!({ "version": version }),
    )
    .await?;
    let view = read_in(&mut tx, key).await?;
    tx.commit().await?;
    Ok(view)
}

/// The history of a key, newest first.
pub async fn versions(
    pool: &PgPool,
    key: &Allowed<RuleKey>,
    before: Option<i32>,
    most: i64,
) -> Result<Vec<VersionView>, ControlError> {
    let most = most.clamp(1, MOST);
    // One more, to tell what the oldest of them changed.
    let versions = db::rules::versions(pool, key, before, most + 1).await?;
    let mut told = VersionView::all(&versions);
    told.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(told)
}

/// Makes an old version the draft, to be looked at and published like any other.
pub async fn restore(
    pool: &PgPool,
    key: &Allowed<RuleKey>,
    version: i32,
    seen: RuleStamp,
    by: ChangeAuthor<'_>,
) -> Result<RuleView, ControlError> {
    let mut tx = pool.begin().await?;
    let there = unchanged(&mut tx, key, seen).await?;
    let old = db::rules::versions(&mut *tx, key, version.checked_add(1), 1)
        .await?
        .pop()
        .filter(|old| old.version == version)
        .ok_or_else(|| ControlError::NotFound(format!("version {version} of rule {key}")))?;
    of_this_version(key, &old.settings)?;
    let written = (old.enabled, &old.settings);
    let based_on = there.rule_version();
    db::drafts::save(&mut tx, key, based_on, written, by.name, by.now).await?;
    record(
        &mut tx,
        by,
        "rule.restore",
        key,
        json!({ "version": version }),
    )
    .await?;
    let view = read_in(&mut tx, key).await?;
    tx.commit().await?;
    Ok(view)
}

/// What is stored under a key, locked against everybody else.
struct StoredUnderKey {
    rule: Option<Rule>,
    draft: Option<Draft>,
}

impl StoredUnderKey {
    fn rule_version(&self) -> i32 {
        self.rule.as_ref().map_or(0, |rule| rule.version)
    }

    fn stamp(&self) -> RuleStamp {
        RuleStamp {
            version: self.rule_version(),
            revision: self.draft.as_ref().map_or(0, |draft| draft.revision),
        }
    }
}

/// Settings of a newer version cannot be written by this one without losing what it does not know. To restore an earlier version of
/// the rule is the way back: the history keeps what was there.
fn of_this_version(key: &RuleKey, settings: &RuleSettings) -> Result<(), ControlError> {
    if settings.newer.is_empty() {
        return Ok(());
    }
    Err(ControlError::Conflict(format!(
        "Rule {key} was saved by a newer version of unread, with settings that this version does not support: {}. Nothing was changed, so \
         that they are not lost. Try again when the update is complete; if you went back to this version permanently, restore an earlier \
         version of the rule.",
        settings.newer.names().join(", ")
    )))
}

/// The settings that a change touches, by name. Never the texts or the sender themselves: the audit trail keeps no address.
fn changed_fields(before: Option<&Rule>, after: (bool, &RuleSettings)) -> Vec<String> {
    let Some(rule) = before else {
        return vec!["all".to_owned()];
    };
    differences((rule.enabled, &rule.settings), after)
        .into_iter()
        .map(|difference| difference.field)
        .collect()
}

/// Locks the account's rules and makes sure that this one is still what the caller has read.
async fn unchanged(
    conn: &mut PgConnection,
    key: &RuleKey,
    seen: RuleStamp,
) -> Result<StoredUnderKey, ControlError> {
    db::rules::lock(conn, &key.account).await?;
    let there = StoredUnderKey {
        rule: db::rules::find(&mut *conn, key).await?,
        draft: db::drafts::find(&mut *conn, key).await?,
    };
    if there.stamp() == seen {
        // Also tells whether there can be a rule under this key at all.
        read_in(conn, key).await?;
        return Ok(there);
    }
    let what = if there.rule_version() == seen.version {
        let draft = there.draft.as_ref();
        draft.map(|draft| changed_message(&draft.changed_by, "saved a draft", draft.changed_at))
    } else {
        let latest = db::rules::versions(&mut *conn, key, None, 1).await?.pop();
        latest.map(|version| {
            let what = if version.deleted {
                "deleted it"
            } else {
                "published a newer version"
            };
            changed_message(&version.changed_by, what, version.changed_at)
        })
    };
    let what = what.unwrap_or_else(|| "its draft was discarded".to_owned());
    Err(ControlError::Changed(format!(
        "Someone else changed this rule while you had it open: {what}. Nothing was overwritten: reload it and make your change again."
    )))
}

fn changed_message(who: &str, what: &str, when: DateTime<Utc>) -> String {
    format!("{who} {what} on {} UTC", when.format("%-d %B at %H:%M"))
}

async fn record(
    conn: &mut PgConnection,
    by: ChangeAuthor<'_>,
    action: &str,
    key: &RuleKey,
    detail: Value,
) -> Result<(), ControlError> {
    let entry = NewAuditEntry {
        by: by.name,
        action,
        account: Some(&key.account),
        subject: &key.to_string(),
        detail,
    };
    db::audit::record(conn, &entry, by.now).await?;
    Ok(())
}

/// Settings to begin with: the rule's own, else the account's default, else those of a rule over these channels, which are configured
/// (over all there are, where none is).
pub fn starting_point(view: &RuleView, channels: &[Channel]) -> (bool, RuleSettings) {
    let own = view.draft.as_ref().map(|d| (d.enabled, &d.settings));
    let own = own.or(view.published.as_ref().map(|p| (p.enabled, &p.settings)));
    let (enabled, settings) = match own.or(view.fallback.as_ref().map(|f| (f.enabled, &f.settings)))
    {
        Some((enabled, settings)) => (enabled, settings.clone()),
        None if channels.is_empty() => (true, RuleSettings::default_for(&Channel::ALL)),
        None => (true, RuleSettings::default_for(channels)),
    };
    (enabled, settings)
}
