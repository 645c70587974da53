//! The workers' own rows: heartbeats, and what is freed of those that are lost.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

/// Says that this worker lives. In the server's time, like everything about leases.
pub(crate) async fn heartbeat(pool: &PgPool, worker: &str) -> sqlx::Result<()> {
    sqlx::query(
        "insert into apalis.workers (id, worker_type, storage_name, last_seen, started_at)
         values ($1, 'unread', 'unread', now(), now())
         on conflict (id) do update set last_seen = now()",
    )
    .bind(worker)
    .execute(pool)
    .await?;
    Ok(())
}

/// Frees the rows of workers that have not been seen for `lease`, or that nobody knows, an attempt the poorer: a job that kills its
/// process must not be tried for ever. Returns how many.
pub(crate) async fn rescue(
    pool: &PgPool,
    lease: Duration,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let freed = sqlx::query(
        "with lost as materialized (
             select j.id, j.status = 'Running' and j.attempts + 1 >= j.max_attempts as dies
             from apalis.jobs j
             where j.lock_by is not null and not exists (
                 select from apalis.workers w where w.id = j.lock_by and w.last_seen >= now() - make_interval(secs => $1))
             for update of j skip locked
         )
         update apalis.jobs j set
             status = case when lost.dies then 'Killed' else 'Pending' end,
             done_at = case when lost.dies then $2::timestamptz end,
             attempts = j.attempts + 1,
             last_result = jsonb_build_object('Err', 'the worker was lost'),
             lock_by = null, lock_at = null
         from lost where j.id = lost.id",
    )
    .bind(lease.as_secs_f64())
    .bind(now)
    .execute(pool)
    .await?;
    Ok(freed.rows_affected())
}

/// Removes this worker and those that have been silent for ten leases, except where a row still names them.
pub(crate) async fn remove_workers(
    pool: &PgPool,
    own: Option<&str>,
    lease: Duration,
) -> sqlx::Result<()> {
    sqlx::query(
        "delete from apalis.workers w
         where w.worker_type = 'unread'
           and (w.id = $1 or w.last_seen < now() - make_interval(secs => $2 * 10))
           and not exists (select from apalis.jobs j where j.lock_by = w.id)",
    )
    .bind(own)
    .bind(lease.as_secs_f64())
    .execute(pool)
    .await?;
    Ok(())
}
