//! A brand's website: a shop with a chat button that wears the badge, and buttons that play the agent and the visitor.
//!
//! It is put together as a brand would do it: the page loads the badge's script from the service, and the shop's backend signs the
//! visitor's token. Its one visitor is whoever looks at the page.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::world::{CUSTOMER_CARE, World};

/// What the shop's backend and the service share. It protects nothing.
pub const SECRET: &str = "a-secret-of-the-example-shop-and-its-badge";

const VISITOR: &str = "EXAMPLE-SHOP-CUSTOMER-1";

#[derive(Clone)]
struct Shop {
    world: World,
    account: String,
    /// Where the service is, as browsers reach it: `http://localhost:3000`.
    service: String,
    conversation: Arc<Mutex<Option<String>>>,
}

/// The page under `/shop`, for the listener of the mailbox.
pub fn router(world: World, account: &str, service: &str) -> Router {
    Router::new()
        .route("/shop", get(page))
        .route("/shop/shop.js", get(script))
        .route("/shop/shop.css", get(style))
        .route("/shop/token", get(token))
        .route("/shop/answer", post(answer))
        .route("/shop/read", post(read))
        .with_state(Shop {
            world,
            account: account.to_owned(),
            service: service.trim_end_matches('/').to_owned(),
            conversation: Arc::default(),
        })
}

/// The policy is the strictest that the badge works under.
async fn page(State(shop): State<Shop>) -> Response {
    let Shop {
        account, service, ..
    } = &shop;
    let page = include_str!("../templates/shop.html")
        .replace("{account}", account)
        .replace("{service}", service);
    let policy = format!(
        "default-src 'none'; script-src 'self' {service}; connect-src 'self' {service}; style-src 'self'; img-src data:; \
         form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, page).into_response()
}

async fn script() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (kind, include_str!("../templates/shop.js"))
}

async fn style() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, include_str!("../templates/shop.css"))
}

/// What a brand's backend does for a visitor who is logged in.
async fn token(State(shop): State<Shop>) -> impl IntoResponse {
    let expires = shop.world.clock().now_ms() / 1000 + 600;
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({ "alg": "HS256", "typ": "JWT" }));
    let claims = part(json!({ "aud": shop.account, "sub": VISITOR, "exp": expires }));
    let signed = format!("{header}.{claims}");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())
        .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
    mac.update(signed.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    let never = [(header::CACHE_CONTROL, "no-store")];
    (never, format!("{signed}.{signature}"))
}

/// The visitor has asked something and gone; an agent answers.
async fn answer(State(shop): State<Shop>) -> StatusCode {
    let mut conversation = shop
        .conversation
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let id = conversation.get_or_insert_with(|| {
        let opened = shop
            .world
            .conversation(&shop.account, CUSTOMER_CARE)
            .consumer("Robin", "Example")
            .customer_id(VISITOR)
            .email("robin@visitor.example")
            .start();
        shop.world
            .consumer_says(&opened, "Is the blue one in stock?");
        opened
    });
    shop.world
        .agent_says(id, "It is! Shall I put one aside for you?");
    StatusCode::NO_CONTENT
}

async fn read(State(shop): State<Shop>) -> StatusCode {
    let conversation = shop
        .conversation
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(id) = conversation.as_deref() {
        shop.world.consumer_reads(id);
    }
    StatusCode::NO_CONTENT
}
