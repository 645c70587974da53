use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};

use super::*;
use crate::faults::{Endpoint, Traffic};
use crate::world::CUSTOMER_CARE;

const NOW: i64 = 1_773_144_000_000;

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn started(script: Script) -> Sandbox {
    let clock = WorldClock::manual(DateTime::from_timestamp_millis(NOW).unwrap());
    Sandbox::start(Options {
        clock,
        script,
        ..Options::default()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_conversation_can_be_played_from_another_process() {
    let sandbox = started(Script::Empty).await;
    let (http, admin) = (http(), sandbox.endpoints().admin_url.clone());
    let post = async |path: &str, body: Value| {
        http.post(format!("{admin}{path}"))
            .json(&body)
            .send()
            .await
            .unwrap()
    };
    let person = json!({"first_name": "Ana", "email": "ana@example.com"});
    let opened = post(
        "/conversations",
        json!({"skill": CUSTOMER_CARE, "person": person}),
    )
    .await;
    let opened: Value = opened.json().await.unwrap();
    let id = opened["conversation"].as_str().unwrap().to_owned();
    let actions = format!("/conversations/{id}/actions");
    assert_eq!(
        post(&actions, json!({"do": "agent_says", "text": "Hello"}))
            .await
            .status(),
        204
    );
    assert_eq!(post("/clock", json!({"seconds": 90})).await.status(), 200);
    let witness = async || -> Value {
        http.get(format!("{admin}/conversations/{id}"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    assert_eq!(witness().await["unread"], true);
    assert_eq!(
        post(&actions, json!({"do": "consumer_reads"}))
            .await
            .status(),
        204
    );
    assert_eq!(witness().await["read_at"], NOW + 90_000);
    assert_eq!(
        post("/conversations/nobody/actions", json!({"do": "queue"}))
            .await
            .status(),
        404
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn faults_and_counters_can_be_reached_from_another_process() {
    let sandbox = started(Script::Empty).await;
    let (http, endpoints) = (http(), sandbox.endpoints().clone());
    let fault = json!({"endpoint": "domains", "fault": {"throttled": {"retry_after_s": 2}}, "when": {"next": 1}});
    let set = http
        .post(format!("{}/faults", endpoints.admin_url))
        .json(&fault)
        .send()
        .await
        .unwrap();
    assert_eq!(set.status(), 200);
    let domains = format!(
        "{}/api/account/{}/service/baseURI.json?version=1.0",
        endpoints.liveperson.domain_url, endpoints.account
    );
    assert_eq!(http.get(&domains).send().await.unwrap().status(), 429);
    assert_eq!(http.get(&domains).send().await.unwrap().status(), 200);
    let counted: Value = http
        .get(format!("{}/requests", endpoints.admin_url))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(counted["domains"]["requests"], 2);
    let Traffic {
        requests, faults, ..
    } = sandbox.faults().traffic(Endpoint::Domains);
    assert_eq!((requests, faults), (2, 1));
    sandbox.stop().await;
}

#[tokio::test]
async fn the_people_follow_a_clock_that_is_moved_by_hand() {
    let sandbox = started(Script::Cases).await;
    let of = |case: &str| {
        sandbox
            .expected()
            .into_iter()
            .find(|expected| expected.case == case)
            .unwrap()
            .conversation
    };
    let id = of("closes_before_due");
    assert_eq!(sandbox.world().closed_at(&id), None);
    sandbox.world().clock().advance(TimeDelta::minutes(2));
    sandbox.play_until_now();
    assert_eq!(sandbox.world().closed_at(&id), Some(NOW + 60_000));
    sandbox.stop().await;
}

#[tokio::test]
async fn a_stopped_sandbox_frees_its_port() {
    let sandbox = started(Script::Live).await;
    let port: u16 = sandbox
        .endpoints()
        .liveperson
        .domain_url
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    sandbox.stop().await;
    TcpListener::bind(("127.0.0.1", port)).await.unwrap();
}

#[tokio::test]
async fn the_channels_share_one_outbox_and_the_mailbox_shows_it() {
    let sandbox = started(Script::Empty).await;
    let endpoints = sandbox.endpoints();
    let TwilioEndpoint {
        base_url,
        account_sid,
        auth_token,
    } = &endpoints.twilio;
    let sent = http()
        .post(format!(
            "{base_url}/2010-04-01/Accounts/{account_sid}/Messages.json"
        ))
        .basic_auth(account_sid, Some(auth_token))
        .form(&[
            ("To", "+14155550123"),
            ("From", "+14155550100"),
            ("Body", "A new reply"),
        ])
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 201);
    let smtp = tokio::net::TcpStream::connect((endpoints.smtp.host.as_str(), endpoints.smtp.port));
    assert!(smtp.await.is_ok());
    assert_eq!(sandbox.outbox().texts_to("+14155550123").len(), 1);
    let page = http()
        .get(&endpoints.mailbox_url)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(page.contains("A new reply"), "{page}");
}
