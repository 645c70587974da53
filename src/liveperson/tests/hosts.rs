//! The domain lookup over the wire.

use chrono::TimeDelta;
use serde_json::json;

use super::super::LivePersonError;
use super::DOMAIN_ALL;
use super::server::{NOW, Reply, Server, client, oauth2};
use crate::clock::Clock;

fn ids() -> Vec<String> {
    vec!["c1".to_owned()]
}

fn answers(server: &Server, replies: impl IntoIterator<Item = Reply>) {
    server.script(|script| script.domains.extend(replies));
}

#[tokio::test]
async fn a_host_is_believed_for_ten_minutes() {
    let server = Server::start().await;
    let clock = Clock::manual(NOW);
    let client = client(server.settings(oauth2()), clock.clone());
    for (minutes, lookups) in [(0, 1), (9, 1), (1, 2)] {
        clock.advance(TimeDelta::minutes(minutes));
        client.by_ids(&ids()).await.unwrap();
        assert_eq!(server.seen("/service/msgHist/").len(), lookups);
    }
    let lookup = server.seen("/service/msgHist/").remove(0);
    assert_eq!(
        (lookup.path.as_str(), lookup.query.as_str()),
        (
            "/api/account/12345678/service/msgHist/baseURI.json",
            "version=1.0"
        )
    );
    assert!(lookup.authorization.is_empty());
}

#[tokio::test]
async fn an_old_host_is_better_than_none() {
    let server = Server::start().await;
    let clock = Clock::manual(NOW);
    let client = client(server.settings(oauth2()), clock.clone());
    client.by_ids(&ids()).await.unwrap();
    clock.advance(TimeDelta::minutes(11));
    answers(&server, [Reply::status(503)]);
    client.by_ids(&ids()).await.unwrap();
    client.by_ids(&ids()).await.unwrap();
    assert_eq!(server.seen("/service/msgHist/").len(), 2);
}

#[tokio::test]
async fn both_shapes_of_the_answer_are_understood() {
    let server = Server::start().await;
    let here = server.address.to_string();
    let list = DOMAIN_ALL.replace("va.msghist.liveperson.net", &here);
    let single = json!({ "service": "sentinel", "baseURI": here });
    answers(&server, [list, single.to_string()].map(Reply::ok));
    server.client().by_ids(&ids()).await.unwrap();
}

#[tokio::test]
async fn an_unknown_service_is_told_apart_from_an_outage() {
    let server = Server::start().await;
    let client = server.client();
    let nothing = json!({ "baseURIs": [] }).to_string();
    answers(&server, [Reply::status(400), Reply::ok(nothing)]);
    for _ in 0..2 {
        let error = client.by_ids(&ids()).await.unwrap_err();
        assert_eq!(error, LivePersonError::NoService("msgHist"));
        assert!(!error.retryable());
    }
    answers(&server, [Reply::status(500), Reply::ok("<html>")]);
    for _ in 0..2 {
        assert!(client.by_ids(&ids()).await.unwrap_err().retryable());
    }
}

#[tokio::test]
async fn credentials_go_only_to_a_host() {
    let server = Server::start().await;
    let evil = json!({ "baseURI": "user@evil.example/" }).to_string();
    answers(&server, [Reply::ok(evil)]);
    let error = server.client().by_ids(&ids()).await.unwrap_err();
    assert!(matches!(error, LivePersonError::Malformed { .. }));
    assert!(!error.to_string().contains("evil"));
    assert!(server.seen("/app/token").is_empty());
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_looked_up_again() {
    let server = Server::start().await;
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let moved = json!({ "baseURI": gone.to_string() }).to_string();
    answers(&server, [Reply::ok(moved)]);
    let client = server.client();
    let error = client.by_ids(&ids()).await.unwrap_err();
    assert!(matches!(error, LivePersonError::Unavailable { .. }));
    assert!(!error.to_string().contains("127.0.0.1"));
    client.by_ids(&ids()).await.unwrap();
}
