//! Logging in with a password, and out.

mod invited;
mod sso;
mod steps;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query, State as Shared};
use axum::http::{Method, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use crate::control::{ControlError, known, logins, second_factor, users};
use crate::db;
use crate::db::users::User;
use crate::domain::access::Permission;
use crate::hashing;
use crate::metrics::AccessOutcome;
use crate::secret::Secret;
use crate::web::access::lookups::LookupError;
use crate::web::access::tries::{self, PasswordTry};
use crate::web::access::visitor::{self, Visitor};
use crate::web::access::{Access, RouteTable, guard, session};
use crate::web::dashboard::PageFrame;
use crate::web::page_error::PageError;
use crate::web::templates::careful;
use crate::web::{AppState, templates};

pub fn add(table: &mut RouteTable) {
    table.open(Method::GET, "/login", get(show));
    table.open(Method::POST, "/login", post(log_in));

    table.form(Permission::View, "/logout", log_out);
    invited::add(table);
    sso::add(table);
    steps::add(table);
}

#[derive(Deserialize)]
struct ReturnTo {
    #[serde(default)]
    to: String,
}

/// Only a path of this site: the address of the login must not be a way to send people elsewhere.
pub fn inside(to: &str) -> &str {
    let good = to.starts_with('/')
        && !to.starts_with("//")
        && !to.contains('\\')
        && !to.chars().any(char::is_control);
    if good { to } else { "/" }
}

async fn show(
    Shared(state): Shared<AppState>,
    Query(back): Query<ReturnTo>,
    visitor: Visitor,
) -> Result<Response, PageError> {
    let (to, headers) = (inside(&back.to), visitor.headers);
    let there = match guard::person(&state, &headers, visitor.from).await {
        Ok(found) => found.is_some(),
        Err(LookupError::Later(wait)) => {
            return Ok(guard::too_many(wait, PageError::too_many().into_response()));
        }
        Err(LookupError::Fault(error)) => return Err(error.into()),
    };
    if there {
        return Ok(Redirect::to(to).into_response());
    }
    let empty = db::users::count(&state.pool).await? == 0;
    if empty {
        tell_first_link(&state, false).await?;
    }
    // Whoever comes with a session that is over learns why they are here.
    let ended = session::token(&state.access, &headers).is_some();
    let page = LoginView {
        to,
        empty,
        ended,
        ..LoginView::default()
    };
    Ok(login_page(&state, StatusCode::OK, &page))
}

/// Writes the link that makes the first administrator to the log, if there is nobody yet: whoever reads the log runs the service.
pub async fn tell_first_link(state: &AppState, anew: bool) -> Result<(), ControlError> {
    if !state.serves_dashboard {
        return Ok(());
    }
    let link = users::first_link(&state.pool, anew, state.clock.now()).await?;
    if let Some(link) = link {
        let url = users::address_of(&state.dashboard_url, &link)?;
        tracing::warn!(
            "The dashboard has no users yet. Create the first administrator within an hour at {url} (works once)"
        );
    }
    Ok(())
}

/// What the login shows beside its fields.
#[derive(Default)]
struct LoginView<'a> {
    to: &'a str,
    name: &'a str,
    fault: Option<&'a str>,
    /// There is nobody yet who could log in.
    empty: bool,
    /// A session is over.
    ended: bool,
}

fn login_page(state: &AppState, status: StatusCode, shown: &LoginView<'_>) -> Response {
    let demo = state.demo.as_ref();
    let page = templates::render(
        "login.hbs",
        &json!({
            "title": "Log in",
            "to": shown.to,
            "name": shown.name,
            "fault": shown.fault,
            "empty": shown.empty,
            "ended": shown.ended,
            "sso": state.access.sso.is_some(),
            "passwords": state.access.passwords,
            "demo": demo.map(|demo| json!({ "name": demo.login.0, "password": demo.login.1 })),
        }),
    );
    (status, careful(page)).into_response()
}

#[derive(Deserialize)]
struct LoginForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    to: String,
}

async fn log_in(
    Shared(state): Shared<AppState>,
    visitor: Visitor,
    given: Result<Form<LoginForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Ok(Form(given)) = given else {
        return Ok(Redirect::to("/login").into_response());
    };
    let to = inside(&given.to);
    if !state.access.passwords {
        let why = "Password login is turned off here. Use single sign-on.";
        let status = StatusCode::FORBIDDEN;
        let page = LoginView {
            to,
            fault: Some(why),
            ..LoginView::default()
        };
        return Ok(login_page(&state, status, &page));
    }
    let password = Secret::new(given.password);
    match tries::password(&state, &visitor, &given.name, &password).await? {
        PasswordTry::Good { user } if second_factor::is_on(&state.pool, user).await? => {
            steps::ask_code(&state, user, (None, to)).await
        }
        PasswordTry::Good { user } => {
            logins::noted(&state.pool, user, "password", state.clock.now()).await?;
            enter(&state, &visitor, user, to).await
        }
        PasswordTry::Not(refused) => {
            let why = refused.message("Wrong name or password.");
            let page = LoginView {
                to,
                name: &given.name,
                fault: Some(&why),
                ..LoginView::default()
            };
            Ok(refused.answer(|status| login_page(&state, status, &page)))
        }
    }
}

/// Opens a session under a new token, whatever the browser had before, and remembers where it was.
pub async fn enter(
    state: &AppState,
    visitor: &Visitor,
    user: i64,
    to: &str,
) -> Result<Response, PageError> {
    let access: &Access = &state.access;
    let (old, browser) = (session::token(access, &visitor.headers), visitor.browser());
    let now = state.clock.now();
    let opened = (old, browser.as_str());
    let token = logins::open_session(&state.pool, user, opened, access.longest, now).await?;
    access.lookups.met(&hashing::digest(token.expose()));
    let Some(User { name, .. }) = db::users::find(&state.pool, user).await? else {
        return Ok(Redirect::to("/login").into_response());
    };
    let before = visitor.device(access, &name);
    let from = (visitor.from, before.as_ref().map(|hash| &hash[..]));
    let device = known::remember(&state.pool, &state.hasher, user, from, now).await?;
    state.metrics.access(AccessOutcome::LoggedIn);
    let cookies = AppendHeaders([
        (header::SET_COOKIE, session::set(access, token.expose())),
        (
            header::SET_COOKIE,
            visitor::set_device(access, &name, device.expose()),
        ),
    ]);
    Ok((cookies, Redirect::to(to)).into_response())
}

async fn log_out(page: PageFrame, Shared(state): Shared<AppState>) -> Result<Response, PageError> {
    db::sessions::close(&state.pool, &page.session().token_hash).await?;
    Ok(leave(&state))
}

/// Takes the cookie away, back to the login.
pub fn leave(state: &AppState) -> Response {
    let cookie = [(header::SET_COOKIE, session::unset(&state.access))];
    (cookie, Redirect::to("/login")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_leads_nowhere_else() {
        for good in ["/", "/activity?by=ann", "/rules/7"] {
            assert_eq!(inside(good), good);
        }
        for bad in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/a\r\nb",
            "x",
        ] {
            assert_eq!(inside(bad), "/", "{bad}");
        }
    }
}
