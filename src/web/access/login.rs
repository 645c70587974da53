//! Logging in and out, and the page with which somebody chooses a password.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::{Access, Table, guard, session};
use crate::control::logins::{self, Login, Throttled};
use crate::control::users::{self, Invitation};
use crate::control::{Error, passwords};
use crate::db;
use crate::domain::access::Permission;
use crate::hashing;
use crate::metrics::AccessOutcome;
use crate::secret::Secret;
use crate::web::badge::{Client, Limiter};
use crate::web::dashboard::{Page, Unshown, careful};
use crate::web::{State, templates};

pub fn add(table: &mut Table) {
    table.open(Method::GET, "/login", get(show));
    table.open(Method::POST, "/login", post(log_in));
    table.open(Method::GET, "/setup/{token}", get(invited));
    table.open(Method::POST, "/setup/{token}", post(choose));
    table.form(Permission::View, "/logout", log_out);
    super::sso::add(table);
}

#[derive(Deserialize)]
struct Back {
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
    Shared(state): Shared<State>,
    Query(back): Query<Back>,
    headers: HeaderMap,
) -> Result<Response, Unshown> {
    let to = inside(&back.to);
    if guard::person(&state, &headers).await?.is_some() {
        return Ok(Redirect::to(to).into_response());
    }
    let empty = db::users::count(&state.pool).await? == 0;
    if empty {
        tell_first_link(&state, false).await?;
    }
    Ok(login_page(&state, StatusCode::OK, to, "", None, empty))
}

/// Writes the link that makes the first administrator to the log, if there is nobody yet: whoever reads the log runs the service.
pub async fn tell_first_link(state: &State, anew: bool) -> Result<(), Error> {
    if !state.serves_dashboard {
        return Ok(());
    }
    let link = users::first_link(&state.pool, anew, state.clock.now()).await?;
    if let Some(link) = link {
        let url = users::address_of(&state.public_url, &link)?;
        tracing::warn!(
            "Nobody can log in to the dashboard yet. Within an hour, make the first administrator at {url} (works once)"
        );
    }
    Ok(())
}

fn login_page(
    state: &State,
    status: StatusCode,
    to: &str,
    name: &str,
    fault: Option<&str>,
    empty: bool,
) -> Response {
    let demo = state.demo.as_ref();
    let page = templates::render(
        "login.hbs",
        &json!({
            "title": "Log in",
            "to": to,
            "name": name,
            "fault": fault,
            "empty": empty,
            "sso": state.access.sso.is_some(),
            "demo": demo.map(|demo| json!({ "name": demo.login.0, "password": demo.login.1 })),
        }),
    );
    (status, careful(page)).into_response()
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    to: String,
}

async fn log_in(
    Shared(state): Shared<State>,
    Client(address): Client,
    headers: HeaderMap,
    given: Result<Form<Given>, FormRejection>,
) -> Result<Response, Unshown> {
    let Ok(Form(given)) = given else {
        return Ok(Redirect::to("/login").into_response());
    };
    let (to, now) = (inside(&given.to), state.clock.now());
    let refused = |status, why: &str| login_page(&state, status, to, &given.name, Some(why), false);
    let name = logins::name(&given.name);
    let tries = &state.access.tries;
    let login = match tries.pass(address, &name, Instant::now()) {
        Ok(()) => {
            let password = Secret::new(given.password);
            logins::with_password(&state.pool, &name, &password, address, now).await
        }
        Err(held) => Ok(Login::Later(held)),
    };
    match login {
        Ok(Login::In { user }) => {
            tries.forget(address, &name, Instant::now());
            enter(&state, &headers, user, to).await
        }
        Ok(Login::Wrong { name }) => {
            state.refused(AccessOutcome::WrongPassword, address, name.as_deref());
            let why = "Name or password is wrong.";
            Ok(refused(StatusCode::UNAUTHORIZED, why))
        }
        Ok(Login::Later(held)) => {
            note_too_many(&state, &name, address, held).await?;
            let wait = held.wait();
            let minutes = wait.as_secs() / 60 + 1;
            let why = format!("Too many tries. Try again in {minutes} min.");
            let mut response = refused(StatusCode::TOO_MANY_REQUESTS, &why);
            let seconds = wait.as_secs().saturating_add(1);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
            Ok(response)
        }
        Err(Error::Unavailable(why)) => Ok(refused(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("There are {why}."),
        )),
        Err(error) => Err(error.into()),
    }
}

/// Leaves a trace of tries that are not looked at; that somebody's name is locked is on record, once in a while.
async fn note_too_many(
    state: &State,
    name: &str,
    from: IpAddr,
    held: Throttled,
) -> Result<(), Unshown> {
    let now = state.clock.now();
    let anew = matches!(held, Throttled::Name(_)) && state.access.tries.is_locked_anew(name);
    let known = if anew {
        logins::locked_out(&state.pool, name, held, now).await?
    } else {
        None
    };
    state.refused(AccessOutcome::TooManyTries, from, known.as_deref());
    Ok(())
}

/// The limits of logins in one process, before anything is asked of the database: see [`logins::FOR_BOTH`]. Names are kept as hashes,
/// since what somebody types may be a password.
pub struct Tries {
    of_address: Limiter<IpAddr>,
    of_name: Limiter<[u8; 16]>,
    of_both: Limiter<[u8; 16]>,
    locked: Limiter<[u8; 16]>,
}

impl Tries {
    pub fn new(remembered: usize) -> Self {
        let limiter = |(per_second, burst)| Limiter::new(per_second, burst, remembered);
        Self {
            of_address: Limiter::new(logins::FOR_ADDRESS.0, logins::FOR_ADDRESS.1, remembered),
            of_name: limiter(logins::FOR_NAME),
            of_both: limiter(logins::FOR_BOTH),
            locked: limiter((1.0 / LOCK_NOTED_EVERY.as_secs_f64(), 1.0)),
        }
    }

    fn pass(&self, from: IpAddr, name: &str, now: Instant) -> Result<(), Throttled> {
        self.of_address
            .pass(from, now)
            .map_err(Throttled::Address)?;
        let of_both = self.of_both.pass(both(name, from), now);
        of_both.map_err(Throttled::Name)?;
        self.of_name.pass(short(name), now).map_err(Throttled::Name)
    }

    /// Who has logged in from here may err again.
    fn forget(&self, from: IpAddr, name: &str, now: Instant) {
        self.of_both.forget(both(name, from), now);
    }

    /// Whether nothing was said of it lately.
    fn is_locked_anew(&self, name: &str) -> bool {
        self.locked.pass(short(name), Instant::now()).is_ok()
    }
}

/// Between two entries of the audit trail that the same name is locked.
const LOCK_NOTED_EVERY: Duration = Duration::from_mins(15);

fn both(name: &str, from: IpAddr) -> [u8; 16] {
    short(&format!("{name} {from}"))
}

fn short(word: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&hashing::digest(word)[..16]);
    short
}

/// Opens a session under a new token, whatever the browser had before.
pub async fn enter(
    state: &State,
    headers: &HeaderMap,
    user: i64,
    to: &str,
) -> Result<Response, Unshown> {
    let access: &Access = &state.access;
    let old = session::token(access, headers);
    let now = state.clock.now();
    let token = logins::open_session(&state.pool, user, old, access.longest, now).await?;
    state.metrics.access(AccessOutcome::LoggedIn);
    let cookie = [(header::SET_COOKIE, session::set(access, token.expose()))];
    Ok((cookie, Redirect::to(to)).into_response())
}

async fn log_out(page: Page, Shared(state): Shared<State>) -> Result<Response, Unshown> {
    db::sessions::close(&state.pool, &page.session().token_hash).await?;
    Ok(leave(&state))
}

/// Takes the cookie away, back to the login.
pub fn leave(state: &State) -> Response {
    let cookie = [(header::SET_COOKIE, session::unset(&state.access))];
    (cookie, Redirect::to("/login")).into_response()
}

fn gone() -> Response {
    let page = templates::message(
        "This link no longer works",
        "It was used already, or is too old. Ask an administrator for a new one, or run `unread users password NAME`.",
        Some(("/login", "To the login")),
    );
    (StatusCode::NOT_FOUND, careful(page)).into_response()
}

async fn invited(
    Shared(state): Shared<State>,
    Path(token): Path<String>,
) -> Result<Response, Unshown> {
    let found = users::invitation(&state.pool, &token, state.clock.now()).await?;
    Ok(found.map_or_else(gone, |invitation| {
        password_page(StatusCode::OK, &invitation, "", None)
    }))
}

fn password_page(
    status: StatusCode,
    invitation: &Invitation,
    name: &str,
    fault: Option<&str>,
) -> Response {
    let user = match invitation {
        Invitation::First => None,
        Invitation::Password { user } => Some(&user.name),
    };
    let page = templates::render(
        "password.hbs",
        &json!({
            "title": "Choose a password",
            "user": user,
            "name": name,
            "fault": fault,
            "shortest": passwords::SHORTEST,
        }),
    );
    (status, careful(page)).into_response()
}

#[derive(Deserialize)]
struct Chosen {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
}

async fn choose(
    Shared(state): Shared<State>,
    Path(token): Path<String>,
    headers: HeaderMap,
    chosen: Result<Form<Chosen>, FormRejection>,
) -> Result<Response, Unshown> {
    let now = state.clock.now();
    let Some(invitation) = users::invitation(&state.pool, &token, now).await? else {
        return Ok(gone());
    };
    let Ok(Form(chosen)) = chosen else {
        return Ok(password_page(
            StatusCode::BAD_REQUEST,
            &invitation,
            "",
            None,
        ));
    };
    let password = Secret::new(chosen.password);
    match users::accept(&state.pool, &token, &chosen.name, &password, now).await {
        Ok(user) => enter(&state, &headers, user, "/").await,
        Err(Error::NotFound(_)) => Ok(gone()),
        Err(Error::Invalid(faults)) => {
            let told: Vec<String> = faults
                .iter()
                .map(|fault| {
                    format!(
                        "The {} {}.",
                        fault.field.trim_start_matches('/'),
                        fault.detail
                    )
                })
                .collect();
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(password_page(
                status,
                &invitation,
                &chosen.name,
                Some(&told.join(" ")),
            ))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_leads_nowhere_else() {
        for good in ["/", "/audit?by=ann", "/rules/7"] {
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
