//! A small issuer over a socket, and a browser that goes there and comes back.

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
use tokio::net::TcpListener;
use url::Url;

use crate::harness::{Setup, TestApp, run_test_with};
use crate::person::Answer;

const KEY: &str = include_str!("../../fixtures/badge/issuer.key.pem");

/// What the issuer says, and what it was asked.
pub struct Issuer {
    pub url: String,
    key: RsaKeyPair,
    pub claims: Mutex<Value>,
    pub redeemed: Mutex<Vec<HashMap<String, String>>>,
}

impl Issuer {
    pub async fn start() -> Arc<Self> {
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
pub struct Sent {
    pub cookie: String,
    pub state: String,
    pub nonce: String,
    pub challenge: String,
}

pub async fn begin(t: &TestApp, issuer: &Issuer) -> Sent {
    begin_at(t, issuer, "/login/sso?to=/activity").await
}

/// Begins on another page than that of the login.
pub async fn begin_at(t: &TestApp, issuer: &Issuer, path: &str) -> Sent {
    let asked = t.http.get(format!("{}{path}", t.web));
    let answer = asked.header("sec-fetch-site", "same-origin").send().await;
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

pub async fn come_back(t: &TestApp, sent: &Sent, code: &str) -> Answer {
    let url = format!(
        "{}/login/sso/callback?code={code}&state={}",
        t.web, sent.state
    );
    let asked = t.http.get(url).header("cookie", &sent.cookie).send().await;
    Answer::of(asked.unwrap()).await
}

pub fn claims(t: &TestApp, issuer: &Issuer, sent: &Sent) -> Value {
    json!({
        "iss": issuer.url, "aud": "unread", "sub": "42", "nonce": sent.nonce,
        "exp": t.now().timestamp() + 300, "iat": t.now().timestamp(),
        "email": "Ann@example.net", "email_verified": true,
    })
}

/// Goes the whole way with claims that were changed.
pub async fn log_in(t: &TestApp, issuer: &Issuer, change: impl FnOnce(&mut Value)) -> Answer {
    log_in_at(t, issuer, "/login/sso?to=/activity", change).await
}

/// As [`log_in`], from another page.
pub async fn log_in_at(
    t: &TestApp,
    issuer: &Issuer,
    path: &str,
    change: impl FnOnce(&mut Value),
) -> Answer {
    let sent = begin_at(t, issuer, path).await;
    let mut told = claims(t, issuer, &sent);
    change(&mut told);
    *issuer.claims.lock().unwrap() = told;
    come_back(t, &sent, "good").await
}

/// A stage with an issuer, and a role for whom nobody has added.
pub async fn with_issuer(role: &'static str, test: impl AsyncFnOnce(&TestApp, &Issuer)) {
    with_settings(&[("UNREAD_OIDC_ROLE", role)], test).await;
}

pub async fn with_settings(
    more: &[(&'static str, &'static str)],
    test: impl AsyncFnOnce(&TestApp, &Issuer),
) {
    let issuer = Issuer::start().await;
    let url: &'static str = issuer.url.clone().leak();
    let mut settings = vec![
        ("UNREAD_OIDC_ISSUER", url),
        ("UNREAD_OIDC_CLIENT_ID", "unread"),
        ("UNREAD_OIDC_CLIENT_SECRET", "a&secret"),
        ("UNREAD_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    settings.extend(more);
    let setup = Setup {
        settings,
        ..Setup::default()
    };
    run_test_with(setup, async |t| test(t, &issuer).await).await;
}
