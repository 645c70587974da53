//! Pausing and resuming: of everything, an account, a channel or one rule.
//!
//! A pause is a row that every decision reads right before it: it holds for all workers from the moment it is written. Scans go
//! on, so that who reads meanwhile is not reminded afterwards; what waits is held, and expires when its deadline passes.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;

use super::accounts::{Accounts, Allowed};
use super::rules::ChangeAuthor;
use super::{ControlError, Fault};
use crate::clock::Clock;
use crate::db;
use crate::db::audit::NewAuditEntry;
use crate::db::pauses::Pause;
use crate::domain::decide::Reason;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::pause::{PausedScopes, Scope};
use crate::jobs::release::release;

const LONGEST_NOTE: usize = 500;

/// A pause as it is told.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PauseView {
    /// `everything`, `account`, `channel` or `rule`.
    pub scope: &'static str,
    pub account: Option<AccountId>,
    /// Of a channel; a rule is paused on all of its channels.
    pub channel: Option<Channel>,
    /// Of a rule; left out for the account's default.
    pub skill: Option<SkillId>,
    /// If LivePerson lists the skill.
    pub skill_name: Option<String>,
    pub paused_by: String,
    pub paused_at: DateTime<Utc>,
    pub note: String,
    #[serde(skip)]
    pub of: Scope,
}

impl PauseView {
    fn new(pause: Pause, skill_name: Option<String>) -> Self {
        let (scope, channel, skill) = match &pause.scope {
            Scope::Everything => ("everything", None, None),
            Scope::Account(_) => ("account", None, None),
            Scope::Channel(_, channel) => ("channel", Some(*channel), None),
            Scope::Rule(key) => ("rule", None, key.skill),
        };
        Self {
            scope,
            account: pause.scope.account().cloned(),
            channel,
            skill,
            skill_name,
            paused_by: pause.paused_by,
            paused_at: pause.paused_at,
            note: pause.note,
            of: pause.scope,
        }
    }
}

/// Everything that is paused in the accounts that the caller may see, and of the whole installation, newest first.
pub async fn list(pool: &PgPool, accounts: &Accounts) -> Result<Vec<PauseView>, ControlError> {
    let mut list = Vec::new();
    for pause in seen(pool, accounts).await? {
        let skill_name = match &pause.scope {
            Scope::Rule(key) => db::rule_list::place(pool, key).await?.skill_name,
            _ => None,
        };
        list.push(PauseView::new(pause, skill_name));
    }
    Ok(list)
}

pub(super) async fn seen(pool: &PgPool, accounts: &Accounts) -> sqlx::Result<Vec<Pause>> {
    let mut pauses = db::pauses::all(pool).await?;
    pauses.retain(|pause| pause.scope.account().is_none_or(|of| accounts.sees(of)));
    Ok(pauses)
}

/// What pauses hold at this moment in the accounts that the caller may see.
pub async fn held(pool: &PgPool, accounts: &Accounts) -> Result<PausedScopes, ControlError> {
    let pauses = seen(pool, accounts).await?;
    let scopes: Vec<Scope> = pauses.into_iter().map(|pause| pause.scope).collect();
    let of_skills = if scopes.iter().any(|scope| matches!(scope, Scope::Rule(_))) {
        db::rule_list::of_skills(pool, accounts.ids()).await?
    } else {
        Vec::new()
    };
    Ok(PausedScopes {
        scopes,
        of_skills: of_skills.into_iter().collect(),
    })
}

/// Pauses, until somebody resumes. `note` says why, for the others.
pub async fn pause(
    pool: &PgPool,
    scope: &Allowed<Scope>,
    note: &str,
    by: ChangeAuthor<'_>,
) -> Result<(), ControlError> {
    let note = note.trim();
    if note.chars().count() > LONGEST_NOTE {
        return Err(ControlError::Invalid(vec![Fault {
            field: "/note".to_owned(),
            detail: format!("must be {LONGEST_NOTE} characters or less"),
        }]));
    }
    let mut tx = pool.begin().await?;
    exists(&mut tx, scope).await?;
    let pause = Pause {
        scope: Scope::clone(scope),
        paused_by: by.name.to_owned(),
        paused_at: by.now,
        note: note.to_owned(),
    };
    if !db::pauses::add(&mut tx, &pause).await? {
        return Err(ControlError::Conflict("That is paused already.".to_owned()));
    }
    record(&mut tx, scope, "pause", by).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends a pause: what it held goes out now, if nothing else stands in the way. Returns how many reminders were held.
pub async fn resume(
    pool: &PgPool,
    clock: &Clock,
    scope: &Allowed<Scope>,
    by: ChangeAuthor<'_>,
) -> Result<usize, ControlError> {
    let mut tx = pool.begin().await?;
    if !db::pauses::remove(&mut tx, scope).await? {
        return Err(ControlError::NotFound(format!("pause of {scope}")));
    }
    let of = (Reason::Paused, scope.account());
    let held = release(&mut tx, clock, of, by.now).await?;
    record(&mut tx, scope, "resume", by).await?;
    tx.commit().await?;
    Ok(held)
}

async fn exists(conn: &mut PgConnection, scope: &Scope) -> Result<(), ControlError> {
    let Some(account) = scope.account() else {
        return Ok(());
    };
    if let Scope::Rule(key) = scope {
        let rule = db::rules::find(&mut *conn, key).await?;
        return rule
            .map(drop)
            .ok_or_else(|| ControlError::NotFound(format!("rule {key}")));
    }
    if db::accounts::known(conn, account).await? {
        Ok(())
    } else {
        Err(ControlError::NotFound(format!("account {account}")))
    }
}

async fn record(
    conn: &mut PgConnection,
    scope: &Scope,
    action: &str,
    by: ChangeAuthor<'_>,
) -> Result<(), ControlError> {
    let entry = NewAuditEntry {
        by: by.name,
        action,
        account: scope.account(),
        subject: &scope.to_string(),
        detail: json!({}),
    };
    db::audit::record(conn, &entry, by.now).await?;
    Ok(())
}
