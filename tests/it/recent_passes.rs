//! Recent and full passes: what each asks for and costs, that nothing is written where nothing is new, and what happens when
//! LivePerson's filter by update does not show what it should.

use chrono::{DateTime, TimeDelta, Utc};
use unread::domain::access::Role;
use unread::sandbox::ACCOUNT;
use unread::sandbox::faults::{Endpoint, Fault, FaultSpan};
use unread::sandbox::world::{CUSTOMER_CARE, Person, Quirks, Shape};

use crate::harness::{Setup, TestApp, eventually, not_live, run_test, run_test_with};

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

/// When the last full pass that succeeded began.
async fn full_pass_at(t: &TestApp) -> DateTime<Utc> {
    sqlx::query_scalar("select min(full_at) from scans")
        .fetch_one(t.pool())
        .await
        .unwrap()
}

/// How many minutes ago that was.
async fn full_pass_age(t: &TestApp) -> i64 {
    (t.now() - full_pass_at(t).await).num_minutes()
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

#[tokio::test]
async fn a_new_conversation_is_met_by_its_beginning_whatever_the_filter_misses() {
    with_recent_passes(async |t| {
        known(t, 1).await;
        t.world().set_quirks(Quirks {
            missed_updates: 1.0,
            ..Quirks::default()
        });
        let full = full_pass_at(t).await;
        let chat = t.answered(ANN);
        t.tick().await;
        assert_eq!(full_pass_at(t).await, full, "by a recent pass");
        assert_eq!(t.story(&chat).await, ["scheduled"]);
        // What is missed from then on is missed of a conversation that is known, and counts.
        t.world().consumer_reads(&chat);
        full_pass(t).await;
        t.world().agent_says(&chat, "One more thing.");
        t.advance(3).await;
        t.tick().await;
        full_pass(t).await;
        assert_eq!(distrusted(t).await, Some(1));
        t.mails();
    })
    .await;
}

async fn badge(t: &TestApp, conversation: &str) -> bool {
    let consumer = &t.world().consumer_ids(conversation)[0];
    let path = format!("/helpers/msghist/{ACCOUNT}/{consumer}/unreadByConsumer");
    let (status, body) = t.get(&path).await;
    assert_eq!(status, 200, "{body}");
    body.contains("true")
}

/// So much later that LivePerson's ten minutes do not list again what was answered before.
async fn listed_no_more(t: &TestApp) {
    t.advance(13).await;
    t.tick().await;
}

async fn open_badges(t: &TestApp) -> i64 {
    sqlx::query_scalar("select count(*) from open_badges")
        .fetch_one(t.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn whose_badge_is_open_is_asked_about_by_id_and_nobody_else() {
    with_recent_passes(async |t| {
        known(t, 1).await;
        let [open, closed, unseen] = ["ann@example.net", "ben@example.net", "cleo@example.net"]
            .map(|address| t.answered(address));
        t.tick().await;
        listed_no_more(t).await;
        assert_eq!(t.mails().len(), 3, "the reminders");
        assert!(badge(t, &open).await && badge(t, &closed).await);
        eventually("the pages are noted", async || open_badges(t).await == 2).await;
        t.world().consumer_reads(&open);
        t.world().consumer_reads(&unseen);
        t.world().close(&closed);
        let before = t.sandbox.faults().requests(Endpoint::ById);
        t.tick().await;
        assert_eq!(t.sandbox.faults().requests(Endpoint::ById) - before, 1);
        eventually("they are off", async || {
            !badge(t, &open).await && !badge(t, &closed).await
        })
        .await;
        let unread: Vec<String> = sqlx::query_scalar(
            "select id from conversations where read_state = 'unread' and id = any ($1)",
        )
        .bind([&open, &closed, &unseen].map(String::as_str))
        .fetch_all(t.pool())
        .await
        .unwrap();
        assert_eq!(unread, [unseen], "of whom no page is open");
        let told: (i32, i32, i32) =
            sqlx::query_as("select badge_calls, badge_asked, badge_changed from recent_passes")
                .fetch_one(t.pool())
                .await
                .unwrap();
        assert_eq!(told, (1, 2, 2));
        let page = t.person(Role::Viewer).await.get("/connections").await.text;
        assert!(page.contains("Badges on open pages"), "{page}");
        let metrics = t.http.get(&t.metrics).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let told = "unread_scan_pass_changed{account=\"12345678\",pass=\"badges\"} 2";
        assert!(metrics.contains(told), "{metrics}");
    })
    .await;
}

#[tokio::test]
async fn an_open_badge_is_asked_about_once_in_an_interval_and_only_while_it_is_open() {
    with_recent_passes(async |t| {
        known(t, 1).await;
        let chat = t.answered(ANN);
        t.tick().await;
        listed_no_more(t).await;
        assert_eq!(t.mails().len(), 1, "the reminder");
        assert!(badge(t, &chat).await);
        eventually("the page is noted", async || open_badges(t).await == 1).await;
        let asked = || t.sandbox.faults().requests(Endpoint::ById);
        let before = asked();
        t.tick().await;
        assert_eq!(asked() - before, 1);
        let stored = rows(t).await;
        t.tick().await;
        assert_eq!(asked() - before, 2);
        assert_eq!(rows(t).await, stored, "nothing new, nothing written");
        // Longer than pages take to ask again.
        t.advance(4).await;
        t.tick().await;
        assert_eq!(asked() - before, 2, "nobody has it open");
    })
    .await;
}

#[tokio::test]
async fn an_account_that_is_not_live_is_not_written_anew_at_each_scan() {
    run_test(async |t| {
        not_live(t.pool()).await;
        let chat = t.answered(ANN);
        t.tick().await;
        assert_eq!(t.reason(&chat).await.as_deref(), Some("not_live"));
        let before = rows(t).await;
        t.tick().await;
        t.tick().await;
        assert_eq!(rows(t).await, before);
    })
    .await;
}

#[tokio::test]
async fn an_error_of_a_recent_pass_is_shown_until_the_next_one_succeeds() {
    with_recent_passes(async |t| {
        known(t, 1).await;
        let shown = async || {
            let page = t.person(Role::Viewer).await.get("/connections").await.text;
            page.contains("<span class=\"state failed\">Error</span>")
        };
        assert!(!shown().await);
        let full = full_pass_at(t).await;
        t.sandbox
            .faults()
            .set(Endpoint::Search, Fault::Forbidden, FaultSpan::UntilCleared);
        t.tick().await;
        assert!(shown().await);
        t.sandbox.faults().clear_all();
        t.tick().await;
        assert_eq!(full_pass_at(t).await, full, "no full pass came in between");
        assert!(!shown().await);
    })
    .await;
}

async fn distrusted(t: &TestApp) -> Option<i64> {
    sqlx::query_scalar("select missed from recent_passes where distrusted_at is not null")
        .fetch_optional(t.pool())
        .await
        .unwrap()
}
