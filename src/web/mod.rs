//! What the outside asks of us over HTTP: badge, dashboard, links in reminders, webhooks of providers, health, metrics.
//!
//! It reads and writes rows; it never sends and never decides what is owed.

pub mod access;
pub mod api;
pub mod badge;
mod bodies;
mod client;
mod compressed;
pub mod connections;
pub mod dashboard;
mod error;
mod fast_path;
mod health;
pub mod hints;
mod hosts;
mod jwt;
mod limiter;
mod links;
mod mail;
mod metrics;
mod page_error;
mod problem;
mod recent;
mod reports;
mod retry;
mod templates;
mod trace;
mod twilio;
mod visitor;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, OriginalUri, Request, State as Shared};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use url::Url;

use crate::channel;
use crate::channel::mail_reports::MailReports;
use crate::channel::twilio::webhook::Verifier;
use crate::clock::Clock;
use crate::config::Config;
use crate::control;
use crate::domain::ids::{AccountId, Provider};
use crate::hashing::Hasher;
use crate::jobs::context::{Account, Context};
use crate::metrics::Metrics;
use crate::secret::Secret;

use self::access::{Route, RouteTable};
use self::bodies::Bodies;

pub use fast_path::FastPath;
pub use hosts::HostFilter;
pub use links::LinkLimits as Links;
pub use metrics::{Starting, router as metrics_router};

/// Answers whether the queue can be worked on.
pub type HealthProbe = Arc<dyn Fn() -> bool + Send + Sync>;

/// What every handler has at hand.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

pub struct Inner {
    pub pool: PgPool,
    pub clock: Clock,
    pub hasher: Hasher,
    pub metrics: Metrics,
    pub badge: badge::Badge,
    /// Whose pages the badge answers, per account: a few, so that a look-up is a few comparisons.
    pub sites: BTreeMap<AccountId, badge::Site>,
    /// Those whose webhooks are believed; none: SMS is not configured, and they are refused.
    pub twilio_accounts: Vec<TwilioAccount>,
    /// Any of which may sign reports of mail providers; empty: they are refused.
    pub mail_webhook_secrets: Vec<Secret>,
    /// What reports in mail providers' own shapes are verified with.
    pub mail_reports: MailReports,
    /// Who may hint at conversations.
    pub hints: hints::Hints,
    /// What is done with a consumer's no.
    pub opt_outs: control::opt_outs::Policy,
    /// What deliveries work with: for test messages, looks at LivePerson, and whatever else is done as a delivery does it.
    pub context: Arc<Context>,
    /// Whether this process's queue workers are able to work, if it has any.
    pub queue_healthy: Option<HealthProbe>,
    /// Whether dashboard and config API are served here.
    pub serves_dashboard: bool,
    /// The settings, for what tries anew whether they work.
    pub config: Arc<Config>,
    pub examine: control::live::Examine,
    /// What was found when it was last tried.
    pub looks: control::live::LiveCheckCache,
    /// Who may use them.
    pub access: access::Access,
    /// How often links of reminders are looked up.
    pub links: Links,
    /// Lists of opt-outs come in one at a time.
    pub imports: control::suppressions::Imports,
    /// This service as the outside world calls it; the path ends in `/`.
    pub public_url: Url,
    /// The dashboard as its people call it; the path ends in `/`.
    pub dashboard_url: Url,
    /// Links of the demonstration, shown on the dashboard.
    pub demo: Option<Demo>,
}

/// A Twilio account whose webhooks are believed, for those who send with it.
pub struct TwilioAccount {
    pub verifier: Verifier,
    pub accounts: Vec<AccountId>,
}

/// Where a demonstration's extras are.
#[derive(Clone, Debug)]
pub struct Demo {
    pub mailbox_url: String,
    /// What happened before was invented, and pages say so.
    pub example_until: Option<DateTime<Utc>>,
    /// Name and password of its administrator, which everybody may know.
    pub login: (String, String),
}

impl std::ops::Deref for AppState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl AppState {
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// An account of the configuration.
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.context.accounts.get(id)
    }

    /// The accounts of the configuration.
    pub fn account_ids(&self) -> Vec<AccountId> {
        let mut ids: Vec<AccountId> = self.context.accounts.keys().cloned().collect();
        ids.sort();
        ids
    }

    /// What going live works with.
    pub fn installation(&self) -> control::live::Installation<'_> {
        control::live::Installation {
            config: &self.config,
            ctx: &self.context,
            examine: self.examine,
            looks: &self.looks,
        }
    }

    /// The country of an account's phone numbers without a country code.
    pub fn region_of(&self, account: &AccountId) -> Option<String> {
        let account = self.account(account)?;
        account.contact_policy.default_region.clone()
    }

    /// Whether links in an account's reminders have a page of the brand to lead to.
    pub fn has_page(&self, id: &AccountId) -> bool {
        let account = self.account(id);
        account.is_some_and(|account| account.page_url.is_some())
    }

    /// Where a link without a conversation leads: the brand's page, else ours.
    pub fn link_home(&self, id: &AccountId) -> String {
        let account = self.account(id);
        let page = account.and_then(|account| account.page_url.as_ref());
        page.unwrap_or(&self.public_url).to_string()
    }

    /// Words that whoever guesses a password here begins with.
    pub fn own_words(&self) -> Vec<String> {
        let brands = self.context.accounts.values().map(|account| &account.brand);
        brands.cloned().collect()
    }

    /// From when on reminders that ended are kept.
    pub fn reminders_since(&self) -> DateTime<Utc> {
        let days = i64::from(self.config.retention.reminders_days);
        self.clock.now() - TimeDelta::days(days)
    }

    /// The name of an account's brand, or the account's id.
    pub fn brand_of(&self, id: &AccountId) -> String {
        let account = self.account(id);
        account.map_or_else(|| id.to_string(), |account| account.brand.clone())
    }
}

/// What strangers send, and who may only look: forms of a few fields, reports of providers.
const MAX_STRANGERS_BODY: usize = 256 * 1024;

/// What people and programs that are let in may send.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// A body from which on it is not searched or hashed on a thread that serves others.
const LONG_BODY: usize = 256 * 1024;

/// A list of opt-outs: 300,000 phone numbers are 4 MB, and 6 MB as a form encodes them.
const MAX_LIST: usize = 16 * 1024 * 1024;

/// Every route of the dashboard and the config API with what it needs, and their handlers.
pub fn guarded(state: &AppState) -> (Router<AppState>, Vec<Route>) {
    let mut table = RouteTable::new(state.clone());
    dashboard::add(&mut table);
    api::add(&mut table);
    let document = api::document::whole(&mut table);
    dashboard::add_reference(&mut table, &document, &state.dashboard_url);
    api::add_document(&mut table, &document);
    table.finish()
}

/// Everything but the metrics, which have a listener of their own.
fn router(state: AppState) -> Router {
    let mut router = Router::new();
    let mut rows = Vec::new();
    if state.serves_dashboard {
        let (guarded, needs) = guarded(&state);
        router = router.merge(guarded);
        rows = needs;
    }
    for provider in Provider::ALL {
        if channel::profile(provider).reports {
            let status =
                move |Shared(state): Shared<AppState>, uri: OriginalUri, request: Request| {
                    reports::status(provider, state, uri, request)
                };
            router = router.route(&format!("/{provider}/status"), post(status));
        }
    }
    let bodies = Bodies::new(&rows, state.metrics.clone());
    router
        .route("/assets/{file}", get(templates::assets))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/badge/{file}", get(badge::script))
        .route("/r/{token}", get(links::follow))
        .route(
            "/u/{token}",
            get(links::ask_unsubscribe).post(links::unsubscribe),
        )
        .route("/u/{token}/undo", post(links::undo))
        .route("/twilio/inbound", post(twilio::inbound))
        .route("/v1/hints/{account}", post(hints::hint))
        .route("/mail/events", post(mail::events))
        .route("/mail/events/{provider}", post(mail::reports))
        .fallback(error::nowhere)
        .method_not_allowed_fallback(error::another_method)
        .layer(DefaultBodyLimit::max(MAX_STRANGERS_BODY))
        .layer(from_fn_with_state(bodies, bodies::count))
        .layer(from_fn(compressed::mark))
        .layer(compressed::layer())
        .layer(map_response(harden))
        .layer(from_fn_with_state(state.clone(), trace::observe))
        // Not among the pages: it has headers of its own.
        .merge(badge::routes())
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
            "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; \
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
