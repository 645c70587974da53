//! What a reminder's link leads to, and what following it tells us.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgPool};

/// The reminder behind an unguessable word.
#[derive(Clone, Debug, FromRow)]
pub struct Linked {
    pub id: i64,
    pub account: String,
    pub channel: String,
    pub recipient_hash: Option<Vec<u8>>,
    pub created_at: DateTime<Utc>,
}

pub async fn find(pool: &PgPool, token: &str) -> sqlx::Result<Option<Linked>> {
    sqlx::query_as(
        "select id, account, channel, recipient_hash, created_at from reminders where token = $1",
    )
    .bind(token)
    .fetch_optional(pool)
    .await
}

/// The first click counts as having been seen: it is a return if it came in time.
pub async fn clicked(pool: &PgPool, reminder: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "update reminders set clicked_at = $2,
             returned_at = coalesce(returned_at, case when sent_at + interval '24 hours' >= $2 then $2 end)
         where id = $1 and clicked_at is null",
    )
    .bind(reminder)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(())
}

/// What a provider reports about a message it accepted.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// Our attempt, as the callback's address names it.
    pub attempt: Option<i64>,
    pub provider_id: &'a str,
    /// `sent`, `delivered`, `undelivered` or nothing that changes the state.
    pub state: Option<&'static str>,
    pub code: Option<String>,
}

/// Applies a provider's report. Proves acceptance of an attempt whose answer was lost; never moves a state backwards, and keeps
/// the first final word. Returns the reminder's account, channel and recipient when it was known.
pub async fn report(
    conn: &mut PgConnection,
    report: &Report<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(String, Option<Vec<u8>>)>> {
    let reminder: Option<i64> = sqlx::query_scalar(
        "update attempts set outcome = 'accepted', provider_id = $2, ended_at = coalesce(ended_at, $3), address = null,
             settle_at = null
         where id = coalesce((select id from attempts where provider_id = $2 limit 1), $1)
           and (provider_id is null or provider_id = $2)
         returning reminder",
    )
    .bind(report.attempt)
    .bind(report.provider_id)
    .bind(now)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(reminder) = reminder else {
        return Ok(None);
    };
    sqlx::query_as(
        "update reminders set
             state = case when state in ('delivered', 'undelivered', 'failed') then state else coalesce($2, 'sent') end,
             reason = case when state in ('delivered', 'undelivered', 'failed') then reason else $3 end,
             provider_id = $4, next_at = null, counted_at = coalesce(counted_at, $5),
             sent_at = coalesce(sent_at, $5), final_at = coalesce(final_at, $5)
         where id = $1
         returning account, recipient_hash",
    )
    .bind(reminder)
    .bind(report.state)
    .bind(report.code.as_deref())
    .bind(report.provider_id)
    .bind(now)
    .fetch_optional(conn)
    .await
}
