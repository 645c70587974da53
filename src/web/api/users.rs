//! `/users`: the people who log in to the dashboard.

use axum::Extension;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Json, Path, Query};
use super::paging::Page;
use crate::control::accounts::Accounts;
use crate::control::users::{Link, UserView};
use crate::control::{self, ControlError};
use crate::domain::access::{Permission, Role};
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable, Unrepeatable};
use crate::web::problem::ApiError;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::Administer, routes!(list_users));
    table.api_of_people(Permission::Administer, routes!(add_user));
    table.api_of_people(Permission::Administer, routes!(change_user));
    table.api(Permission::Administer, routes!(remove_user));
    table.api_of_people(Permission::Administer, routes!(new_password_link));
    table.api(Permission::Administer, routes!(log_out_user));
    table.api(Permission::Administer, routes!(disconnect_user));
}

/// A link with which a person chooses a password, once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PasswordLink)]
struct PasswordLinkView {
    /// Returned only this once and stored nowhere: hand it to the person.
    url: String,
    expires_at: DateTime<Utc>,
    /// Whether it was mailed to the person, whose name is an e-mail address then.
    mailed: bool,
}

async fn link_view(
    state: &AppState,
    name: &str,
    link: &Link,
) -> Result<PasswordLinkView, ApiError> {
    let url = control::users::address_of(&state.dashboard_url, link);
    Ok(PasswordLinkView {
        url: url.map_err(ControlError::from)?.into(),
        expires_at: link.expires_at,
        mailed: control::users::mail_link(&state.context, name, link).await?,
    })
}

/// List the people who log in
#[utoipa::path(get, path = "/users", tag = "users", responses((status = 200, body = Page<UserView>)))]
async fn list_users(
    Shared(state): Shared<AppState>,
) -> Result<axum::Json<Page<UserView>>, ApiError> {
    let users = control::users::list(&state.pool).await?;
    Ok(axum::Json(Page::whole(users)))
}

/// Who is to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// What the person logs in with, for example an e-mail address. Kept in lower case.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$"
    )]
    name: String,
    role: Role,
    /// The accounts that the role is for. Left out or null: all. An administrator is for all.
    #[schema(example = json!(["12345678"]))]
    accounts: Option<Vec<String>>,
}

/// A person who was just added.
#[derive(Debug, Serialize, ToSchema)]
struct AddedUser {
    user: UserView,
    password_link: PasswordLinkView,
}

/// Add a person
#[utoipa::path(post, path = "/users", tag = "users", request_body = NewUser, responses((status = 201, body = AddedUser)))]
async fn add_user(
    caller: Caller,
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Json(new): Json<NewUser>,
) -> Result<Response, ApiError> {
    let now = state.clock.now();
    let limit = control::accounts::limit(&accounts, new.accounts.as_deref());
    let rights = control::users::rights(new.role, limit.map_err(ControlError::Invalid)?)?;
    let by = caller.by();
    let (user, link) = control::users::add(&state.pool, &new.name, rights, by, now).await?;
    let added = AddedUser {
        password_link: link_view(&state, &user.name, &link).await?,
        user,
    };
    Ok((
        StatusCode::CREATED,
        Extension(Unrepeatable),
        axum::Json(added),
    )
        .into_response())
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct UserPath {
    /// The person's id.
    id: i64,
}

/// What is to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChange {
    role: Role,
    /// The accounts that the role is for; null: all. Left out: as before.
    #[expect(clippy::option_option, reason = "null is not the same as left out")]
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<String>>, example = json!(["12345678"]))]
    accounts: Option<Option<Vec<String>>>,
}

/// Tells null from what is left out.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(given: D) -> Result<Option<T>, D::Error> {
    T::deserialize(given).map(Some)
}

/// Change a person's role and accounts
///
/// The person's tokens may do no more from then on. The last administrator stays one.
#[utoipa::path(patch, path = "/users/{id}", tag = "users", params(UserPath), request_body = UserChange,
    responses((status = 200, body = UserView), (status = 409, description = "The person is the last administrator")))]
async fn change_user(
    caller: Caller,
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Path(which): Path<UserPath>,
    Json(change): Json<UserChange>,
) -> Result<axum::Json<UserView>, ApiError> {
    let limit = change.accounts.as_ref();
    let limit = limit.map(|wanted| control::accounts::limit(&accounts, wanted.as_deref()));
    let rights = (
        change.role,
        limit.transpose().map_err(ControlError::Invalid)?,
    );
    let now = state.clock.now();
    let user = control::users::set_rights(&state.pool, which.id, rights, caller.by(), now).await?;
    Ok(axum::Json(user))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RemovalQuery {
    /// Names of tokens of the person, with commas between them, that become yours; the others stop working. Takes a session: a token
    /// cannot take over tokens.
    #[param(example = "nightly export,billing")]
    take_over: Option<String>,
}

impl RemovalQuery {
    fn names(&self) -> Vec<String> {
        let names = self.take_over.as_deref().unwrap_or_default().split(',');
        let names = names.map(str::trim).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    }
}

/// Remove a person
///
/// The person's sessions end at once, and so do the person's tokens but for those that you take over by name. What is taken over may
/// do what it may do at that moment. The last administrator cannot be removed.
#[utoipa::path(delete, path = "/users/{id}", tag = "users", params(UserPath, RemovalQuery),
    responses((status = 204, description = "The person is removed"), (status = 409, description = "The person is the last administrator"),
    (status = 422, description = "A token that is named is not the person's")))]
async fn remove_user(
    caller: Caller,
    Shared(state): Shared<AppState>,
    Path(which): Path<UserPath>,
    Query(heritage): Query<RemovalQuery>,
) -> Result<StatusCode, ApiError> {
    let (names, maker) = (heritage.names(), caller.maker());
    if !names.is_empty() && maker.is_none() {
        return Err(ApiError::people_only());
    }
    let heir = maker.as_ref().map(|maker| (maker, names.as_slice()));
    let now = state.clock.now();
    control::users::remove(&state.pool, which.id, heir, caller.by(), now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a link with which a person chooses a new password
///
/// Earlier links stop working; the password in use works until the link is used.
#[utoipa::path(post, path = "/users/{id}/password-link", tag = "users", params(UserPath), responses((status = 201, body = PasswordLinkView)))]
async fn new_password_link(
    caller: Caller,
    Shared(state): Shared<AppState>,
    Path(which): Path<UserPath>,
) -> Result<Response, ApiError> {
    let now = state.clock.now();
    let link = control::users::new_link(&state.pool, which.id, caller.by(), now).await?;
    let user = control::users::find(&state.pool, which.id).await?;
    let link = link_view(&state, &user.name, &link).await?;
    Ok((
        StatusCode::CREATED,
        Extension(Unrepeatable),
        axum::Json(link),
    )
        .into_response())
}

/// How many sessions were ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ended)]
struct EndedSessions {
    sessions: u64,
}

/// Log a person out everywhere
#[utoipa::path(post, path = "/users/{id}/log-out", tag = "users", params(UserPath), responses((status = 200, body = EndedSessions)))]
async fn log_out_user(
    caller: Caller,
    Shared(state): Shared<AppState>,
    Path(which): Path<UserPath>,
) -> Result<axum::Json<EndedSessions>, ApiError> {
    let now = state.clock.now();
    let sessions =
        control::users::log_out_everywhere(&state.pool, which.id, caller.by(), now).await?;
    Ok(axum::Json(EndedSessions { sessions }))
}

/// Disconnect a person from the single sign-on
///
/// The person's sessions end at once. A set-up link, or the person's own password, connects the two again.
#[utoipa::path(delete, path = "/users/{id}/single-sign-on", tag = "users", params(UserPath),
    responses((status = 200, body = UserView), (status = 409, description = "The person is not connected to it")))]
async fn disconnect_user(
    caller: Caller,
    Shared(state): Shared<AppState>,
    Path(which): Path<UserPath>,
) -> Result<axum::Json<UserView>, ApiError> {
    let (by, now) = (caller.by(), state.clock.now());
    let user = control::sso::unbind(&state.pool, &state.hasher, which.id, by, now).await?;
    Ok(axum::Json(user))
}
