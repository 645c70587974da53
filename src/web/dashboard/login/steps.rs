//! What is asked of somebody who is half way in.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::sso;
use crate::control::pending::{self, LoginStep};
use crate::control::sso::SsoOutcome;
use crate::db;
use crate::db::pending_logins::Pending;
use crate::db::users::User;
use crate::hashing;
use crate::metrics::AccessOutcome;
use crate::secret::Secret;
use crate::web::access::tries::{self, PasswordTry};
use crate::web::access::{RouteTable, Visitor, session};
use crate::web::dashboard::login;
use crate::web::page_error::PageError;
use crate::web::templates::careful;
use crate::web::{AppState, templates};

pub fn add(table: &mut RouteTable) {
    table.open(Method::GET, "/login/connect", get(show_connect));
    table.open(Method::POST, "/login/connect", post(connect));
    table.open(Method::GET, "/login/code", get(show_code));
    table.open(Method::POST, "/login/code", post(enter_code));
}

/// Ties what is under way to the browser in which it was begun.
fn cookie_name(state: &AppState) -> &'static str {
    if state.access.secure {
        "__Host-unread-step"
    } else {
        "unread-step"
    }
}

/// On to a page of this file, in the browser that has the word.
fn on(state: &AppState, to: &str, word: &Secret) -> Response {
    let age = u32::try_from(pending::PATIENCE.num_seconds()).ok();
    let cookie = session::header_of(&state.access, cookie_name(state), word.expose(), age);
    ([(header::SET_COOKIE, cookie)], Redirect::to(to)).into_response()
}

/// What this browser has under way, and who that is.
struct LoginInProgress {
    token_hash: [u8; 32],
    pending: Pending,
    user: User,
}

async fn under_way(
    state: &AppState,
    headers: &HeaderMap,
    needs: LoginStep,
) -> Result<Option<LoginInProgress>, PageError> {
    let Some(word) = session::cookie(headers, cookie_name(state)) else {
        return Ok(None);
    };
    let token_hash = hashing::digest(word);
    let found = db::pending_logins::find(&state.pool, &token_hash, state.clock.now()).await?;
    let Some(pending) = found.filter(|pending| pending.needs == needs.as_str()) else {
        return Ok(None);
    };
    let user = db::users::find(&state.pool, pending.user_id).await?;
    Ok(user.map(|user| LoginInProgress {
        token_hash,
        pending,
        user,
    }))
}

/// There is nothing under way in this browser, or not any more.
fn took_too_long() -> Response {
    let why = "This login took too long or was already used. Try again.";
    let page = templates::message("Not logged in", why, Some(("/login", "Back to login")));
    (StatusCode::GONE, careful(page)).into_response()
}

/// Asks for the own password before somebody is known by single sign-on.
pub async fn ask_password(
    state: &AppState,
    user: i64,
    subject: &str,
    back_to: &str,
) -> Result<Response, PageError> {
    let then = (Some(subject), back_to);
    let word = pending::begin(
        &state.pool,
        user,
        LoginStep::Password,
        then,
        state.clock.now(),
    );
    Ok(on(state, "/login/connect", &word.await?))
}

/// Asks for a code of the second factor. `then`: the subject that is to be tied to the person, and where it goes on.
pub async fn ask_code(
    state: &AppState,
    user: i64,
    then: (Option<&str>, &str),
) -> Result<Response, PageError> {
    let word = pending::begin(&state.pool, user, LoginStep::Code, then, state.clock.now());
    Ok(on(state, "/login/code", &word.await?))
}

fn connect_page(status: StatusCode, user: &User, fault: Option<&str>) -> Response {
    let page = templates::render(
        "connect.hbs",
        &json!({ "title": "Connect single sign-on", "name": user.name, "fault": fault }),
    );
    (status, careful(page)).into_response()
}

async fn show_connect(
    Shared(state): Shared<AppState>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let way = under_way(&state, &headers, LoginStep::Password).await?;
    Ok(way.map_or_else(took_too_long, |way| {
        connect_page(StatusCode::OK, &way.user, None)
    }))
}

#[derive(Deserialize)]
struct NewPasswordForm {
    #[serde(default)]
    password: String,
}

async fn connect(
    Shared(state): Shared<AppState>,
    visitor: Visitor,
    given: Result<Form<NewPasswordForm>, FormRejection>,
) -> Result<Response, PageError> {
    let way = under_way(&state, &visitor.headers, LoginStep::Password).await?;
    let Some(way) = way.filter(|_| state.access.passwords) else {
        return Ok(took_too_long());
    };
    let password = Secret::new(given.map(|Form(given)| given.password).unwrap_or_default());
    match tries::password(&state, &visitor, &way.user.name, &password).await? {
        PasswordTry::Good { .. } => {}
        PasswordTry::Not(refused) => {
            let why = refused.message("That is not your password.");
            return Ok(refused.answer(|status| connect_page(status, &way.user, Some(&why))));
        }
    }
    if way.user.has_second_factor {
        let then = (
            way.pending.sso_subject.as_deref(),
            way.pending.back_to.as_str(),
        );
        return ask_code(&state, way.user.id, then).await;
    }
    finish(&state, &visitor, &way, "single sign-on").await
}

/// The last step is done.
async fn finish(
    state: &AppState,
    visitor: &Visitor,
    way: &LoginInProgress,
    with: &str,
) -> Result<Response, PageError> {
    let (token, now) = (&way.token_hash, state.clock.now());
    match pending::finish(&state.pool, &state.hasher, token, with, now).await? {
        SsoOutcome::In { user } => login::enter(state, visitor, user, &way.pending.back_to).await,
        SsoOutcome::Refused(why) => {
            state.refused(
                AccessOutcome::SsoRefused,
                visitor.from,
                Some(&way.user.name),
            );
            Ok(sso::not_let_in(&sso::refusal_message(&why)))
        }
        SsoOutcome::Asked { .. } | SsoOutcome::AskedCode { .. } => Ok(took_too_long()),
    }
}

fn code_page(status: StatusCode, fault: Option<&str>) -> Response {
    let values = json!({ "title": "Enter the code", "fault": fault });
    let page = templates::render("code.hbs", &values);
    (status, careful(page)).into_response()
}

async fn show_code(
    Shared(state): Shared<AppState>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let way = under_way(&state, &headers, LoginStep::Code).await?;
    Ok(way.map_or_else(took_too_long, |_| code_page(StatusCode::OK, None)))
}

#[derive(Deserialize)]
struct CodeForm {
    #[serde(default)]
    code: String,
}

async fn enter_code(
    Shared(state): Shared<AppState>,
    visitor: Visitor,
    entered: Result<Form<CodeForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Some(way) = under_way(&state, &visitor.headers, LoginStep::Code).await? else {
        return Ok(took_too_long());
    };
    let code = entered
        .map(|Form(entered)| entered.code)
        .unwrap_or_default();
    let (tried, shown) = tries::code(&state, &visitor, &way.user.name, &code).await?;
    if let PasswordTry::Not(refused) = tried {
        let why = refused.message("That code is not valid now.");
        return Ok(refused.answer(|status| code_page(status, Some(&why))));
    }
    let with = shown.map_or_else(String::new, |shown| {
        format!("password and {}", shown.as_str())
    });
    finish(&state, &visitor, &way, &with).await
}
