//! Tokens as forgers write them, against the one that is right.

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};

use super::*;
use crate::config::IdTokens;

const ISSUER_KEY: &str = include_str!("../../../tests/fixtures/badge/issuer.key.pem");
const ISSUER_PUBLIC: &str = include_str!("../../../tests/fixtures/badge/issuer.public.pem");
const STRANGER_KEY: &str = include_str!("../../../tests/fixtures/badge/stranger.key.pem");
const SECRET: &str = "a secret of thirty-two characters";

fn pem(text: &str) -> Vec<u8> {
    let base64: String = text.lines().filter(|l| !l.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD
        .decode(base64)
        .unwrap()
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn rs256(key: &str, header: &Value, claims: &Value) -> String {
    let pair = RsaKeyPair::from_pkcs8(&pem(key)).unwrap();
    let signed = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(signed.as_bytes());
    format!(
        "{signed}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

fn rsa() -> Value {
    json!({ "alg": "RS256", "typ": "JWT" })
}

fn hmac() -> Value {
    json!({ "alg": "HS256" })
}

/// Good claims with some of them replaced; `null` takes one away.
fn claims(of: &Value, replaced: &Value) -> Value {
    let mut claims = of.as_object().unwrap().clone();
    for (name, value) in replaced.as_object().unwrap() {
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    claims.into()
}

fn id_token(replaced: &Value) -> Value {
    let good = json!({
        "iss": "https://login.example.com", "aud": "shop", "sub": "auth0|42",
        "iat": 1_800_000_000 - 10, "exp": 1_800_000_000 + 300,
    });
    claims(&good, replaced)
}

fn own_token(replaced: &Value) -> Value {
    let good = json!({ "aud": "12345678", "sub": "CUST-1", "exp": 1_800_000_000 + 300 });
    claims(&good, replaced)
}

fn tokens() -> Tokens {
    let public = pem(ISSUER_PUBLIC);
    // Behind the 24 bytes that say "RSA key".
    let settings = BadgeTokens {
        id_tokens: Some(IdTokens {
            keys: IdTokenKeys::Public(public[24..].to_vec()),
            issuer: "https://login.example.com".to_owned(),
            audiences: vec!["shop".to_owned()],
        }),
        secret: Some(Secret::new(SECRET)),
    };
    Tokens::new(
        &"12345678".parse().unwrap(),
        &settings,
        &crate::liveperson::http_client(),
    )
}

async fn subject(token: &str) -> Option<String> {
    let verified = tokens().verify(token, now()).await;
    verified.ok().map(|verified| verified.subject)
}

#[tokio::test]
async fn good_tokens_say_whose_they_are_and_until_when() {
    let token = rs256(ISSUER_KEY, &rsa(), &id_token(&json!({})));
    let verified = tokens().verify(&token, now()).await.unwrap();
    assert_eq!(verified.subject, "auth0|42");
    assert_eq!(verified.expires, now() + TimeDelta::seconds(360));
    let several = id_token(&json!({ "aud": ["other", "shop"], "exp": 1_800_000_300.5 }));
    assert!(
        subject(&rs256(ISSUER_KEY, &rsa(), &several))
            .await
            .is_some()
    );
    let own = hs256(SECRET.as_bytes(), &hmac(), &own_token(&json!({})));
    assert_eq!(subject(&own).await.as_deref(), Some("CUST-1"));
}

#[tokio::test]
async fn an_algorithm_cannot_be_confused_nor_left_out() {
    let claims = id_token(&json!({}));
    let unsigned = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims));
    let bare = format!("{}.{}", part(&json!({ "alg": "none" })), part(&claims));
    // The public key, which everybody has, as the secret of an HMAC.
    let own = own_token(&json!({}));
    let forged = [
        unsigned,
        bare,
        hs256(ISSUER_PUBLIC.as_bytes(), &hmac(), &own),
        hs256(&pem(ISSUER_PUBLIC), &hmac(), &own),
        hs256(&pem(ISSUER_PUBLIC)[24..], &hmac(), &own),
        hs256(&[], &hmac(), &own),
        hs256(SECRET.as_bytes(), &rsa(), &claims),
        rs256(ISSUER_KEY, &json!({ "alg": "rs256" }), &claims),
        rs256(ISSUER_KEY, &json!({ "alg": "RS512" }), &claims),
        rs256(ISSUER_KEY, &json!({ "alg": "HS256" }), &own),
        rs256(
            ISSUER_KEY,
            &json!({ "alg": "RS256", "crit": ["exp"] }),
            &claims,
        ),
        rs256(ISSUER_KEY, &json!({}), &claims),
    ];
    for token in forged {
        assert_eq!(subject(&token).await, None, "{token}");
    }
}

#[tokio::test]
async fn a_stranger_s_signature_and_a_changed_token_are_refused() {
    assert_eq!(
        subject(&rs256(STRANGER_KEY, &rsa(), &id_token(&json!({})))).await,
        None
    );
    let good = rs256(ISSUER_KEY, &rsa(), &id_token(&json!({})));
    let parts: Vec<&str> = good.split('.').collect();
    let other = part(&id_token(&json!({ "sub": "auth0|43" })));
    assert_eq!(
        subject(&format!("{}.{other}.{}", parts[0], parts[2])).await,
        None
    );
    // Every shortened form, down to nothing.
    for end in 0..good.len() {
        assert_eq!(subject(&good[..end]).await, None);
    }
    for odd in ["", ".", "..", "...", "a.b.c", "=.=.=", "é.é.é"] {
        assert_eq!(subject(odd).await, None, "{odd}");
    }
}

#[tokio::test]
async fn a_good_signature_is_not_enough() {
    let refused = [
        json!({ "iss": "https://evil.example.com" }),
        json!({ "iss": null }),
        json!({ "aud": "another-shop" }),
        json!({ "aud": ["another-shop"] }),
        json!({ "aud": null }),
        json!({ "exp": 1_800_000_000 - 61 }),
        json!({ "exp": null }),
        json!({ "exp": "1800000300" }),
        json!({ "nbf": 1_800_000_000 + 61 }),
        json!({ "iat": 1_800_000_000 + 61 }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": "a\u{0}b" }),
        json!({ "sub": "a".repeat(257) }),
        json!({ "sub": 42 }),
    ];
    for replaced in refused {
        let token = rs256(ISSUER_KEY, &rsa(), &id_token(&replaced));
        assert_eq!(subject(&token).await, None, "{replaced}");
    }
    for replaced in [
        json!({ "exp": 1_800_000_000 - 59 }),
        json!({ "nbf": 1_800_000_000 + 59 }),
        json!({ "exp": 9e300 }),
    ] {
        let token = rs256(ISSUER_KEY, &rsa(), &id_token(&replaced));
        assert!(subject(&token).await.is_some(), "{replaced}");
    }
}

#[tokio::test]
async fn a_token_for_another_account_is_worth_nothing_here() {
    for aud in [json!("87654321"), json!(["87654321"]), json!(null)] {
        let claims = own_token(&json!({ "aud": aud }));
        assert_eq!(
            subject(&hs256(SECRET.as_bytes(), &hmac(), &claims)).await,
            None
        );
    }
}

#[tokio::test]
async fn an_oversized_token_is_not_looked_at() {
    let claims = own_token(&json!({ "padding": "x".repeat(8 << 10) }));
    assert_eq!(
        subject(&hs256(SECRET.as_bytes(), &hmac(), &claims)).await,
        None
    );
}

#[tokio::test]
async fn an_account_without_keys_believes_nobody() {
    let none = Tokens::new(
        &"12345678".parse().unwrap(),
        &BadgeTokens::default(),
        &crate::liveperson::http_client(),
    );
    for token in [
        rs256(ISSUER_KEY, &rsa(), &id_token(&json!({}))),
        hs256(&[], &hmac(), &own_token(&json!({}))),
    ] {
        assert_eq!(none.verify(&token, now()).await, Err(Refused));
    }
}

/// A claim of a kind nobody expects.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::collection::vec(any::<String>(), 0..3).prop_map(Value::from),
        Just(json!(1e308)),
        Just(json!(-1e308)),
    ]
}

static TOKENS: std::sync::LazyLock<Tokens> = std::sync::LazyLock::new(tokens);

/// No key has to be fetched, so nothing waits.
fn verify(token: &str) -> Result<Verified, Refused> {
    TOKENS.verify(token, now()).now_or_never().unwrap()
}

proptest! {
    #[test]
    fn fuzz_badge_tokens(token in "\\PC{0,200}", parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
        prop_assert!(verify(&token).is_err());
        let parts: Vec<String> = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect();
        prop_assert!(verify(&parts.join(".")).is_err());
    }

    #[test]
    fn fuzz_signed_badge_tokens(
        claim in prop::sample::select(&["aud", "sub", "exp", "nbf", "iat", "iss"][..]), value in odd(),
        head in prop::sample::select(&["alg", "kid", "crit", "typ"][..]), word in odd(),
    ) {
        let mut header = hmac();
        if head != "alg" {
            header[head] = word;
        }
        let token = hs256(SECRET.as_bytes(), &header, &own_token(&json!({ claim: value })));
        if let Ok(verified) = verify(&token) {
            prop_assert!(plausible(&verified.subject) && verified.expires <= now() + TimeDelta::days(1));
        }
    }

    #[test]
    fn fuzz_badge_paths(account in "\\PC{0,40}", consumer in any::<String>()) {
        let _ = account.parse::<AccountId>();
        prop_assert!(!plausible(&consumer) || consumer.len() <= 256 && !consumer.contains('\0'));
    }
}
