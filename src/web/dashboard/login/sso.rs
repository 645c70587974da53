//! Single sign-on: OpenID Connect's authorisation code flow with PKCE, state and nonce.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::{Query, State as Shared};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use chrono::TimeDelta;
use serde::Deserialize;

use super::steps;
use crate::control;
use crate::control::sso::{SsoOutcome, SsoRefusal};
use crate::db;
use crate::db::sso::Started;
use crate::hashing;
use crate::metrics::AccessOutcome;
use crate::web::access::{RouteTable, Visitor, csrf, session};
use crate::web::client::ClientAddress;
use crate::web::dashboard::login;
use crate::web::page_error::PageError;
use crate::web::templates::careful;
use crate::web::{AppState, templates};

/// How long a person may take at the issuer.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

pub fn add(table: &mut RouteTable) {
    table.open(Method::GET, "/login/sso", get(start));
    table.open(Method::GET, "/login/sso/callback", get(come_back));
}

/// Ties the login to the browser that began it.
fn cookie_name(state: &AppState) -> &'static str {
    if state.access.secure {
        "__Host-unread-sso"
    } else {
        "unread-sso"
    }
}

#[derive(Deserialize)]
struct SsoReturnTo {
    #[serde(default)]
    to: String,
}

async fn start(
    Shared(state): Shared<AppState>,
    Query(back): Query<SsoReturnTo>,
    ClientAddress(from): ClientAddress,
) -> Result<Response, PageError> {
    begin(&state, from, login::inside(&back.to), None).await
}

/// On to the issuer, and afterwards back to `to`. `link`: the hash of the set-up link with which it was begun.
pub async fn begin(
    state: &AppState,
    from: IpAddr,
    to: &str,
    link: Option<Vec<u8>>,
) -> Result<Response, PageError> {
    let Some(issuer) = &state.access.sso else {
        return Ok(Redirect::to("/login").into_response());
    };
    if state
        .access
        .anonymous_limit
        .pass(from, Instant::now())
        .is_err()
    {
        return Err(PageError::too_many());
    }
    let word = hashing::token();
    let started = Started {
        nonce: hashing::token(),
        code_verifier: format!("{}{}", hashing::token(), hashing::token()),
        back_to: to.to_owned(),
        link_hash: link,
    };
    let url = match issuer.address(&word, &started).await {
        Ok(url) => url,
        Err(error) => return Ok(failed(&error)),
    };
    let expires_at = state.clock.now() + PATIENCE;
    db::sso::start(&state.pool, &hashing::digest(&word), &started, expires_at).await?;
    let age = u32::try_from(PATIENCE.num_seconds()).ok();
    let cookie = session::header_of(&state.access, cookie_name(state), &word, age);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(url.as_str())).into_response())
}

#[derive(Deserialize)]
struct Returned {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
    error: Option<String>,
}

async fn come_back(
    Shared(state): Shared<AppState>,
    Query(came): Query<Returned>,
    visitor: Visitor,
) -> Result<Response, PageError> {
    let Some(issuer) = &state.access.sso else {
        return Ok(Redirect::to("/login").into_response());
    };
    let refused = |outcome| state.refused(outcome, visitor.from, None);
    let began_here = session::cookie(&visitor.headers, cookie_name(&state))
        .is_some_and(|own| csrf::fits(own, &came.state));
    if !began_here {
        return Ok(not_let_in(
            "This login was not started in this browser, or took too long. Try again.",
        ));
    }
    let now = state.clock.now();
    let taken = db::sso::take(&state.pool, &hashing::digest(&came.state), now).await?;
    let Some(started) = taken else {
        return Ok(not_let_in(
            "This login took too long or was already used. Try again.",
        ));
    };
    if came.error.is_some() || came.code.is_empty() {
        refused(AccessOutcome::SsoRefused);
        return Ok(not_let_in("Single sign-on did not let you in."));
    }
    let known = match issuer.redeem(&came.code, &started, now).await {
        Ok(known) => known,
        Err(error) => {
            refused(AccessOutcome::SsoFailed);
            return Ok(failed(&error));
        }
    };
    let (link, asks) = (started.link_hash.as_deref(), state.access.passwords);
    let (subject, back_to) = (known.subject.as_str(), started.back_to.as_str());
    match control::sso::come(&state.pool, &state.hasher, &known, link, asks, now).await? {
        SsoOutcome::In { user } => login::enter(&state, &visitor, user, back_to).await,
        SsoOutcome::Asked { user } => steps::ask_password(&state, user, subject, back_to).await,
        SsoOutcome::AskedCode { user } => {
            steps::ask_code(&state, user, (Some(subject), back_to)).await
        }
        SsoOutcome::Refused(why) => {
            refused(AccessOutcome::SsoRefused);
            Ok(not_let_in(&refusal_message(&why)))
        }
    }
}

/// Why somebody whom the issuer knows is not let in.
pub fn refusal_message(why: &SsoRefusal) -> String {
    match why {
        SsoRefusal::Unknown(address) => format!(
            "Single sign-on knows you, but you have no access here yet. Ask an administrator to add {address}, or for a link."
        ),
        SsoRefusal::NoAddress => {
            "Single sign-on knows you, but does not confirm that your e-mail address is verified. Ask an administrator for a link, and \
             open it in this browser."
                .to_owned()
        }
        SsoRefusal::BoundElsewhere(name) => format!(
            "{name} is connected to another single sign-on login. An administrator can disconnect it on the page Team."
        ),
        SsoRefusal::AlreadyHere(name) => {
            format!("The link is not for you: you are {name} here. Log in with single sign-on.")
        }
        SsoRefusal::LinkGone => {
            "This link no longer works: it was used or has expired. Ask an administrator for a new one.".to_owned()
        }
    }
}

fn failed(error: &anyhow::Error) -> Response {
    tracing::error!("The single sign-on failed: {error:#}");
    not_let_in("Single sign-on does not work at the moment. The service's log says why.")
}

pub fn not_let_in(why: &str) -> Response {
    let page = templates::message("Not logged in", why, Some(("/login", "Back to login")));
    (StatusCode::FORBIDDEN, careful(page)).into_response()
}
