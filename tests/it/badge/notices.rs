//! What is heard of changes when the connection that hears of them dies, with and without a word.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use sqlx::PgPool;
use tokio::time::timeout;
use unread::db::changes::{Listener, consumer_key};

use super::stage::{ACCOUNT, BadgeStage, Conversations, eventually};
use super::unknown;
use crate::database::signal;
use crate::harness::{PATIENCE, migrated};

const CONSUMER: &str = "44eefca3-3b86-5eb2-b379-3bda9ddcfb50";

/// The server's process behind the connection that hears of changes. It stands still until this is dropped.
struct Frozen(i32);

impl Frozen {
    /// The newest one: of one that was dropped or broken off the process may not be gone yet. `before` is such a one.
    async fn listener(pool: &PgPool, before: Option<i32>) -> Self {
        let mut listens: Option<i32> = None;
        eventually(async || {
            let newest = sqlx::query_scalar(
                "select pid from pg_stat_activity
                 where datname = current_database() and query ilike 'listen%unread_consumers%' and pid is distinct from $1
                 order by backend_start desc limit 1",
            );
            listens = newest.bind(before).fetch_optional(pool).await.unwrap();
            listens.is_some()
        })
        .await;
        let pid = listens.unwrap();
        signal(pid.try_into().unwrap(), Signal::STOP);
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal(self.0.try_into().unwrap(), Signal::CONT);
    }
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
        let (heard, ()) = tokio::join!(timeout(PATIENCE, looking.next()), store);
        assert_eq!(heard.expect("it is heard").unwrap(), [key], "turn {turn}");
    }
    drop(looking);

    let waiting = Listener::connect(&database.pool, Duration::from_secs(1)).await;
    let mut waiting = waiting.unwrap();
    let _frozen = Frozen::listener(&database.pool, None).await;
    let heard = timeout(PATIENCE, waiting.next()).await;
    assert!(heard.expect("it does not wait for ever").is_err());
}

/// So long an answer holds by itself.
const KEEP: Duration = Duration::from_secs(15);

/// On a slow machine it may all take so long that the answer would not hold any more anyway, which shows nothing: then once more. Who
/// believes what was remembered is never found out before that time.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_connection_nothing_that_was_remembered_is_believed() {
    let stage = BadgeStage::start(&[]).await;
    let mut lost = None;
    for n in 0..6 {
        let (pid, before_its_time) = loses_a_notice(&stage, &unknown(n), lost).await;
        if before_its_time {
            return stage.stop().await;
        }
        lost = Some(pid);
    }
    panic!("it is believed until its time is over");
}

/// The notice of a change is lost with the connection, which is not the one that was lost before. Returns it, and whether the change is
/// known although what was remembered would still hold.
async fn loses_a_notice(stage: &BadgeStage, consumer: &str, before: Option<i32>) -> (i32, bool) {
    let (read, unread) = (
        r#"{"unreadByConsumer":false}"#,
        r#"{"unreadByConsumer":true}"#,
    );
    let (pool, conversations) = (stage.pool(), &stage.conversations);
    conversations.store(consumer, &[consumer], None, 0).await;
    let frozen = Frozen::listener(pool, before).await;
    let remembered = Instant::now();
    assert_eq!(stage.old(consumer, None).await.1, read);

    conversations
        .store_at(consumer, &[consumer], None, 1, 1)
        .await;
    let was_remembered = stage.old(consumer, None).await.1 == read;
    let pid = frozen.0;
    sqlx::query("select pg_terminate_backend($1)")
        .bind(pid)
        .execute(pool)
        .await
        .unwrap();
    drop(frozen);
    eventually(async || stage.old(consumer, None).await.1 == unread).await;
    (pid, was_remembered && remembered.elapsed() < KEEP)
}
