//! What a reminder's link leads to, and what following it tells us.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgPool};

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

/// The first click counts as having been seen: it is a return if it came in time, and it settles whether the message arrived.
pub async fn clicked(pool: &PgPool, reminder: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "update reminders set clicked_at = $2,
             returned_at = coalesce(returned_at,
                 case when coalesce(sent_at, counted_at) + interval '24 hours' >= $2 then $2 end),
             sent_at = case when state = 'unknown' then coalesce(sent_at, counted_at) else sent_at end,
             state = case when state = 'unknown' then 'delivered' else state end
         where id = $1 and clicked_at is null",
    )
    .bind(reminder)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(())
}
