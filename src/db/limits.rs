//! Limits shared by all processes, kept in PostgreSQL: GCRA (a leaky bucket in one timestamp), one row per account or provider.
//!
//! A caller reserves its turn and is told how long to wait for it, or takes one only if it is free. Times are the database's, since
//! they pace real traffic in real seconds.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::domain::ids::AccountId;

/// Reserves the next turn under `key`, at `per_second`. Returns how long to wait for it. Turns are the same distance apart, however
/// long nobody asked before: no second ever has more than one turn above the rate.
pub async fn reserve(pool: &PgPool, key: &str, per_second: f64) -> sqlx::Result<Duration> {
    reserve_at(pool, key, per_second, None).await
}

/// [`reserve`] by another clock than the database's, for tests.
#[doc(hidden)]
pub async fn reserve_at(
    pool: &PgPool,
    key: &str,
    per_second: f64,
    now: Option<DateTime<Utc>>,
) -> sqlx::Result<Duration> {
    let wait: f64 = sqlx::query_scalar(
        "insert into limits as l (key, tat)
         values ($1, coalesce($3, clock_timestamp()) + make_interval(secs => 1 / $2))
         on conflict (key) do update set
             tat = greatest(l.tat, coalesce($3, clock_timestamp()), l.held_until) + make_interval(secs => 1 / $2)
         returning greatest(extract(epoch from tat - coalesce($3, clock_timestamp()))::float8 - 1 / $2, 0)",
    )
    .bind(key)
    .bind(per_second)
    .bind(now)
    .fetch_one(pool)
    .await?;
    Ok(Duration::from_secs_f64(wait))
}

/// Takes a turn under `key` if one is free at this moment. Else takes none and says when to ask again; others may come first.
pub async fn take_free(
    pool: &PgPool,
    key: &str,
    per_second: f64,
) -> sqlx::Result<Option<Duration>> {
    take_free_at(pool, key, per_second, None).await
}

/// Not sooner does whoever found no free turn ask again: the turn may have been taken between two looks at it.
const ASK_AGAIN: f64 = 0.005;

/// [`take_free`] by another clock than the database's, for tests.
#[doc(hidden)]
pub async fn take_free_at(
    pool: &PgPool,
    key: &str,
    per_second: f64,
    now: Option<DateTime<Utc>>,
) -> sqlx::Result<Option<Duration>> {
    let wait: Option<f64> = sqlx::query_scalar(
        "with taken as (
             insert into limits as l (key, tat)
             values ($1, coalesce($3, clock_timestamp()) + make_interval(secs => 1 / $2))
             on conflict (key) do update set tat = coalesce($3, clock_timestamp()) + make_interval(secs => 1 / $2)
             where greatest(l.tat, l.held_until) <= coalesce($3, clock_timestamp())
             returning 1
         )
         select case when not exists (select from taken) then greatest($4, coalesce(
             (select extract(epoch from greatest(tat, held_until) - coalesce($3, clock_timestamp()))::float8
              from limits where key = $1), 0)) end",
    )
    .bind(key)
    .bind(per_second)
    .bind(now)
    .bind(ASK_AGAIN)
    .fetch_one(pool)
    .await?;
    Ok(wait.map(Duration::from_secs_f64))
}

/// The line of those of one account who wait for a turn for the first time, and of those who came back and wait again. Each account has lines
/// of its own: one whose reminders do not come when they are called, since its LivePerson hangs, would keep the others waiting behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingLine {
    New,
    Again,
}

impl WaitingLine {
    /// The row beside that of the limit itself.
    fn of(self, (key, account): (&str, &AccountId)) -> String {
        match self {
            Self::New => format!("{key} line of {account}"),
            Self::Again => format!("{key} line of {account} again"),
        }
    }
}

/// What stands between somebody who wants a turn and the turn, beside the turns that are reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueAhead {
    /// How long the other side has still asked to be left alone.
    pub held: Duration,
    /// How far ahead turns are reserved.
    pub reserved: Duration,
    /// How long the line is, as far as anybody knows: some in it may not want their turn any more.
    pub line: Duration,
}

/// Looks at what is ahead of an account under `key`, and at the pauses that were asked for under `provider`.
pub async fn ahead(
    db: impl PgExecutor<'_>,
    (provider, key): (&str, &str),
    account: &AccountId,
) -> sqlx::Result<QueueAhead> {
    let (held, reserved, line): (f64, f64, f64) = sqlx::query_as(
        "select coalesce(max(greatest(extract(epoch from held_until - clock_timestamp()), 0)), 0)::float8,
                coalesce(max(greatest(extract(epoch from tat - clock_timestamp()), 0)) filter (where key = $2), 0)::float8,
                coalesce(max(greatest(extract(epoch from tat - clock_timestamp()), 0))
                    filter (where key not in ($1, $2)), 0)::float8
         from limits where key in ($1, $2, $3, $4)",
    )
    .bind(provider)
    .bind(key)
    .bind(WaitingLine::New.of((key, account)))
    .bind(WaitingLine::Again.of((key, account)))
    .fetch_one(db)
    .await?;
    Ok(QueueAhead {
        held: seconds(held),
        reserved: seconds(reserved),
        line: seconds(line),
    })
}

fn seconds(wait: f64) -> Duration {
    Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX)
}

/// Turns that were reserved together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How long each has to wait, in order.
    pub waits: Vec<Duration>,
    /// When there is a turn for whoever comes next.
    pub next: Duration,
}

/// Reserves those of `wanted` turns under `key` that come within `horizon`, at `per_second` and not before `from`.
///
/// What lies beyond the horizon is not reserved: a reservation that its owner gives up would be time lost for everybody. The row stays
/// locked until the caller's transaction ends.
pub async fn take(
    conn: &mut PgConnection,
    key: &str,
    wanted: usize,
    per_second: f64,
    (from, horizon): (Duration, Duration),
) -> sqlx::Result<Taken> {
    let reserved: f64 = sqlx::query_scalar(
        "insert into limits as l (key, tat) values ($1, clock_timestamp())
         on conflict (key) do update set tat = greatest(l.tat, clock_timestamp())
         returning greatest(extract(epoch from tat - clock_timestamp()), 0)::float8",
    )
    .bind(key)
    .fetch_one(&mut *conn)
    .await?;
    let begins = reserved.max(from.as_secs_f64());
    let waits = spaced(wanted, begins, per_second, horizon);
    let lasts = lasts(waits.len(), per_second);
    if !waits.is_empty() {
        sqlx::query(
            "update limits set tat = greatest(tat, clock_timestamp() + make_interval(secs => $2)) + make_interval(secs => $3)
             where key = $1",
        )
        .bind(key)
        .bind(begins)
        .bind(lasts)
        .execute(conn)
        .await?;
    }
    Ok(Taken {
        waits,
        next: seconds(begins + lasts),
    })
}

/// Returns turns under `key` that nobody will use. Not for those that are to keep a rate in every second: whoever takes them next gets the
/// last ones, which come on top of what has been granted for that time.
pub async fn give_back(
    conn: &mut PgConnection,
    key: &str,
    turns: usize,
    per_second: f64,
) -> sqlx::Result<()> {
    sqlx::query("update limits set tat = tat - make_interval(secs => $2) where key = $1")
        .bind(key)
        .bind(lasts(turns, per_second))
        .execute(conn)
        .await
        .map(drop)
}

/// Turns that are used right after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedTurns {
    pub first: Duration,
    /// From each to the next.
    pub interval: Duration,
    /// How long the other side has still asked to be left alone.
    pub held: Duration,
}

/// Takes so many turns under `key`, one after the other at `per_second`.
pub async fn use_turns(
    db: impl PgExecutor<'_>,
    (provider, key): (&str, &str),
    turns: usize,
    per_second: f64,
) -> sqlx::Result<ReservedTurns> {
    let (first, held): (f64, f64) = sqlx::query_as(
        "insert into limits as l (key, tat) values ($1, clock_timestamp() + make_interval(secs => $2))
         on conflict (key) do update set tat = greatest(l.tat, clock_timestamp()) + make_interval(secs => $2)
         returning greatest(extract(epoch from tat - clock_timestamp())::float8 - $2, 0),
             (select coalesce(max(greatest(extract(epoch from h.held_until - clock_timestamp()), 0)), 0)::float8
              from limits h where h.key in ($1, $3))",
    )
    .bind(key)
    .bind(lasts(turns, per_second))
    .bind(provider)
    .fetch_one(db)
    .await?;
    Ok(ReservedTurns {
        first: seconds(first),
        interval: seconds(1.0 / per_second),
        held: seconds(held),
    })
}

/// The waits within the horizon. Turns follow each other at the rate from the first one on, after idling, too: no window of a second
/// holds more of them than the rate, rounded up.
fn spaced(wanted: usize, begins: f64, per_second: f64, horizon: Duration) -> Vec<Duration> {
    (0..wanted)
        .map(|nth| begins + lasts(nth, per_second))
        .map_while(|wait| Duration::try_from_secs_f64(wait).ok())
        .take_while(|wait| *wait <= horizon)
        .collect()
}

/// How long so many turns take, in seconds.
fn lasts(turns: usize, per_second: f64) -> f64 {
    f64::from(u32::try_from(turns).unwrap_or(u32::MAX)) / per_second
}

/// Lines `waiting` of an account up for turns under `key`, at `per_second`, behind who is in that line already and not before `from`. Returns how long
/// until the first of them. An estimate, so that they come back about when there is a turn; none is reserved.
pub async fn line_up(
    conn: &mut PgConnection,
    (key, account, line): (&str, &AccountId, WaitingLine),
    waiting: usize,
    per_second: f64,
    from: Duration,
) -> sqlx::Result<Duration> {
    let wait: f64 = sqlx::query_scalar(
        "insert into limits as l (key, tat)
         values ($1, clock_timestamp() + make_interval(secs => $2) + make_interval(secs => $3))
         on conflict (key) do update set
             tat = greatest(l.tat, clock_timestamp() + make_interval(secs => $2)) + make_interval(secs => $3)
         returning greatest(extract(epoch from tat - clock_timestamp())::float8 - $3, 0)",
    )
    .bind(line.of((key, account)))
    .bind(from.as_secs_f64())
    .bind(lasts(waiting, per_second))
    .fetch_one(conn)
    .await?;
    Ok(seconds(wait))
}

/// Nobody is in the lines of an account under `key` any more.
pub async fn disperse(conn: &mut PgConnection, key: &str, account: &AccountId) -> sqlx::Result<()> {
    // In the order in which they are lined up: no deadlock.
    for line in [WaitingLine::Again, WaitingLine::New] {
        remove_limit(&mut *conn, &line.of((key, account))).await?;
    }
    Ok(())
}

/// Nobody gets a turn under `key` before `pause` has passed: the other side asked for it.
pub async fn hold(db: impl PgExecutor<'_>, key: &str, pause: Duration) -> sqlx::Result<()> {
    sqlx::query(
        "insert into limits as l (key, tat, held_until) values ($1, now(), now() + make_interval(secs => $2))
         on conflict (key) do update set held_until = greatest(l.held_until, excluded.held_until)",
    )
    .bind(key)
    .bind(pause.as_secs_f64())
    .execute(db)
    .await?;
    Ok(())
}

/// How long the other side has still asked to be left alone under any of these keys.
pub async fn held(pool: &PgPool, keys: &[&str]) -> sqlx::Result<Duration> {
    let wait: Option<f64> = sqlx::query_scalar(
        "select max(greatest(extract(epoch from held_until - clock_timestamp())::float8, 0)) from limits where key = any ($1)",
    )
    .bind(keys)
    .fetch_one(pool)
    .await?;
    Ok(seconds(wait.unwrap_or_default()))
}

/// Takes a turn under `key` if there is one now: `per_second`, after `burst` at once. Else says how long to wait, and takes none.
pub async fn pass(pool: &PgPool, key: &str, per_second: f64, burst: f64) -> sqlx::Result<Duration> {
    let taken = sqlx::query(
        "insert into limits as l (key, tat) values ($1, now() + make_interval(secs => 1 / $2))
         on conflict (key) do update set tat = greatest(l.tat, now()) + make_interval(secs => 1 / $2)
         where l.tat <= now() + make_interval(secs => ($3 - 1) / $2)",
    )
    .bind(key)
    .bind(per_second)
    .bind(burst)
    .execute(pool)
    .await?;
    if taken.rows_affected() > 0 {
        return Ok(Duration::ZERO);
    }
    let wait: Option<f64> = sqlx::query_scalar(
        "select greatest(extract(epoch from tat - now())::float8 - ($3 - 1) / $2, 1) from limits where key = $1",
    )
    .bind(key)
    .bind(per_second)
    .bind(burst)
    .fetch_optional(pool)
    .await?;
    Ok(Duration::from_secs_f64(wait.unwrap_or(1.0)))
}

/// The next caller under `key` has all turns again.
pub async fn remove_limit(db: impl PgExecutor<'_>, key: &str) -> sqlx::Result<()> {
    sqlx::query("delete from limits where key = $1")
        .bind(key)
        .execute(db)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
