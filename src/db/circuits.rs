//! Circuits: a (provider, sender) that is paused because *we* are misconfigured or throttled.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::columns::readable;
use crate::domain::ids::{AccountId, Channel, Provider, ReminderId};

/// How often an open circuit lets one reminder through to see whether the trouble is over.
const PROBE_EVERY: TimeDelta = TimeDelta::seconds(60);

/// For how long a reminder that has met the trouble itself leaves the probe to others.
const OTHERS_FIRST: TimeDelta = TimeDelta::minutes(10);

/// Successes in a row that close a circuit.
const SUCCESSES_TO_CLOSE: i32 = 2;

/// What shows that the trouble is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The provider accepts an attempt.
    Answer,
    /// The provider accepted what it reported as failed later, so only a report counts.
    Report,
}

impl Proof {
    pub const ALL: [Self; 2] = [Self::Answer, Self::Report];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Report => "report",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|proof| proof.as_str() == word)
    }
}

#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Circuit {
    pub provider: Provider,
    pub sender: String,
    pub opened_at: DateTime<Utc>,
    pub code: String,
    pub probe_at: DateTime<Utc>,
}

pub async fn open_ones(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Circuit>> {
    let rows = sqlx::query(
        "select provider, sender, opened_at, code, probe_at from circuits order by opened_at",
    )
    .fetch_all(db)
    .await?;
    readable(&rows)
}

/// The code of the circuit, if it is open.
pub async fn code(
    db: impl PgExecutor<'_>,
    (provider, sender): (Provider, &str),
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select code from circuits where provider = $1 and sender = $2")
        .bind(provider)
        .bind(sender)
        .fetch_optional(db)
        .await
}

/// Opens the circuit, or keeps it open for another interval. True if it was closed before.
pub async fn open(
    conn: &mut PgConnection,
    (provider, sender): (Provider, &str),
    code: &str,
    proof: Proof,
    probe_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "insert into circuits as c (provider, sender, opened_at, code, probe_at, proof) values ($1, $2, $3, $4, $5, $6)
         on conflict (provider, sender) do update
             set code = excluded.code, proof = excluded.proof, successes = 0, probe_at = greatest(c.probe_at, excluded.probe_at)
         returning (xmax = 0)",
    )
    .bind(provider)
    .bind(sender)
    .bind(now)
    .bind(code)
    .bind(probe_at)
    .bind(proof)
    .fetch_one(conn)
    .await
}

/// Takes the probe of an open circuit whose time has come, for this reminder. True for one caller per interval.
///
/// A reminder that has met the trouble itself lets others go first: what it met may be its recipient's alone, and then it would
/// keep the circuit open for everybody. Others are reminders of the channel that are due, have not been tried through this sender
/// since the circuit opened, and were not refused in the run that opened it. Whose sender they have is not known here; so nobody is let go first for longer than `OTHERS_FIRST`.
pub async fn take_probe(
    conn: &mut PgConnection,
    (provider, sender): (Provider, &str),
    (channel, reminder): (Channel, ReminderId),
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update circuits c set probe_at = $4
         where provider = $1 and sender = $2 and probe_at <= $3
           and (probe_at <= $7
                or not exists (select from attempts a where a.reminder = $5 and a.sender = $2 and a.ended_at >= c.opened_at)
                   and not exists (select from refusals f where f.reminder = $5 and f.provider = $1 and f.sender = $2)
                or not exists (
                    select from pending p join reminders r on r.id = p.reminder
                    where p.next_at <= $8 and r.state = 'scheduled' and r.channel = $6 and r.id <> $5
                      and not exists (
                          select from attempts a where a.reminder = r.id and a.sender = $2 and a.ended_at >= c.opened_at)
                      and not exists (
                          select from refusals f where f.reminder = r.id and f.provider = $1 and f.sender = $2)))",
    )
    .bind(provider)
    .bind(sender)
    .bind(now)
    .bind(now + PROBE_EVERY)
    .bind(reminder)
    .bind(channel)
    .bind(now - OTHERS_FIRST)
    .bind(now + PROBE_EVERY)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Lets the next reminder of the sender through at once. False if its circuit is closed.
pub async fn probe_now(
    conn: &mut PgConnection,
    (provider, sender): (Provider, &str),
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update circuits set probe_at = least(probe_at, $3) where provider = $1 and sender = $2",
    )
    .bind(provider)
    .bind(sender)
    .bind(now)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Closes the circuit, whatever its probes said. False if it is closed.
pub async fn close(
    conn: &mut PgConnection,
    (provider, sender): (Provider, &str),
) -> sqlx::Result<bool> {
    sqlx::query("delete from circuits where provider = $1 and sender = $2")
        .bind(provider)
        .bind(sender)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1)
}

/// Reminders of a channel that an open circuit has put off: they, at most `most`, may be looked at `now`. Returns which.
pub async fn held(
    conn: &mut PgConnection,
    channel: Channel,
    now: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<Vec<(ReminderId, AccountId)>> {
    let rows = sqlx::query(
        "update reminders set next_at = $2 where id in (
             select id from reminders where id = any (array(
                 select p.reminder from pending p
                 cross join lateral (select * from reminders where id = p.reminder offset 0) r
                 where p.next_at > $2 and r.state = 'scheduled' and r.channel = $1 and r.reason = 'circuit_open'
                 order by p.next_at limit $3))
               and next_at > $2 and state = 'scheduled' and reason = 'circuit_open'
             for update skip locked)
         returning id, account",
    )
    .bind(channel)
    .bind(now)
    .bind(most)
    .fetch_all(conn)
    .await?;
    readable(&rows)
}

/// The sender got through: counts towards closing the circuit; the next probe may go at once. What was refused before was its
/// recipients' own.
pub async fn succeeded(
    conn: &mut PgConnection,
    (provider, sender): (Provider, &str),
    proof: Proof,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let counted = sqlx::query(
        "with settled as (
             update refusals set settled = true where provider = $1 and sender = $2 and at < $3 and not settled
         )
         update circuits set successes = successes + 1, probe_at = $3
         where provider = $1 and sender = $2 and proof = $4",
    )
    .bind(provider)
    .bind(sender)
    .bind(now)
    .bind(proof)
    .execute(&mut *conn)
    .await?;
    if counted.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query("delete from circuits where provider = $1 and sender = $2 and successes >= $3")
        .bind(provider)
        .bind(sender)
        .bind(SUCCESSES_TO_CLOSE)
        .execute(conn)
        .await?;
    Ok(())
}
