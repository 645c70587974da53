//! An issuer behind a real socket: it changes its keys, is asked for keys that never were, and goes away.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::web::jwt::{Audience, Trust, VerificationKeys, attacks, verify};

struct Login {
    /// What it answers; `None`: it is out of order.
    set: Arc<Mutex<Option<String>>>,
    fetches: Arc<AtomicUsize>,
    jwks: Jwks,
}

impl Login {
    async fn with_keys(names: &[&str]) -> Self {
        let set = Arc::new(Mutex::new(Some(published(names))));
        let fetches = Arc::<AtomicUsize>::default();
        let (served, counted) = (set.clone(), fetches.clone());
        let keys = get(move || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            let told = served.lock().unwrap().clone();
            told.ok_or(StatusCode::SERVICE_UNAVAILABLE)
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let app = Router::new().route("/keys", keys);
        tokio::spawn(async move { axum::serve(listener, app).await });
        let http = crate::liveperson::http_client();
        Self {
            set,
            fetches,
            jwks: Jwks::new(url.parse().unwrap(), http, "this test"),
        }
    }

    fn tells(&self, answer: Option<String>) {
        *self.set.lock().unwrap() = answer;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    async fn has(&self, name: &str, now: Instant) -> bool {
        self.jwks.key(Some(name), now).await.is_some()
    }
}

fn published(names: &[&str]) -> String {
    let keys = names
        .iter()
        .map(|name| json!({ "kty": "RSA", "kid": name, "n": "AQ", "e": "AQAB" }));
    json!({ "keys": keys.collect::<Vec<Value>>() }).to_string()
}

#[tokio::test]
async fn a_new_key_is_good_after_one_more_fetch_and_the_one_it_replaced_is_not() {
    let issuer = Login::with_keys(&["old"]).await;
    let now = Instant::now();
    for _ in 0..3 {
        assert!(issuer.has("old", now).await);
    }
    assert_eq!(issuer.fetches(), 1);

    issuer.tells(Some(published(&["new"])));
    let later = now + PAUSE;
    for _ in 0..3 {
        assert!(issuer.has("new", later).await);
        assert!(!issuer.has("old", later).await);
    }
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test]
async fn a_key_that_the_issuer_took_back_is_refused_within_the_hour() {
    let issuer = Login::with_keys(&["stolen", "good"]).await;
    let now = Instant::now();
    assert!(issuer.has("stolen", now).await);
    issuer.tells(Some(published(&["good"])));
    assert!(!issuer.has("stolen", now + FRESH).await);
    assert!(issuer.has("good", now + FRESH).await);
}

#[tokio::test]
async fn a_key_is_the_one_it_was_until_the_set_is_fetched_anew() {
    let issuer = Login::with_keys(&["a", "b"]).await;
    let now = Instant::now();
    let key = issuer.jwks.key(Some("a"), now).await.unwrap();
    let is = |kid, now| issuer.jwks.has(kid, &key, now);
    assert!(is(Some("a"), now));
    assert!(!is(Some("b"), now) && !is(Some("c"), now) && !is(None, now));
    let later = now + FRESH;
    assert!(!is(Some("a"), later), "it may have been taken back");
    // The same set as before, but who says so?
    assert!(issuer.has("b", later).await);
    assert!(!is(Some("a"), later));
}

#[tokio::test]
async fn however_many_keys_are_made_up_the_issuer_is_asked_twice_a_minute_at_most() {
    let issuer = Login::with_keys(&["good"]).await;
    let now = Instant::now();
    let names: Vec<String> = (0..1_000).map(|n| format!("made-up-{n}")).collect();
    let found = join_all(names.iter().map(|name| issuer.has(name, now))).await;
    assert!(!found.contains(&true));
    assert_eq!(issuer.fetches(), 1, "all at once");
    for second in 1..600 {
        let now = now + Duration::from_secs(second);
        assert!(!issuer.has("made-up", now).await);
        assert!(issuer.has("good", now).await);
    }
    assert_eq!(issuer.fetches(), 20, "in ten minutes");
}

#[tokio::test]
async fn while_the_issuer_is_away_its_keys_are_good_for_a_day() {
    let issuer = Login::with_keys(&["good"]).await;
    let now = Instant::now();
    assert!(issuer.has("good", now).await);
    let hours = |hours| now + Duration::from_hours(hours);
    for (hour, answer) in [
        (2, None),
        (5, Some("<html>".to_owned())),
        (10, Some(published(&[]))),
        (20, Some(" ".repeat(MAX_BODY + 1))),
    ] {
        issuer.tells(answer);
        assert!(issuer.has("good", hours(hour)).await, "after {hour} hours");
    }
    assert!(!issuer.has("good", hours(25)).await, "too long ago");
    issuer.tells(Some(published(&["good"])));
    assert!(issuer.has("good", hours(26)).await);
}

#[tokio::test]
async fn nobody_with_a_known_key_waits_for_an_issuer_that_does_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let http = crate::liveperson::http_client();
    let jwks = Jwks::new(url.parse().unwrap(), http, "this test");
    let now = Instant::now();
    *jwks.held() = CachedKeys {
        keys: parse(published(&["good"]).as_bytes()).unwrap(),
        fetched_at: Some(now),
        tried_at: Some(now),
    };
    let later = now + FRESH;
    let (_, ()) = tokio::join!(jwks.key(Some("made-up"), later), async {
        // The other one asks, and nobody answers it.
        let (_asked, _) = listener.accept().await.unwrap();
        assert!(jwks.key(Some("good"), later).await.is_some());
        drop(listener);
    });
}

#[tokio::test]
async fn who_hangs_up_does_not_stop_the_fetch_that_others_need() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let http = crate::liveperson::http_client();
    let jwks = Arc::new(Jwks::new(url.parse().unwrap(), http, "this test"));
    let now = Instant::now();
    let asking = tokio::spawn({
        let jwks = jwks.clone();
        async move { jwks.key(Some("made-up"), now).await.is_some() }
    });
    // The issuer is asked, and has not answered yet.
    let (mut asked, _) = listener.accept().await.unwrap();
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    let body = published(&["good"]);
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    asked.write_all(answer.as_bytes()).await.unwrap();
    assert!(jwks.key(Some("good"), now).await.is_some());
}

#[test]
fn only_rsa_keys_for_signatures_are_taken() {
    let set = r#"{"keys":[
        {"kty":"EC","kid":"ec","crv":"P-256","x":"AQ","y":"AQ"},
        {"kty":"RSA","kid":"enc","use":"enc","n":"AQ","e":"AQAB"},
        {"kty":"RSA","kid":"pss","alg":"PS256","n":"AQ","e":"AQAB"},
        {"kty":"RSA","kid":"good","use":"sig","alg":"RS256","n":"AAEC","e":"AQAB"},
        {"kty":"RSA","kid":"broken","n":"!","e":"AQAB"},
        "nonsense"
    ]}"#;
    let keys = parse(set.as_bytes()).unwrap();
    let [(kid, key)] = &keys[..] else {
        panic!("{} keys", keys.len())
    };
    assert_eq!(kid.as_deref(), Some("good"));
    assert_eq!((&key.n[..], &key.e[..]), (&[1, 2][..], &[1, 0, 1][..]));
    assert!(parse(b"[]").is_err());
}

/// What a set's keys are called, what a token asks for, and whether there is a key for it.
type Case = (&'static [Option<&'static str>], Option<&'static str>, bool);

#[test]
fn the_only_key_need_not_be_named_and_names_that_are_there_must_agree() {
    let key = || {
        Arc::new(RsaPublicKeyComponents {
            n: vec![1],
            e: vec![3],
        })
    };
    let cases: [Case; 11] = [
        (&[Some("a")], Some("a"), true),
        (&[Some("a")], None, true),
        (&[Some("a")], Some("b"), false),
        (&[None], None, true),
        (&[None], Some("a"), true),
        (&[Some("a"), Some("b")], Some("b"), true),
        (&[Some("a"), Some("b")], None, false),
        (&[Some("a"), None], None, false),
        (&[Some("a"), None], Some("b"), false),
        (&[None, None], Some("a"), false),
        (&[], None, false),
    ];
    for (names, asked, found) in cases {
        let name = |name: Option<&str>| (name.map(str::to_owned), key());
        let held = CachedKeys {
            keys: names.iter().copied().map(name).collect(),
            ..CachedKeys::default()
        };
        assert_eq!(held.key(asked).is_some(), found, "{names:?}, {asked:?}");
    }
}

proptest! {
    #[test]
    fn fuzz_key_sets(
        body in prop::collection::vec(any::<u8>(), 0..100),
        keys in prop::collection::vec(("(RSA|EC|\\PC{0,4})", "[A-Za-z0-9_=-]{0,40}", any::<String>()), 0..40),
    ) {
        let _ = parse(&body);
        let keys: Vec<_> = keys.into_iter().map(|(kty, n, kid)| {
            serde_json::json!({ "kty": kty, "n": n, "e": n, "kid": kid })
        }).collect();
        let set = serde_json::json!({ "keys": keys }).to_string();
        prop_assert!(parse(set.as_bytes()).is_ok_and(|keys| keys.len() <= MAX_KEYS));
    }
}

/// A key set of one key, under this name or none.
fn only(key: &str, kid: Option<&str>) -> String {
    let pair = ring::rsa::KeyPair::from_pkcs8(&attacks::pem(key)).unwrap();
    let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
    let [n, e] = [&public.n, &public.e].map(|number| URL_SAFE_NO_PAD.encode(number));
    let mut key = json!({ "kty": "RSA", "use": "sig", "n": n, "e": e });
    if let Some(kid) = kid {
        key["kid"] = kid.into();
    }
    json!({ "keys": [key] }).to_string()
}

#[tokio::test]
async fn an_only_key_that_is_changed_without_a_new_name_is_fetched_when_a_signature_does_not_fit() {
    for kid in [None, Some("1")] {
        let issuer = Login::with_keys(&[]).await;
        issuer.tells(Some(only(attacks::STRANGER_KEY, kid)));
        let start = Instant::now();
        let old = issuer.jwks.key(kid, start).await.unwrap();
        issuer.tells(Some(only(attacks::ISSUER_KEY, kid)));

        // Forged tokens may make us ask, and not more often than anything else.
        for _ in 0..3 {
            assert!(issuer.jwks.instead_of(&old, kid, start).await.is_none());
        }
        assert_eq!(issuer.fetches(), 1);
        let later = start + PAUSE;
        let new = issuer.jwks.instead_of(&old, kid, later).await.unwrap();
        assert_ne!(old.n, new.n);
        let again = issuer.jwks.instead_of(&old, kid, later).await.unwrap();
        assert!(Arc::ptr_eq(&new, &again));
        assert_eq!(issuer.fetches(), 2);
    }
}

fn trusted(jwks: Jwks) -> [Trust; 1] {
    [Trust {
        keys: VerificationKeys::Published(jwks),
        issuers: vec![attacks::ISSUER.to_owned()],
        audience: Audience::OneOf(vec![attacks::AUDIENCE.to_owned()]),
    }]
}

fn strangers_token() -> String {
    let claims = attacks::id_token(&json!({})).to_string();
    attacks::rs256(attacks::STRANGER_KEY, attacks::RS256, &claims)
}

#[tokio::test]
async fn a_token_of_the_changed_only_key_is_believed() {
    let issuer = Login::with_keys(&[]).await;
    issuer.tells(Some(only(attacks::STRANGER_KEY, None)));
    let long_ago = Instant::now().checked_sub(PAUSE).unwrap();
    assert!(issuer.jwks.key(None, long_ago).await.is_some());
    issuer.tells(Some(only(attacks::ISSUER_KEY, None)));
    let trusted = trusted(issuer.jwks);
    let token = attacks::signed(&json!({}));
    let verified = verify(&token, &trusted, None, attacks::now()).await;
    assert_eq!(verified.unwrap().subject, "auth0|42");
    let stranger = strangers_token();
    let stranger = verify(&stranger, &trusted, None, attacks::now()).await;
    assert!(stranger.is_err());
}

#[tokio::test]
async fn what_a_token_s_being_believed_depends_on_ends_with_its_key() {
    let issuer = Login::with_keys(&[]).await;
    issuer.tells(Some(only(attacks::STRANGER_KEY, None)));
    let long_ago = Instant::now().checked_sub(PAUSE).unwrap();
    assert!(issuer.jwks.key(None, long_ago).await.is_some());
    let (set, trusted, now) = (issuer.set, trusted(issuer.jwks), attacks::now());
    let old = strangers_token();
    let old = verify(&old, &trusted, None, now).await.unwrap();
    let good_until = |now| old.grounds.hold(&trusted, now);
    assert_eq!(good_until(now), Some(old.expires));
    let end = now + chrono::TimeDelta::seconds(360);
    assert_eq!(good_until(end), None, "it has ended");
    assert_eq!(old.grounds.hold(&[], now), None, "nobody believes it");

    *set.lock().unwrap() = Some(only(attacks::ISSUER_KEY, None));
    assert_eq!(good_until(now), Some(old.expires), "nobody knows yet");
    let token = attacks::signed(&json!({}));
    let new = verify(&token, &trusted, None, now).await.unwrap();
    assert_eq!(good_until(now), None);
    assert_eq!(new.grounds.hold(&trusted, now), Some(new.expires));
}

/// Signatures that others made, with keys as others publish them; and each of them with one bit changed.
#[tokio::test]
async fn the_rfcs_signatures_are_right_and_none_that_differs_in_a_bit() {
    let rfcs: Value =
        serde_json::from_str(include_str!("../../../tests/fixtures/jws/rfc.json")).unwrap();
    let vectors = rfcs["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 2);
    for vector in vectors {
        let issuer = Login::with_keys(&[]).await;
        issuer.tells(Some(json!({ "keys": vector["keys"] }).to_string()));
        let keys = VerificationKeys::Published(issuer.jwks);
        let kid = || vector["kid"].as_str().map(str::to_owned);
        let (signed, signature) = vector["token"].as_str().unwrap().rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let from = &vector["from"];
        let checked = keys.check(signed.as_bytes(), &signature, kid()).await;
        assert!(checked.is_ok_and(|key| key.is_some()), "{from}");
        for bit in 0..8 * signature.len() {
            let mut other = signature.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let checked = keys.check(signed.as_bytes(), &other, kid()).await;
            assert!(checked.is_err(), "{from}: bit {bit} of the signature");
        }
        for at in 0..signed.len() {
            let mut other = signed.as_bytes().to_vec();
            other[at] ^= 1;
            let checked = keys.check(&other, &signature, kid()).await;
            assert!(checked.is_err(), "{from}: character {at} of what is signed");
        }
    }
}
