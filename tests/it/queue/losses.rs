//! What becomes of jobs when workers, connections or the server go away.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use unread::clock::Clock;
use unread::jobs::queue::{self, Job, JobRun, QueueConfig, When};

use super::{
    TestWorker, config, empty, eventually, noon, queue_database, reporting, row, schedule, within,
};
use crate::database::own_server;

/// Counts how many runs of one key there are at once, and in all.
#[derive(Clone, Default)]
struct Counted {
    inside: Arc<Mutex<HashSet<String>>>,
    runs: Arc<AtomicUsize>,
}

impl Counted {
    fn enter(&self, key: &str) {
        assert!(
            self.inside.lock().unwrap().insert(key.to_owned()),
            "{key} runs twice at once"
        );
        self.runs.fetch_add(1, Ordering::SeqCst);
    }

    fn leave(&self, key: &str) {
        self.inside.lock().unwrap().remove(key);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_longer_than_the_lease_run_once_while_their_workers_live() {
    /// A heartbeat comes three times as often, and on a busy machine two of three may come late.
    const LEASE: Duration = Duration::from_secs(9);
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let counted = Counted::default();
    let handler = {
        let counted = counted.clone();
        move |job: JobRun| {
            let counted = counted.clone();
            async move {
                counted.enter(&job.key);
                // The one thing this test is about is real time.
                tokio::time::sleep(LEASE + LEASE / 2).await;
                counted.leave(&job.key);
                Ok(())
            }
        }
    };
    let workers = [(), ()]
        .map(|()| TestWorker::start_for(LEASE, (&db.pool, &clock), config(), handler.clone()));
    schedule(
        &db.pool,
        &clock,
        When::At,
        (0..20).map(|n| Job::new(n.to_string(), noon())),
    )
    .await;
    empty(&db.pool).await;
    assert_eq!(counted.runs.load(Ordering::SeqCst), 20);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn the_rows_of_a_lost_worker_are_rescued_an_attempt_the_poorer() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (started, mut starts) = mpsc::unbounded_channel();
    let hanging = move |_: JobRun| {
        started.send(()).unwrap();
        std::future::pending()
    };
    let lost = TestWorker::start(&db.pool, &clock, config(), hanging);
    schedule(
        &db.pool,
        &clock,
        When::At,
        ["r1", "last try"].map(|key| Job::new(key, noon())),
    )
    .await;
    for _ in 0..2 {
        within(starts.recv()).await.unwrap();
    }
    sqlx::query("update apalis.jobs set attempts = 24 where idempotency_key = 'last try'")
        .execute(&db.pool)
        .await
        .unwrap();
    drop(lost);

    let (handler, mut seen) = reporting();
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    let job = within(seen.recv()).await.unwrap();
    assert_eq!((job.key.as_str(), job.attempt), ("r1", 2));
    eventually(&db.pool, "settled", "select count(*) = 1 from apalis.jobs").await;
    assert_eq!(row(&db.pool, "last try").await.0, "Killed");
    worker.stop().await;
}

#[tokio::test]
async fn the_rows_of_a_worker_that_nobody_knows_are_rescued() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    schedule(&db.pool, &clock, When::At, [Job::new("r1", noon())]).await;
    sqlx::query("update apalis.jobs set status = 'Running', lock_at = now(), lock_by = 'removed'")
        .execute(&db.pool)
        .await
        .unwrap();
    let (handler, mut seen) = reporting();
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    let job = within(seen.recv()).await.unwrap();
    assert_eq!((job.key.as_str(), job.attempt), ("r1", 2));
    worker.stop().await;
}

#[tokio::test]
async fn a_fetch_whose_answer_was_lost_is_noticed() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (handler, mut seen) = reporting();
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    schedule(&db.pool, &clock, When::At, [Job::new("first", noon())]).await;
    within(seen.recv()).await.unwrap();
    empty(&db.pool).await;

    let mut tx = db.pool.begin().await.unwrap();
    queue::schedule(
        &mut tx,
        &clock,
        "deliver",
        When::At,
        [Job::new("r1", noon())],
    )
    .await
    .unwrap();
    sqlx::query("update apalis.jobs set status = 'Running', lock_at = now(), lock_by = $1")
        .bind(worker.process.name())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let job = within(seen.recv()).await.unwrap();
    assert_eq!((job.key.as_str(), job.attempt), ("r1", 1));
    worker.stop().await;
}

#[tokio::test]
async fn an_open_transaction_that_wakes_one_key_does_not_hold_up_the_others() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (ran, mut seen) = mpsc::unbounded_channel();
    let (opened, mut open) = mpsc::unbounded_channel();
    let first = Arc::new(AtomicBool::new(true));
    let handler = {
        let (pool, clock) = (db.pool.clone(), clock.clone());
        move |job: JobRun| {
            let (pool, clock, ran) = (pool.clone(), clock.clone(), ran.clone());
            let (opened, first) = (opened.clone(), first.clone());
            async move {
                if job.key == "r1" && first.swap(false, Ordering::SeqCst) {
                    let mut tx = pool.begin().await?;
                    let again = Job::new("r1", clock.now());
                    queue::schedule(&mut tx, &clock, "deliver", When::At, [again]).await?;
                    opened.send(tx).unwrap();
                }
                ran.send(job.key)?;
                Ok(())
            }
        }
    };
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    for key in ["r1", "r2"] {
        schedule(&db.pool, &clock, When::At, [Job::new(key, noon())]).await;
        assert_eq!(within(seen.recv()).await.unwrap(), key);
    }
    eventually(
        &db.pool,
        "r2 is done with",
        "select count(*) = 1 from apalis.jobs",
    )
    .await;
    within(open.recv()).await.unwrap().commit().await.unwrap();
    assert_eq!(
        within(seen.recv()).await.unwrap(),
        "r1",
        "what was scheduled during the run runs"
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_when_every_connection_is_terminated_again_and_again() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let counted = Counted::default();
    let handler = {
        let counted = counted.clone();
        move |job: JobRun| {
            let counted = counted.clone();
            async move {
                counted.enter(&job.key);
                tokio::task::yield_now().await;
                counted.leave(&job.key);
                Ok(())
            }
        }
    };
    let pool = PgPoolOptions::new()
        .max_connections(5)
        .connect(&db.url)
        .await
        .unwrap();
    let worker = TestWorker::start(
        &pool,
        &clock,
        QueueConfig {
            slots: 4,
            ..config()
        },
        handler,
    );
    let mut admin = PgConnection::connect(&db.url).await.unwrap();
    for round in 0..10 {
        let jobs = (0..200).map(|n| Job::new(format!("{round}/{n}"), noon()));
        queue::schedule(&mut admin, &clock, "deliver", When::At, jobs)
            .await
            .unwrap();
        admin
            .execute(
                "select pg_terminate_backend(pid) from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()",
            )
            .await
            .unwrap();
    }
    empty(&pool).await;
    assert!(counted.runs.load(Ordering::SeqCst) >= 2000);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_server_crashes_and_comes_back() {
    let mut own = own_server().await;
    let of_worker = PgPoolOptions::new()
        .acquire_timeout(Duration::from_secs(2))
        .connect_with(own.server().connect_options("postgres"))
        .await
        .unwrap();
    // The test's own is more patient.
    let pool = PgPool::connect_with(own.server().connect_options("postgres"))
        .await
        .unwrap();
    queue::migrate(&pool).await.unwrap();
    let clock = Clock::manual(noon());
    let (ran, mut seen) = mpsc::unbounded_channel();
    let go_on = Arc::new(tokio::sync::Semaphore::new(0));
    let handler = {
        let go_on = go_on.clone();
        move |job: JobRun| {
            let (ran, go_on) = (ran.clone(), go_on.clone());
            async move {
                ran.send(job.key).unwrap();
                go_on.acquire().await?.forget();
                Ok(())
            }
        }
    };
    let worker = TestWorker::start(
        &of_worker,
        &clock,
        QueueConfig {
            slots: 10,
            ..config()
        },
        handler,
    );
    schedule(
        &pool,
        &clock,
        When::At,
        (0..30).map(|n| Job::new(n.to_string(), noon())),
    )
    .await;
    for _ in 0..10 {
        within(seen.recv()).await.unwrap();
    }
    own.kill().await;
    // They end while there is nobody to write it down.
    go_on.add_permits(1000);
    within(async {
        while worker.process.healthy() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    own.start().await;
    empty(&pool).await;
    within(async {
        while !worker.process.healthy() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    worker.stop().await;
    let others: HashSet<String> = std::iter::from_fn(|| seen.try_recv().ok()).collect();
    assert!(others.len() >= 20, "the other twenty have run");
}

#[tokio::test]
async fn shutdown_lets_short_jobs_end_and_hands_back_the_rest_unharmed() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (started, mut starts) = mpsc::unbounded_channel();
    let shutdown_asked = CancellationToken::new();
    let handler = {
        let shutdown_asked = shutdown_asked.clone();
        move |job: JobRun| {
            let (started, shutdown_asked) = (started.clone(), shutdown_asked.clone());
            async move {
                started.send(()).unwrap();
                shutdown_asked.cancelled().await;
                if job.key == "short" {
                    Ok(())
                } else {
                    std::future::pending().await
                }
            }
        }
    };
    let two_slots = QueueConfig {
        slots: 2,
        // The short one has ended by then on any machine.
        drain: Duration::from_secs(5),
        ..config()
    };
    let worker = TestWorker::start(&db.pool, &clock, two_slots, handler);
    let keys = [("short", 3), ("endless", 2), ("not started", 1)];
    let jobs = keys.map(|(key, ago)| Job::new(key, noon() - TimeDelta::seconds(ago)));
    schedule(&db.pool, &clock, When::At, jobs).await;
    for _ in 0..2 {
        within(starts.recv()).await.unwrap();
    }
    shutdown_asked.cancel();
    worker.stop().await;
    for key in ["endless", "not started"] {
        let (status, attempts, _) = row(&db.pool, key).await;
        assert_eq!((status.as_str(), attempts), ("Pending", 0), "{key}");
    }
    let left: (i64, i64) = sqlx::query_as(
        "select (select count(*) from apalis.jobs), (select count(*) from apalis.workers)",
    )
    .fetch_one(&db.pool)
    .await
    .unwrap();
    assert_eq!(
        left,
        (2, 0),
        "the short one has ended, and the worker has signed off"
    );
}
