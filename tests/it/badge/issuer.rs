//! The brand's login: `id_tokens` checked with the keys that it publishes, and all that is not such a token.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use reqwest::StatusCode;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use unread::clock::Clock;

use super::stage::{ACCOUNT, BadgeStage, part, signed_by_backend};

const ISSUER: &str = "https://login.example.com";

struct Key(RsaKeyPair);

impl Key {
    fn new(pem: &str) -> Self {
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        let der = STANDARD.decode(lines.collect::<String>()).unwrap();
        Self(RsaKeyPair::from_pkcs8(&der).unwrap())
    }

    fn published(&self, name: &str) -> Value {
        let public = PublicKeyComponents::<Vec<u8>>::from(self.0.public());
        let [n, e] = [public.n, public.e].map(|number| URL_SAFE_NO_PAD.encode(number));
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": name, "n": n, "e": e })
    }

    /// Good for five minutes, unless `changes` say otherwise.
    fn token(&self, kid: &str, changes: &Value) -> String {
        let now = Clock::System.now().timestamp();
        let mut claims =
            json!({ "iss": ISSUER, "aud": "shop", "sub": "CUST-1", "iat": now, "exp": now + 300 });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let header = json!({ "alg": "RS256", "kid": kid });
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.0.public().modulus_len()];
        let random = SystemRandom::new();
        let done = self.0.sign(
            &RSA_PKCS1_SHA256,
            &random,
            signed.as_bytes(),
            &mut signature,
        );
        done.unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tokens_of_the_brand_s_login_are_believed_and_refusals_give_no_reasons() {
    let own = Key::new(include_str!("../../fixtures/badge/issuer.key.pem"));
    let stranger = Key::new(include_str!("../../fixtures/badge/stranger.key.pem"));
    let set = Arc::new(Mutex::new(json!({ "keys": [own.published("k1")] })));
    let fetches = Arc::<AtomicUsize>::default();
    let (served, counted) = (set.clone(), fetches.clone());
    let keys = get(move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        served.lock().unwrap().to_string()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/keys", listener.local_addr().unwrap());
    let login = Router::new().route("/keys", keys);
    tokio::spawn(async move { axum::serve(listener, login).await });
    let stage = BadgeStage::start(&[
        ("UNREAD_BADGE_JWKS_URL", &address),
        ("UNREAD_BADGE_ISSUER", ISSUER),
        ("UNREAD_BADGE_AUDIENCE", "shop"),
    ])
    .await;
    stage
        .conversations
        .store("c1", &[], Some("CUST-1"), 1)
        .await;
    let ask = async |token: String| {
        let path = format!("v1/badge/{ACCOUNT}");
        let answer = stage.get(&path).bearer_auth(token).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let (status, told) = ask(own.token("k1", &json!({}))).await;
    assert_eq!(status, StatusCode::OK);
    assert!(told.contains(r#""unread":true"#), "{told}");

    let refusal = ask("nonsense".to_owned()).await;
    assert_eq!(refusal.0, StatusCode::UNAUTHORIZED);
    let now = Clock::System.now().timestamp();
    let good = own.token("k1", &json!({}));
    let (claims_of_good, _) = good.rsplit_once('.').unwrap();
    let none = format!(
        "{}.{}.",
        part(&json!({ "alg": "none" })),
        claims_of_good.split_once('.').unwrap().1
    );
    let everybody_s = own.published("k1").to_string();
    let forged = [
        ("signed by a stranger", stranger.token("k1", &json!({}))),
        ("not signed", none),
        (
            "signed with what everybody knows",
            signed_by_backend(
                &everybody_s,
                &json!({ "aud": ACCOUNT, "sub": "CUST-1", "exp": now + 300 }),
            ),
        ),
        (
            "another issuer's",
            own.token("k1", &json!({ "iss": "https://evil.example.com" })),
        ),
        (
            "for another audience",
            own.token("k1", &json!({ "aud": "another-shop" })),
        ),
        ("for everybody", own.token("k1", &json!({ "aud": null }))),
        (
            "of yesterday",
            own.token("k1", &json!({ "exp": now - 86_400 })),
        ),
        (
            "of tomorrow",
            own.token("k1", &json!({ "nbf": now + 86_400 })),
        ),
        ("endless", own.token("k1", &json!({ "exp": null }))),
        ("nobody's", own.token("k1", &json!({ "sub": "" }))),
        (
            "huge",
            own.token("k1", &json!({ "padding": "x".repeat(9_000) })),
        ),
    ];
    for (what, token) in forged {
        assert_eq!(ask(token).await, refusal, "{what}");
    }

    // Keys that never were do not make the login busy.
    let made_up = (0..200).map(|n| ask(own.token(&format!("made-up-{n}"), &json!({}))));
    for answer in join_all(made_up).await {
        assert_eq!(answer, refusal);
    }
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    // And nobody's token stops working for it.
    assert_eq!(ask(good).await.0, StatusCode::OK);
    stage.stop().await;
}
