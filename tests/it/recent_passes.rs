//! Recent and full passes: what each asks for and costs, that nothing is written where nothing is new, and what happens when
//! LivePerson's filter by update does not show what it should.

use chrono::TimeDelta;
use unread::domain::access::Role;
use unread::sandbox::ACCOUNT;
use unread::sandbox::faults::Endpoint;
use unread::sandbox::world::{CUSTOMER_CARE, Person, Quirks, Shape};

use crate::harness::{Setup, TestApp, run_test, run_test_with};

const ANN: &str = "ann@example.net";

/// Full passes every quarter of an hour, recent ones at every tick.
async fn with_recent_passes(test: impl AsyncFnOnce(&TestApp)) {
    let setup = Setup {
        settings: vec![("UNREAD_FULL_SCAN_INTERVAL_SECONDS", "900")],
        ..Setup::default()
    };
    run_test_with(setup, test).await;
}

/// So many conversations that were answered two days ago, as the last full pass has met them.
async fn known(t: &TestApp, count: u32) -> Vec<String> {
    let shape = Shape {
        started_at: (t.now() - TimeDelta::days(2)).timestamp_millis(),
        every_ms: 1_000,
        answered_after_ms: 60_000,
        email: false,
        phone: false,
    };
    let world = t.world();
    let ids = world
        .populate(ACCOUNT, CUSTOMER_CARE, count, shape)
        .unwrap();
    full_pass(t).await;
    ids
}

async fn full_pass(t: &TestApp) {
    t.advance(15).await;
    t.tick().await;
}

/// Every row that a scan may touch, with what a lock or a write leaves on it.
async fn rows(t: &TestApp) -> Vec<String> {
    sqlx::query_scalar(
        "select id || ' ' || ctid || ' ' || xmin || ' ' || xmax from conversations
         union all select conversation || ' ' || ctid || ' ' || xmin || ' ' || xmax from consumers
         union all select conversation || ' ' || ctid || ' ' || xmin || ' ' || xmax from decisions order by 1",
    )
    .fetch_all(t.pool())
    .await
    .unwrap()
}

async fn open(t: &TestApp) -> i64 {
    sqlx::query_scalar("select count(*) from conversations where open")
        .fetch_one(t.pool())
        .await
        .unwrap()
}

/// When the last full pass that succeeded began, in minutes before now.
async fn full_pass_age(t: &TestApp) -> i64 {
    let at: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select min(full_at) from scans")
        .fetch_one(t.pool())
        .await
        .unwrap();
    (t.now() - at).num_minutes()
}

#[tokio::test]
async fn a_recent_pass_costs_what_has_changed_and_not_what_is_open() {
    with_recent_passes(async |t| {
        let ids = known(t, 350).await;
        assert_eq!(open(t).await, 350);
        // Later than LivePerson's ten minutes, so that nothing of that time is listed as updated.
        t.advance(13).await;
        let before = t.sandbox.faults().requests(Endpoint::Search);
        let chat = t.answered(ANN);
        t.world().agent_says(&ids[7], "And another thing.");
        t.tick().await;
        let requests = t.sandbox.faults().requests(Endpoint::Search) - before;
        assert_eq!(requests, 1, "one search for all skills");
        assert_eq!(t.story(&chat).await, ["scheduled"]);
        let unread: i32 =
            sqlx::query_scalar("select unread_count from conversations where id = $1")
                .bind(&ids[7])
                .fetch_one(t.pool())
                .await
                .unwrap();
        assert_eq!(unread, 2);
        let told: (i32, i32, i32) = sqlx::query_as("select calls, met, changed from recent_passes")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert_eq!(told, (1, 2, 2));
        // What was open stays counted.
        let counted: i64 = sqlx::query_scalar("select sum(conversations) from scans")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert_eq!(counted, 350);
    })
    .await;
}

#[tokio::test]
async fn scans_that_find_nothing_new_lock_and_write_no_conversation() {
    with_recent_passes(async |t| {
        known(t, 120).await;
        let chat = t.answered(ANN);
        t.tick().await;
        assert_eq!(t.story(&chat).await, ["scheduled"]);
        let before = rows(t).await;
        for _ in 0..3 {
            t.tick().await;
        }
        assert_eq!(rows(t).await, before, "recent passes");
        t.world().consumer_reads(&chat);
        full_pass(t).await;
        assert_eq!(t.story(&chat).await, ["cancelled (read)"]);
        let before = rows(t).await;
        full_pass(t).await;
        assert_eq!(full_pass_age(t).await, 0, "there was a full pass");
        assert_eq!(rows(t).await, before, "a full pass");
    })
    .await;
}

#[tokio::test]
async fn what_was_closed_is_learnt_by_the_next_full_pass() {
    with_recent_passes(async |t| {
        let ids = known(t, 250).await;
        for id in &ids[90..110] {
            t.world().close(id);
        }
        t.tick().await;
        assert_eq!(open(t).await, 250, "a recent pass does not list it");
        let before = t.sandbox.faults().requests(Endpoint::ById);
        full_pass(t).await;
        assert_eq!(open(t).await, 230);
        let asked = t.sandbox.faults().requests(Endpoint::ById) - before;
        assert!(asked <= 3, "a call for each page at most: {asked}");
        let before = t.sandbox.faults().requests(Endpoint::ById);
        full_pass(t).await;
        assert_eq!(t.sandbox.faults().requests(Endpoint::ById), before);
    })
    .await;
}

#[tokio::test]
async fn another_id_of_a_known_consumer_is_stored_though_nothing_else_is_new() {
    run_test(async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        let ids = async || -> i64 {
            sqlx::query_scalar("select count(*) from consumers where conversation = $1")
                .bind(&chat)
                .fetch_one(t.pool())
                .await
                .unwrap()
        };
        let before = ids().await;
        let person = Person {
            email: Some(ANN.to_owned()),
            ..Person::default()
        };
        t.world().step_up(&chat, person);
        t.tick().await;
        assert!(ids().await > before);
    })
    .await;
}

#[tokio::test]
async fn a_filter_that_misses_an_agent_message_is_not_used_for_a_day() {
    with_recent_passes(async |t| {
        known(t, 1).await;
        let chat = t.answered(ANN);
        t.world().consumer_reads(&chat);
        full_pass(t).await;
        t.world().set_quirks(Quirks {
            missed_updates: 1.0,
            ..Quirks::default()
        });
        t.world().agent_says(&chat, "One more thing.");
        t.advance(3).await;
        t.tick().await;
        assert_eq!(
            t.story(&chat).await,
            Vec::<String>::new(),
            "nobody shows it"
        );
        // Nor does it count against the filter before a full pass has found it.
        assert_eq!(distrusted(t).await, None);
        full_pass(t).await;
        assert!(distrusted(t).await.is_some());
        assert_ne!(
            t.reason(&chat).await.as_deref(),
            Some("read"),
            "it was found"
        );
        // Every slot has a full pass now, and who is in charge can see why.
        for _ in 0..2 {
            t.advance(3).await;
            t.tick().await;
            assert_eq!(full_pass_age(t).await, 0);
        }
        let page = t.person(Role::Viewer).await.get("/connections").await.text;
        assert!(page.contains("did not list every conversation"), "{page}");
        let metrics = t.http.get(&t.metrics).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let told = "unread_scan_filter_distrusted{account=\"12345678\"} 1";
        assert!(metrics.contains(told), "{metrics}");
        // A day later it is tried again.
        t.world().set_quirks(Quirks::default());
        t.advance(24 * 60).await;
        t.tick().await;
        t.advance(3).await;
        t.tick().await;
        assert_eq!(full_pass_age(t).await, 3, "a recent pass");
        // Not all calls of the tick: the look at what is older may be due as well.
        let calls: i32 = sqlx::query_scalar("select calls from recent_passes")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert_eq!(calls, 1);
        t.mails();
    })
    .await;
}

async fn distrusted(t: &TestApp) -> Option<i64> {
    sqlx::query_scalar("select missed from recent_passes where distrusted_at is not null")
        .fetch_optional(t.pool())
        .await
        .unwrap()
}
