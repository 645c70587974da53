//! Forgetting a person: what is about them goes, what only counts stays.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::suppressions::AddressHash;
use crate::domain::ids::AccountId;

/// What an erasure touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    pub conversations: u64,
    /// Reminders that no longer point to the person.
    pub reminders: u64,
    /// Of these, cancelled because they were still to be sent.
    pub cancelled: u64,
    pub decisions: u64,
    /// Reminders with a provider at this moment: they cannot be called back.
    pub in_flight: i64,
    /// Conversations that are open at LivePerson: the next scan finds them again.
    pub still_open: i64,
}

/// The conversations of a consumer, by any of the ids.
pub async fn conversations_of_consumer(
    conn: &mut PgConnection,
    account: &AccountId,
    consumer: &str,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select distinct conversation from consumers where account = $1 and consumer = $2",
    )
    .bind(account.as_str())
    .bind(consumer)
    .fetch_all(conn)
    .await
}

/// The conversations of which somebody was, or was to be, reminded at this address.
pub async fn conversations_of_address(
    conn: &mut PgConnection,
    account: &AccountId,
    hash: &AddressHash,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select distinct conversation from reminders where account = $1 and recipient_hash = $2",
    )
    .bind(account.as_str())
    .bind(hash.as_slice())
    .fetch_all(conn)
    .await
}

/// Erases what these conversations say about their consumer.
///
/// Reminders stay as counts: without conversation, recipient and link. The key of those whose conversation is still open stays
/// until it closes, or the next scan would remind once more of the same message.
pub async fn conversations(
    conn: &mut PgConnection,
    account: &AccountId,
    ids: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<Erased> {
    let account = account.as_str();
    let cancelled = sqlx::query(
        "update reminders set state = 'cancelled', reason = 'erased', next_at = null, final_at = $3
         where account = $1 and conversation = any ($2) and state = 'scheduled'",
    )
    .bind(account)
    .bind(ids)
    .bind(now)
    .execute(&mut *conn)
    .await?
    .rows_affected();
    let (in_flight, still_open): (i64, i64) = sqlx::query_as(
        "select (select count(*) from reminders where account = $1 and conversation = any ($2) and state = 'sending'),
                (select count(*) from conversations where account = $1 and id = any ($2) and open)",
    )
    .bind(account)
    .bind(ids)
    .fetch_one(&mut *conn)
    .await?;
    let decisions =
        sqlx::query("delete from decisions where account = $1 and conversation = any ($2)")
            .bind(account)
            .bind(ids)
            .execute(&mut *conn)
            .await?
            .rows_affected();
    sqlx::query(
        "update attempts a set address = null, provider_id = null from reminders r
         where a.reminder = r.id and r.account = $1 and r.conversation = any ($2)",
    )
    .bind(account)
    .bind(ids)
    .execute(&mut *conn)
    .await?;
    let reminders = sqlx::query(
        "with kept as (
             select id from conversations where account = $1 and id = any ($2) and open
         ), forgotten as (
             update reminders r set recipient_hash = null, provider_id = null,
                 token = replace(gen_random_uuid()::text, '-', ''),
                 conversation = case when k.id is null then 'erased:' || r.id else r.conversation end,
                 episode = case when k.id is null then 'erased:' || r.id else r.episode end
             from reminders old left join kept k on k.id = old.conversation
             where old.id = r.id and r.account = $1 and r.conversation = any ($2)
             returning r.id, r.conversation, r.channel, r.reason
         ), logged as (
             insert into decisions (at, account, conversation, channel, reminder, stage, verdict, reason)
             select $3, $1, conversation, channel, id, 'operator', 'cancel', 'erased' from forgotten where reason = 'erased'
         )
         select id from forgotten",
    )
    .bind(account)
    .bind(ids)
    .bind(now)
    .fetch_all(&mut *conn)
    .await?
    .len() as u64;
    let conversations =
        sqlx::query("delete from conversations where account = $1 and id = any ($2)")
            .bind(account)
            .bind(ids)
            .execute(conn)
            .await?
            .rows_affected();
    Ok(Erased {
        conversations,
        reminders,
        cancelled,
        decisions,
        in_flight,
        still_open,
    })
}
