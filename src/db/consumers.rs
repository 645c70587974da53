//! What is known of one consumer, for whoever is asked about them: conversations, the addresses written to (as keyed hashes).

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor};

use super::suppressions::AddressHash;
use crate::domain::ids::{AccountId, Channel};

/// A conversation as the last scan left it.
#[derive(Clone, Debug, FromRow)]
pub struct Conversation {
    pub account: String,
    pub id: String,
    pub skill: i64,
    pub skill_name: Option<String>,
    pub started_at: DateTime<Utc>,
    pub open: bool,
    pub read_state: String,
    pub unread_since: Option<DateTime<Utc>>,
    pub unread_count: i32,
    pub time_zone: Option<String>,
    pub language: Option<String>,
    /// Why there is, or is not, a reminder now, by channel.
    pub email_reason: Option<String>,
    pub sms_reason: Option<String>,
    pub seen_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
}

/// Conversations told of at once.
const MOST: i64 = 100;

/// These conversations, newest first.
pub async fn conversations(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    ids: &[String],
) -> sqlx::Result<Vec<Conversation>> {
    sqlx::query_as(
        "select c.account, c.id, c.skill, s.name as skill_name, c.started_at, c.open, c.read_state, c.unread_since,
                c.unread_count, c.time_zone, c.language, c.email_reason, c.sms_reason, c.seen_at, c.closed_at
         from conversations c left join skills s on s.account = c.account and s.id = c.skill
         where c.account = $1 and c.id = any ($2) and c.seen_at < '9999-01-01' order by c.started_at desc limit $3",
    )
    .bind(account.as_str())
    .bind(ids)
    .bind(MOST)
    .fetch_all(db)
    .await
}

/// Where the consumer of these conversations was written to, most recently first.
pub async fn recipients(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    conversations: &[String],
) -> sqlx::Result<Vec<(Channel, AddressHash)>> {
    let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(
        "select channel, recipient_hash from reminders
         where account = $1 and conversation = any ($2) and recipient_hash is not null
         group by 1, 2 order by max(created_at) desc limit $3",
    )
    .bind(account.as_str())
    .bind(conversations)
    .bind(MOST)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(channel, hash)| Some((channel.parse().ok()?, hash.try_into().ok()?)))
        .collect())
}
