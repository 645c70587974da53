//! Single sign-on against a small issuer over a socket: who comes in by it, and who never does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use unread::control::users;
use unread::domain::access::Role;

use super::issuer::{Sent, begin, claims, come_back, log_in, with_issuer};

#[tokio::test]
async fn somebody_who_was_added_comes_in_by_single_sign_on_and_stays_the_same_person() {
    with_issuer("", async |t, issuer| {
        let refused = log_in(t, issuer, |_| ()).await;
        assert_eq!(refused.status, 403, "nobody has added her: {refused:?}");
        users::add(t.pool(), "ann@example.net", Role::Editor, "test", t.now())
            .await
            .unwrap();
        let page = t.get("/login").await.1;
        assert!(page.contains("single sign-on"), "{page}");

        let sent = begin(t, issuer).await;
        *issuer.claims.lock().unwrap() = claims(t, issuer, &sent);
        let came = come_back(t, &sent, "good").await;
        assert_eq!(
            (came.status.as_u16(), came.location()),
            (303, "/activity"),
            "{came:?}"
        );
        let verifier = issuer.redeemed.lock().unwrap().last().unwrap()["code_verifier"].clone();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier)),
            sent.challenge
        );
        let again = come_back(t, &sent, "good").await;
        assert_eq!(again.status, 403, "an answer works once");

        // Known by subject from now on, whatever the address.
        let renamed = log_in(t, issuer, |claims| {
            claims["email"] = json!("ann@other.example");
        })
        .await;
        assert_eq!(renamed.status, 303);
        // Somebody else who was given her address is not her.
        let other = log_in(t, issuer, |claims| claims["sub"] = json!("43")).await;
        assert_eq!(other.status, 403);
    })
    .await;
}

#[tokio::test]
async fn with_a_role_for_newcomers_they_are_added_with_it() {
    with_issuer("viewer", async |t, issuer| {
        assert_eq!(log_in(t, issuer, |_| ()).await.status, 303);
        let users = users::list(t.pool()).await.unwrap();
        assert_eq!((users.len(), users[0].role), (1, Role::Viewer));
        assert_eq!(users[0].name, "ann@example.net");
    })
    .await;
}

#[tokio::test]
async fn a_login_that_was_not_begun_here_and_a_token_that_does_not_fit_let_nobody_in() {
    with_issuer("administrator", async |t, issuer| {
        let began = begin(t, issuer).await;
        *issuer.claims.lock().unwrap() = claims(t, issuer, &began);
        let foreign = Sent {
            cookie: "unread-sso=other".to_owned(),
            ..begin(t, issuer).await
        };
        assert_eq!(
            come_back(t, &foreign, "good").await.status,
            403,
            "another browser"
        );
        assert_eq!(
            come_back(t, &began, "bad").await.status,
            403,
            "a code that was not given out"
        );
        let changes: [(&str, &str, Value); 7] = [
            ("another client", "aud", json!("other")),
            (
                "several without us as party",
                "aud",
                json!(["unread", "other"]),
            ),
            ("another issuer", "iss", json!("https://evil.example")),
            ("another login", "nonce", json!("x")),
            ("no login", "nonce", Value::Null),
            ("long over", "exp", json!(t.now().timestamp() - 300)),
            ("not verified", "email_verified", json!(false)),
        ];
        for (why, claim, value) in changes {
            let answer = log_in(t, issuer, |claims| claims[claim] = value).await;
            assert_eq!(answer.status, 403, "{why}: {answer:?}");
            assert!(!answer.headers.contains_key("set-cookie"), "{why}");
        }
        assert_eq!(users::list(t.pool()).await.unwrap().len(), 0);
    })
    .await;
}
