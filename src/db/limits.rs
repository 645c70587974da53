//! Limits shared by all processes, kept in PostgreSQL: GCRA (a leaky bucket in one timestamp), one row per account or provider.
//!
//! A caller reserves its turn and is told how long to wait for it; nobody polls. Times are the database's, since they pace real
//! traffic in real seconds.

use std::time::Duration;

use sqlx::PgPool;

/// Reserves `turns` turns under `key` at `per_second`, of which `burst` may go at once. Returns how long to wait before each
/// of them.
pub async fn reserve(
    pool: &PgPool,
    key: &str,
    turns: u32,
    per_second: f64,
    burst: f64,
) -> sqlx::Result<Vec<Duration>> {
    let (first, held): (f64, Option<f64>) = sqlx::query_as(
        "insert into limits as l (key, tat) values ($1, now() + make_interval(secs => $2 / $3))
         on conflict (key) do update set
             tat = greatest(l.tat, now(), coalesce(l.held_until, now())) + make_interval(secs => $2 / $3)
         returning extract(epoch from tat - now())::float8 - ($2 + $4 - 1) / $3,
                   extract(epoch from held_until - now())::float8",
    )
    .bind(key)
    .bind(f64::from(turns))
    .bind(per_second)
    .bind(burst.max(1.0))
    .fetch_one(pool)
    .await?;
    let least = held.unwrap_or_default().max(0.0);
    let waits = (0..turns).map(|n| (first + f64::from(n) / per_second).max(least));
    Ok(waits.map(Duration::from_secs_f64).collect())
}

/// Nobody gets a turn under `key` before `pause` has passed: the other side asked for it.
pub async fn hold(pool: &PgPool, key: &str, pause: Duration) -> sqlx::Result<()> {
    sqlx::query(
        "insert into limits as l (key, tat, held_until) values ($1, now(), now() + make_interval(secs => $2))
         on conflict (key) do update set held_until = greatest(l.held_until, excluded.held_until)",
    )
    .bind(key)
    .bind(pause.as_secs_f64())
    .execute(pool)
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
