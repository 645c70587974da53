//! What is heard of changes when the connection that hears of them dies, with and without a word.

use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::time::timeout;
use unread::db::changes::{Listener, consumer_key};

use super::stage::{ACCOUNT, Conversations, Stage, eventually};
use crate::harness::migrated;

const CONSUMER: &str = "44eefca3-3b86-5eb2-b379-3bda9ddcfb50";

/// The server's process behind the connection that hears of changes. It stands still until this is dropped.
struct Frozen(i32);

impl Frozen {
    async fn listener(pool: &PgPool) -> Self {
        let pid: i32 = sqlx::query_scalar(
            "select pid from pg_stat_activity where datname = current_database() and query ilike 'listen%unread_consumers%'",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        signal(pid, "-STOP");
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal(self.0, "-CONT");
    }
}

fn signal(pid: i32, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(sent.unwrap().success(), "kill {signal} {pid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_notices_that_the_line_is_dead_and_loses_nothing_by_looking() {
    let database = migrated().await;
    let conversations = Conversations::new(&database.pool);
    // Looks all the time whether the server is there.
    let looking = Listener::connect(&database.pool, Duration::from_millis(1)).await;
    let mut looking = looking.unwrap();
    let key = consumer_key(&ACCOUNT.parse().unwrap(), CONSUMER);
    for turn in 0..30 {
        let store = conversations.store_at("c1", &[CONSUMER], None, turn % 2, turn.into());
        let (heard, ()) = tokio::join!(timeout(Duration::from_secs(20), looking.next()), store);
        assert_eq!(heard.expect("it is heard").unwrap(), [key], "turn {turn}");
    }
    drop(looking);

    let waiting = Listener::connect(&database.pool, Duration::from_secs(1)).await;
    let mut waiting = waiting.unwrap();
    let _frozen = Frozen::listener(&database.pool).await;
    let heard = timeout(Duration::from_secs(20), waiting.next()).await;
    assert!(heard.expect("it does not wait for ever").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_connection_nothing_that_was_remembered_is_believed() {
    let stage = Stage::start(&[]).await;
    let (read, unread) = (
        r#"{"unreadByConsumer":false}"#,
        r#"{"unreadByConsumer":true}"#,
    );
    let conversations = &stage.conversations;
    conversations.store("c1", &[CONSUMER], None, 0).await;
    // The service listens before it serves, or a moment later.
    let pool = stage.pool();
    let listens = "select count(*) > 0 from pg_stat_activity
                   where datname = current_database() and query ilike 'listen%unread_consumers%'";
    eventually(async || sqlx::query_scalar(listens).fetch_one(pool).await.unwrap()).await;
    eventually(async || stage.old(CONSUMER, None).await.1 == read).await;
    assert_eq!(stage.old(CONSUMER, None).await.1, read);

    // The notice of this change is lost with the connection.
    let frozen = Frozen::listener(pool).await;
    conversations.store_at("c1", &[CONSUMER], None, 1, 1).await;
    let stored = Instant::now();
    assert_eq!(stage.old(CONSUMER, None).await.1, read, "remembered");
    sqlx::query("select pg_terminate_backend($1)")
        .bind(frozen.0)
        .execute(pool)
        .await
        .unwrap();
    drop(frozen);
    eventually(async || stage.old(CONSUMER, None).await.1 == unread).await;
    // By itself an answer would hold for fifteen seconds.
    let took = stored.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    stage.stop().await;
}
