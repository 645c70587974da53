//! What waking a key does, and when its job runs.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use tokio::sync::mpsc;
use unread::clock::Clock;
use unread::jobs::queue::{self, Job, JobRun, QueueConfig, When};
use unread::trace::{self, TraceParent};

use super::{
    TestWorker, config, empty, eventually, noon, queue_database, reporting, row, schedule, within,
};

#[tokio::test]
async fn a_wakeup_runs_once_with_its_arguments_and_is_gone() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (handler, mut seen) = reporting();
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);

    let job = Job::new("r1", noon()).with_args(json!({"reminder": 7}));
    assert_eq!(schedule(&db.pool, &clock, When::At, [job]).await, 1);
    let job = within(seen.recv()).await.unwrap();
    assert_eq!(
        (job.key.as_str(), job.attempt, job.run_at),
        ("r1", 1, noon())
    );
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
    queue::schedule(
        &mut tx,
        &clock,
        "deliver",
        When::At,
        [Job::new("r1", noon())],
    )
    .await
    .unwrap();
    tx.rollback().await.unwrap();
    empty(&db.pool).await;
}

#[tokio::test]
async fn one_key_has_one_row_however_often_it_is_woken() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let later = noon() + TimeDelta::hours(1);
    let much_later = noon() + TimeDelta::hours(2);
    let twice = || {
        [
            Job::new("r1", later),
            Job::new("r2", noon()),
            Job::new("r1", much_later),
        ]
    };

    assert_eq!(
        schedule(&db.pool, &clock, When::NoLaterThan, twice()).await,
        2
    );
    assert_eq!(
        row(&db.pool, "r1").await.2,
        later,
        "no later than the earlier of the two"
    );
    assert_eq!(
        schedule(&db.pool, &clock, When::NoLaterThan, twice()).await,
        0,
        "nothing to change"
    );
    assert_eq!(schedule(&db.pool, &clock, When::At, twice()).await, 2);
    assert_eq!(
        row(&db.pool, "r1").await.2,
        much_later,
        "exactly what was said last"
    );
    schedule(
        &db.pool,
        &clock,
        When::NoLaterThan,
        [Job::new("r1", noon())],
    )
    .await;
    assert_eq!(row(&db.pool, "r1").await.2, noon(), "brought forward");
}

#[tokio::test]
async fn a_forgotten_wakeup_never_runs() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let jobs = ["r1", "r2"].map(|key| Job::new(key, noon()));
    schedule(&db.pool, &clock, When::At, jobs).await;
    let mut conn = db.pool.acquire().await.unwrap();
    assert_eq!(
        queue::cancel(&mut conn, "deliver", &["r1".into(), "r3".into()])
            .await
            .unwrap(),
        1
    );

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
        move |job: JobRun| {
            let (started, go_on) = (started.clone(), go_on.clone());
            async move {
                started.send(job.args).unwrap();
                go_on.acquire().await.unwrap().forget();
                Ok(())
            }
        }
    };
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    schedule(&db.pool, &clock, When::At, [Job::new("r1", noon())]).await;
    within(starts.recv()).await.unwrap();

    for args in [json!(1), json!(2)] {
        schedule(
            &db.pool,
            &clock,
            When::NoLaterThan,
            [Job::new("r1", noon()).with_args(args)],
        )
        .await;
    }
    // Another key that was scheduled later has run: so this one would have, too.
    schedule(&db.pool, &clock, When::At, [Job::new("r2", noon())]).await;
    assert_eq!(within(starts.recv()).await.unwrap(), json!(null));
    assert_eq!(row(&db.pool, "r1").await.0, "Queued");

    go_on.add_permits(2);
    assert_eq!(
        within(starts.recv()).await.unwrap(),
        json!(1),
        "the first word stands: it was not later"
    );
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
        move |job: JobRun| {
            let (pool, clock, ran) = (pool.clone(), clock.clone(), ran.clone());
            async move {
                let now = clock.now();
                if now < noon() + TimeDelta::minutes(20) {
                    let retry = Job::new(&*job.key, now + TimeDelta::minutes(10));
                    schedule(&pool, &clock, When::At, [retry]).await;
                }
                ran.send((now, job.attempt)).unwrap();
                Ok(())
            }
        }
    };
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    schedule(&db.pool, &clock, When::At, [Job::new("r1", noon())]).await;
    for minutes in [0, 10, 20] {
        let run = within(runs.recv()).await.unwrap();
        assert_eq!(run, (noon() + TimeDelta::minutes(minutes), 1));
        if minutes < 20 {
            eventually(
                &db.pool,
                "waits again",
                "select status = 'Pending' from apalis.jobs",
            )
            .await;
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
    schedule(&db.pool, &clock, When::At, [Job::new("later", due)]).await;

    clock.advance(TimeDelta::milliseconds(59_999));
    schedule(&db.pool, &clock, When::At, [Job::new("now", clock.now())]).await;
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
        move |job: JobRun| {
            ran.send(clock.now() - job.run_at).unwrap();
            std::future::ready(Ok(()))
        }
    };
    let rare = QueueConfig {
        // Whoever only looks now and then does not come while anybody waits here.
        poll: Duration::from_hours(1),
        ..config()
    };
    let worker = TestWorker::start(&db.pool, &clock, rare, handler);
    // Each of them is due after a pause in which nothing happens, and only the first insert is heard of.
    schedule(&db.pool, &clock, When::At, [Job::new("now", clock.now())]).await;
    within(lateness.recv()).await.unwrap();
    let due = (1..=5).map(|n| {
        Job::new(
            n.to_string(),
            clock.now() + TimeDelta::milliseconds(300 * n),
        )
    });
    schedule(&db.pool, &clock, When::At, due).await;
    // How late they are on a machine that does nothing else is measured by `cargo bench --bench load -- deliver`.
    for _ in 0..5 {
        let late = within(lateness.recv()).await.unwrap();
        assert!(late >= TimeDelta::zero(), "never early: {late}");
        println!("late by {late}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_job_belongs_to_the_trace_of_what_has_scheduled_it_and_else_to_one_of_its_own() {
    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let (ran, mut seen) = mpsc::unbounded_channel();
    let handler = move |job: JobRun| {
        ran.send((job.key, trace::current().unwrap().to_string()))
            .unwrap();
        std::future::ready(Ok(()))
    };
    let worker = TestWorker::start(&db.pool, &clock, config(), handler);
    let of_a_caller = schedule(&db.pool, &clock, When::At, [Job::new("called", noon())]);
    trace::within(TraceParent::parse(CALLER), of_a_caller).await;
    let (key, called) = within(seen.recv()).await.unwrap();
    assert_eq!((key.as_str(), &called[..36]), ("called", &CALLER[..36]));
    assert_ne!(called, CALLER, "with a span of its own");

    schedule(&db.pool, &clock, When::At, [Job::new("alone", noon())]).await;
    let (key, alone) = within(seen.recv()).await.unwrap();
    assert_eq!(key, "alone");
    assert_ne!(&alone[..36], &CALLER[..36]);
    worker.stop().await;
}
