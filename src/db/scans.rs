//! The latest scan of each skill.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use crate::domain::ids::{AccountId, SkillId};

/// What a finished scan found.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub conversations: u32,
    pub unreadable: u32,
    /// Conversations with something unread, and those of which nobody can tell.
    pub unread: u32,
    pub undecided: u32,
    /// Why it ended early; `None` for a complete scan.
    pub error: Option<String>,
}

pub async fn started(
    pool: &PgPool,
    account: &AccountId,
    skill: SkillId,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into scans (account, skill, started_at) values ($1, $2, $3)
         on conflict (account, skill) do update set started_at = excluded.started_at",
    )
    .bind(account.as_str())
    .bind(skill.0)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(())
}

pub async fn finished(
    pool: &PgPool,
    account: &AccountId,
    skill: SkillId,
    summary: &Summary,
    duration: std::time::Duration,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update scans set finished_at = $3, duration_ms = $4, conversations = $5, unreadable = $6, error = $7,
             succeeded_at = case when $7::text is null then $3 else succeeded_at end, unread = $8, undecided = $9
         where account = $1 and skill = $2",
    )
    .bind(account.as_str())
    .bind(skill.0)
    .bind(now)
    .bind(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    .bind(i32::try_from(summary.conversations).unwrap_or(i32::MAX))
    .bind(i32::try_from(summary.unreadable).unwrap_or(i32::MAX))
    .bind(summary.error.as_deref())
    .bind(i32::try_from(summary.unread).unwrap_or(i32::MAX))
    .bind(i32::try_from(summary.undecided).unwrap_or(i32::MAX))
    .execute(pool)
    .await?;
    Ok(())
}
