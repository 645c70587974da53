//! The badge over real sockets: what pages are told, what LivePerson is asked, and what a browser shows.

mod browser;
mod issuer;
mod notices;
mod script;
mod stage;
mod strangers;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use unread::sandbox::faults::{Endpoint, Fault, FaultSpan};

use stage::{ACCOUNT, BadgeStage, eventually, token, token_until};

const CONSUMER: &str = "44eefca3-3b86-5eb2-b379-3bda9ddcfb50";

fn unknown(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_address_answers_byte_for_byte() {
    let stage = BadgeStage::start(&[]).await;
    stage
        .conversations
        .store("c1", &[CONSUMER], Some("auth0|5f7c+8/e c"), 2)
        .await;
    stage
        .conversations
        .store("c2", &["b".repeat(64).as_str()], None, 0)
        .await;
    let told = async |consumer: &str| stage.old(consumer, None).await;
    let (yes, no) = (
        r#"{"unreadByConsumer":true}"#,
        r#"{"unreadByConsumer":false}"#,
    );
    assert_eq!(told(CONSUMER).await, (StatusCode::OK, yes.to_owned()));
    assert_eq!(told(&"b".repeat(64)).await.1, no);
    // A customer id can be guessed: without a token it says nothing, with one it does.
    let customer = "auth0%7C5f7c+8%2Fe%20c";
    assert_eq!(told(customer).await.1, no);
    let own = token("auth0|5f7c+8/e c");
    assert_eq!(stage.old(customer, Some(&own)).await.1, yes);
    let other = token("somebody else");
    let (status, body) = stage.old(customer, Some(&other)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(!body.contains("unreadByConsumer"), "{body}");
    // What is not an id costs no look-up.
    let twice_encoded = customer.replace('%', "%25");
    let long = "a".repeat(300);
    for odd in ["a%00b", "%FF%FE", "nobody", &twice_encoded, &long] {
        assert_eq!(told(odd).await, (StatusCode::OK, no.to_owned()), "{odd}");
    }
    assert_eq!(stage.liveperson_calls(), 0);
    let missing = stage.get("helpers/msghist/999/x/unreadByConsumer").send();
    let missing = missing.await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        missing.headers()["content-type"],
        "application/problem+json"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn customer_ids_are_answered_without_a_token_where_the_account_says_so() {
    let stage =
        BadgeStage::start(&[("UNREAD_BADGE_REQUIRE_TOKEN_FOR_CUSTOMER_IDS", "false")]).await;
    stage
        .conversations
        .store("c1", &[CONSUMER], Some("CUST-1"), 1)
        .await;
    assert_eq!(
        stage.old("CUST-1", None).await.1,
        r#"{"unreadByConsumer":true}"#
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_says_whose_badge_it_is_and_nothing_else_does() {
    let stage = BadgeStage::start(&[]).await;
    stage
        .conversations
        .store("c1", &[CONSUMER], Some("CUST-1"), 3)
        .await;
    let ask = |token: String| stage.get(&format!("v1/badge/{ACCOUNT}")).bearer_auth(token);
    let response = ask(token("CUST-1")).send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "private, no-cache");
    let tag = response.headers()["etag"].clone();
    let told: Value = response.json().await.unwrap();
    assert_eq!(told["unread"], true);
    assert_eq!(told["count"], 3);
    assert_eq!(told.get("stale"), None);
    assert!(told["since"].is_string() && told["next_poll_s"].is_u64());
    let again = ask(token("CUST-1")).header("if-none-match", tag);
    assert_eq!(
        again.send().await.unwrap().status(),
        StatusCode::NOT_MODIFIED
    );
    let other: Value = ask(token("CUST-2"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(other["unread"], false);

    let refused = ask("a.b.c".to_owned()).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let forged = refused.text().await.unwrap();
    let expired = ask(token_until("CUST-1", -3600)).send().await.unwrap();
    assert_eq!(expired.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        expired.text().await.unwrap(),
        forged,
        "no reasons are given"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pages_of_the_account_s_origins_may_read() {
    let stage = BadgeStage::start(&[("UNREAD_BADGE_ORIGINS", "https://shop.example")]).await;
    let path = format!("v1/badge/{ACCOUNT}");
    let preflight = |origin: &'static str| {
        let request = stage.request(Method::OPTIONS, &path);
        request
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization")
    };
    let allowed = preflight("https://shop.example").send().await.unwrap();
    assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
    let headers = allowed.headers();
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://shop.example"
    );
    assert_eq!(headers["access-control-max-age"], "7200");
    let refused = preflight("https://shop.example.evil").send().await.unwrap();
    assert_eq!(refused.headers().get("access-control-allow-origin"), None);
    assert!(
        refused.headers()["vary"]
            .to_str()
            .unwrap()
            .contains("origin")
    );
    // A page must be able to see why it was refused.
    let unauthorized = stage.get(&path).header("origin", "https://shop.example");
    let unauthorized = unauthorized.send().await.unwrap();
    assert!(
        unauthorized
            .headers()
            .contains_key("access-control-allow-origin")
    );
    // Also what has not changed since, whether it is looked up or remembered.
    let old = format!("helpers/msghist/{ACCOUNT}/CUST-1/unreadByConsumer");
    for (tag, status) in [
        ("\"true\"", StatusCode::OK),
        ("\"false\"", StatusCode::NOT_MODIFIED),
    ] {
        let asked = stage.get(&old).header("origin", "https://shop.example");
        let answer = asked.header("if-none-match", tag).send().await.unwrap();
        assert_eq!(answer.status(), status);
        let headers = answer.headers();
        assert_eq!(
            headers["access-control-allow-origin"],
            "https://shop.example"
        );
        assert_eq!(headers["vary"], "origin, authorization");
        assert_eq!(headers["etag"], "\"false\"");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gone_wild_is_told_when_to_come_back() {
    let stage = BadgeStage::start(&[
        ("UNREAD_BADGE_REQUESTS_PER_SECOND", "0.1"),
        ("UNREAD_BADGE_ORIGINS", "https://shop.example"),
    ])
    .await;
    assert_eq!(stage.old("x", None).await.0, StatusCode::OK);
    let path = format!("helpers/msghist/{ACCOUNT}/x/unreadByConsumer");
    let refused = stage.get(&path).header("origin", "https://shop.example");
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    // The script on the page may read it.
    assert_eq!(
        refused.headers()["access-control-expose-headers"],
        "retry-after"
    );
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=11).contains(&wait), "{wait}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_who_miss_at_once_cost_one_call() {
    let stage = BadgeStage::start(&[]).await;
    let asked = (0..1_000).map(|_| stage.old(CONSUMER, None));
    for (status, body) in join_all(asked).await {
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body, r#"{"unreadByConsumer":false}"#);
    }
    assert_eq!(stage.liveperson_calls(), 1);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_an_answer_tells_the_unknown_from_who_has_read_everything() {
    let stage = BadgeStage::start(&[("UNREAD_BADGE_ORIGINS", "https://shop.example")]).await;
    stage
        .conversations
        .store("c1", &[CONSUMER], Some("CUST-1"), 0)
        .await;
    let told = async |path: String, subject: Option<&str>| {
        let mut asked = stage.get(&path).header("origin", "https://shop.example");
        if let Some(subject) = subject {
            asked = asked.bearer_auth(token(subject));
        }
        let response = asked.send().await.unwrap();
        let mut headers = response.headers().clone();
        headers.remove("date");
        (response.status(), headers, response.text().await.unwrap())
    };
    let old = |consumer: &str| format!("helpers/msghist/{ACCOUNT}/{consumer}/unreadByConsumer");
    let own = || format!("v1/badge/{ACCOUNT}");
    // When first asked for, and when remembered.
    for _ in 0..2 {
        let read = told(old(CONSUMER), None).await;
        for nobody in [&unknown(1), "CUST-1", "CUST-2", &"a".repeat(300)] {
            assert_eq!(told(old(nobody), None).await, read, "{nobody}");
        }
        let read = told(own(), Some("CUST-1")).await;
        assert_eq!(told(own(), Some("CUST-2")).await, read);
        assert_eq!(told(own(), Some(&unknown(2))).await, read);
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_liveperson_is_down_what_was_known_is_told_and_marked() {
    let stage = BadgeStage::start(&[]).await;
    stage
        .conversations
        .store_at("c1", &[CONSUMER], None, 1, -3600)
        .await;
    stage.sandbox.faults().set(
        Endpoint::ByConsumer,
        Fault::Unavailable,
        FaultSpan::UntilCleared,
    );
    let token = token(CONSUMER);
    let ask = stage
        .get(&format!("v1/badge/{ACCOUNT}"))
        .bearer_auth(&token);
    let told: Value = ask.send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&told["unread"], &told["stale"]),
        (&json!(true), &json!(true))
    );
    // Of whom nothing is known, nothing is guessed.
    assert_eq!(
        stage.old(&unknown(1), None).await.1,
        r#"{"unreadByConsumer":false}"#
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_any_process_stores_is_pushed_and_forgets_what_was_remembered() {
    let stage = BadgeStage::start(&[]).await;
    stage
        .conversations
        .store("c1", &[CONSUMER], Some("CUST-1"), 0)
        .await;
    let token = token("CUST-1");
    let mut events = stage.events(&token, None).await;
    assert!(events.next().await.contains(r#""unread":false"#));
    let ask = || async {
        let asked = stage
            .get(&format!("v1/badge/{ACCOUNT}"))
            .bearer_auth(&token);
        asked.send().await.unwrap().json::<Value>().await.unwrap()
    };
    assert_eq!(ask().await["unread"], false);
    stage
        .conversations
        .store_at("c1", &[CONSUMER], Some("CUST-1"), 2, 1)
        .await;
    let event = events.next().await;
    // Before any heartbeat, after some of which the stream looks by itself.
    assert!(event.contains(r#""count":2"#), "{event}");
    eventually(async || ask().await["unread"] == true).await;
    // Who comes back with the last id is told only what is new.
    let id = event
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap();
    let mut back = stage.events(&token, Some(id)).await;
    assert!(back.next().await.starts_with(':'), "nothing new");
    stage
        .conversations
        .store_at("c1", &[CONSUMER], Some("CUST-1"), 0, 2)
        .await;
    assert!(back.next().await.contains(r#""unread":false"#));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_s_connections_are_few_and_end_with_the_token() {
    let stage = BadgeStage::start(&[]).await;
    // The skew of a minute included, this token is good for a few seconds.
    let ending = token_until("CUST-9", -54);
    let mut events = stage.events(&ending, None).await;
    assert!(events.next().await.contains("data:"));
    assert_eq!(events.next().await, "", "the end");
    let token = token("CUST-1");
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(stage.events(&token, None).await);
    }
    let path = format!("v1/badge/{ACCOUNT}/events");
    let refused = stage.get(&path).bearer_auth(&token).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(open);
    eventually(async || {
        let asked = stage.get(&path).bearer_auth(&token).send().await.unwrap();
        asked.status() == StatusCode::OK
    })
    .await;
    // Open connections end with the service, in order: one that held it up would be broken off.
    let mut last = stage.events(&token_until("CUST-2", 600), None).await;
    assert!(last.next().await.contains("data:"));
    stage.stop().await;
    assert_eq!(last.next().await, "", "the end");
}
