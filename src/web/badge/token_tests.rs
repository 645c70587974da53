//! Tokens as forgers write them, against the one that is right; first those that every verifier of tokens is tried with.

use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::IdTokens;
use crate::secret::Secret;
use crate::web::jwt::attacks::{
    self, AUDIENCE, HS256, ISSUER, ISSUER_KEY, RS256, hs256, now, replaced, rs256, signed,
};

const SECRET: &str = "a secret of thirty-two characters";

fn own_token(by: &Value) -> String {
    let good = json!({ "aud": "12345678", "sub": "CUST-1", "exp": attacks::NOW + 300 });
    replaced(&good, by).to_string()
}

fn own(by: &Value) -> String {
    hs256(SECRET.as_bytes(), HS256, &own_token(by))
}

fn tokens_for(audiences: &[&str]) -> TokenVerifier {
    let settings = BadgeTokens {
        id_tokens: Some(IdTokens {
            keys: IdTokenKeys::Public(attacks::issuer_public()),
            issuer: ISSUER.to_owned(),
            audiences: audiences.iter().map(|name| (*name).to_owned()).collect(),
        }),
        secret: Some(Secret::new(SECRET)),
    };
    TokenVerifier::new(
        &"12345678".parse().unwrap(),
        &settings,
        &crate::liveperson::http_client(),
    )
}

fn tokens() -> TokenVerifier {
    tokens_for(&[AUDIENCE])
}

async fn subject(token: &str) -> Option<String> {
    let verified = tokens().verify(token, now()).await;
    verified.ok().map(|verified| verified.subject)
}

#[tokio::test]
async fn good_tokens_say_whose_they_are_and_until_when() {
    let token = signed(&json!({}));
    let verified = tokens().verify(&token, now()).await.unwrap();
    assert_eq!(verified.subject, "auth0|42");
    assert_eq!(verified.expires, now() + TimeDelta::seconds(360));
    let backend = subject(&own(&json!({}))).await;
    assert_eq!(backend.as_deref(), Some("CUST-1"));
}

#[tokio::test]
async fn what_forgers_and_careless_issuers_write() {
    // One that has seen the good token, and all the others.
    let experienced = tokens();
    let good = signed(&json!({}));
    assert!(experienced.verify(&good, now()).await.is_ok());
    for (why, token, good) in attacks::tokens() {
        let believed = subject(&token).await.is_some();
        assert_eq!(believed, good, "{why}: {token}");
        let believed = experienced.verify(&token, now()).await.is_ok();
        assert_eq!(believed, good, "after the good one: {why}: {token}");
    }
}

#[tokio::test]
async fn a_verified_token_is_remembered_while_it_is_good() {
    let tokens = tokens();
    let begin = json!({ "nbf": attacks::NOW });
    for token in [signed(&begin), own(&begin)] {
        assert_eq!(tokens.remembered(&token, now()), None, "not verified yet");
        let verified = tokens.verify(&token, now()).await.unwrap();
        assert_eq!(tokens.remembered(&token, now()), Some(verified.clone()));
        let last = tokens.remembered(&token, now() + TimeDelta::seconds(359));
        assert_eq!(last, Some(verified), "until the same moment");
        for moment in [TimeDelta::seconds(360), TimeDelta::seconds(-61)] {
            let then = now() + moment;
            assert_eq!(tokens.remembered(&token, then), None, "{moment}");
            assert_eq!(
                tokens.verify(&token, then).await,
                Err(InvalidToken),
                "{moment}"
            );
        }
        assert!(tokens.remembered(&token, now()).is_some());
        let longer = format!("{token}x");
        for other in [&token[1..], &token[..token.len() - 1], &longer, ""] {
            assert_eq!(tokens.remembered(other, now()), None, "{other}");
        }
        let stranger = tokens_for(&[]);
        assert_eq!(stranger.remembered(&token, now()), None, "each its own");
    }
    let forged = own(&json!({ "aud": "another" }));
    assert_eq!(tokens.verify(&forged, now()).await, Err(InvalidToken));
    assert_eq!(tokens.remembered(&forged, now()), None);
}

/// What a login must have, a badge's token need not: nobody logs in by it.
#[tokio::test]
async fn a_badge_s_token_may_be_for_others_too_and_answers_no_login() {
    for by in [
        json!({ "nonce": null }),
        json!({ "nonce": 7 }),
        json!({ "iat": null }),
        json!({ "azp": 7 }),
        json!({ "aud": ["other", AUDIENCE] }),
        json!({ "aud": ["other", AUDIENCE], "azp": "other" }),
        json!({ "email": 7 }),
    ] {
        assert!(subject(&signed(&by)).await.is_some(), "{by}");
    }
    let none = tokens_for(&[]);
    for (aud, good) in [(json!(null), true), (json!(AUDIENCE), false)] {
        let token = signed(&json!({ "aud": aud }));
        assert_eq!(none.verify(&token, now()).await.is_ok(), good, "{aud}");
    }
}

#[tokio::test]
async fn the_secret_and_the_issuer_s_key_do_not_stand_in_for_each_other() {
    for forged in [
        rs256(ISSUER_KEY, HS256, &own_token(&json!({}))),
        rs256(ISSUER_KEY, RS256, &own_token(&json!({}))),
        hs256(SECRET.as_bytes(), RS256, &own_token(&json!({}))),
        hs256(
            SECRET.as_bytes(),
            HS256,
            &own_token(&json!({ "aud": AUDIENCE, "iss": ISSUER })),
        ),
        hs256(&[], HS256, &own_token(&json!({}))),
        hs256(
            SECRET.as_bytes(),
            r#"{"alg":"HS512"}"#,
            &own_token(&json!({})),
        ),
        hs256(
            SECRET.as_bytes(),
            r#"{"alg":"HS256","crit":["exp"]}"#,
            &own_token(&json!({})),
        ),
    ] {
        assert_eq!(subject(&forged).await, None, "{forged}");
    }
}

#[tokio::test]
async fn a_token_for_another_account_is_worth_nothing_here() {
    for aud in [json!("87654321"), json!(["87654321"]), json!(null)] {
        assert_eq!(subject(&own(&json!({ "aud": aud }))).await, None, "{aud}");
    }
}

#[tokio::test]
async fn an_oversized_token_is_not_looked_at() {
    let padded = own(&json!({ "padding": "x".repeat(8 << 10) }));
    assert_eq!(subject(&padded).await, None);
}

#[tokio::test]
async fn an_account_without_keys_believes_nobody() {
    let none = TokenVerifier::new(
        &"12345678".parse().unwrap(),
        &BadgeTokens::default(),
        &crate::liveperson::http_client(),
    );
    for token in [
        signed(&json!({})),
        hs256(&[], HS256, &own_token(&json!({}))),
    ] {
        assert_eq!(none.verify(&token, now()).await, Err(InvalidToken));
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

static TOKENS: std::sync::LazyLock<TokenVerifier> = std::sync::LazyLock::new(tokens);

/// No key has to be fetched, so nothing waits.
fn verify(token: &str) -> Result<Verified, InvalidToken> {
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
        let mut header = json!({ "alg": "HS256" });
        if head != "alg" {
            header[head] = word;
        }
        let token = hs256(SECRET.as_bytes(), &header.to_string(), &own_token(&json!({ claim: value })));
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
