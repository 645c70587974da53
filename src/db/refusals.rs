//! Refusals that name their recipient, shared by all workers, so that a run is seen whoever meets which part of it.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::columns::readable;
use crate::domain::ids::{AccountId, Provider, ReminderId};
use crate::domain::refusals::{RecordedRefusal, RefusalKind};

/// A refusal to be written down.
#[derive(Clone, Debug)]
pub struct NewRefusal<'a> {
    pub reminder: ReminderId,
    pub kind: RefusalKind,
    /// Keyed hash of the address's domain.
    pub domain: [u8; 16],
    pub code: &'a str,
}

/// One that was written down.
#[derive(Clone, Debug)]
pub struct StoredRefusal {
    pub reminder: ReminderId,
    pub refused: RecordedRefusal,
}

/// Lets one worker at a time look at a sender's refusals, until its transaction ends: two that each add the third of four would both
/// see too few.
pub async fn lock(
    conn: &mut PgConnection,
    (provider, sender): (Provider, &str),
) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('refusals ' || $1 || ' ' || $2, 0))")
        .bind(provider)
        .bind(sender)
        .execute(conn)
        .await
        .map(drop)
}

/// Writes refusals down. A reminder has one, and keeps it when it is tried again and refused alike: that says nothing new.
pub async fn add(
    conn: &mut PgConnection,
    (provider, sender): (Provider, &str),
    new: &[NewRefusal<'_>],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into refusals as f (reminder, provider, sender, kind, domain, code, at)
         select reminder, $1, $2, kind, domain, code, $3 from unnest($4::bigint[], $5::text[], $6::bytea[], $7::text[])
             as t(reminder, kind, domain, code)
         order by reminder
         on conflict (reminder) do update set provider = excluded.provider, sender = excluded.sender, kind = excluded.kind,
             domain = excluded.domain, code = excluded.code, at = excluded.at
             where (f.kind, f.sender) <> (excluded.kind, excluded.sender)",
    )
    .bind(provider)
    .bind(sender)
    .bind(now)
    .bind(new.iter().map(|n| n.reminder).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.kind).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.domain.as_slice()).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.code).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map(drop)
}

/// A message of the sender's was accepted at `now`: what was refused before it is its recipients'.
pub async fn accepted(
    conn: &mut PgConnection,
    (provider, sender): (Provider, &str),
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update refusals set settled = true where provider = $1 and sender = $2 and at < $3 and not settled",
    )
    .bind(provider)
    .bind(sender)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

#[derive(FromRow)]
struct RefusalRow {
    reminder: ReminderId,
    kind: RefusalKind,
    recipient_hash: Vec<u8>,
    domain: Vec<u8>,
    code: String,
    at: DateTime<Utc>,
}

/// The sender's refusals since then that nothing has settled, oldest first. A recipient who was erased is left out.
pub async fn unsettled(
    conn: &mut PgConnection,
    (provider, sender): (Provider, &str),
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<StoredRefusal>> {
    let rows = sqlx::query(
        "select f.reminder, f.kind, r.recipient_hash, f.domain, f.code, f.at
         from refusals f join reminders r on r.id = f.reminder
         where f.provider = $1 and f.sender = $2 and not f.settled and f.at >= $3 and r.recipient_hash is not null
         order by f.at, f.reminder",
    )
    .bind(provider)
    .bind(sender)
    .bind(since)
    .fetch_all(conn)
    .await?;
    let known = readable::<RefusalRow>(&rows)?.into_iter();
    Ok(known
        .filter_map(|row| {
            Some(StoredRefusal {
                reminder: row.reminder,
                refused: RecordedRefusal {
                    kind: row.kind,
                    recipient: row.recipient_hash.try_into().ok()?,
                    domain: row.domain.try_into().ok()?,
                    code: row.code,
                    at: row.at,
                },
            })
        })
        .collect())
}

/// Settles these: they were part of a run.
pub async fn settle(conn: &mut PgConnection, reminders: &[ReminderId]) -> sqlx::Result<()> {
    sqlx::query("update refusals set settled = true where reminder = any ($1)")
        .bind(reminders)
        .execute(conn)
        .await
        .map(drop)
}

/// Frees the addresses that these refusals have suppressed, and only those: a suppression from before, or for another reason, stays.
pub async fn free(conn: &mut PgConnection, reminders: &[ReminderId]) -> sqlx::Result<u64> {
    sqlx::query(
        "delete from suppressions s using refusals f join reminders r on r.id = f.reminder
         where f.reminder = any ($1) and s.account = r.account and s.channel = r.channel
           and s.address_hash = r.recipient_hash and s.reason = 'bad_address' and s.source = 'provider' and s.created_at = f.at",
    )
    .bind(reminders)
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}

/// Schedules these refused reminders anew, where their deadline allows it, as if they had not been tried. Returns those it did.
pub async fn reschedule(
    conn: &mut PgConnection,
    reminders: &[ReminderId],
    at: DateTime<Utc>,
) -> sqlx::Result<Vec<(ReminderId, AccountId)>> {
    let rows = sqlx::query(
        "update reminders r set state = 'scheduled', reason = 'circuit_open', next_at = $2, final_at = null,
             tries = greatest(tries - 1, 0)
         where id in (
               -- One of each conversation waits at a time.
               select distinct on (account, conversation) id from reminders
               where id = any ($1) and state = 'failed' and deadline > $2
               order by account, conversation, due_at desc, id)
           -- Another step may have taken its place.
           and not exists (
               select from pending p where p.account = r.account and p.conversation = r.conversation)
         returning id, account",
    )
    .bind(reminders)
    .bind(at)
    .fetch_all(conn)
    .await?;
    readable(&rows)
}
