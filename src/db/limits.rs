//! Limits shared by all processes, kept in PostgreSQL: GCRA (a leaky bucket in one timestamp), one row per account or provider.
//!
//! A caller reserves its turn and is told how long to wait for it, or takes one only if it is free. Times are the database's, since
//! they pace real traffic in real seconds.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, PgPool};

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

/// Turns that were asked for together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Turns {
    /// How long each has to wait, in order.
    pub waits: Vec<Duration>,
    /// So many of them, the first ones, are reserved; the rest would come too late and must ask again.
    pub granted: usize,
}

/// Reserves those of `wanted` turns under `key` that come within `horizon`, at `per_second` (`None`: as fast as you like), while
/// nobody asked to be left alone under `provider`. What lies beyond the horizon is not reserved: a reservation that its owner
/// gives up would be time lost for everybody. The row stays locked until the caller's transaction ends.
pub async fn take(
    conn: &mut PgConnection,
    (provider, key): (&str, &str),
    wanted: usize,
    per_second: Option<f64>,
    horizon: Duration,
) -> sqlx::Result<Turns> {
    let held: f64 = sqlx::query_scalar(
        "select coalesce(max(greatest(extract(epoch from held_until - clock_timestamp()), 0)), 0)::float8
         from limits where key in ($1, $2)",
    )
    .bind(provider)
    .bind(key)
    .fetch_one(&mut *conn)
    .await?;
    let ahead: f64 = match per_second {
        None => 0.0,
        Some(_) => {
            sqlx::query_scalar(
                "insert into limits as l (key, tat) values ($1, clock_timestamp())
                 on conflict (key) do update set tat = greatest(l.tat, clock_timestamp())
                 returning greatest(extract(epoch from tat - clock_timestamp()), 0)::float8",
            )
            .bind(key)
            .fetch_one(&mut *conn)
            .await?
        }
    };
    let turns = spaced(wanted, ahead, held, per_second, horizon);
    if let (Some(per_second), 1..) = (per_second, turns.granted) {
        sqlx::query(
            "update limits set tat = greatest(tat, clock_timestamp() + make_interval(secs => $2)) + make_interval(secs => $3)
             where key = $1",
        )
        .bind(key)
        .bind(held)
        .bind(f64::from(u32::try_from(turns.granted).unwrap_or(u32::MAX)) / per_second)
        .execute(conn)
        .await?;
    }
    Ok(turns)
}

/// One second's worth may go at once; the others follow at the rate, behind those who came before and after the pause.
fn spaced(
    wanted: usize,
    ahead: f64,
    held: f64,
    per_second: Option<f64>,
    horizon: Duration,
) -> Turns {
    let wait = |nth: u32| match per_second {
        None => held,
        Some(rate) => (ahead + (f64::from(nth) - (rate.max(1.0) - 1.0)) / rate).max(held),
    };
    let waits: Vec<Duration> = (0..u32::try_from(wanted).unwrap_or(u32::MAX))
        .map(|nth| Duration::try_from_secs_f64(wait(nth)).unwrap_or_default())
        .collect();
    let granted = waits.iter().take_while(|wait| **wait <= horizon).count();
    Turns { waits, granted }
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

/// How long the other side has still asked to be left alone under `key`.
pub async fn held(pool: &PgPool, key: &str) -> sqlx::Result<Duration> {
    let wait: Option<f64> = sqlx::query_scalar(
        "select greatest(extract(epoch from held_until - now())::float8, 0) from limits where key = $1",
    )
    .bind(key)
    .fetch_optional(pool)
    .await?
    .flatten();
    Ok(Duration::from_secs_f64(wait.unwrap_or_default()))
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
pub async fn forget(db: impl PgExecutor<'_>, key: &str) -> sqlx::Result<()> {
    sqlx::query("delete from limits where key = $1")
        .bind(key)
        .execute(db)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HORIZON: Duration = Duration::from_secs(10);

    #[test]
    fn a_backlog_gets_what_the_rate_allows_within_the_horizon() {
        let turns = spaced(100, 0.0, 0.0, Some(2.0), HORIZON);
        // Two at once, then two a second for ten seconds.
        assert_eq!(turns.granted, 22);
        assert_eq!(
            turns.waits[..3],
            [0.0, 0.0, 0.5].map(Duration::from_secs_f64)
        );
        assert!(turns.waits.is_sorted());
    }

    #[test]
    fn without_a_rate_only_a_pause_holds() {
        assert_eq!(spaced(5, 0.0, 0.0, None, HORIZON).granted, 5);
        let held = spaced(5, 0.0, 30.0, None, HORIZON);
        assert_eq!((held.granted, held.waits[4]), (0, Duration::from_secs(30)));
    }

    #[test]
    fn turns_come_behind_those_who_were_before() {
        assert_eq!(spaced(3, 9.5, 0.0, Some(1.0), HORIZON).granted, 1);
        assert_eq!(spaced(1, 3600.0, 0.0, Some(1.0), HORIZON).granted, 0);
    }
}
