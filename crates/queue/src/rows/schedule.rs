//! Rows as they come and go from outside: scheduled, cancelled, missing, purged, counted.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use super::CHANNEL;
use crate::{Job, MAX_ATTEMPTS, When};

/// One entry per key, in the order of the keys: the statement accepts no key twice.
pub(crate) fn one_per_key(
    when: When,
    jobs: impl IntoIterator<Item = Job>,
) -> BTreeMap<String, Job> {
    let mut by_key: BTreeMap<String, Job> = BTreeMap::new();
    for mut job in jobs {
        if when == When::NoLaterThan
            && let Some(earlier) = by_key.get(&job.key)
        {
            job.run_at = job.run_at.min(earlier.run_at);
        }
        by_key.insert(job.key.clone(), job);
    }
    by_key
}

/// The metadata column stays null: its type, hstore, need not be on the search path then.
const SCHEDULE: &str = "
with scheduled as (
    insert into apalis.jobs as j
        (id, job_type, job, status, attempts, max_attempts, run_at, priority, idempotency_key, traceparent)
    select n.id, $1, n.job, 'Pending', 0, $6, n.run_at, 0, n.key, $10
    from unnest($2::text[], $3::text[], $4::bytea[], $5::timestamptz[]) as n(id, key, job, run_at)
    on conflict (job_type, idempotency_key) do update set
        job = excluded.job,
        run_at = excluded.run_at,
        traceparent = excluded.traceparent,
        status = case when j.lock_by is null then 'Pending' else 'Queued' end,
        attempts = case when $7 then 0 else j.attempts end,
        done_at = null
    where $7
       or j.status = 'Running'
       or j.status = 'Queued' and excluded.run_at < j.run_at
       or j.status = 'Pending' and excluded.run_at < j.run_at and j.attempts = 0
    returning 1
)
select count(*), case when $8 then pg_notify($9, $1)::text end from scheduled";

pub(crate) async fn schedule(
    conn: &mut PgConnection,
    queue: &str,
    when: When,
    jobs: BTreeMap<String, Job>,
    notify: bool,
) -> sqlx::Result<u64> {
    let mut ids = Vec::with_capacity(jobs.len());
    let mut keys = Vec::with_capacity(jobs.len());
    let mut args = Vec::with_capacity(jobs.len());
    let mut run_ats = Vec::with_capacity(jobs.len());
    for (key, job) in jobs {
        ids.push(ulid::Ulid::generate().to_string());
        keys.push(key);
        args.push(job.args.to_string().into_bytes());
        run_ats.push(job.run_at);
    }
    let changed: i64 = sqlx::query_scalar(SCHEDULE)
        .bind(queue)
        .bind(ids)
        .bind(keys)
        .bind(args)
        .bind(run_ats)
        .bind(MAX_ATTEMPTS)
        .bind(when == When::At)
        .bind(notify)
        .bind(CHANNEL)
        .bind(unread_trace::current().map(|trace| trace.to_string()))
        .fetch_one(conn)
        .await?;
    Ok(changed.unsigned_abs())
}

pub(crate) async fn cancel(
    conn: &mut PgConnection,
    queue: &str,
    keys: &[String],
) -> sqlx::Result<u64> {
    let gone = sqlx::query(
        "delete from apalis.jobs where id = any(array(
             select id from apalis.jobs
             where job_type = $1 and idempotency_key = any($2) and lock_by is null
             order by idempotency_key for update))",
    )
    .bind(queue)
    .bind(keys)
    .execute(conn)
    .await?;
    Ok(gone.rows_affected())
}

pub(crate) async fn missing(
    conn: &mut PgConnection,
    queue: &str,
    keys: &[String],
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select key from unnest($2::text[]) as wanted (key)
         where not exists (
             select from apalis.jobs j where j.job_type = $1 and j.idempotency_key = wanted.key)",
    )
    .bind(queue)
    .bind(keys)
    .fetch_all(conn)
    .await
}

pub(crate) async fn purge_dead(pool: &PgPool, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let gone = sqlx::query("delete from apalis.jobs where status = 'Killed' and done_at < $1")
        .bind(before)
        .execute(pool)
        .await?;
    Ok(gone.rows_affected())
}

/// What lies in one queue.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Depth {
    pub queue: String,
    /// Due and waiting for a free slot.
    pub ready: i64,
    /// Due later, first tries and retries alike.
    pub scheduled: i64,
    /// Being worked on.
    pub held: i64,
    /// Given up; an operator must look.
    pub dead: i64,
    /// Since when the oldest ready row is due.
    pub oldest_ready: Option<DateTime<Utc>>,
}

/// Each branch reads one partial index and no row.
const DEPTH: &str = "
select queue, sum(ready)::bigint as ready, sum(scheduled)::bigint as scheduled,
       sum(held)::bigint as held, sum(dead)::bigint as dead, min(oldest) as oldest_ready
from (
    select job_type as queue, count(*) filter (where run_at <= $1) as ready,
           count(*) filter (where run_at > $1) as scheduled, 0 as held, 0 as dead,
           min(run_at) filter (where run_at <= $1) as oldest
    from apalis.jobs where status = 'Pending' group by job_type
    union all
    select job_type, 0, 0, count(*), 0, null from apalis.jobs where lock_by is not null group by job_type
    union all
    select job_type, 0, 0, 0, count(*), null from apalis.jobs where status = 'Killed' group by job_type
) as parts
group by queue order by queue";

pub(crate) async fn depth(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Vec<Depth>> {
    sqlx::query_as(DEPTH).bind(now).fetch_all(pool).await
}

/// Rows given up, of all queues: one partial index, which is empty when all is well.
pub(crate) async fn dead(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from apalis.jobs where status = 'Killed'")
        .fetch_one(pool)
        .await
}
