//! Limits that all processes share, against a real server.

use std::time::Duration;

use sqlx::PgPool;
use unread::app;
use unread::db::limits;

use crate::database::{TestDatabase, database};

async fn ledger() -> TestDatabase {
    let fingerprint = include_bytes!("../../migrations/0001_ledger.sql");
    database(fingerprint, async |pool: &PgPool| app::migrate(pool).await).await
}

#[tokio::test]
async fn turns_reserved_together_come_one_by_one_after_the_burst() {
    let db = ledger().await;
    let waits = limits::reserve(&db.pool, "smtp:a", 5, 10.0, 2.0)
        .await
        .unwrap();
    let millis: Vec<u128> = waits.iter().map(Duration::as_millis).collect();
    assert_eq!(millis, [0, 0, 100, 200, 300]);

    // Another caller comes after them, and another key has nothing to do with them.
    let next = limits::reserve(&db.pool, "smtp:a", 1, 0.001, 1.0).await;
    assert!(next.unwrap()[0] <= Duration::from_millis(500));
    let other = limits::reserve(&db.pool, "smtp:b", 1, 10.0, 1.0).await;
    assert_eq!(other.unwrap(), [Duration::ZERO]);
}

#[tokio::test]
async fn a_pause_that_the_other_side_asked_for_holds_every_turn() {
    let db = ledger().await;
    let hour = Duration::from_hours(1);
    limits::hold(&db.pool, "liveperson:1", hour).await.unwrap();
    let waits = limits::reserve(&db.pool, "liveperson:1", 3, 10.0, 100.0).await;
    let nearly = hour / 2;
    assert!(waits.unwrap().iter().all(|wait| *wait > nearly));
}
