//! What the queue costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::TimeDelta;
use sqlx::Executor;
use tokio_util::sync::CancellationToken;
use unread::clock::Clock;
use unread::jobs::queue::{self, Job, JobRun, QueueConfig, When};

use super::{TestWorker, config, noon, queue_database, schedule};

/// The plan was made while the queue was empty, and is made anew when the sweep has found it grown.
#[tokio::test]
async fn the_fetch_touches_no_row_that_is_due_later() {
    let db = queue_database().await;
    let clock = Clock::manual(noon());
    let mut conn = db.pool.acquire().await.unwrap();
    conn.execute("analyze apalis.jobs").await.unwrap();
    conn.execute("set plan_cache_mode = force_generic_plan")
        .await
        .unwrap();
    conn.execute("insert into apalis.workers (id, worker_type, storage_name) values ('w', 'unread', 'unread')")
        .await
        .unwrap();
    let prepare = format!(
        "prepare take(text, timestamptz, bigint, text) as {}",
        queue::FETCH
    );
    conn.execute(sqlx::AssertSqlSafe(prepare)).await.unwrap();
    conn.execute("execute take('deliver', '2026-01-05T12:00:00Z', 200, 'w')")
        .await
        .unwrap();

    let later = (0..100_000).map(|n| Job::new(n.to_string(), noon() + TimeDelta::seconds(60 + n)));
    schedule(&db.pool, &clock, When::At, later).await;
    let due = (0..50).map(|n| Job::new(format!("due {n}"), noon() - TimeDelta::seconds(n)));
    schedule(&db.pool, &clock, When::At, due).await;

    let grown = unread::db::statistics::refresh(&db.pool).await.unwrap();
    assert!(grown.contains(&"apalis.jobs".to_owned()), "{grown:?}");
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
    assert!(plan.matches("rows=50 loops=1").count() >= 2, "{plan}");
}

/// How many jobs that do nothing go through one worker in a second. Prints; proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a test"]
async fn throughput_of_jobs_that_do_nothing() {
    const JOBS: u32 = 20_000;
    let db = queue_database().await;
    let clock = Clock::System;
    for slots in [10, 100, 200] {
        let now = clock.now();
        let started = std::time::Instant::now();
        schedule(
            &db.pool,
            &clock,
            When::At,
            (0..JOBS).map(|n| Job::new(n.to_string(), now)),
        )
        .await;
        let scheduled = started.elapsed();
        let left = Arc::new(AtomicU32::new(JOBS));
        let done = CancellationToken::new();
        let handler = {
            let (left, done) = (left.clone(), done.clone());
            move |_: JobRun| {
                if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                    done.cancel();
                }
                std::future::ready(Ok(()))
            }
        };
        let started = std::time::Instant::now();
        let worker =
            TestWorker::start(&db.pool, &clock, QueueConfig { slots, ..config() }, handler);
        done.cancelled().await;
        let took = started.elapsed().as_secs_f64();
        worker.stop().await;
        println!(
            "{slots} slots: {:.0} jobs/s; scheduled at {:.0} rows/s",
            f64::from(JOBS) / took,
            f64::from(JOBS) / scheduled.as_secs_f64()
        );
    }
}
