//! The badge for websites as a page: what to put on the brand's pages, who may show it, and a try-out with the real script.

use axum::Form;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{PageError, PageFrame, account_of, brands, faults_of, labels};
use crate::control::accounts::Allowed;
use crate::control::{ControlError, Fault};
use crate::domain::access::Permission;
use crate::domain::ids::AccountId;
use crate::metrics::BadgeSource;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::badge::setup_check::{self, BadgeSetup, SetupCheck, TrustedTokenKind};
use crate::web::badge::{integrity, pinned_path};

const PATH: &str = "/website";

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, PATH, show);
    table.form(Permission::Operate, PATH, try_out);
}

#[derive(Deserialize)]
struct WebsiteQuery {
    #[serde(default)]
    account: String,
}

/// What a person tries.
#[derive(Default, Deserialize)]
struct SetupTrial {
    #[serde(default)]
    account: String,
    /// Whose badge, or …
    #[serde(default)]
    consumer: String,
    /// … a token of the brand's, which says whose.
    #[serde(default)]
    token: String,
}

/// What the page shows beside the set-up.
#[derive(Default)]
struct WebsiteView {
    status: StatusCode,
    tried: SetupTrial,
    found: Option<Value>,
    faults: Vec<Fault>,
}

async fn show(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Query(of): Query<WebsiteQuery>,
) -> Result<Response, PageError> {
    let Some(first) = page.accounts.ids().first() else {
        return Ok(page.render("website.hbs", "Website", json!({ "badge": null })));
    };
    let account = page.accounts.named(&of.account);
    let account = account.or_else(|_| page.accounts.named(first.as_str()))?;
    render(&page, &state, &account, &WebsiteView::default())
}

fn render(
    page: &PageFrame,
    state: &AppState,
    account: &Allowed<AccountId>,
    shown: &WebsiteView,
) -> Result<Response, PageError> {
    let setup = setup_check::setup(state, account)?;
    let base = state.public_url.as_str().trim_end_matches('/');
    // Of the whole installation: not for who is limited to a part of it.
    let counts = (!page.accounts.is_limited()).then(|| state.metrics.badges());
    let all: u64 = counts.iter().flatten().map(|(_, n)| n).sum();
    let values = json!({
        "badge": {
            "account": **account,
            "brand": state.brand_of(account),
            "base": base,
            "pinned": pinned_path(),
            "integrity": integrity(),
            "origins": setup.origins,
            "origin_example": origin(base),
            "tokens": setup.tokens.iter().map(kind).collect::<Vec<_>>(),
            "signs": has(&setup, "secret"),
            "login": has(&setup, "jwks") || has(&setup, "public_key"),
            "customer_ids_need_token": setup.customer_ids_need_token,
        },
        "accounts": brands(state, &page.accounts, account.as_str()),
        "may_try": page.caller.may(Permission::Operate),
        "consumer": shown.tried.consumer.trim(),
        "found": shown.found,
        "faults": faults_of(&shown.faults),
        "answers": counts.iter().flatten().map(|(source, n)| json!({ "source": said(*source), "n": n })).collect::<Vec<_>>(),
        "answered": all,
        "counted": counts.is_some(),
    });
    Ok(page.render_as(shown.status, "website.hbs", "Website", values))
}

fn has(setup: &BadgeSetup, name: &str) -> bool {
    setup.tokens.iter().any(|kind| kind.name == name)
}

/// Scheme, host and port, as a Content Security Policy names them.
fn origin(base: &str) -> String {
    url::Url::parse(base).map_or_else(
        |_| base.to_owned(),
        |url| url.origin().ascii_serialization(),
    )
}

fn kind(kind: &TrustedTokenKind) -> Value {
    let (title, about) = match kind.name {
        "secret" => (
            "Your backend (HS256)",
            "Your backend signs a token for each customer with a shared secret.",
        ),
        "jwks" => (
            "Your login (RS256, key set)",
            "The id_token of your login is accepted; its keys are fetched from the address where it publishes them.",
        ),
        _ => (
            "Your login (RS256, public key)",
            "The id_token of your login is accepted; its public key is in the settings.",
        ),
    };
    json!({
        "title": title,
        "about": about,
        "issuer": kind.issuer,
        "audiences": kind.audiences.join(", "),
    })
}

fn said(source: BadgeSource) -> &'static str {
    match source {
        BadgeSource::Memory => "From memory",
        BadgeSource::Database => "From the database",
        BadgeSource::LivePerson => "From LivePerson",
        BadgeSource::Stale => {
            "Last known answer, because LivePerson or the database did not respond"
        }
        BadgeSource::None => "Not a valid id",
    }
}

async fn try_out(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(tried): Form<SetupTrial>,
) -> Result<Response, PageError> {
    let account = account_of(&page.accounts, &tried.account)?;
    let mut shown = WebsiteView::default();
    match found(&state, &account, &tried).await {
        Ok(found) => shown.found = Some(found),
        Err(ControlError::Invalid(faults)) => {
            shown.status = StatusCode::UNPROCESSABLE_ENTITY;
            shown.faults = faults;
        }
        Err(other) => return Err(other.into()),
    }
    shown.tried = tried;
    render(&page, &state, &account, &shown)
}

async fn found(
    state: &AppState,
    account: &Allowed<AccountId>,
    tried: &SetupTrial,
) -> Result<Value, ControlError> {
    let now = state.clock.now();
    let (consumer, token, expires) = if tried.token.trim().is_empty() {
        let consumer = tried.consumer.trim().to_owned();
        let token = setup_check::sign(state, account, &consumer)?;
        (consumer, token, None)
    } else {
        let token = tried.token.trim();
        let whose = setup_check::whose(state, account, token).await?;
        let whose = whose.ok_or_else(|| {
            ControlError::Invalid(vec![Fault {
                field: "/token".to_owned(),
                detail: "is not accepted: it is damaged, signed with another key, expired, or meant for another account, issuer or \
                         audience"
                    .to_owned(),
            }])
        })?;
        (whose.subject, Some(token.to_owned()), Some(whose.expires))
    };
    let look = setup_check::check_setup(state, account, &consumer).await?;
    Ok(told(&consumer, token.as_deref(), expires, &look, now))
}

fn told(
    consumer: &str,
    token: Option<&str>,
    expires: Option<DateTime<Utc>>,
    look: &SetupCheck,
    now: DateTime<Utc>,
) -> Value {
    let answer = look.with_token.answer;
    json!({
        "consumer": consumer,
        "token": token,
        "expires": expires.map(|at| labels::time(at, now)),
        "unread": answer.unread,
        "count": answer.count,
        "one": answer.count == 1,
        "since": answer.since.map(|at| labels::time(at, now)),
        "stale": answer.stale,
        "source": said(look.with_token.source),
        "without": look.without,
    })
}
