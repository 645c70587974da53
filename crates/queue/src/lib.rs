//! Durable jobs: "look at this thing at that time", once per queue and key.
//!
//! A job is transport, never the record of what must happen: the ledger says what is due, and a handler that is run
//! too often, or for something long settled, must find nothing to do. There is at most one row per (queue, key) in
//! `apalis.jobs`, and a finished one is deleted: the table stays as small as the work ahead, and the key is free again.
//!
//! This crate is the only place that names apalis. Its `Worker` runs our handlers and its migrations own the tables, but
//! the rows are fetched and settled by a `Backend` of our own: with the stock one, a panic, a time-out or a database error
//! at the wrong moment leaves a row locked for ever, and a delayed job starts up to a poll interval late.
//!
//! Two kinds of time meet here. `run_at` is business time: it is compared with the server's `now()`, or, where a demonstration or a
//! test moves the [`Clock`], with that. Leases and heartbeats are real time and always use the server's `now()`, because they guard
//! against real crashes.
//!
//! A row's `status`, in apalis' words:
//!
//! ```text
//! Pending ──fetch──▶ Running ──Ok──▶ (deleted)
//!    ▲                 │ │
//!    │                 │ └─scheduled during the run──▶ Queued: runs again, at the new time, after this run has ended
//!    ├─Err, panic, deadline, lost worker (attempts + 1, later) ──┤
//!    └─shutdown (attempts unchanged) ────────────────────────────┤
//!                                             Killed ◀── attempts used up, or discarded
//! ```

mod attempt;
mod process;
mod rows;
mod shares;
mod work;
mod worker;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use unread_clock::Clock;
use unread_trace::TraceParent;

pub use process::WorkerProcess;
pub use rows::Depth;
#[doc(hidden)]
pub use rows::{FETCH, fetch_without};
pub use shares::Sharing;

/// How often a job may fail, panic, overrun its deadline or lose its worker before it is left to the operator. With the
/// back-off this is about four and a half hours.
pub const MAX_ATTEMPTS: i32 = 25;

/// One thing to look at, and when.
pub struct Job {
    /// What to look at, unique in its queue: a reminder's id, an account and lane.
    pub key: String,
    /// Handed to the handler; ids only, never personal data. Those of the job that has set the time count.
    pub args: Value,
    pub run_at: DateTime<Utc>,
}

impl Job {
    /// A job whose key says everything.
    pub fn new(key: impl Into<String>, run_at: DateTime<Utc>) -> Self {
        Self {
            key: key.into(),
            args: Value::Null,
            run_at,
        }
    }

    #[must_use]
    pub fn with_args(self, args: Value) -> Self {
        Self { args, ..self }
    }
}

/// What happens to the job that may already be there for the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It moves to exactly this time, earlier or later, and starts afresh: attempts are forgotten, a dead one lives again.
    /// For a decision: a due time, the time of a retry, "send again".
    At,
    /// It is brought forward if it is later, never put off. One that waits after a failure keeps its back-off, and a dead
    /// one stays dead. For sweeps, which may ask again and again.
    NoLaterThan,
}

/// One run of a handler.
pub struct JobRun {
    pub key: String,
    pub args: Value,
    /// 1 for the first run, one more after every failed one.
    pub attempt: i32,
    /// When it was due; the clock's distance from it is the lateness.
    pub run_at: DateTime<Utc>,
    /// The trace of what has scheduled it.
    pub trace: Option<TraceParent>,
}

impl JobRun {
    /// The arguments as a type of ours. The error is [`Discard`]: bytes do not get better by trying again.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Discard> {
        T::deserialize(&self.args)
            .map_err(|error| Discard(format!("the arguments cannot be read: {error}")))
    }
}

/// An error that will not go away: the job is not tried again but kept for the operator. A handler returns it like any
/// other error, with or without context around it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Discard(pub String);

/// How one queue is worked on in this process.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    pub name: &'static str,
    /// Jobs at the same time in this process.
    pub slots: usize,
    /// Among whom, if the queue works for several.
    pub sharing: Option<Sharing>,
    /// A job that runs longer is aborted and has failed. Real time.
    pub deadline: Duration,
    /// How late a due row is noticed when every other signal fails (a lost notification, a jump of the clock).
    pub poll: Duration,
    /// How long running jobs may go on after shutdown was asked for; then they are aborted and handed back.
    pub drain: Duration,
}

impl QueueConfig {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            slots: 16,
            sharing: None,
            deadline: Duration::from_mins(2),
            poll: POLL,
            drain: Duration::from_secs(25),
        }
    }
}

/// The default of [`QueueConfig::poll`], and how near a job must be for [`schedule`] to notify the workers.
const POLL: Duration = Duration::from_millis(500);

/// Makes sure that the keys are looked at, as `when` says, if and when the caller's transaction commits. One statement
/// for any number of keys. Returns how many rows were added or changed.
///
/// A key that is being worked on right now is never run twice at once: the current run ends first, and then the new time
/// counts. So a handler retries by waking its own key in the transaction that records the failure, and returns `Ok`.
///
/// If a key occurs twice in one call, the later entry wins for [`When::At`] and the earlier time for
/// [`When::NoLaterThan`]. Notifies the workers only if something is due within half a second: they look again that often
/// anyway, and notifying transactions commit one at a time, server-wide.
pub async fn schedule(
    conn: &mut PgConnection,
    clock: &Clock,
    queue: &str,
    when: When,
    jobs: impl IntoIterator<Item = Job>,
) -> sqlx::Result<u64> {
    let jobs = rows::one_per_key(when, jobs);
    let Some(first) = jobs.values().map(|job| job.run_at).min() else {
        return Ok(0);
    };
    let notify = clock.wait_until(first) <= POLL;
    rows::schedule(conn, queue, when, jobs, notify).await
}

/// Removes jobs that nobody works on at the moment, dead ones included. One that is being worked on is left to its
/// handler, which will find in the ledger that there is nothing to do. Returns how many rows went away.
pub async fn cancel(conn: &mut PgConnection, queue: &str, keys: &[String]) -> sqlx::Result<u64> {
    rows::cancel(conn, queue, keys).await
}

/// Which of these keys have no row: nobody will look at them. A dead letter is a row.
pub async fn missing(
    conn: &mut PgConnection,
    queue: &str,
    keys: &[String],
) -> sqlx::Result<Vec<String>> {
    rows::missing(conn, queue, keys).await
}

/// Removes dead letters that died before `before` (business time). Returns how many.
pub async fn purge_dead(pool: &PgPool, before: DateTime<Utc>) -> sqlx::Result<u64> {
    rows::purge_dead(pool, before).await
}

/// How much lies in each queue that has any row at all; for `/metrics`.
pub async fn depth(pool: &PgPool, now: DateTime<Utc>) -> sqlx::Result<Vec<Depth>> {
    rows::depth(pool, now).await
}

/// How many jobs were given up; for the dashboard, which does not count the others for it.
pub async fn dead(pool: &PgPool) -> sqlx::Result<i64> {
    rows::dead(pool).await
}

/// Brings the queue's tables up to date: apalis' own migrations, then ours on top. Safe to run from all replicas at once.
pub async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    rows::migrate(pool).await
}
