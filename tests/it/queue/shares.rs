//! Whoever hangs keeps half of the slots, and the rest goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use sqlx::Executor as _;
use tokio::sync::{Semaphore, mpsc};
use unread::clock::Clock;
use unread::jobs::queue::{Job, JobRun, QueueConfig, Sharing, When};

use super::{TestWorker, config, empty, eventually, noon, queue_database, schedule, within};

#[tokio::test]
async fn who_hangs_has_half_of_the_slots_and_what_cannot_be_read_is_nobody_s() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let gate = Arc::new(Semaphore::new(0));
    let (ran, mut seen) = mpsc::unbounded_channel();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let handler = {
        let (gate, most) = (gate.clone(), most.clone());
        move |job: JobRun| {
            let (gate, ran) = (gate.clone(), ran.clone());
            let (now, most) = (now.clone(), most.clone());
            async move {
                if job.key.starts_with("hangs") {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    drop(gate.acquire().await?);
                    now.fetch_sub(1, Ordering::SeqCst);
                }
                ran.send(job.key)?;
                Ok(())
            }
        }
    };
    let shared = QueueConfig {
        slots: 8,
        // Only who is told of a free slot looks again.
        poll: Duration::from_hours(1),
        sharing: Some(Sharing {
            by: "account",
            among: vec!["hangs".to_owned(), "b".to_owned()],
        }),
        ..config()
    };
    let of = |account: &str, key: String, before: i64| {
        Job::new(key, noon() - TimeDelta::seconds(before)).with_args(json!({ "account": account }))
    };
    let hanging = (0..20).map(|n| of("hangs", format!("hangs {n}"), 60));
    schedule(&db.pool, &clock, When::At, hanging).await;
    let mut conn = db.pool.acquire().await.unwrap();
    for (id, job) in [("zero", r"'\x00ff22'"), ("text", "'{'"), ("none", "''")] {
        let foreign = format!(
            "insert into apalis.jobs (id, job_type, job, run_at) values ('{id}', 'deliver', {job}, '2026-01-05')"
        );
        conn.execute(sqlx::AssertSqlSafe(foreign)).await.unwrap();
    }
    let worker = TestWorker::start(&db.pool, &clock, shared, handler);
    eventually(
        &db.pool,
        "half of the slots hang",
        "select count(*) = 4 from apalis.jobs where lock_by is not null",
    )
    .await;
    // Ten are more than there are slots.
    schedule(
        &db.pool,
        &clock,
        When::At,
        (0..10).map(|n| of("b", format!("b {n}"), 1)),
    )
    .await;
    for _ in 0..10 {
        let key = within(seen.recv()).await.unwrap();
        assert!(key.starts_with("b "), "{key}");
    }
    eventually(
        &db.pool,
        "what cannot be read has ended",
        "select count(*) = 3 from apalis.jobs where status = 'Killed'",
    )
    .await;
    gate.add_permits(1);
    for _ in 0..20 {
        within(seen.recv()).await.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
    conn.execute("delete from apalis.jobs where status = 'Killed'")
        .await
        .unwrap();
    empty(&db.pool).await;
    worker.stop().await;
}
