//! `/users`: the people who log in to the dashboard.

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
use super::problem::Refusal;
use crate::control;
use crate::control::users::Link;
use crate::db;
use crate::domain::access::{self, Permission};
use crate::web::State;
use crate::web::access::{Caller, Table, Unrepeatable};

pub fn add(table: &mut Table) {
    table.api(Permission::Administer, routes!(list_users));
    table.api(Permission::Administer, routes!(add_user));
    table.api(Permission::Administer, routes!(change_user));
    table.api(Permission::Administer, routes!(remove_user));
    table.api(Permission::Administer, routes!(new_password_link));
    table.api(Permission::Administer, routes!(log_out_user));
}

/// What a person may do: a viewer sees, an editor also changes rules and operates, an administrator does everything.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Role {
    Viewer,
    Editor,
    Administrator,
}

impl From<access::Role> for Role {
    fn from(role: access::Role) -> Self {
        match role {
            access::Role::Viewer => Self::Viewer,
            access::Role::Editor => Self::Editor,
            access::Role::Administrator => Self::Administrator,
        }
    }
}

impl From<Role> for access::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Editor => Self::Editor,
            Role::Administrator => Self::Administrator,
        }
    }
}

/// A person who logs in.
#[derive(Debug, Serialize, ToSchema)]
struct User {
    id: i64,
    name: String,
    role: Role,
    /// Whether the person has chosen a password.
    has_password: bool,
    /// Whether the person has come by single sign-on.
    has_sso: bool,
    created_at: DateTime<Utc>,
    /// To the minute. Null: never.
    seen_at: Option<DateTime<Utc>>,
}

impl From<db::users::User> for User {
    fn from(user: db::users::User) -> Self {
        Self {
            id: user.id,
            name: user.name,
            role: user.role.into(),
            has_password: user.has_password,
            has_sso: user.has_sso,
            created_at: user.created_at,
            seen_at: user.seen_at,
        }
    }
}

/// A link with which a person chooses a password, once.
#[derive(Debug, Serialize, ToSchema)]
struct PasswordLink {
    /// Told this once and kept nowhere: hand it to the person.
    url: String,
    expires_at: DateTime<Utc>,
}

fn told(state: &State, link: &Link) -> Result<PasswordLink, Refusal> {
    let url = control::users::address_of(&state.public_url, link);
    Ok(PasswordLink {
        url: url.map_err(control::Error::from)?.into(),
        expires_at: link.expires_at,
    })
}

/// List the people who log in
#[utoipa::path(get, path = "/users", tag = "users", responses((status = 200, body = Page<User>)))]
async fn list_users(Shared(state): Shared<State>) -> Result<axum::Json<Page<User>>, Refusal> {
    let users = control::users::list(&state.pool).await?;
    Ok(axum::Json(Page::whole(
        users.into_iter().map(User::from).collect(),
    )))
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
}

/// A person who was just added.
#[derive(Debug, Serialize, ToSchema)]
struct AddedUser {
    user: User,
    password_link: PasswordLink,
}

/// Add a person
#[utoipa::path(post, path = "/users", tag = "users", request_body = NewUser, responses((status = 201, body = AddedUser)))]
async fn add_user(
    caller: Caller,
    Shared(state): Shared<State>,
    Json(new): Json<NewUser>,
) -> Result<Response, Refusal> {
    let now = state.clock.now();
    let role = new.role.into();
    let (user, link) = control::users::add(&state.pool, &new.name, role, caller.by(), now).await?;
    let added = AddedUser {
        user: user.into(),
        password_link: told(&state, &link)?,
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
struct Which {
    /// The person's id.
    id: i64,
}

/// What is to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChange {
    role: Role,
}

/// Change a person's role
///
/// The last administrator stays one.
#[utoipa::path(patch, path = "/users/{id}", tag = "users", params(Which), request_body = UserChange,
    responses((status = 200, body = User), (status = 409, description = "The person is the last administrator")))]
async fn change_user(
    caller: Caller,
    Shared(state): Shared<State>,
    Path(which): Path<Which>,
    Json(change): Json<UserChange>,
) -> Result<axum::Json<User>, Refusal> {
    let (role, now) = (change.role.into(), state.clock.now());
    let user = control::users::set_role(&state.pool, which.id, role, caller.by(), now).await?;
    Ok(axum::Json(user.into()))
}

/// Remove a person
///
/// The person's sessions end at once. The last administrator cannot be removed.
#[utoipa::path(delete, path = "/users/{id}", tag = "users", params(Which),
    responses((status = 204, description = "The person is removed"), (status = 409, description = "The person is the last administrator")))]
async fn remove_user(
    caller: Caller,
    Shared(state): Shared<State>,
    Path(which): Path<Which>,
) -> Result<StatusCode, Refusal> {
    let now = state.clock.now();
    control::users::remove(&state.pool, which.id, caller.by(), now).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a link with which a person chooses a new password
///
/// Earlier links stop working; the password in use works until the link is used.
#[utoipa::path(post, path = "/users/{id}/password-link", tag = "users", params(Which), responses((status = 201, body = PasswordLink)))]
async fn new_password_link(
    caller: Caller,
    Shared(state): Shared<State>,
    Path(which): Path<Which>,
) -> Result<Response, Refusal> {
    let now = state.clock.now();
    let link = control::users::new_link(&state.pool, which.id, caller.by(), now).await?;
    let link = told(&state, &link)?;
    Ok((
        StatusCode::CREATED,
        Extension(Unrepeatable),
        axum::Json(link),
    )
        .into_response())
}

/// How many sessions were ended.
#[derive(Debug, Serialize, ToSchema)]
struct Ended {
    sessions: u64,
}

/// Log a person out everywhere
#[utoipa::path(post, path = "/users/{id}/log-out", tag = "users", params(Which), responses((status = 200, body = Ended)))]
async fn log_out_user(
    caller: Caller,
    Shared(state): Shared<State>,
    Path(which): Path<Which>,
) -> Result<axum::Json<Ended>, Refusal> {
    let now = state.clock.now();
    let sessions =
        control::users::log_out_everywhere(&state.pool, which.id, caller.by(), now).await?;
    Ok(axum::Json(Ended { sessions }))
}
