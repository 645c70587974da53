//! What the web answers: probes, badge, pages, metrics, webhooks.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use unread::domain::access::Role;
use unread::sandbox::ACCOUNT;
use unread::sandbox::faults::{Endpoint, Fault, FaultSpan};
use unread::sandbox::world::CUSTOMER_CARE;

use crate::harness::{Setup, TestApp, eventually, run_test, run_test_with};

const ANN: &str = "ann@example.net";

async fn badge(t: &TestApp, consumer: &str) -> Value {
    let path = format!("/helpers/msghist/{ACCOUNT}/{consumer}/unreadByConsumer");
    let (status, body) = t.get(&path).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

fn says(unread: bool) -> Value {
    json!({ "unreadByConsumer": unread })
}

#[tokio::test]
async fn the_probes_answer_and_readiness_ends_with_the_database() {
    run_test(async |t| {
        assert_eq!(t.get("/healthz").await.0, 200);
        eventually("it is ready", async || t.get("/readyz").await.0 == 200).await;
        sqlx::query("alter table _sqlx_migrations rename to gone")
            .execute(t.pool())
            .await
            .unwrap();
        let (status, why) = t.get("/readyz").await;
        assert_eq!(status, 503);
        assert!(why.contains("unread migrate"), "{why}");
        assert_eq!(t.get("/healthz").await.0, 200, "the process lives");
    })
    .await;
}

#[tokio::test]
async fn the_badge_is_on_while_something_is_unread_and_off_once_it_is_read() {
    run_test(async |t| {
        let chat = t.answered(ANN);
        let consumer = &t.world().consumer_ids(&chat)[0];
        t.tick().await;
        assert_eq!(badge(t, consumer).await, says(true));
        t.world().consumer_reads(&chat);
        t.tick().await;
        assert_eq!(badge(t, consumer).await, says(false));
    })
    .await;
}

#[tokio::test]
async fn the_brand_s_own_customer_ids_are_answered_percent_encoded_where_the_account_allows_it() {
    for (needs_token, expected) in [("true", false), ("false", true)] {
        let setup = Setup {
            settings: vec![("UNREAD_BADGE_REQUIRE_TOKEN_FOR_CUSTOMER_IDS", needs_token)],
            ..Setup::default()
        };
        run_test_with(setup, async |t| {
            let opening = t.world().conversation(ACCOUNT, CUSTOMER_CARE);
            let chat = opening.customer_id("auth0|5f/7c 8é").start();
            t.world().consumer_says(&chat, "Hello?");
            t.world().agent_says(&chat, "Good morning!");
            t.tick().await;
            let encoded = "auth0%7C5f%2F7c%208%C3%A9";
            assert_eq!(badge(t, encoded).await, says(expected));
        })
        .await;
    }
}

#[tokio::test]
async fn a_consumer_whom_no_scan_has_met_is_looked_up_once_and_never_guessed_to_have_unread_messages()
 {
    run_test(async |t| {
        let chats = [ANN, "ben@example.net"].map(|who| t.answered(who));
        let [known, dark] = chats.map(|chat| t.world().consumer_ids(&chat)[0].clone());
        let faults = t.sandbox.faults();
        for _ in 0..3 {
            assert_eq!(badge(t, &known).await, says(true));
        }
        assert_eq!(faults.requests(Endpoint::ByConsumer), 1);
        faults.set(
            Endpoint::ByConsumer,
            Fault::Unavailable,
            FaultSpan::UntilCleared,
        );
        assert_eq!(badge(t, &dark).await, says(false));
        // What is not LivePerson's is not even asked for.
        let asked = faults.requests(Endpoint::ByConsumer);
        assert_eq!(badge(t, "CUST-100231").await, says(false));
        assert_eq!(faults.requests(Endpoint::ByConsumer), asked);
        t.tick().await;
        t.sandbox.faults().clear_all();
        t.advance(10).await;
        assert_eq!(t.mails().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_account_or_page_is_a_problem_document() {
    run_test(async |t| {
        for path in ["/helpers/msghist/999/abc/unreadByConsumer", "/no/such/page"] {
            let answer = t.http.get(format!("{}{path}", t.web)).send().await.unwrap();
            assert_eq!(answer.status(), 404);
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            assert_eq!(problem["status"], 404);
        }
    })
    .await;
}

#[tokio::test]
async fn the_overview_tells_of_the_reminders_without_names_or_addresses() {
    run_test(async |t| {
        t.answered(ANN);
        t.answered("+12025550143");
        let viewer = t.person(Role::Viewer).await;
        assert_eq!(viewer.get("/").await.status, 200);
        t.tick().await;
        t.advance(10).await;
        assert_eq!((t.mails().len(), t.texts().len()), (1, 1));
        let page = viewer.get("/").await.text;
        for reminder in t.reminders().await {
            let link = format!("href=\"/reminders/{}\"", reminder.id);
            assert!(page.contains(&link), "{link}: {page}");
        }
        assert!(
            page.contains(">Sent<") || page.contains(">Delivered<"),
            "{page}"
        );
        for secret in [ANN, "2025550143", "Ann", "Other", "green"] {
            assert!(!page.contains(secret), "{secret}: {page}");
        }
    })
    .await;
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_a_browser_careful() {
    run_test(async |t| {
        for (path, referrer) in [
            ("/login", "same-origin"),
            ("/healthz", "no-referrer"),
            ("/no/such/page", "no-referrer"),
            ("/u/unknown", "no-referrer"),
        ] {
            let answer = t.http.get(format!("{}{path}", t.web)).send().await.unwrap();
            let headers = answer.headers();
            assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
            assert_eq!(headers["referrer-policy"], referrer, "{path}");
            assert!(headers.contains_key("content-security-policy"), "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn links_that_were_never_given_out_lead_nowhere() {
    run_test(async |t| {
        for path in ["/r/unknown", "/u/unknown", "/r/..%2F..%2Fetc", "/r/%00"] {
            assert_eq!(t.get(path).await.0, 404, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_webhook_that_twilio_did_not_sign_is_refused_and_changes_nothing() {
    run_test(async |t| {
        for path in ["/twilio/status?attempt=1", "/twilio/inbound"] {
            let post = t.http.post(format!("{}{path}", t.web));
            let form = [
                ("From", "+12025550143"),
                ("Body", "STOP"),
                ("MessageStatus", "failed"),
            ];
            let post = post
                .header("x-twilio-signature", "bm9uc2Vuc2U=")
                .form(&form);
            assert_eq!(post.send().await.unwrap().status(), 403, "{path}");
        }
        let suppressed: i64 = sqlx::query_scalar("select count(*) from suppressions")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert_eq!(suppressed, 0);
    })
    .await;
}

/// Name, labels and value of each sample.
fn samples(text: &str) -> Vec<(String, String, f64)> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            (
                name.to_owned(),
                labels.to_owned(),
                value.parse().expect(line),
            )
        })
        .collect()
}

#[tokio::test]
async fn metrics_can_be_read_count_what_happened_and_name_nobody() {
    run_test(async |t| {
        let scrape = async || {
            let answer = t.http.get(&t.metrics).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.text().await.unwrap()
        };
        let mut chats = vec![t.answered("+12025550143")];
        chats.push(t.answered(ANN));
        t.tick().await;
        t.advance(10).await;
        assert_eq!((t.mails().len(), t.texts().len()), (1, 1));
        let few = scrape().await;
        let sent = samples(&few).into_iter().find(|(name, labels, _)| {
            name == "unread_reminders" && labels.contains("email") && labels.contains("sent")
        });
        let sent = sent.expect("the reminder is counted").2;
        assert!((sent - 1.0).abs() < f64::EPSILON, "{sent}");
        assert!(
            samples(&few)
                .iter()
                .all(|(name, ..)| name.starts_with("unread_") || name.starts_with("process_"))
        );

        // Visitors add no series of their own.
        for n in 0..40 {
            chats.push(t.answered(&format!("visitor{n}@example.net")));
        }
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 40);
        let many = scrape().await;
        let series = |text: &str| -> BTreeSet<(String, String)> {
            let series = samples(text)
                .into_iter()
                .map(|(name, labels, _)| (name, labels));
            series
                .filter(|(name, _)| !name.contains("_bucket"))
                .collect()
        };
        let new: Vec<_> = series(&many).difference(&series(&few)).cloned().collect();
        assert!(new.len() < 40, "{new:?}");
        for chat in &chats {
            assert!(!many.contains(chat.as_str()));
        }
        assert!(!many.contains('@') && !many.contains("2025550143"));
        assert_eq!(t.get("/metrics").await.0, 404, "not beside the badge");
    })
    .await;
}
