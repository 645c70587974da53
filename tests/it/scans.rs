//! Scans: what they see of an account, what they write down, and what that costs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::TimeDelta;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use unread::sandbox::ACCOUNT;
use unread::sandbox::faults::Endpoint;
use unread::sandbox::world::{CUSTOMER_CARE, ORDERS, Shape};

use crate::harness::{TestApp, run_test};

const ANN: &str = "ann@example.net";

/// So many conversations with an unread message, ten minutes apart, the last answered a day ago. Nobody has an address.
fn populate(t: &TestApp, count: u32) -> Vec<String> {
    let every = TimeDelta::minutes(10);
    let last = t.now() - TimeDelta::days(2);
    let first = last - every * i32::try_from(count).unwrap();
    let shape = Shape {
        started_at: first.timestamp_millis(),
        every_ms: every.num_milliseconds(),
        answered_after_ms: 60_000,
        email: false,
        phone: false,
    };
    let world = t.world();
    world
        .populate(ACCOUNT, CUSTOMER_CARE, count, shape)
        .unwrap()
}

async fn count(t: &TestApp, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(t.pool()).await.unwrap()
}

#[tokio::test]
async fn a_scan_reads_every_page_and_each_conversation_once() {
    run_test(async |t| {
        populate(t, 350);
        t.sandbox.faults().reset_traffic();
        t.tick().await;
        assert_eq!(
            count(t, "select count(*) from conversations where open").await,
            350
        );
        let scanned = "select conversations::bigint from scans where skill = 3155411010";
        assert_eq!(count(t, scanned).await, 350);
        // Four pages; the three other skills are asked for in the same question.
        assert_eq!(t.sandbox.faults().requests(Endpoint::Search), 4);
        assert_eq!(t.sandbox.faults().requests(Endpoint::ById), 0);
    })
    .await;
}

#[tokio::test]
async fn a_large_skill_is_paged_through_with_small_offsets_and_nothing_is_missed() {
    run_test(async |t| {
        populate(t, 1_150);
        t.tick().await;
        assert_eq!(
            count(t, "select count(*) from conversations where open").await,
            1_150
        );
        // Nothing was found missing and asked for by id: the pages met every one of them.
        assert_eq!(t.sandbox.faults().requests(Endpoint::ById), 0);
        let unseen = "select count(*) from conversations c join scans s using (account, skill)
            where c.seen_at < s.started_at";
        assert_eq!(count(t, unseen).await, 0);
    })
    .await;
}

#[tokio::test]
async fn more_conversations_than_a_search_shows_may_begin_within_ten_minutes() {
    run_test(async |t| {
        let shape = Shape {
            started_at: (t.now() - TimeDelta::days(2)).timestamp_millis(),
            every_ms: 50,
            answered_after_ms: 60_000,
            email: false,
            phone: false,
        };
        let world = t.world();
        let ids = world
            .populate(ACCOUNT, CUSTOMER_CARE, 10_400, shape)
            .unwrap();
        t.tick().await;
        let open = "select count(*) from conversations where open";
        assert_eq!(count(t, open).await, 10_400);
        let failed = "select count(*) from scans where error is not null";
        assert_eq!(count(t, failed).await, 0);
        assert_eq!(t.sandbox.faults().requests(Endpoint::ById), 0);
        // Who has left is noticed on both sides of the slice.
        for id in [&ids[3], &ids[5_000], &ids[9_990], &ids[10_399]] {
            t.world().close(id);
        }
        t.tick().await;
        assert_eq!(count(t, open).await, 10_396);
    })
    .await;
}

#[tokio::test]
async fn a_conversation_that_has_left_the_list_is_asked_for_and_closed() {
    run_test(async |t| {
        let [closed, moved, stays] =
            [ANN, "ben@example.net", "cem@example.net"].map(|who| t.answered(who));
        t.tick().await;
        t.world().close(&closed);
        t.world().transfer(&moved, ORDERS);
        t.tick().await;
        let rows: Vec<(String, bool, i64)> =
            sqlx::query_as("select id, open, skill from conversations")
                .fetch_all(t.pool())
                .await
                .unwrap();
        let rows: BTreeMap<String, (bool, i64)> = rows
            .into_iter()
            .map(|(id, open, skill)| (id, (open, skill)))
            .collect();
        assert!(!rows[&closed].0);
        assert_eq!(rows[&moved], (true, ORDERS));
        assert_eq!(rows[&stays], (true, CUSTOMER_CARE));
        assert_eq!(t.story(&closed).await, ["cancelled (closed)"]);
    })
    .await;
}

#[tokio::test]
async fn a_conversation_that_cannot_be_read_is_counted_and_the_others_go_on() {
    run_test(async |t| {
        let chats = ["ann", "ben", "cem"].map(|who| t.answered(&format!("{who}@example.net")));
        t.world().garble(&chats[1]);
        t.tick().await;
        let unreadable = "select unreadable::bigint from scans where skill = 3155411010";
        assert_eq!(count(t, unreadable).await, 1);
        t.advance(10).await;
        let mut to: Vec<String> = t.mails().iter().flat_map(|mail| mail.to.clone()).collect();
        to.sort();
        assert_eq!(to, ["ann@example.net", "cem@example.net"]);
    })
    .await;
}

#[tokio::test]
async fn every_conversation_has_its_reason_logged_once_for_each_change() {
    run_test(async |t| {
        let world = t.world();
        let chat = world
            .conversation(ACCOUNT, CUSTOMER_CARE)
            .email(ANN)
            .start();
        world.consumer_says(&chat, "Hello?");
        for _ in 0..3 {
            t.tick().await;
        }
        world.agent_says(&chat, "Good morning!");
        for _ in 0..3 {
            t.tick().await;
        }
        world.consumer_reads(&chat);
        for _ in 0..3 {
            t.tick().await;
        }
        assert_eq!(t.reason(&chat).await.unwrap(), "read");
        let log = t.decisions(&chat).await;
        let of = |what: &str| log.iter().filter(|line| line.as_str() == what).count();
        assert_eq!(
            of("scan none no_agent_message"),
            1,
            "once over all channels: {log:?}"
        );
        assert_eq!(of("scan schedule scheduled"), 1, "{log:?}");
        assert_eq!(of("scan cancel read"), 1, "{log:?}");
        assert_eq!(of("scan none read"), 1, "{log:?}");
        assert_eq!(log.len(), 4, "{log:?}");
    })
    .await;
}

#[tokio::test]
async fn what_began_before_the_usual_window_is_met_by_the_deep_scan() {
    run_test(async |t| {
        let old = t
            .world()
            .at((t.now() - TimeDelta::days(200)).timestamp_millis());
        let chat = old.conversation(ACCOUNT, CUSTOMER_CARE).email(ANN).start();
        old.consumer_says(&chat, "Hello?");
        t.world().agent_says(&chat, "Sorry that it took so long.");
        // Deep scans have a slot every hour, spread over it.
        t.advance(60).await;
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

/// Counts the statements about the ledger that this thread sends; the queue's own come and go with time. A test's stage runs on
/// its thread alone, so nobody else's are among them.
#[derive(Clone, Default)]
struct Statements(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut said = String::new();
        event.record(
            &mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                let _ = write!(said, "{value:?}");
            },
        );
        // Nor what each new connection begins with, nor the process' own heartbeats, which come every few seconds.
        let other = [
            "apalis",
            "pg_notify",
            "idle_in_transaction_session_timeout",
            "heartbeat",
            "beats",
        ];
        if !other.iter().any(|word| said.contains(word)) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_page_costs_the_same_statements_however_many_conversations_are_on_it() {
    // In a process of its own: who listens to log events is decided for all threads together.
    let alone = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "scans::statements_of_pages", "--ignored"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&alone.stdout);
    assert!(
        alone.status.success() && told.contains("1 passed"),
        "{told}"
    );
}

#[tokio::test]
#[ignore = "run by the test above in a process of its own"]
async fn statements_of_pages() {
    let statements = Statements::default();
    let _counting = tracing_subscriber::registry()
        .with(statements.clone())
        .set_default();
    run_test(async |t| {
        let mut visitors = (0..).map(|n| format!("visitor{n}@example.net"));
        t.answered(&visitors.next().unwrap());
        t.tick().await;
        // Each time some are known and some are new.
        let mut costs = Vec::new();
        for new in [1, 30, 67] {
            for address in visitors.by_ref().take(new) {
                t.answered(&address);
            }
            let before = statements.0.load(Ordering::SeqCst);
            t.tick().await;
            costs.push(statements.0.load(Ordering::SeqCst) - before);
        }
        assert_eq!(count(t, "select count(*) from reminders").await, 99);
        assert!(
            costs[0] > 0 && costs.iter().all(|cost| *cost == costs[0]),
            "{costs:?}"
        );
    })
    .await;
}
