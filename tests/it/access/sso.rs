//! Single sign-on against a small issuer over a socket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use unread::control::users;
use unread::domain::access::Role;
use url::Url;

use crate::harness::{Setup, Stage, run_test_with};
use crate::person::Answer;

const KEY: &str = include_str!("../../fixtures/badge/issuer.key.pem");

/// What the issuer says, and what it was asked.
struct Issuer {
    url: String,
    key: RsaKeyPair,
    claims: Mutex<Value>,
    redeemed: Mutex<Vec<HashMap<String, String>>>,
}

impl Issuer {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base64: String = KEY.lines().filter(|line| !line.starts_with('-')).collect();
        let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(base64).unwrap()).unwrap();
        let issuer = Arc::new(Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            key,
            claims: Mutex::new(json!({})),
            redeemed: Mutex::default(),
        });
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        issuer
    }

    fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!(
            "{}.{}",
            part(&json!({ "alg": "RS256", "kid": "k" })),
            part(claims)
        );
        let mut signature = vec![0; self.key.public().modulus_len()];
        let random = ring::rand::SystemRandom::new();
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &random,
                signed.as_bytes(),
                &mut signature,
            )
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn discovery(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let url = &issuer.url;
    Json(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"),
    }))
}

async fn keys(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let RsaPublicKeyComponents { n, e } =
        RsaPublicKeyComponents::<Vec<u8>>::from(issuer.key.public());
    let encode = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
    let key = json!({ "kty": "RSA", "kid": "k", "use": "sig", "alg": "RS256", "n": encode(n), "e": encode(e) });
    Json(json!({ "keys": [key] }))
}

async fn token(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    let login = STANDARD.encode("unread:a%26secret");
    let authorised = headers["authorization"] == format!("Basic {login}");
    if !authorised || form["code"] != "good" {
        return StatusCode::BAD_REQUEST.into_response();
    }
    issuer.redeemed.lock().unwrap().push(form);
    let claims = issuer.claims.lock().unwrap().clone();
    Json(json!({ "id_token": issuer.sign(&claims), "token_type": "Bearer" })).into_response()
}

/// A browser that has been sent to the issuer.
struct Sent {
    cookie: String,
    state: String,
    nonce: String,
    challenge: String,
}

async fn begin(t: &Stage, issuer: &Issuer) -> Sent {
    let answer = t
        .http
        .get(format!("{}/login/sso?to=/audit", t.web))
        .send()
        .await;
    let answer = Answer::of(answer.unwrap()).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let url = Url::parse(answer.location()).unwrap();
    assert!(
        url.as_str()
            .starts_with(&format!("{}/authorize?", issuer.url)),
        "{url}"
    );
    let asked: HashMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["client_id"], "unread");
    assert_eq!(asked["code_challenge_method"], "S256");
    assert_eq!(
        asked["redirect_uri"],
        format!("{}/login/sso/callback", t.web)
    );
    let set = answer.headers["set-cookie"].to_str().unwrap();
    assert!(
        set.contains("HttpOnly") && set.contains("Max-Age=600"),
        "{set}"
    );
    Sent {
        cookie: set.split(';').next().unwrap().to_owned(),
        state: asked["state"].clone(),
        nonce: asked["nonce"].clone(),
        challenge: asked["code_challenge"].clone(),
    }
}

async fn come_back(t: &Stage, sent: &Sent, code: &str) -> Answer {
    let url = format!(
        "{}/login/sso/callback?code={code}&state={}",
        t.web, sent.state
    );
    let asked = t.http.get(url).header("cookie", &sent.cookie).send().await;
    Answer::of(asked.unwrap()).await
}

fn claims(t: &Stage, issuer: &Issuer, sent: &Sent) -> Value {
    json!({
        "iss": issuer.url, "aud": "unread", "sub": "42", "nonce": sent.nonce,
        "exp": t.now().timestamp() + 300, "iat": t.now().timestamp(),
        "email": "Ann@example.net", "email_verified": true,
    })
}

/// Goes the whole way with claims that were changed.
async fn log_in(t: &Stage, issuer: &Issuer, change: impl FnOnce(&mut Value)) -> Answer {
    let sent = begin(t, issuer).await;
    let mut told = claims(t, issuer, &sent);
    change(&mut told);
    *issuer.claims.lock().unwrap() = told;
    come_back(t, &sent, "good").await
}

async fn with_issuer(role: &'static str, test: impl AsyncFnOnce(&Stage, &Issuer)) {
    let issuer = Issuer::start().await;
    let url: &'static str = issuer.url.clone().leak();
    let setup = Setup {
        settings: vec![
            ("UNREAD_OIDC_ISSUER", url),
            ("UNREAD_OIDC_CLIENT_ID", "unread"),
            ("UNREAD_OIDC_CLIENT_SECRET", "a&secret"),
            ("UNREAD_OIDC_ROLE", role),
        ],
        ..Setup::default()
    };
    run_test_with(setup, async |t| test(t, &issuer).await).await;
}

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
            (303, "/audit"),
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
