//! What becomes of jobs that fail, and how the operator learns of them.

use std::time::Duration;

use anyhow::{Context, bail};
use chrono::TimeDelta;
use sqlx::{Executor, PgPool};
use tokio::sync::mpsc;
use unread::clock::Clock;
use unread::jobs::queue::{self, Depth, Discard, Job, JobRun, MAX_ATTEMPTS, QueueConfig, When};

use super::{TestWorker, config, eventually, noon, queue_database, row, schedule, within};

/// Fails in the way the key says; reports the keys that do not.
async fn misbehave(job: JobRun, ran: mpsc::UnboundedSender<String>) -> anyhow::Result<()> {
    match job.key.as_str() {
        "panics" => panic!("as the test wants"),
        "hangs" => std::future::pending().await,
        "fails" => bail!("no luck\0"),
        "poison" => drop(job.parse::<u32>().context("reading the number")?),
        key => ran.send(key.to_owned())?,
    }
    Ok(())
}

#[tokio::test]
async fn panics_errors_hangs_and_poison_leave_the_next_job_alone() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (ran, mut seen) = mpsc::unbounded_channel();
    let one_slot = QueueConfig {
        slots: 1,
        deadline: Duration::from_millis(200),
        ..config()
    };
    let handler = move |job| misbehave(job, ran.clone());
    let worker = TestWorker::start(&db.pool, &clock, one_slot, handler);
    let keys = ["panics", "hangs", "fails", "poison", "not json", "last"];
    let due = (-10..).map(|n| noon() + TimeDelta::seconds(n));
    let jobs = keys.iter().zip(due).map(|(key, due)| Job::new(*key, due));
    let mut tx = db.pool.begin().await.unwrap();
    let scheduled = queue::schedule(&mut tx, &clock, "deliver", When::At, jobs);
    assert_eq!(scheduled.await.unwrap(), 6);
    let not_json = "update apalis.jobs set job = '{' where idempotency_key = 'not json'";
    tx.execute(not_json).await.unwrap();
    // A row that somebody else put there: an id of another kind, and no key.
    let foreign = "insert into apalis.jobs (id, job_type, job, run_at) values ('no-ulid', 'deliver', '1', '2026-01-05')";
    tx.execute(foreign).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(within(seen.recv()).await.unwrap(), "no-ulid");
    assert_eq!(within(seen.recv()).await.unwrap(), "last");
    let settled = "select count(*) = 5 from apalis.jobs where lock_by is null";
    eventually(&db.pool, "five are left", settled).await;
    for (key, status, error) in [
        ("panics", "Pending", "the handler panicked"),
        ("hangs", "Pending", "the handler did not end within 200ms"),
        ("fails", "Pending", "no luck"),
        ("poison", "Killed", "reading the number: the arguments"),
        ("not json", "Killed", "the arguments are not JSON"),
    ] {
        let (found_status, attempts, run_at) = row(&db.pool, key).await;
        assert_eq!((found_status.as_str(), attempts), (status, 1), "{key}");
        let backs_off = run_at > noon() + TimeDelta::seconds(3);
        assert_eq!(backs_off, status == "Pending", "{key} at {run_at}");
        let found_error = error_of(&db.pool, key).await;
        assert!(found_error.starts_with(error), "{key}: {found_error}");
    }
    assert!(worker.process.healthy());
    worker.stop().await;
}

async fn error_of(pool: &PgPool, key: &str) -> String {
    let query = "select last_result ->> 'Err' from apalis.jobs where idempotency_key = $1";
    let error = sqlx::query_scalar(query).bind(key).fetch_one(pool);
    error.await.unwrap()
}

#[tokio::test]
async fn a_job_that_always_fails_dies_after_its_last_attempt_and_can_be_raised() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (ran, mut runs) = mpsc::unbounded_channel();
    let handler = move |job: JobRun| {
        ran.send(job.attempt).unwrap();
        std::future::ready(Err(anyhow::anyhow!("never works")))
    };
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    schedule(&db.pool, &clock, When::At, [Job::new("r1", noon())]).await;
    for attempt in 1..=MAX_ATTEMPTS {
        assert_eq!(within(runs.recv()).await.unwrap(), attempt);
        if attempt < MAX_ATTEMPTS {
            eventually(
                &db.pool,
                "settled",
                "select lock_by is null from apalis.jobs",
            )
            .await;
            if attempt == 3 {
                let hasty = schedule(
                    &db.pool,
                    &clock,
                    When::NoLaterThan,
                    [Job::new("r1", noon())],
                )
                .await;
                assert_eq!(hasty, 0, "a sweep does not shorten the back-off");
            }
            clock.advance(TimeDelta::minutes(20));
        }
    }
    eventually(
        &db.pool,
        "dead",
        "select status = 'Killed' from apalis.jobs",
    )
    .await;
    let died = clock.now();
    clock.advance(TimeDelta::days(1));
    let swept = schedule(
        &db.pool,
        &clock,
        When::NoLaterThan,
        [Job::new("r1", clock.now())],
    )
    .await;
    assert_eq!(swept, 0, "a sweep does not raise the dead");
    assert_eq!(
        queue::purge_dead(&db.pool, died).await.unwrap(),
        0,
        "kept for the operator"
    );

    schedule(&db.pool, &clock, When::At, [Job::new("r1", clock.now())]).await;
    assert_eq!(within(runs.recv()).await.unwrap(), 1, "a decision does");
    worker.stop().await;
}

#[tokio::test]
async fn dead_letters_are_buried_when_their_time_has_come() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let handler = |_: JobRun| std::future::ready(Err(Discard("hopeless".into()).into()));
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    schedule(&db.pool, &clock, When::At, [Job::new("r1", noon())]).await;
    eventually(
        &db.pool,
        "dead",
        "select status = 'Killed' from apalis.jobs",
    )
    .await;
    assert_eq!(
        queue::purge_dead(&db.pool, noon() + TimeDelta::seconds(1))
            .await
            .unwrap(),
        1
    );
    worker.stop().await;
}

#[tokio::test]
async fn the_depth_says_what_lies_where() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (started, mut starts) = mpsc::unbounded_channel();
    let handler = move |job: JobRun| {
        let started = started.clone();
        async move {
            if job.key == "poison" {
                return Err(Discard("hopeless".into()).into());
            }
            started.send(()).unwrap();
            std::future::pending().await
        }
    };
    let one_slot = QueueConfig {
        slots: 1,
        drain: Duration::ZERO,
        ..config()
    };
    let worker = TestWorker::start(&db.pool, &clock, one_slot, handler);
    let minutes = [
        ("poison", -9),
        ("held", -8),
        ("ready", -7),
        ("also ready", -6),
        ("scheduled", 5),
    ];
    let jobs = minutes.map(|(key, min)| Job::new(key, noon() + TimeDelta::minutes(min)));
    schedule(&db.pool, &clock, When::At, jobs).await;
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
