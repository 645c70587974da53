//! Conversations with something unread whose badge a page shows: what recent passes do not show of them, that they were read or closed, is
//! asked for by id.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use crate::domain::ids::AccountId;

/// A badge that no page has asked for within this time is not open any more. Pages ask twice a minute, event streams once.
pub const OPEN_FOR: TimeDelta = TimeDelta::minutes(3);

/// Notes that pages show these conversations as unread.
pub async fn shown(
    pool: &PgPool,
    shown: &[(AccountId, String)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into open_badges as o (account, conversation, shown_at)
         select distinct s.account, s.conversation, $3
         from unnest($1::text[], $2::text[]) as s (account, conversation)
         join conversations c on c.account = s.account and c.id = s.conversation and c.open and c.read_state = 'unread'
         order by 1, 2
         on conflict (account, conversation) do update set shown_at = greatest(o.shown_at, excluded.shown_at)",
    )
    .bind(shown.iter().map(|(account, _)| account).collect::<Vec<_>>())
    .bind(shown.iter().map(|(_, conversation)| conversation).collect::<Vec<_>>())
    .bind(now)
    .execute(pool)
    .await?;
    Ok(())
}

/// Those of an account that are unread as far as is known, were not looked at since `before`, and whose badges are open; at most `most`, who
/// has waited longest first.
pub async fn due(
    pool: &PgPool,
    account: &AccountId,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
    most: usize,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select o.conversation from open_badges o join conversations c on c.account = o.account and c.id = o.conversation
         where o.account = $1 and o.shown_at >= $3 and c.open and c.read_state = 'unread' and greatest(c.seen_at, o.checked_at) < $2
         order by o.checked_at nulls first, o.shown_at limit $4",
    )
    .bind(account)
    .bind(before)
    .bind(now - OPEN_FOR)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await
}

/// Notes that LivePerson was asked about these at `asked_at`.
pub async fn checked(
    pool: &PgPool,
    account: &AccountId,
    conversations: &[String],
    asked_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update open_badges set checked_at = $3 where account = $1 and conversation = any ($2)",
    )
    .bind(account)
    .bind(conversations)
    .bind(asked_at)
    .execute(pool)
    .await?;
    Ok(())
}
