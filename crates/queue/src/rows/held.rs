//! Rows in the hands of a worker: fetched, settled, handed back.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, PgPool};

use crate::shares::Plan;

/// A row taken by this worker. `lock_at` tells this taking from any other, also from a later one by the same worker
/// after its lease had lapsed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowClaim {
    pub id: String,
    pub lock_at: DateTime<Utc>,
}

/// A row as fetched.
pub(crate) struct Row {
    pub claim: RowClaim,
    pub key: String,
    pub args: Vec<u8>,
    pub attempts: i32,
    pub run_at: DateTime<Utc>,
    pub traceparent: Option<String>,
}

pub(crate) struct Fetched {
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
    returning id, idempotency_key, job, attempts, run_at, lock_at, traceparent
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
    Option<String>,
    Option<f64>,
);

pub(crate) async fn fetch(
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
    let next_in = answer.first().and_then(|row| row.7);
    // Without a single taken row there is still one line, for `next_in`, with nulls in place of the row.
    let rows = answer.into_iter().filter_map(
        |(id, key, args, attempts, run_at, lock_at, traceparent, _)| {
            let id = id?;
            Some(Row {
                // A row that somebody else put there may have no key.
                key: key.unwrap_or_else(|| id.clone()),
                claim: RowClaim {
                    id,
                    lock_at: lock_at?,
                },
                args: args?,
                attempts: attempts?,
                run_at: run_at?,
                traceparent,
            })
        },
    );
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
pub(crate) enum Outcome {
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
pub(crate) async fn settle(
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
pub(crate) async fn hand_back<'a>(
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
