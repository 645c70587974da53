//! What the outside asks of us over HTTP: badge, dashboard, links in reminders, webhooks of providers, health, metrics.
//!
//! It reads and writes rows; it never sends and never decides what is owed.

pub mod badge;
mod error;
mod health;
mod links;
mod mail;
mod metrics;
mod observe;
mod overview;
mod pages;
mod twilio;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post};
use sqlx::PgPool;
use url::Url;

use crate::channel::webhook::Verifier;
use crate::clock::Clock;
use crate::domain::ids::AccountId;
use crate::hashing::Hasher;
use crate::liveperson;
use crate::metrics::Metrics;
use crate::secret::Secret;

pub use metrics::router as metrics_router;

/// Answers whether the queue can be worked on.
pub type Health = Arc<dyn Fn() -> bool + Send + Sync>;

/// What every handler has at hand.
#[derive(Clone)]
pub struct State(Arc<Inner>);

pub struct Inner {
    pub pool: PgPool,
    pub clock: Clock,
    pub hasher: Hasher,
    pub metrics: Metrics,
    pub accounts: HashMap<AccountId, Account>,
    pub badge: badge::Badge,
    /// Checks Twilio's webhooks; `None`: SMS is not configured, and they are refused.
    pub verifier: Option<Verifier>,
    /// Any of which may sign reports of mail providers; empty: they are refused.
    pub mail_webhook_secrets: Vec<Secret>,
    /// Whether this process's queue workers are able to work, if it has any.
    pub queue_healthy: Option<Health>,
    /// Links of the demonstration, shown on the dashboard.
    pub demo: Option<Demo>,
}

/// An account, as far as the web must know it.
pub struct Account {
    pub brand: String,
    /// Where a reminder's link leads: the page with the conversation.
    pub page_url: Option<Url>,
    pub count_bots: bool,
    pub client: liveperson::Client,
    pub badge: badge::Site,
}

/// Where a demonstration's extras are.
#[derive(Clone, Debug)]
pub struct Demo {
    pub mailbox_url: String,
}

impl std::ops::Deref for State {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl State {
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

/// Bodies of this service are forms of a few fields.
const MAX_BODY: usize = 256 * 1024;

/// Everything but the metrics, which have a listener of their own.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/", get(overview::show))
        .route("/assets/unread.css", get(pages::stylesheet))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .merge(badge::routes())
        .route("/r/{token}", get(links::follow))
        .route(
            "/u/{token}",
            get(links::ask_unsubscribe).post(links::unsubscribe),
        )
        .route("/twilio/status", post(twilio::status))
        .route("/twilio/inbound", post(twilio::inbound))
        .route("/mail/events", post(mail::events))
        .fallback(error::not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(map_response(harden))
        .layer(from_fn_with_state(state.clone(), observe::observe))
        .with_state(state)
}

/// Headers that every answer carries unless its handler chose otherwise.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "interest-cohort=()",
        ),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}
