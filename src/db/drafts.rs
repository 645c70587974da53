//! Drafts of rules: what a person is writing, and what it started from. One per key.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::rules::{self, Stored};
use crate::domain::rule::{RuleKey, RuleSettings};

#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The version of the rule that it started from; 0: there was none.
    pub based_on: i32,
    /// New on every save, and never used twice.
    pub revision: i64,
    pub enabled: bool,
    pub settings: RuleSettings,
    pub changed_by: String,
    pub changed_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct DraftRow {
    based_on: i32,
    revision: i64,
    enabled: bool,
    settings: Stored,
    changed_by: String,
    changed_at: DateTime<Utc>,
}

impl DraftRow {
    fn draft(self, key: &RuleKey) -> Draft {
        let row = self;
        Draft {
            based_on: row.based_on,
            revision: row.revision,
            enabled: row.enabled,
            settings: rules::settings(key, row.based_on, &row.settings),
            changed_by: row.changed_by,
            changed_at: row.changed_at,
        }
    }
}

pub async fn find(db: impl PgExecutor<'_>, key: &RuleKey) -> sqlx::Result<Option<Draft>> {
    let row: Option<DraftRow> = sqlx::query_as(
        "select based_on, revision, enabled, settings, changed_by, changed_at from rule_drafts
         where account = $1 and skill is not distinct from $2",
    )
    .bind(&key.account)
    .bind(key.skill)
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| row.draft(key)))
}

/// Writes the draft of a key, in place of the one that is there. Returns it with its new revision.
pub async fn save(
    conn: &mut PgConnection,
    key: &RuleKey,
    based_on: i32,
    (enabled, settings): (bool, &RuleSettings),
    by: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Draft> {
    let row: DraftRow = sqlx::query_as(
        "insert into rule_drafts (account, skill, based_on, enabled, settings, changed_by, changed_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (account, skill) do update set based_on = $3, enabled = $4, settings = $5, changed_by = $6,
             changed_at = $7, revision = nextval('rule_draft_revisions')
         returning based_on, revision, enabled, settings, changed_by, changed_at",
    )
    .bind(&key.account)
    .bind(key.skill)
    .bind(based_on)
    .bind(enabled)
    .bind(Json(settings))
    .bind(by)
    .bind(now)
    .fetch_one(conn)
    .await?;
    Ok(row.draft(key))
}

/// Removes the draft of a key. True if there was one.
pub async fn remove(conn: &mut PgConnection, key: &RuleKey) -> sqlx::Result<bool> {
    sqlx::query("delete from rule_drafts where account = $1 and skill is not distinct from $2")
        .bind(&key.account)
        .bind(key.skill)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1)
}
