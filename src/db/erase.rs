//! Forgetting a person: what is about them goes, what only counts stays.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::changes;
use super::suppressions::AddressHash;
use crate::domain::ids::AccountId;

/// What an erasure touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErasureCounts {
    pub conversations: u64,
    /// Reminders that no longer point to the person.
    pub reminders: u64,
    /// Of these, cancelled because they were still to be sent.
    pub cancelled: u64,
    pub decisions: u64,
    /// Reminders with a provider at this moment: they cannot be called back.
    pub in_flight: i64,
    /// Conversations that are open at LivePerson: no scan reads them again.
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
    .bind(account)
    .bind(consumer)
    .fetch_all(conn)
    .await
}

/// The conversations in which this address is known: somebody was, or was to be, reminded at it, or a scan decided about it.
pub async fn conversations_of_address(
    conn: &mut PgConnection,
    account: &AccountId,
    hash: &AddressHash,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select conversation from reminders where account = $1 and recipient_hash = $2
         union select conversation from decisions where account = $1 and address_hashes @> array[$2::bytea]",
    )
    .bind(account)
    .bind(hash.as_slice())
    .fetch_all(conn)
    .await
}

/// Erases what these conversations say about their consumer. Who listens to changes of the consumer is told.
///
/// Reminders stay as counts: without conversation, recipient and link. So does a husk of each conversation that is still open at
/// LivePerson: its id, and that no record of it is ever news. Without it, the next scan would store the person anew and owe the
/// steps that were not yet written down. It goes when retention has passed; a conversation begun after the erasure is a new one.
pub async fn conversations(
    conn: &mut PgConnection,
    account: &AccountId,
    ids: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<ErasureCounts> {
    // Before the consumers' ids are gone: the notice is made of them.
    changes::notify(conn, account, ids).await?;
    let still_open = husks(conn, account, ids, now).await?;
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
    let in_flight: i64 = sqlx::query_scalar(
        "select count(*) from reminders where account = $1 and conversation = any ($2) and state = 'sending'",
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
    sqlx::query("delete from unreadable where account = $1 and conversation = any ($2)")
        .bind(account)
        .bind(ids)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "update attempts a set address = null, provider_id = null from reminders r
         where a.reminder = r.id and r.account = $1 and r.conversation = any ($2)",
    )
    .bind(account)
    .bind(ids)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "delete from refusals f using reminders r
         where f.reminder = r.id and r.account = $1 and r.conversation = any ($2)",
    )
    .bind(account)
    .bind(ids)
    .execute(&mut *conn)
    .await?;
    let reminders = sqlx::query(
        "with forgotten as (
             update reminders r set recipient_hash = null, provider_id = null, time_zone = null, zone_source = null,
                 token = replace(gen_random_uuid()::text, '-', ''),
                 conversation = 'erased:' || r.id, episode = 'erased:' || r.id
             where r.account = $1 and r.conversation = any ($2)
             returning r.id, r.conversation, r.channel, r.step, r.reason
         ), logged as (
             insert into decisions (at, account, conversation, channel, step, reminder, stage, verdict, reason)
             select $3, $1, conversation, channel, step, id, 'operator', 'cancel', 'erased' from forgotten where reason = 'erased'
         )
         select id from forgotten",
    )
    .bind(account)
    .bind(ids)
    .bind(now)
    .fetch_all(&mut *conn)
    .await?
    .len() as u64;
    let gone = sqlx::query(
        "delete from conversations where account = $1 and id = any ($2) and seen_at <> $3::timestamptz",
    )
    .bind(account)
    .bind(ids)
    .bind(END_OF_TIME)
    .execute(conn)
    .await?
    .rows_affected();
    Ok(ErasureCounts {
        conversations: gone + u64::try_from(still_open).unwrap_or_default(),
        reminders,
        cancelled,
        decisions,
        in_flight,
        still_open,
    })
}

/// Leaves a husk of each conversation that is not known: no record of it is ever stored.
pub async fn never_store(
    conn: &mut PgConnection,
    account: &AccountId,
    ids: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into conversations (account, id, skill, started_at, open, read_state, seen_at, changed_at, closed_at)
         select $1, id, -1, $3, false, 'read', $4::timestamptz, $3, $3 from unnest($2::text[]) as id
         on conflict (account, id) do nothing",
    )
    .bind(account)
    .bind(ids)
    .bind(now)
    .bind(END_OF_TIME)
    .execute(conn)
    .await?;
    Ok(())
}

/// No record is newer than this, so none is stored over it.
const END_OF_TIME: &str = "9999-12-31T00:00:00Z";

/// Leaves a husk of each open conversation. Returns how many. (They are marked closed: nobody asks LivePerson for them again.)
async fn husks(
    conn: &mut PgConnection,
    account: &AccountId,
    ids: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    for sql in [
        "delete from consumers where account = $1 and conversation = any ($2)",
        "delete from open_badges where account = $1 and conversation = any ($2)",
    ] {
        let deleted = sqlx::query(sql).bind(account).bind(ids);
        deleted.execute(&mut *conn).await?;
    }
    let husks = sqlx::query(
        "update conversations set skill = -1, started_at = $3, open = false, read_state = 'read', episode = null,
             unread_since = null, unread_count = 0, time_zone = null, language = null, reason = null,
             step = null, channel = null, passed_over = '{}',
             address_hashes = '{}', seen_at = $4::timestamptz, changed_at = $3, closed_at = $3
         where account = $1 and id = any ($2) and open",
    )
    .bind(account)
    .bind(ids)
    .bind(now)
    .bind(END_OF_TIME)
    .execute(conn)
    .await?;
    Ok(i64::try_from(husks.rows_affected()).unwrap_or(i64::MAX))
}
