//! The tokens of programs, as a page: make, look, remove.

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::labels::{self, Moment};
use super::{BrandChoice, PageError, PageFrame, brands, brands_of, faults_of};
use crate::control::tokens::{self, CreatedToken, Maker, TokenRequest, TokenView};
use crate::control::{ControlError, Fault};
use crate::domain::access::Permission;
use crate::web::AppState;
use crate::web::access::RouteTable;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::Administer, "/tokens", show);
    table.form(Permission::Administer, "/tokens", add_token);
    table.form(Permission::Administer, "/tokens/{id}/remove", remove);
}

/// What the page offers, in plain words.
const SCOPES: [(Permission, &str); 4] = [
    (Permission::View, "See everything except addresses"),
    (
        Permission::Edit,
        "Change rules and texts, publish, send tests",
    ),
    (
        Permission::Operate,
        "Cancel, send again, pause, opt customers in and out, see addresses",
    ),
    (
        Permission::Administer,
        "Team, tokens, settings, erasing customers",
    ),
];

/// How long a token may live; the first is proposed.
const LIVES: [(&str, &str); 4] = [
    ("90", "90 days"),
    ("365", "a year"),
    ("30", "30 days"),
    ("1", "one day"),
];

#[derive(Serialize)]
struct TokensPage<'a> {
    tokens: Vec<ApiTokenRow<'a>>,
    old: bool,
    scopes: [ScopeChoice; SCOPES.len()],
    accounts: Vec<BrandChoice<'a>>,
    lives: [Life; LIVES.len()],
    faults: Value,
    name: &'a str,
    made: Option<&'a str>,
}

#[derive(Serialize)]
struct ScopeChoice {
    name: Permission,
    about: &'static str,
    wished: bool,
}

#[derive(Serialize)]
struct Life {
    days: &'static str,
    label: &'static str,
}

async fn render(
    page: &PageFrame,
    state: &AppState,
    status: StatusCode,
    faults: &[Fault],
    wish: Option<&TokenRequest>,
    made: Option<&CreatedToken>,
) -> Result<Response, PageError> {
    let now = state.clock.now();
    let tokens = tokens::list(&state.pool).await?;
    let values = TokensPage {
        tokens: tokens
            .iter()
            .map(|token| ApiTokenRow::new(token, state, now))
            .collect(),
        old: tokens
            .iter()
            .any(|token| token.owner.is_none() || token.expires_at.is_none()),
        scopes: SCOPES.map(|(name, about)| ScopeChoice {
            name,
            about,
            wished: wish.is_some_and(|wish| wish.scopes.contains(&name)),
        }),
        accounts: brands(state, &page.accounts, ""),
        lives: LIVES.map(|(days, label)| Life { days, label }),
        faults: faults_of(faults),
        name: wish.map_or("", |wish| &wish.name),
        made: made.map(|made| made.token.expose()),
    };
    Ok(page.render_as(status, "tokens.hbs", "API tokens", values))
}

#[derive(Serialize)]
struct ApiTokenRow<'a> {
    #[serde(flatten)]
    token: &'a TokenView,
    may: Vec<ScopeOf>,
    limited_to: Option<String>,
    used: Option<Moment>,
    expires: Option<Moment>,
    expired: bool,
}

/// A scope that a token was made with, and whether its owner's role has taken it away.
#[derive(Serialize)]
struct ScopeOf {
    name: Permission,
    lost: bool,
}

impl<'a> ApiTokenRow<'a> {
    fn new(token: &'a TokenView, state: &AppState, now: DateTime<Utc>) -> Self {
        let scopes = token.scopes.iter().map(|scope| ScopeOf {
            name: *scope,
            lost: !token.effective_scopes.contains(scope),
        });
        let limit = token.effective_accounts.ids();
        Self {
            token,
            may: scopes.collect(),
            limited_to: limit.map(|ids| brands_of(state, ids)),
            used: token.last_used_at.map(|at| labels::time(at, now)),
            expires: token.expires_at.map(|at| labels::time(at, now)),
            expired: token.expires_at.is_some_and(|at| at <= now),
        }
    }
}

async fn show(page: PageFrame, Shared(state): Shared<AppState>) -> Result<Response, PageError> {
    render(&page, &state, StatusCode::OK, &[], None, None).await
}

/// Boxes that are ticked come as one field each of the same name, which serde's forms do not read.
fn wish_of(body: &[u8]) -> TokenRequest {
    let fields: Vec<_> = url::form_urlencoded::parse(body).into_owned().collect();
    let given = |name: &str| {
        let found = fields.iter().find(|(own, _)| own == name);
        found
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let all = |name: &str| -> Vec<String> {
        let own = fields.iter().filter(|(own, _)| own == name);
        own.map(|(_, value)| value.clone()).collect()
    };
    let scopes = all("scope");
    let ticked = |scope: &Permission| scopes.iter().any(|word| word == scope.as_str());
    TokenRequest {
        name: given("name"),
        scopes: Permission::ALL.into_iter().filter(ticked).collect(),
        accounts: Some(all("account")).filter(|ids| !ids.is_empty()),
        days: match given("days").as_str() {
            "" => None,
            // What is no number is no number of days either.
            word => Some(word.parse().unwrap_or_default()),
        },
    }
}

async fn add_token(
    page: PageFrame,
    maker: Maker,
    Shared(state): Shared<AppState>,
    body: Bytes,
) -> Result<Response, PageError> {
    let (wish, now) = (wish_of(&body), state.clock.now());
    let faults = match tokens::add(&state.pool, &page.accounts, &wish, &maker, now).await {
        Ok(made) => {
            return render(&page, &state, StatusCode::OK, &[], None, Some(&made)).await;
        }
        Err(ControlError::Invalid(faults)) => faults,
        Err(ControlError::Conflict(why)) => vec![Fault {
            field: "/name".to_owned(),
            detail: why,
        }],
        Err(error) => return Err(error.into()),
    };
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    render(&page, &state, status, &faults, Some(&wish), None).await
}

async fn remove(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, PageError> {
    tokens::remove(&state.pool, id, page.caller.by(), state.clock.now()).await?;
    page.done("/tokens", "Removed. The token no longer works.")
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_box_that_is_ticked_is_a_scope() {
        let wish =
            wish_of(b"csrf=x&name=+Nightly+export+&scope=view&scope=operate&scope=other&days=30&account=1&account=2");
        assert_eq!(wish.name, "Nightly export");
        assert_eq!(wish.scopes, [Permission::View, Permission::Operate]);
        assert_eq!(wish.days, Some(30));
        assert_eq!(wish.accounts, Some(vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!(wish_of(b"days=").accounts, None);
        assert_eq!(wish_of(b"days=").days, None);
        assert_eq!(wish_of(b"days=x").days, Some(0));
    }
}
