//! The queue against a real server: what becomes of wake-ups when handlers fail, workers die and connections break.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use unread::clock::Clock;
use unread::jobs::queue::{self, Depth, Host, Job, MAX_ATTEMPTS, Poison, QueueConfig, Wakeup, When};

use crate::database::{TestDatabase, database, own_server};

/// Far above what anything here takes on a busy machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

const LEASE: Duration = Duration::from_millis(1500);

async fn queue_database() -> TestDatabase {
    database(b"queue 1", queue::migrate).await
}

fn noon() -> DateTime<Utc> {
    "2026-01-05T12:00:00Z".parse().unwrap()
}

fn config() -> QueueConfig {
    QueueConfig { poll: Duration::from_millis(50), drain: PATIENCE, ..QueueConfig::new("deliver") }
}

/// A worker in this process. Dropping it is a crash.
struct TestWorker {
    host: Arc<Host>,
    shutdown: CancellationToken,
    running: AbortOnDropHandle<()>,
}

impl TestWorker {
    fn start<F, Fut>(pool: &PgPool, clock: &Clock, config: QueueConfig, handler: F) -> Self
    where
        F: Fn(Job) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let host = Arc::new(Host::start(pool.clone(), clock.clone(), "test", LEASE));
        let shutdown = CancellationToken::new();
        let running = {
            let (host, shutdown) = (host.clone(), shutdown.clone());
            async move { host.run(config, handler, shutdown).await }
        };
        Self { host, shutdown, running: AbortOnDropHandle::new(tokio::spawn(running)) }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        within(self.running).await.unwrap();
        let host = Arc::into_inner(self.host).expect("nobody else has the host");
        host.leave().await;
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// Waits until the rows are as they should be.
async fn eventually(pool: &PgPool, what: &str, query: &'static str) {
    let holds = async {
        while !sqlx::query_scalar::<_, bool>(query).fetch_one(pool).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, holds).await.is_ok(), "{what}");
}

async fn empty(pool: &PgPool) {
    eventually(pool, "no row is left", "select not exists (select from apalis.jobs)").await;
}

async fn wake(pool: &PgPool, clock: &Clock, when: When, wakeups: impl IntoIterator<Item = Wakeup>) -> u64 {
    let mut conn = pool.acquire().await.unwrap();
    queue::wake(&mut conn, clock, "deliver", when, wakeups).await.unwrap()
}

/// (status, attempts, run_at) of the one row of this key.
async fn row(pool: &PgPool, key: &str) -> (String, i32, DateTime<Utc>) {
    sqlx::query_as("select status, attempts, run_at from apalis.jobs where idempotency_key = $1")
        .bind(key)
        .fetch_one(pool)
        .await
        .unwrap()
}

/// A handler that reports each job and succeeds.
fn reporting() -> (impl Fn(Job) -> std::future::Ready<anyhow::Result<()>> + Clone, mpsc::UnboundedReceiver<Job>) {
    let (ran, seen) = mpsc::unbounded_channel();
    let handler = move |job| {
        ran.send(job).unwrap();
        std::future::ready(Ok(()))
    };
    (handler, seen)
}

#[tokio::test]
async fn a_wakeup_runs_once_with_its_arguments_and_is_gone() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (handler, mut seen) = reporting();
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);

    let wakeup = Wakeup::new("r1", noon()).with_args(json!({"reminder": 7}));
    assert_eq!(wake(&db.pool, &clock, When::At, [wakeup]).await, 1);
    let job = within(seen.recv()).await.unwrap();
    assert_eq!((job.key.as_str(), job.attempt, job.run_at), ("r1", 1, noon()));
    assert_eq!(job.args["reminder"], 7);
    empty(&db.pool).await;
    worker.stop().await;
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn a_wakeup_of_a_transaction_that_rolls_back_never_was() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let mut tx = db.pool.begin().await.unwrap();
    queue::wake(&mut tx, &clock, "deliver", When::At, [Wakeup::new("r1", noon())]).await.unwrap();
    tx.rollback().await.unwrap();
    empty(&db.pool).await;
}

#[tokio::test]
async fn one_key_has_one_row_however_often_it_is_woken() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let later = noon() + TimeDelta::hours(1);
    let much_later = noon() + TimeDelta::hours(2);
    let twice = || [Wakeup::new("r1", later), Wakeup::new("r2", noon()), Wakeup::new("r1", much_later)];

    assert_eq!(wake(&db.pool, &clock, When::NoLaterThan, twice()).await, 2);
    assert_eq!(row(&db.pool, "r1").await.2, later, "no later than the earlier of the two");
    assert_eq!(wake(&db.pool, &clock, When::NoLaterThan, twice()).await, 0, "nothing to change");
    assert_eq!(wake(&db.pool, &clock, When::At, twice()).await, 2);
    assert_eq!(row(&db.pool, "r1").await.2, much_later, "exactly what was said last");
    wake(&db.pool, &clock, When::NoLaterThan, [Wakeup::new("r1", noon())]).await;
    assert_eq!(row(&db.pool, "r1").await.2, noon(), "brought forward");
}

#[tokio::test]
async fn a_forgotten_wakeup_never_runs() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let wakeups = ["r1", "r2"].map(|key| Wakeup::new(key, noon()));
    wake(&db.pool, &clock, When::At, wakeups).await;
    let mut conn = db.pool.acquire().await.unwrap();
    assert_eq!(queue::forget(&mut conn, "deliver", &["r1".into(), "r3".into()]).await.unwrap(), 1);

    let (handler, mut seen) = reporting();
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    assert_eq!(within(seen.recv()).await.unwrap().key, "r2");
    empty(&db.pool).await;
    worker.stop().await;
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn a_key_woken_during_its_run_runs_again_but_never_beside_itself() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (started, mut starts) = mpsc::unbounded_channel();
    let go_on = Arc::new(tokio::sync::Semaphore::new(0));
    let handler = {
        let go_on = go_on.clone();
        move |job: Job| {
            let (started, go_on) = (started.clone(), go_on.clone());
            async move {
                started.send(job.args).unwrap();
                go_on.acquire().await.unwrap().forget();
                Ok(())
            }
        }
    };
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    wake(&db.pool, &clock, When::At, [Wakeup::new("r1", noon())]).await;
    within(starts.recv()).await.unwrap();

    for args in [json!(1), json!(2)] {
        wake(&db.pool, &clock, When::NoLaterThan, [Wakeup::new("r1", noon()).with_args(args)]).await;
    }
    // Another key that was woken later has run: so this one would have, too.
    wake(&db.pool, &clock, When::At, [Wakeup::new("r2", noon())]).await;
    assert_eq!(within(starts.recv()).await.unwrap(), json!(null));
    assert_eq!(row(&db.pool, "r1").await.0, "Queued");

    go_on.add_permits(2);
    assert_eq!(within(starts.recv()).await.unwrap(), json!(1), "the first word stands: it was not later");
    go_on.add_permits(1);
    empty(&db.pool).await;
    worker.stop().await;
    assert!(starts.try_recv().is_err());
}

#[tokio::test]
async fn a_handler_retries_by_waking_its_own_key_later() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (ran, mut runs) = mpsc::unbounded_channel();
    let handler = {
        let (pool, clock) = (db.pool.clone(), clock.clone());
        move |job: Job| {
            let (pool, clock, ran) = (pool.clone(), clock.clone(), ran.clone());
            async move {
                let now = clock.now();
                if now < noon() + TimeDelta::minutes(20) {
                    let retry = Wakeup::new(&*job.key, now + TimeDelta::minutes(10));
                    wake(&pool, &clock, When::At, [retry]).await;
                }
                ran.send((now, job.attempt)).unwrap();
                Ok(())
            }
        }
    };
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    wake(&db.pool, &clock, When::At, [Wakeup::new("r1", noon())]).await;
    for minutes in [0, 10, 20] {
        let run = within(runs.recv()).await.unwrap();
        assert_eq!(run, (noon() + TimeDelta::minutes(minutes), 1));
        if minutes < 20 {
            eventually(&db.pool, "waits again", "select status = 'Pending' from apalis.jobs").await;
        }
        clock.advance(TimeDelta::minutes(10));
    }
    empty(&db.pool).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_wakeup_waits_for_its_time_by_a_manual_clock() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (handler, mut seen) = reporting();
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    let due = noon() + TimeDelta::seconds(60);
    wake(&db.pool, &clock, When::At, [Wakeup::new("later", due)]).await;

    clock.advance(TimeDelta::milliseconds(59_999));
    wake(&db.pool, &clock, When::At, [Wakeup::new("now", clock.now())]).await;
    assert_eq!(within(seen.recv()).await.unwrap().key, "now");
    assert_eq!(row(&db.pool, "later").await.0, "Pending");
    clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(within(seen.recv()).await.unwrap().key, "later");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wakeups_start_on_time_by_the_system_clock_although_polls_are_rare() {
    let db = queue_database().await;
    let clock = Clock::System;
    let (ran, mut lateness) = mpsc::unbounded_channel();
    let handler = {
        let clock = clock.clone();
        move |job: Job| {
            ran.send(clock.now() - job.run_at).unwrap();
            std::future::ready(Ok(()))
        }
    };
    let rare = QueueConfig { poll: Duration::from_secs(60), ..config() };
    let worker = TestWorker::start(&db.pool, &clock, rare, handler);
    // Each of them is due after a pause in which nothing happens, and only the first insert is heard of.
    wake(&db.pool, &clock, When::At, [Wakeup::new("now", clock.now())]).await;
    within(lateness.recv()).await.unwrap();
    let due = (1..=5).map(|n| Wakeup::new(n.to_string(), clock.now() + TimeDelta::milliseconds(300 * n)));
    wake(&db.pool, &clock, When::At, due).await;
    for _ in 0..5 {
        let late = within(lateness.recv()).await.unwrap();
        assert!(late >= TimeDelta::zero(), "never early: {late}");
        assert!(late < TimeDelta::milliseconds(250), "late by {late}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn panics_errors_hangs_and_poison_leave_the_next_job_alone() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (ran, mut seen) = mpsc::unbounded_channel();
    let handler = move |job: Job| {
        let ran = ran.clone();
        async move {
            match job.key.as_str() {
                "panics" => panic!("as the test wants"),
                "hangs" => std::future::pending().await,
                "fails" => anyhow::bail!("no luck\0"),
                "poison" => Err(job.parse::<u32>().map(drop).unwrap_err()).map_err(Into::into),
                key => Ok(ran.send(key.to_owned()).unwrap()),
            }
        }
    };
    let one_slot = QueueConfig { slots: 1, deadline: Duration::from_millis(200), ..config() };
    let worker = TestWorker::start(&db.pool, &clock, one_slot, handler);
    let keys = ["panics", "hangs", "fails", "poison", "not json", "last"];
    let wakeups = keys.iter().zip(0..).map(|(key, n)| Wakeup::new(*key, noon() - TimeDelta::seconds(10 - n)));
    let mut tx = db.pool.begin().await.unwrap();
    queue::wake(&mut tx, &clock, "deliver", When::At, wakeups).await.unwrap();
    tx.execute("update apalis.jobs set job = '{' where idempotency_key = 'not json'").await.unwrap();
    // A row that somebody else put there: an id of another kind, and no key.
    tx.execute("insert into apalis.jobs (id, job_type, job, run_at) values ('no-ulid', 'deliver', '1', '2026-01-05')")
        .await
        .unwrap();
    tx.commit().await.unwrap();

    assert_eq!(within(seen.recv()).await.unwrap(), "no-ulid");
    assert_eq!(within(seen.recv()).await.unwrap(), "last");
    eventually(&db.pool, "five are left", "select count(*) = 5 from apalis.jobs where lock_by is null").await;
    for key in ["panics", "hangs", "fails"] {
        let (status, attempts, run_at) = row(&db.pool, key).await;
        assert_eq!((status.as_str(), attempts), ("Pending", 1), "{key}");
        assert!(run_at > noon() + TimeDelta::seconds(3), "{key} backs off: {run_at}");
    }
    for key in ["poison", "not json"] {
        assert_eq!(row(&db.pool, key).await.0, "Killed", "{key}");
    }
    let errors: Vec<String> =
        sqlx::query_scalar("select last_result ->> 'Err' from apalis.jobs order by idempotency_key")
            .fetch_all(&db.pool)
            .await
            .unwrap();
    let starts = ["no luck", "the handler did not end", "the arguments are not JSON", "the handler panicked", "the arg"];
    let as_sorted = [starts[0], starts[1], starts[2], starts[3], starts[4]];
    for (error, start) in errors.iter().zip(as_sorted) {
        assert!(error.starts_with(start), "{error} / {start}");
    }
    assert!(worker.host.healthy());
    worker.stop().await;
}

#[tokio::test]
async fn a_job_that_always_fails_dies_after_its_last_attempt_and_can_be_raised() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (ran, mut runs) = mpsc::unbounded_channel();
    let handler = move |job: Job| {
        ran.send(job.attempt).unwrap();
        std::future::ready(Err(anyhow::anyhow!("never works")))
    };
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    wake(&db.pool, &clock, When::At, [Wakeup::new("r1", noon())]).await;
    for attempt in 1..=MAX_ATTEMPTS {
        assert_eq!(within(runs.recv()).await.unwrap(), attempt);
        if attempt < MAX_ATTEMPTS {
            eventually(&db.pool, "settled", "select lock_by is null from apalis.jobs").await;
            if attempt == 3 {
                let hasty = wake(&db.pool, &clock, When::NoLaterThan, [Wakeup::new("r1", noon())]).await;
                assert_eq!(hasty, 0, "a sweep does not shorten the back-off");
            }
            clock.advance(TimeDelta::minutes(20));
        }
    }
    eventually(&db.pool, "dead", "select status = 'Killed' from apalis.jobs").await;
    let died = clock.now();
    clock.advance(TimeDelta::days(1));
    let swept = wake(&db.pool, &clock, When::NoLaterThan, [Wakeup::new("r1", clock.now())]).await;
    assert_eq!(swept, 0, "a sweep does not raise the dead");
    assert_eq!(queue::bury(&db.pool, died).await.unwrap(), 0, "kept for the operator");

    wake(&db.pool, &clock, When::At, [Wakeup::new("r1", clock.now())]).await;
    assert_eq!(within(runs.recv()).await.unwrap(), 1, "a decision does");
    worker.stop().await;
}

#[tokio::test]
async fn dead_letters_are_buried_when_their_time_has_come() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let handler = |_: Job| std::future::ready(Err(Poison("hopeless".into()).into()));
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    wake(&db.pool, &clock, When::At, [Wakeup::new("r1", noon())]).await;
    eventually(&db.pool, "dead", "select status = 'Killed' from apalis.jobs").await;
    assert_eq!(queue::bury(&db.pool, noon() + TimeDelta::seconds(1)).await.unwrap(), 1);
    worker.stop().await;
}

#[tokio::test]
async fn the_depth_says_what_lies_where() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (started, mut starts) = mpsc::unbounded_channel();
    let handler = move |job: Job| {
        let started = started.clone();
        async move {
            if job.key == "poison" {
                return Err(Poison("hopeless".into()).into());
            }
            started.send(()).unwrap();
            std::future::pending().await
        }
    };
    let one_slot = QueueConfig { slots: 1, drain: Duration::ZERO, ..config() };
    let worker = TestWorker::start(&db.pool, &clock, one_slot, handler);
    let minutes = [("poison", -9), ("held", -8), ("ready", -7), ("also ready", -6), ("scheduled", 5)];
    let wakeups = minutes.map(|(key, min)| Wakeup::new(key, noon() + TimeDelta::minutes(min)));
    wake(&db.pool, &clock, When::At, wakeups).await;
    within(starts.recv()).await.unwrap();
    let expected = Depth {
        queue: "deliver".into(),
        ready: 2,
        scheduled: 1,
        held: 1,
        dead: 1,
        oldest_ready: Some(noon() - TimeDelta::minutes(7)),
    };
    assert_eq!(queue::depth(&db.pool, noon()).await.unwrap(), [expected]);
    worker.stop().await;
}

/// Counts how many runs of one key there are at once, and in all.
#[derive(Clone, Default)]
struct Counted {
    inside: Arc<Mutex<HashSet<String>>>,
    runs: Arc<AtomicUsize>,
}

impl Counted {
    fn enter(&self, key: &str) {
        assert!(self.inside.lock().unwrap().insert(key.to_owned()), "{key} runs twice at once");
        self.runs.fetch_add(1, Ordering::SeqCst);
    }

    fn leave(&self, key: &str) {
        self.inside.lock().unwrap().remove(key);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_longer_than_the_lease_run_once_while_their_workers_live() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let counted = Counted::default();
    let handler = {
        let counted = counted.clone();
        move |job: Job| {
            let counted = counted.clone();
            async move {
                counted.enter(&job.key);
                // The one thing this test is about is real time.
                tokio::time::sleep(LEASE * 2).await;
                counted.leave(&job.key);
                Ok(())
            }
        }
    };
    let workers = [(), ()].map(|()| TestWorker::start(&db.pool, &clock, config(), handler.clone()));
    wake(&db.pool, &clock, When::At, (0..20).map(|n| Wakeup::new(n.to_string(), noon()))).await;
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
    let hanging = move |_: Job| {
        started.send(()).unwrap();
        std::future::pending()
    };
    let lost = TestWorker::start(&db.pool, &clock, config(), hanging);
    wake(&db.pool, &clock, When::At, ["r1", "last try"].map(|key| Wakeup::new(key, noon()))).await;
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
async fn a_fetch_whose_answer_was_lost_is_noticed() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (handler, mut seen) = reporting();
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    wake(&db.pool, &clock, When::At, [Wakeup::new("first", noon())]).await;
    within(seen.recv()).await.unwrap();

    let mut tx = db.pool.begin().await.unwrap();
    queue::wake(&mut tx, &clock, "deliver", When::At, [Wakeup::new("r1", noon())]).await.unwrap();
    sqlx::query("update apalis.jobs set status = 'Running', lock_at = now(), lock_by = $1")
        .bind(worker.host.name())
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
    let (handler, mut seen) = reporting();
    let handler = {
        let (pool, clock) = (db.pool.clone(), clock.clone());
        let (opened, transaction) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
        *opened.lock().unwrap() = Some(());
        let held = transaction.clone();
        let handler = move |job: Job| {
            let (pool, clock, opened, held) = (pool.clone(), clock.clone(), opened.clone(), held.clone());
            let handler = handler.clone();
            async move {
                if job.key == "r1" && opened.lock().unwrap().take().is_some() {
                    let mut tx = pool.begin().await?;
                    let again = Wakeup::new("r1", clock.now());
                    queue::wake(&mut tx, &clock, "deliver", When::At, [again]).await?;
                    *held.lock().unwrap() = Some(tx);
                }
                handler(job).await
            }
        };
        (handler, transaction)
    };
    let (handler, transaction) = handler;
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    wake(&db.pool, &clock, When::At, ["r1", "r2"].map(|key| Wakeup::new(key, noon()))).await;
    for _ in 0..2 {
        within(seen.recv()).await.unwrap();
    }
    eventually(&db.pool, "r2 is done with", "select count(*) = 1 from apalis.jobs").await;
    let tx = transaction.lock().unwrap().take().expect("the first run opened it");
    tx.commit().await.unwrap();
    assert_eq!(within(seen.recv()).await.unwrap().key, "r1", "what was woken during the run runs");
    empty(&db.pool).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_when_every_connection_is_terminated_again_and_again() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let counted = Counted::default();
    let handler = {
        let counted = counted.clone();
        move |job: Job| {
            let counted = counted.clone();
            async move {
                counted.enter(&job.key);
                tokio::task::yield_now().await;
                counted.leave(&job.key);
                Ok(())
            }
        }
    };
    let pool = PgPoolOptions::new().max_connections(5).connect(&db.url).await.unwrap();
    let worker = TestWorker::start(&pool, &clock, QueueConfig { slots: 4, ..config() }, handler);
    let mut admin = PgConnection::connect(&db.url).await.unwrap();
    for round in 0..10 {
        let wakeups = (0..200).map(|n| Wakeup::new(format!("{round}/{n}"), noon()));
        queue::wake(&mut admin, &clock, "deliver", When::At, wakeups).await.unwrap();
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
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_secs(2))
        .connect_with(own.server().connect_options("postgres"))
        .await
        .unwrap();
    queue::migrate(&pool).await.unwrap();
    let clock = Clock::manual(noon());
    let (ran, mut seen) = mpsc::unbounded_channel();
    let go_on = Arc::new(tokio::sync::Semaphore::new(0));
    let handler = {
        let go_on = go_on.clone();
        move |job: Job| {
            let (ran, go_on) = (ran.clone(), go_on.clone());
            async move {
                ran.send(job.key).unwrap();
                go_on.acquire().await?.forget();
                Ok(())
            }
        }
    };
    let worker = TestWorker::start(&pool, &clock, QueueConfig { slots: 10, ..config() }, handler);
    wake(&pool, &clock, When::At, (0..30).map(|n| Wakeup::new(n.to_string(), noon()))).await;
    for _ in 0..10 {
        within(seen.recv()).await.unwrap();
    }
    own.kill().await;
    // They end while there is nobody to write it down.
    go_on.add_permits(1000);
    within(async {
        while worker.host.healthy() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    own.start().await;
    empty(&pool).await;
    within(async {
        while !worker.host.healthy() {
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
        move |job: Job| {
            let (started, shutdown_asked) = (started.clone(), shutdown_asked.clone());
            async move {
                started.send(()).unwrap();
                shutdown_asked.cancelled().await;
                if job.key == "short" { Ok(()) } else { std::future::pending().await }
            }
        }
    };
    let two_slots = QueueConfig { slots: 2, drain: Duration::from_millis(300), ..config() };
    let worker = TestWorker::start(&db.pool, &clock, two_slots, handler);
    let keys = [("short", 3), ("endless", 2), ("not started", 1)];
    let wakeups = keys.map(|(key, ago)| Wakeup::new(key, noon() - TimeDelta::seconds(ago)));
    wake(&db.pool, &clock, When::At, wakeups).await;
    for _ in 0..2 {
        within(starts.recv()).await.unwrap();
    }
    shutdown_asked.cancel();
    worker.stop().await;
    for key in ["endless", "not started"] {
        let (status, attempts, _) = row(&db.pool, key).await;
        assert_eq!((status.as_str(), attempts), ("Pending", 0), "{key}");
    }
    let left: (i64, i64) =
        sqlx::query_as("select (select count(*) from apalis.jobs), (select count(*) from apalis.workers)")
            .fetch_one(&db.pool)
            .await
            .unwrap();
    assert_eq!(left, (2, 0), "the short one has ended, and the worker has signed off");
}

#[tokio::test]
async fn the_fetch_touches_no_row_that_is_due_later() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let later = (0..100_000).map(|n| Wakeup::new(n.to_string(), noon() + TimeDelta::seconds(60 + n)));
    wake(&db.pool, &clock, When::At, later).await;
    let due = (0..50).map(|n| Wakeup::new(format!("due {n}"), noon() - TimeDelta::seconds(n)));
    wake(&db.pool, &clock, When::At, due).await;

    let mut conn = db.pool.acquire().await.unwrap();
    conn.execute("analyze apalis.jobs").await.unwrap();
    conn.execute("set plan_cache_mode = force_generic_plan").await.unwrap();
    conn.execute("insert into apalis.workers (id, worker_type, storage_name) values ('w', 'unread', 'unread')")
        .await
        .unwrap();
    let prepare = format!("prepare take(text, timestamptz, bigint, text) as {}", queue::FETCH);
    conn.execute(sqlx::AssertSqlSafe(prepare)).await.unwrap();
    let explain = "explain (analyze, buffers, format text) execute take('deliver', '2026-01-05T12:00:00Z', 200, 'w')";
    let plan: Vec<String> = sqlx::raw_sql(explain)
        .fetch_all(&mut *conn)
        .await
        .unwrap()
        .iter()
        .map(|line| sqlx::Row::get(line, 0))
        .collect();
    let plan = plan.join("\n");
    assert!(!plan.contains("Seq Scan"), "{plan}");
    assert!(!plan.contains("Rows Removed"), "{plan}");
    assert_eq!(plan.matches("unread_jobs_due").count(), 2, "{plan}");
    // The scan for due rows read the due rows; the look for the next one read one.
    assert_eq!(plan.matches("rows=50 loops=1").count() >= 2, true, "{plan}");
}

/// How many jobs that do nothing go through one worker in a second. Prints; proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a test"]
async fn throughput_of_jobs_that_do_nothing() {
    const JOBS: usize = 20_000;
    let db = queue_database().await;
    let clock = Clock::System;
    for slots in [10, 100, 200] {
        let now = clock.now();
        let started = std::time::Instant::now();
        wake(&db.pool, &clock, When::At, (0..JOBS).map(|n| Wakeup::new(n.to_string(), now))).await;
        let woken = started.elapsed();
        let left = Arc::new(AtomicUsize::new(JOBS));
        let done = CancellationToken::new();
        let handler = {
            let (left, done) = (left.clone(), done.clone());
            move |_: Job| {
                if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                    done.cancel();
                }
                std::future::ready(Ok(()))
            }
        };
        let started = std::time::Instant::now();
        let worker = TestWorker::start(&db.pool, &clock, QueueConfig { slots, ..config() }, handler);
        done.cancelled().await;
        let took = started.elapsed().as_secs_f64();
        worker.stop().await;
        println!(
            "{slots} slots: {:.0} jobs/s; woken at {:.0} rows/s",
            JOBS as f64 / took,
            JOBS as f64 / woken.as_secs_f64()
        );
    }
}
