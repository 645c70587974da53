//! The queue against a real server. Here: a worker, and ways to look at the rows.

mod cost;
mod failures;
mod losses;
mod scheduling;
mod shares;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use unread::clock::Clock;
use unread::jobs::queue::{self, Job, JobRun, QueueConfig, When, WorkerProcess};

use crate::database::{TestDatabase, database};
use crate::harness::PATIENCE;

/// Short, where it is waited for.
const LEASE: Duration = Duration::from_millis(1500);

async fn queue_database() -> TestDatabase {
    database(b"queue 1", queue::migrate).await
}

fn noon() -> DateTime<Utc> {
    "2026-01-05T12:00:00Z".parse().unwrap()
}

fn config() -> QueueConfig {
    QueueConfig {
        poll: Duration::from_millis(50),
        drain: PATIENCE,
        ..QueueConfig::new("deliver")
    }
}

/// A worker in this process. Dropping it is a crash.
struct TestWorker {
    process: Arc<WorkerProcess>,
    shutdown: CancellationToken,
    running: AbortOnDropHandle<()>,
}

impl TestWorker {
    fn start<F, Fut>(pool: &PgPool, clock: &Clock, config: QueueConfig, handler: F) -> Self
    where
        F: Fn(JobRun) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self::start_for(LEASE, (pool, clock), config, handler)
    }

    /// With a lease of its own.
    fn start_for<F, Fut>(
        lease: Duration,
        (pool, clock): (&PgPool, &Clock),
        config: QueueConfig,
        handler: F,
    ) -> Self
    where
        F: Fn(JobRun) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let process = Arc::new(WorkerProcess::start(
            pool.clone(),
            clock.clone(),
            "test",
            lease,
        ));
        let shutdown = CancellationToken::new();
        let running = {
            let (process, shutdown) = (process.clone(), shutdown.clone());
            async move { process.run(config, handler, shutdown).await }
        };
        Self {
            process,
            shutdown,
            running: AbortOnDropHandle::new(tokio::spawn(running)),
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        within(self.running).await.unwrap();
        let process = Arc::into_inner(self.process).expect("nobody else has the host");
        process.leave().await;
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("in time")
}

/// Waits until the rows are as they should be.
async fn eventually(pool: &PgPool, what: &str, query: &'static str) {
    let holds = async {
        while !sqlx::query_scalar::<_, bool>(query)
            .fetch_one(pool)
            .await
            .unwrap()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, holds).await.is_ok(),
        "{what}"
    );
}

async fn empty(pool: &PgPool) {
    eventually(
        pool,
        "no row is left",
        "select not exists (select from apalis.jobs)",
    )
    .await;
}

async fn schedule(
    pool: &PgPool,
    clock: &Clock,
    when: When,
    jobs: impl IntoIterator<Item = Job>,
) -> u64 {
    let mut conn = pool.acquire().await.unwrap();
    queue::schedule(&mut conn, clock, "deliver", when, jobs)
        .await
        .unwrap()
}

/// Status, attempts and time of the one row of this key.
async fn row(pool: &PgPool, key: &str) -> (String, i32, DateTime<Utc>) {
    sqlx::query_as("select status, attempts, run_at from apalis.jobs where idempotency_key = $1")
        .bind(key)
        .fetch_one(pool)
        .await
        .unwrap()
}

/// A handler that reports each job and succeeds.
fn reporting() -> (
    impl Fn(JobRun) -> std::future::Ready<anyhow::Result<()>> + Clone,
    mpsc::UnboundedReceiver<JobRun>,
) {
    let (ran, seen) = mpsc::unbounded_channel();
    let handler = move |job| {
        ran.send(job).unwrap();
        std::future::ready(Ok(()))
    };
    (handler, seen)
}
