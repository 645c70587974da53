//! What becomes of a time that the database has lost.

use chrono::{DateTime, Utc};
use sqlx::{Connection, FromRow, PgConnection, PgExecutor, PgPool};

use super::columns::readable;
use crate::domain::ids::{AccountId, Channel, ReminderId};

/// From the last moment that the database knows of to the last at which somebody may have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostPeriod {
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

/// Whoever has it takes up the lost time: any number, the same for all.
const LOCK: i64 = 0x756e_7265_6164_7273;

/// A connection that keeps others from the same work until it is closed; none if somebody else is at it.
pub async fn alone(pool: &PgPool) -> sqlx::Result<Option<PgConnection>> {
    let mut conn = pool.acquire().await?.detach();
    let alone: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut conn)
        .await?;
    if alone {
        return Ok(Some(conn));
    }
    conn.close().await?;
    Ok(None)
}

/// Reminders `r` that may have been sent in the lost time. What fell due in it was not looked at before, so its state is from after the
/// restore. What was due before and waited, for a moment after it, was not sent in it; what waited for anything else may have been.
macro_rules! perhaps_sent {
    () => {
        "r.due_at <= $2 and (
             (r.due_at > $1 and r.state in ('scheduled', 'expired'))
             or (r.state = 'scheduled' and (r.next_at <= $2 or r.reason is null
                 or r.reason not in ('quiet_hours', 'gap', 'cap_conversation', 'cap_consumer', 'cap_address',
                     'awaiting_report'))))"
    };
}

/// A reminder that may have been sent.
#[derive(Clone, Debug, FromRow)]
pub struct PerhapsSent {
    pub id: ReminderId,
    pub account: AccountId,
    pub conversation: String,
}

/// Those of a channel, to be looked up at their provider.
pub async fn perhaps_sent(
    db: impl PgExecutor<'_>,
    channel: Channel,
    lost: LostPeriod,
) -> sqlx::Result<Vec<PerhapsSent>> {
    let rows = sqlx::query(concat!(
        "select r.id, r.account, r.conversation from reminders r where r.channel = $3 and ",
        perhaps_sent!(),
        " order by r.id"
    ))
    .bind(lost.from)
    .bind(lost.until)
    .bind(channel)
    .fetch_all(db)
    .await?;
    readable(&rows)
}

/// They become unknown: final, counted towards the caps, and not sent again. Returns how many by channel.
pub async fn make_unknown(
    conn: &mut PgConnection,
    lost: LostPeriod,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(Channel, i64)>> {
    sqlx::query_as(concat!(
        "with unknown as (
             update reminders r set state = 'unknown', reason = 'restored', next_at = null, final_at = $3,
                 counted_at = coalesce(r.counted_at, least(r.due_at, $3))
             where ",
        perhaps_sent!(),
        " returning r.channel
         )
         select channel, count(*) from unknown group by channel order by channel"
    ))
    .bind(lost.from)
    .bind(lost.until)
    .bind(now)
    .fetch_all(conn)
    .await
}

/// A reminder whose message is looked up at the provider by the address that it went to, if it was sent.
#[derive(Clone)]
pub struct LookUp {
    pub reminder: ReminderId,
    pub address: String,
}

/// Has unknown reminders looked up as if their attempts of the lost time had been found open. What is not there is sent, if it is still in
/// time.
pub async fn look_up(
    conn: &mut PgConnection,
    wanted: &[LookUp],
    lost: LostPeriod,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    sqlx::query(
        "with input as (
             -- One of each conversation waits at a time; the others stay unknown.
             select distinct on (r.account, r.conversation) t.id, t.address
             from unnest($1::bigint[], $2::text[]) as t(id, address) join reminders r on r.id = t.id
             order by r.account, r.conversation, r.due_at desc, r.id
         ), settling as (
             update reminders r set state = 'sending', reason = 'settling', next_at = $4, final_at = null, tries = r.tries + 1
             from input i where r.id = i.id and r.state = 'unknown' and r.reason = 'restored'
               -- Another step may wait by now.
               and not exists (
                   select from pending p where p.account = r.account and p.conversation = r.conversation)
             returning r.id
         )
         insert into attempts (reminder, number, sender, address, started_at, lease_until, ended_at, outcome, code, settle_at)
         select i.id, 1 + (select count(*) from attempts a where a.reminder = i.id), '', i.address, $3, now(), $4,
                'unknown', 'restored', now()
         from input i join settling s on s.id = i.id",
    )
    .bind(wanted.iter().map(|w| w.reminder).collect::<Vec<_>>())
    .bind(wanted.iter().map(|w| w.address.as_str()).collect::<Vec<_>>())
    .bind(lost.from)
    .bind(now)
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}

/// Notes the lost time: scans owe nothing that fell due before its end and is not in the ledger.
pub async fn note(conn: &mut PgConnection, lost: LostPeriod) -> sqlx::Result<()> {
    sqlx::query("insert into lost_times (lost_from, lost_until) values ($1, $2)")
        .bind(lost.from)
        .bind(lost.until)
        .execute(conn)
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct UncertainConversation {
    account: String,
    conversation: String,
}

/// A page of all conversations that anything is known of, in order, after one.
pub async fn conversations(
    db: impl PgExecutor<'_>,
    after: Option<&(String, String)>,
    most: i64,
) -> sqlx::Result<Vec<(String, String)>> {
    let rows: Vec<UncertainConversation> = sqlx::query_as(
        "select account, conversation from (
             (select account, id as conversation from conversations
              where $1::text is null or (account, id) > ($1, $2) order by 1, 2 limit $3)
             union
             (select account, conversation from reminders
              where ($1::text is null or (account, conversation) > ($1, $2)) and conversation not like 'erased:%'
              order by 1, 2 limit $3)
         ) known order by 1, 2 limit $3",
    )
    .bind(after.map(|(account, _)| account.as_str()))
    .bind(after.map(|(_, conversation)| conversation.as_str()))
    .bind(most)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.account, row.conversation))
        .collect())
}
