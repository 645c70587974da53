//! Tokens and signatures over the wire.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use futures_util::future::{BoxFuture, join_all};
use url::Url;

use super::super::oauth1::OAuth1Key;
use super::super::{LivePersonClient, LivePersonError, Purpose, RateLimiter, TooBusy, http_client};
use super::server::{NOW, Reply, Seen, Server, client, oauth1, oauth2};
use crate::clock::Clock;
use crate::secret::Secret;

fn ids() -> Vec<String> {
    vec!["c1".to_owned()]
}

#[tokio::test]
async fn many_callers_share_one_token() {
    let server = Server::start().await;
    let client = server.client();
    let (client, ids) = (&client, &ids());
    for result in join_all((0..10).map(|_| client.by_ids(ids))).await {
        result.unwrap();
    }
    let tokens = server.seen("/app/token");
    assert_eq!(tokens.len(), 1);
    assert_eq!(
        tokens[0].path,
        "/sentinel/api/v2/account/12345678/app/token"
    );
    assert_eq!(
        tokens[0].body,
        "client_id=11111111-2222-4333-8444-555555555555&client_secret=example-client-secret&grant_type=client_credentials"
    );
    let calls = server.seen("/messaging_history/");
    assert_eq!(calls.len(), 10);
    assert!(calls.iter().all(|c| c.authorization == "Bearer token-1"));
}

/// Remembers how many tokens there had been at each turn.
struct Turns {
    server: Server,
    tokens: Mutex<Vec<u32>>,
}

impl RateLimiter for Turns {
    fn pass(&self, _: Purpose) -> BoxFuture<'_, Result<(), TooBusy>> {
        let tokens = self.server.script(|script| script.tokens_issued);
        self.tokens.lock().unwrap().push(tokens);
        Box::pin(std::future::ready(Ok(())))
    }

    fn hold(&self, _: Duration) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Those who wait for one token would all go when it comes, however far apart their turns were.
#[tokio::test]
async fn a_turn_is_taken_when_there_is_a_token() {
    let turns = Arc::new(Turns {
        server: Server::start().await,
        tokens: Mutex::default(),
    });
    let settings = turns.server.settings(oauth2());
    let clock = Clock::manual(NOW);
    let client = LivePersonClient::new(settings, http_client(), turns.clone(), clock, Arc::new(()));
    let (client, ids) = (&client, &ids());
    for result in join_all((0..5).map(|_| client.by_ids(ids))).await {
        result.unwrap();
    }
    turns.server.reply([Reply::status(401)]);
    client.by_ids(ids).await.unwrap();
    assert_eq!(*turns.tokens.lock().unwrap(), [1, 1, 1, 1, 1, 1, 2]);
}

#[tokio::test]
async fn a_token_is_renewed_a_minute_before_its_end() {
    let server = Server::start().await;
    let clock = Clock::manual(NOW);
    let client = client(server.settings(oauth2()), clock.clone());
    for (wait, tokens) in [(0, 1), (3539, 1), (1, 2)] {
        clock.advance(TimeDelta::seconds(wait));
        client.by_ids(&ids()).await.unwrap();
        assert_eq!(server.seen("/app/token").len(), tokens, "after {wait} s");
    }
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once() {
    let server = Server::start().await;
    server.reply([Reply::status(401)]);
    server.client().by_ids(&ids()).await.unwrap();
    let used: Vec<String> = server
        .seen("/messaging_history/")
        .into_iter()
        .map(|seen| seen.authorization)
        .collect();
    assert_eq!(used, ["Bearer token-1", "Bearer token-2"]);
}

#[tokio::test]
async fn a_refused_fresh_token_is_final() {
    let server = Server::start().await;
    server.reply([Reply::status(401), Reply::status(401)]);
    let error = server.client().by_ids(&ids()).await.unwrap_err();
    let endpoint = "by_ids";
    assert_eq!(
        error,
        LivePersonError::Unauthorized {
            endpoint,
            status: 401
        }
    );
    assert!(!error.retryable());
    assert_eq!(server.seen("/messaging_history/").len(), 2);
}

#[tokio::test]
async fn a_missing_permission_costs_no_new_token() {
    let server = Server::start().await;
    server.reply([Reply::status(403)]);
    let error = server.client().by_ids(&ids()).await.unwrap_err();
    assert!(matches!(
        error,
        LivePersonError::Unauthorized { status: 403, .. }
    ));
    assert_eq!(server.seen("/app/token").len(), 1);
}

#[tokio::test]
async fn a_failing_token_server_is_left_alone_for_a_while() {
    let server = Server::start().await;
    server.script(|script| {
        script.tokens.push_back(Reply::with(400, &[], "<html>"));
    });
    let client = server.client();
    for _ in 0..3 {
        let error = client.by_ids(&ids()).await.unwrap_err();
        let endpoint = "token";
        assert_eq!(
            error,
            LivePersonError::Unauthorized {
                endpoint,
                status: 400
            }
        );
    }
    assert_eq!(server.seen("/app/token").len(), 1);
    assert!(server.seen("/messaging_history/").is_empty());
}

/// The value of one field of an OAuth 1.0a header.
fn field(seen: &Seen, name: &str) -> String {
    let (_, rest) = seen
        .authorization
        .split_once(&format!("{name}=\""))
        .unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[tokio::test]
async fn what_is_sent_is_what_is_signed() {
    let server = Server::start().await;
    let mut settings = server.settings(oauth1());
    settings.source = "un read+~/é".to_owned();
    client(settings, Clock::manual(NOW))
        .by_consumer("c|1")
        .await
        .unwrap();
    let seen = server.seen("/messaging_history/").remove(0);
    let url: Url = format!("http://{}{}?{}", server.address, seen.path, seen.query)
        .parse()
        .unwrap();
    let at = DateTime::from_timestamp_secs(field(&seen, "oauth_timestamp").parse().unwrap());
    let key = OAuth1Key {
        consumer_key: "exampleappkey",
        consumer_secret: &Secret::new("exampleappsecret"),
        token: "exampletoken",
        token_secret: &Secret::new("exampletokensecret"),
    };
    let method = seen.method.parse().unwrap();
    let expected = key.sign(&method, &url, at.unwrap(), &field(&seen, "oauth_nonce"));
    assert_eq!(seen.authorization, expected);
    assert!(seen.query.ends_with("source=un%20read%2B~%2F%C3%A9"));
}

#[tokio::test]
async fn a_refused_clock_is_corrected_once_and_stays_corrected() {
    let server = Server::start().await;
    let advice =
        "OAuth oauth_problem=timestamp_refused, oauth_acceptable_timestamps=1773133700-1773134300";
    server.reply([Reply::with(401, &[("www-authenticate", advice)], "")]);
    let client = client(server.settings(oauth1()), Clock::manual(NOW));
    client.by_ids(&ids()).await.unwrap();
    client.by_ids(&ids()).await.unwrap();
    let seen = server.seen("/messaging_history/");
    let times: Vec<String> = seen.iter().map(|s| field(s, "oauth_timestamp")).collect();
    assert_eq!(times, ["1773144000", "1773134000", "1773134000"]);
    let nonces: std::collections::HashSet<String> =
        seen.iter().map(|s| field(s, "oauth_nonce")).collect();
    assert_eq!(nonces.len(), 3);
}

#[tokio::test]
async fn a_rejected_key_is_not_tried_again() {
    let server = Server::start().await;
    server.reply([Reply::with(401, &[], "oauth_problem=token_rejected")]);
    let client = client(server.settings(oauth1()), Clock::manual(NOW));
    let error = client.by_ids(&ids()).await.unwrap_err();
    assert!(matches!(
        error,
        LivePersonError::Unauthorized { status: 401, .. }
    ));
    assert_eq!(server.seen("/messaging_history/").len(), 1);
}

#[test]
fn secrets_do_not_print() {
    for auth in [oauth1(), oauth2()] {
        let shown = format!("{auth:?}");
        for secret in ["exampleappsecret", "exampletokensecret", "example-client"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
