//! Pausing and resuming: of everything, an account, a channel or one rule.
//!
//! A pause is a row that every decision reads right before it: it holds for all workers from the moment it is written. Scans go
//! on, so that who reads meanwhile is not reminded afterwards; what waits is held, and expires when its deadline passes.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;

use super::rules::By;
use super::{Error, Fault};
use crate::clock::Clock;
use crate::db;
use crate::db::audit::Entry;
use crate::db::pauses::Pause;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::pause::Scope;
use crate::jobs::names;
use crate::jobs::queue::{self, When};

/// Of the reminders held, so many are woken when a pause ends; the others are looked at within ten minutes.
const MOST_RELEASED: i64 = 10_000;
const LONGEST_NOTE: usize = 500;

/// A pause as it is told.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PauseView {
    /// `everything`, `account`, `channel` or `rule`.
    pub scope: &'static str,
    pub account: Option<AccountId>,
    pub channel: Option<Channel>,
    /// Of a rule; left out for the account's default.
    pub skill: Option<SkillId>,
    pub paused_by: String,
    pub paused_at: DateTime<Utc>,
    pub note: String,
}

impl From<Pause> for PauseView {
    fn from(pause: Pause) -> Self {
        let (scope, channel, skill) = match &pause.scope {
            Scope::Everything => ("everything", None, None),
            Scope::Account(_) => ("account", None, None),
            Scope::Channel(_, channel) => ("channel", Some(*channel), None),
            Scope::Rule(key) => ("rule", Some(key.channel), key.skill),
        };
        Self {
            scope,
            account: pause.scope.account().cloned(),
            channel,
            skill,
            paused_by: pause.paused_by,
            paused_at: pause.paused_at,
            note: pause.note,
        }
    }
}

/// Everything that is paused, newest first.
pub async fn list(pool: &PgPool) -> Result<Vec<PauseView>, Error> {
    let pauses = db::pauses::all(pool).await?;
    Ok(pauses.into_iter().map(PauseView::from).collect())
}

/// Pauses, until somebody resumes. `note` says why, for the others.
pub async fn pause(pool: &PgPool, scope: &Scope, note: &str, by: By<'_>) -> Result<(), Error> {
    let note = note.trim();
    if note.chars().count() > LONGEST_NOTE {
        return Err(Error::Invalid(vec![Fault {
            field: "/note".to_owned(),
            detail: format!("must be {LONGEST_NOTE} characters or less"),
        }]));
    }
    let mut tx = pool.begin().await?;
    exists(&mut tx, scope).await?;
    let pause = Pause {
        scope: scope.clone(),
        paused_by: by.name.to_owned(),
        paused_at: by.now,
        note: note.to_owned(),
    };
    if !db::pauses::add(&mut tx, &pause).await? {
        return Err(Error::Conflict("That is paused already.".to_owned()));
    }
    record(&mut tx, scope, "pause", by).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends a pause: what it held goes out now, if nothing else stands in the way. Returns how many reminders were held.
pub async fn resume(
    pool: &PgPool,
    clock: &Clock,
    scope: &Scope,
    by: By<'_>,
) -> Result<usize, Error> {
    let mut tx = pool.begin().await?;
    if !db::pauses::remove(&mut tx, scope).await? {
        return Err(Error::NotFound(format!("pause of {scope}")));
    }
    let held = db::pauses::release(&mut tx, scope.account(), by.now, MOST_RELEASED).await?;
    for channel in Channel::ALL {
        let of_channel = held.iter().filter(|(_, _, c)| *c == channel);
        let wakeups = of_channel.map(|(id, account, _)| names::deliver(account, *id, by.now));
        let queue = names::deliver_queue(channel);
        queue::wake(&mut tx, clock, queue, When::At, wakeups).await?;
    }
    record(&mut tx, scope, "resume", by).await?;
    tx.commit().await?;
    Ok(held.len())
}

async fn exists(conn: &mut PgConnection, scope: &Scope) -> Result<(), Error> {
    let Some(account) = scope.account() else {
        return Ok(());
    };
    if let Scope::Rule(key) = scope {
        let rule = db::rules::find(&mut *conn, key).await?;
        return rule
            .map(drop)
            .ok_or_else(|| Error::NotFound(format!("rule {key}")));
    }
    if db::accounts::known(conn, account).await? {
        Ok(())
    } else {
        Err(Error::NotFound(format!("account {account}")))
    }
}

async fn record(
    conn: &mut PgConnection,
    scope: &Scope,
    action: &str,
    by: By<'_>,
) -> Result<(), Error> {
    let entry = Entry {
        by: by.name,
        action,
        account: scope.account().map(AccountId::as_str),
        subject: &scope.to_string(),
        detail: json!({}),
    };
    db::audit::record(conn, &entry, by.now).await?;
    Ok(())
}
