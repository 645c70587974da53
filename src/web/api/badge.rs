//! `/accounts/{account}/badge`: how the badge for websites is set up, and what it says of a consumer.

use axum::extract::State as Shared;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Json, Path};
use crate::control::accounts::Accounts;
use crate::domain::access::Permission;
use crate::domain::ids::AccountId;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::badge;
use crate::web::problem::{ApiError, Problem};

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(read_badge));
    table.api_question(Permission::Operate, routes!(look_at_badge));
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct BadgeQuery {
    /// The account's id.
    #[param(value_type = String, pattern = "^[A-Za-z0-9_-]{1,32}$", example = "12345678")]
    account: AccountId,
}

/// How the badge is set up. No key and no secret is in it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Badge)]
struct BadgeSetupView {
    /// Pages of these origins may show it.
    origins: Vec<String>,
    /// Without a token only LivePerson's own consumer ids are answered.
    customer_ids_need_token: bool,
    /// Which tokens are believed; none: no page can use one.
    tokens: Vec<TokenKind>,
    /// The script that follows new versions.
    script: String,
    /// The script's present version, under an address that never changes, with its hash.
    pinned_script: String,
    #[schema(example = "sha384-…")]
    integrity: String,
}

/// A kind of token.
#[derive(Debug, Serialize, ToSchema)]
struct TokenKind {
    /// `secret` (HS256, signed by the brand's backend), `public_key` or `jwks` (RS256, the brand's login).
    kind: &'static str,
    issuer: Option<String>,
    audiences: Vec<String>,
}

/// Read how the badge is set up
#[utoipa::path(get, path = "/accounts/{account}/badge", tag = "badge", params(BadgeQuery), responses((status = 200, body = BadgeSetupView)))]
async fn read_badge(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Path(of): Path<BadgeQuery>,
) -> Result<axum::Json<BadgeSetupView>, ApiError> {
    let setup = badge::setup_check::setup(&state, &accounts.named(of.account.as_str())?)?;
    let base = state.public_url.as_str().trim_end_matches('/');
    let tokens = setup.tokens.into_iter().map(|kind| TokenKind {
        kind: kind.name,
        issuer: kind.issuer,
        audiences: kind.audiences,
    });
    Ok(axum::Json(BadgeSetupView {
        origins: setup.origins,
        customer_ids_need_token: setup.customer_ids_need_token,
        tokens: tokens.collect(),
        script: format!("{base}/badge/v1.js"),
        pinned_script: format!("{base}{}", badge::pinned_path()),
        integrity: badge::integrity(),
    }))
}

/// Whose badge.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Whose)]
struct BadgeConsumerQuery {
    /// LivePerson's consumer id, or the brand's own customer id.
    #[schema(min_length = 1, max_length = 256)]
    consumer: String,
}

/// What the badge says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Look)]
struct BadgeCheckView {
    unread: bool,
    count: u32,
    since: Option<DateTime<Utc>>,
    /// LivePerson could not be asked: this is the last that was known.
    stale: bool,
    /// memory, database, liveperson or stale.
    source: &'static str,
    /// The answer for a page that knows the id and has no token.
    unread_without_token: bool,
}

/// Tell what the badge says of a consumer now
#[utoipa::path(post, path = "/accounts/{account}/badge/look-up", tag = "badge", params(BadgeQuery), request_body = BadgeConsumerQuery,
    responses((status = 200, body = BadgeCheckView),
    (status = 404, description = "There is no such account", body = Problem, content_type = "application/problem+json")))]
async fn look_at_badge(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Path(of): Path<BadgeQuery>,
    Json(whose): Json<BadgeConsumerQuery>,
) -> Result<axum::Json<BadgeCheckView>, ApiError> {
    let account = accounts.named(of.account.as_str())?;
    let look = badge::setup_check::check_setup(&state, &account, &whose.consumer).await?;
    let told = look.with_token;
    Ok(axum::Json(BadgeCheckView {
        unread: told.answer.unread,
        count: told.answer.count,
        since: told.answer.since,
        stale: told.answer.stale,
        source: told.source.as_str(),
        unread_without_token: look.without,
    }))
}
