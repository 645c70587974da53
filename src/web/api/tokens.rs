//! `/tokens`: the tokens of programs; `/me`: whose this one is.

use axum::Extension;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Json, Path};
use super::paging::Page;
use crate::control;
use crate::control::accounts::Accounts;
use crate::control::tokens::{Maker, TokenRequest, TokenView};
use crate::domain::access::{AccountLimit, Permission};
use crate::domain::ids::AccountId;
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable, Unrepeatable};
use crate::web::problem::ApiError;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(show_me));
    table.api(Permission::Administer, routes!(list_tokens));
    table.api_of_people(Permission::Administer, routes!(add_token));
    table.api(Permission::Administer, routes!(remove_token));
}

/// Who calls.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    /// A person's name, or `token …`: as the audit trail names the caller.
    name: String,
    scopes: Vec<Permission>,
    /// The accounts that the caller is limited to. Null: no limit.
    #[schema(value_type = Option<Vec<AccountId>>)]
    accounts: AccountLimit,
}

/// Show who calls, and what the caller may do
#[utoipa::path(get, path = "/me", tag = "tokens", responses((status = 200, body = Me)))]
async fn show_me(caller: Caller) -> axum::Json<Me> {
    axum::Json(Me {
        name: caller.by().to_owned(),
        scopes: caller.permissions(),
        accounts: caller.limit().clone(),
    })
}

/// List the tokens
#[utoipa::path(get, path = "/tokens", tag = "tokens", responses((status = 200, body = Page<TokenView>)))]
async fn list_tokens(
    Shared(state): Shared<AppState>,
) -> Result<axum::Json<Page<TokenView>>, ApiError> {
    let tokens = control::tokens::list(&state.pool).await?;
    Ok(axum::Json(Page::whole(tokens)))
}

/// What a new token is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewToken {
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = "^[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,99}$"
    )]
    name: String,
    /// Not more than the caller may do.
    #[schema(min_items = 1)]
    scopes: Vec<Permission>,
    /// The accounts that it is for. Left out or null: all that you may see. Not with the scope `administer`.
    #[schema(example = json!(["12345678"]))]
    accounts: Option<Vec<String>>,
    /// Days until it expires.
    #[schema(minimum = 1, maximum = 365, default = 90)]
    days: Option<u32>,
}

/// A token that was just made.
#[derive(Debug, Serialize, ToSchema)]
struct MadeToken {
    id: i64,
    /// The token itself. It is returned only this once and stored nowhere.
    #[schema(example = "unread_…")]
    token: String,
    expires_at: DateTime<Utc>,
}

/// Make a token
///
/// It is yours: it may do no more than you may, at any time, and goes when you are removed. Takes a session: no token makes tokens.
#[utoipa::path(post, path = "/tokens", tag = "tokens", request_body = NewToken, responses((status = 201, body = MadeToken)))]
async fn add_token(
    maker: Maker,
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Json(new): Json<NewToken>,
) -> Result<Response, ApiError> {
    let wish = TokenRequest {
        name: new.name,
        scopes: new.scopes,
        accounts: new.accounts,
        days: new.days,
    };
    let now = state.clock.now();
    let made = control::tokens::add(&state.pool, &accounts, &wish, &maker, now).await?;
    let made = MadeToken {
        id: made.id,
        token: made.token.expose().to_owned(),
        expires_at: made.expires_at,
    };
    Ok((
        StatusCode::CREATED,
        Extension(Unrepeatable),
        axum::Json(made),
    )
        .into_response())
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct TokenPath {
    /// The token's id.
    id: i64,
}

/// Remove a token
///
/// It stops working at once.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "tokens", params(TokenPath), responses((status = 204, description = "It is removed")))]
async fn remove_token(
    caller: Caller,
    Shared(state): Shared<AppState>,
    Path(which): Path<TokenPath>,
) -> Result<StatusCode, ApiError> {
    let now = state.clock.now();
    control::tokens::remove(&state.pool, which.id, caller.by(), now).await?;
    Ok(StatusCode::NO_CONTENT)
}
