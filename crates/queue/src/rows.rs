//! Every statement on `apalis.jobs` and `apalis.workers`, and nothing else.
//!
//! Two rules keep them free of deadlocks and of lost rows. Whoever changes several rows for a caller locks them in the
//! order of their keys, and everybody else uses `skip locked` and comes back later. And whoever decides by a row's state
//! decides by what the *locking* read returned: a second look in the same statement would still see the old version.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use apalis_postgres::PostgresStorage;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::shares::Plan;
use super::{Job, MAX_ATTEMPTS, When};

/// The channel to LISTEN on; the payload is the queue's name.
pub(super) const CHANNEL: &str = "unread_queue";

/// Rows per fetch or settlement: enough to make the round trip cheap, few enough to keep the statement short.
pub(super) const BATCH: usize = 200;

pub(super) async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    PostgresStorage::<()>::setup(pool)
        .await
        .context("migrating apalis' tables")?;
    let mut ours = sqlx::migrate!();
    // A history of its own: the project's other migrations know nothing of these, nor apalis of ours.
    ours.dangerous_set_table_name("apalis._unread_migrations");
    ours.run(pool)
        .await
        .context("preparing apalis' tables for jobs")
}

/// One entry per key, in the order of the keys: the statement accepts no key twice.
pub(super) fn one_per_key(
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
        (id, job_type, job, status, attempts, max_attempts, run_at, priority, idempotency_key)
    select n.id, $1, n.job, 'Pending', 0, $6, n.run_at, 0, n.key
    from unnest($2::text[], $3::text[], $4::bytea[], $5::timestamptz[]) as n(id, key, job, run_at)
    on conflict (job_type, idempotency_key) do update set
        job = excluded.job,
        run_at = excluded.run_at,
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

pub(super) async fn schedule(
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
        .fetch_one(conn)
        .await?;
    Ok(changed.unsigned_abs())
}

pub(super) async fn cancel(
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

pub(super) async fn missing(
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

pub(super) async fn purge_dead(pool: &PgPool, before: DateTime<Utc>) -> sqlx::Result<u64> {
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

pub(super) async fn depth(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Vec<Depth>> {
    sqlx::query_as(DEPTH).bind(now).fetch_all(pool).await
}

/// Rows given up, of all queues: one partial index, which is empty when all is well.
pub(super) async fn dead(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from apalis.jobs where status = 'Killed'")
        .fetch_one(pool)
        .await
}

/// A row taken by this worker. `lock_at` tells this taking from any other, also from a later one by the same worker
/// after its lease had lapsed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RowClaim {
    pub id: String,
    pub lock_at: DateTime<Utc>,
}

/// A row as fetched.
pub(super) struct Row {
    pub row_claim: RowClaim,
    pub key: String,
    pub args: Vec<u8>,
    pub attempts: i32,
    pub run_at: DateTime<Utc>,
}

pub(super) struct Fetched {
    /// In order of their due times.
    pub rows: Vec<Row>,
    /// How long until the first of the rows that are not due yet is due, in business time.
    pub next_in: Option<TimeDelta>,
}

/// Takes due rows and says how many seconds later the next one is due. $1 queue, $2 now, $3 how many, $4 worker. Without $2 the
/// database's clock says what is due: a worker whose clock is wrong takes nothing early, and nothing late.
///
/// `id = any(array(…))` rather than a join: a limit that is a parameter makes the planner expect a tenth of the backlog,
/// and it would join by reading the whole table.
pub const FETCH: &str = "
with taken as (
    update apalis.jobs set status = 'Running', lock_by = $4, lock_at = now()
    where id = any(array(
        select id from apalis.jobs
        where job_type = $1 and status = 'Pending' and run_at <= coalesce($2, now())
        order by run_at limit $3
        for update skip locked))
    returning id, idempotency_key, job, attempts, run_at, lock_at
)
select taken.*, extract(epoch from later.run_at - coalesce($2, now()))::float8 as next_in
from (select (select run_at from apalis.jobs
              where job_type = $1 and status = 'Pending' and run_at > coalesce($2, now())
              order by run_at limit 1) as run_at) as later
left join taken on true
order by taken.run_at";

/// [`FETCH`] for when somebody has their share of the slots: $5, the marks of those whose jobs stay where they are. A statement of its
/// own, since arguments are bytes: nearly always nobody is left out and none are read. Marks are compared as bytes, which no content of
/// a row can make fail.
pub fn fetch_without() -> String {
    const DUE: &str = "run_at <= coalesce($2, now())\n";
    FETCH.replace(
        DUE,
        "run_at <= coalesce($2, now())
          and not exists (select from unnest($5::bytea[]) as mark where position(mark in job) > 0)\n",
    )
}

type FetchedRow = (
    Option<String>,
    Option<String>,
    Option<Vec<u8>>,
    Option<i32>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    Option<f64>,
);

pub(super) async fn fetch(
    pool: &PgPool,
    queue: &str,
    worker: &str,
    now: Option<DateTime<Utc>>,
    plan: &Plan,
) -> sqlx::Result<Fetched> {
    let limit = i64::try_from(plan.limit).unwrap_or(i64::MAX);
    let without = fetch_without();
    let all = plan.without.is_empty();
    let statement = AssertSqlSafe(if all { FETCH } else { without.as_str() });
    let mut query = sqlx::query_as(statement)
        .bind(queue)
        .bind(now)
        .bind(limit)
        .bind(worker);
    if !all {
        query = query.bind(&plan.without);
    }
    let answer: Vec<FetchedRow> = query.fetch_all(pool).await?;
    let next_in = answer.first().and_then(|row| row.6);
    // Without a single taken row there is still one line, for `next_in`, with nulls in place of the row.
    let rows = answer
        .into_iter()
        .filter_map(|(id, key, args, attempts, run_at, lock_at, _)| {
            let id = id?;
            Some(Row {
                // A row that somebody else put there may have no key.
                key: key.unwrap_or_else(|| id.clone()),
                row_claim: RowClaim {
                    id,
                    lock_at: lock_at?,
                },
                args: args?,
                attempts: attempts?,
                run_at: run_at?,
            })
        });
    Ok(Fetched {
        rows: rows.collect(),
        next_in: next_in.map(|seconds| {
            let wait = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX)
        }),
    })
}

/// How a run ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    /// Try again at `retry_at`, unless the attempts are used up.
    Failed {
        error: String,
        retry_at: DateTime<Utc>,
    },
    /// Never try again.
    Discarded {
        error: String,
    },
    /// It never started; no attempt is burnt.
    HandedBack,
}

impl Outcome {
    /// The outcome as the statement's arrays want it.
    fn columns(&self) -> (&'static str, Option<&str>, Option<DateTime<Utc>>) {
        match self {
            Self::Done => ("done", None, None),
            Self::Failed { error, retry_at } => ("failed", Some(error), Some(*retry_at)),
            Self::Discarded { error } => ("discarded", Some(error), None),
            Self::HandedBack => ("back", None, None),
        }
    }
}

/// Rows that were scheduled anew during the run (`Queued`) are neither deleted nor killed: they wait for their new time.
///
/// Rows that are locked by an open transaction, which is about to schedule them, are left alone and returned.
///
/// `coalesce` keeps the planner from the index on `lock_by`: by it, each of all the rows this worker holds would be compared with
/// each verdict.
const SETTLE: &str = "
with verdict as (
    select * from unnest($2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::timestamptz[])
        as v(id, lock_at, outcome, error, retry_at)
), mine as materialized (
    select j.id, v.outcome, v.error, v.retry_at, j.attempts, j.max_attempts, j.status = 'Queued' as rearmed
    from verdict v join apalis.jobs j on j.id = v.id
    where coalesce(j.lock_by, '') = $1 and j.lock_at = v.lock_at
    for update of j skip locked
), finished as (
    delete from apalis.jobs j using mine m where j.id = m.id and m.outcome = 'done' and not m.rearmed
), kept as (
    update apalis.jobs j set
        status = case when m.dies then 'Killed' else 'Pending' end,
        done_at = case when m.dies then $7::timestamptz end,
        attempts = case m.outcome when 'done' then 0 when 'back' then m.attempts else m.attempts + 1 end,
        run_at = greatest(j.run_at, m.retry_at),
        last_result = case when m.error is null then j.last_result else jsonb_build_object('Err', m.error) end,
        lock_by = null, lock_at = null
    from (
        select *, not rearmed and (outcome = 'discarded' or outcome = 'failed' and attempts + 1 >= max_attempts) as dies
        from mine where outcome <> 'done' or rearmed
    ) as m
    where j.id = m.id
)
select v.id from (select * from verdict where id not in (select id from mine)) as v join apalis.jobs j on j.id = v.id
where coalesce(j.lock_by, '') = $1 and j.lock_at = v.lock_at";

/// Writes how runs ended, fenced by the lease: a row that was taken from this worker in the meantime stays as it is.
/// Returns the ids that could not be settled yet; ask again soon.
pub(super) async fn settle(
    pool: &PgPool,
    worker: &str,
    now: DateTime<Utc>,
    ended: impl Iterator<Item = (&RowClaim, &Outcome)>,
) -> sqlx::Result<Vec<String>> {
    let (mut ids, mut lock_ats) = (Vec::new(), Vec::new());
    let (mut outcomes, mut errors, mut retry_ats) = (Vec::new(), Vec::new(), Vec::new());
    for (row_claim, outcome) in ended {
        let (outcome, error, retry_at) = outcome.columns();
        ids.push(row_claim.id.as_str());
        lock_ats.push(row_claim.lock_at);
        outcomes.push(outcome);
        errors.push(error);
        retry_ats.push(retry_at);
    }
    sqlx::query_scalar(SETTLE)
        .bind(worker)
        .bind(ids)
        .bind(lock_ats)
        .bind(outcomes)
        .bind(errors)
        .bind(retry_ats)
        .bind(now)
        .fetch_all(pool)
        .await
}

/// Gives back what the table says this worker holds of a queue but the worker does not know of: rows of a fetch whose
/// answer got lost with the connection or, with nothing known, all that is left at the end. Returns how many.
pub(super) async fn hand_back<'a>(
    pool: &PgPool,
    queue: &str,
    worker: &str,
    known: impl Iterator<Item = &'a RowClaim>,
) -> sqlx::Result<u64> {
    let (ids, lock_ats): (Vec<&str>, Vec<DateTime<Utc>>) =
        known.map(|h| (h.id.as_str(), h.lock_at)).unzip();
    let back = sqlx::query(
        "update apalis.jobs set status = 'Pending', lock_by = null, lock_at = null
         where id = any(array(
             select id from apalis.jobs
             where lock_by = $1 and job_type = $2
               and (id, lock_at) not in (select * from unnest($3::text[], $4::timestamptz[]))
             for update skip locked))",
    )
    .bind(worker)
    .bind(queue)
    .bind(ids)
    .bind(lock_ats)
    .execute(pool)
    .await?;
    Ok(back.rows_affected())
}

/// Says that this worker lives. In the server's time, like everything about leases.
pub(super) async fn heartbeat(pool: &PgPool, worker: &str) -> sqlx::Result<()> {
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

/// Frees the rows of workers that have not been seen for `lease`, an attempt the poorer: a job that kills its process
/// must not be tried for ever. Returns how many.
pub(super) async fn rescue(
    pool: &PgPool,
    lease: Duration,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let freed = sqlx::query(
        "with lost as materialized (
             select j.id, j.status = 'Running' and j.attempts + 1 >= j.max_attempts as dies
             from apalis.workers w join apalis.jobs j on j.lock_by = w.id
             where w.worker_type = 'unread' and w.last_seen < now() - make_interval(secs => $1)
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
pub(super) async fn remove_workers(
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
