//! Conversations whose records cannot be read: which, since when, and whether somebody should still look.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::domain::ids::AccountId;

/// What is not met for so long is over.
pub const OVER_AFTER: TimeDelta = TimeDelta::days(1);

/// A record that does not tell whose it is.
pub const NAMELESS: &str = "?";

/// Notes that these were met and could not be read. Returns those that had not been met in the day before.
pub async fn met(
    conn: &mut PgConnection,
    account: &AccountId,
    conversations: &[&str],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "insert into unreadable as u (account, conversation, first_at, last_at)
         select distinct $1, c, $3, $3 from unnest($2::text[]) c order by c
         on conflict (account, conversation) do update set
             first_at = case when u.last_at < $4 then $3 else u.first_at end, last_at = greatest(u.last_at, $3)
         returning case when first_at = $3 then conversation end",
    )
    .bind(account)
    .bind(conversations)
    .bind(now)
    .bind(now - OVER_AFTER)
    .fetch_all(conn)
    .await
    .map(|rows: Vec<Option<String>>| rows.into_iter().flatten().collect())
}

/// Those that somebody should look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub struct UnreadableCount {
    pub count: i64,
    /// When the newest of them began to be unreadable.
    pub newest: Option<DateTime<Utc>>,
}

/// Of these accounts: met within the day, and neither read since nor closed.
pub async fn open(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
    now: DateTime<Utc>,
) -> sqlx::Result<UnreadableCount> {
    sqlx::query_as(
        "select count(*) as count, max(u.first_at) as newest
         from unreadable u left join conversations c on c.account = u.account and c.id = u.conversation
         where u.account = any ($1) and u.last_at >= $2 and (c.id is null or c.open and c.seen_at <= u.last_at)",
    )
    .bind(accounts)
    .bind(now - OVER_AFTER)
    .fetch_one(db)
    .await
}
