//! What stands before each handler.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts as _, Request, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::TimeDelta;

use super::lookups::LookupError;
use super::session::{self, BrowserSession};
use super::{Access, Caller, csrf, idempotency};
use crate::control::ControlError;
use crate::db;
use crate::domain::access::Permission;
use crate::hashing;
use crate::metrics::AccessOutcome;
use crate::web::client::ClientAddress;
use crate::web::page_error::PageError;
use crate::web::problem::ApiError;
use crate::web::{AppState, LONG_BODY};

/// A guard of routes that need this permission.
#[derive(Clone)]
pub struct Guard {
    pub state: AppState,
    pub needs: Permission,
    /// Whether the route changes anything: else a request that is sent again may be done again, and its answer is not kept.
    pub changes: bool,
    /// Whether no program may call it.
    pub people_only: bool,
    /// Bytes that a body may have.
    pub most: usize,
}

/// Between two notes that a session or a token is in use.
const NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// A script that keeps a page up to date says so by this header.
const BY_ITSELF: &str = "x-refresh";

/// Before a page or a form.
pub async fn page(Shared(guard): Shared<Guard>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let state = &guard.state;
    let asked = parts.uri.path_and_query().map(ToString::to_string);
    let Ok(ClientAddress(from)) = ClientAddress::from_request_parts(&mut parts, state).await;
    let (caller, session) = match person(state, &parts.headers, from).await {
        Ok(Some(found)) => found,
        Ok(None) => return to_login(&guard.state.access, &parts, asked.as_deref().unwrap_or("/")),
        Err(LookupError::Later(wait)) => {
            return too_many(wait, PageError::too_many().into_response());
        }
        Err(LookupError::Fault(error)) => return PageError::from(error).into_response(),
    };
    if let Err(wait) = state.access.caller_limit.pass(caller.key(), Instant::now()) {
        return too_many(wait, PageError::too_many().into_response());
    }
    if !caller.may(guard.needs) {
        return noted(state, &caller, from, PageError::forbidden().into_response());
    }
    let mut body = body;
    if !parts.method.is_safe() {
        match own_form(&guard, &parts, body, &session).await {
            Ok(read) => body = read,
            Err(response) => return response,
        }
    }
    parts.extensions.insert(caller.clone());
    parts.extensions.insert(session);
    let response = next.run(Request::from_parts(parts, body)).await;
    noted(state, &caller, from, response)
}

/// Leaves a trace of an answer that somebody may not do something: the route's, or the handler's that knows what exactly was asked.
fn noted(state: &AppState, caller: &Caller, from: IpAddr, response: Response) -> Response {
    if response.status() == StatusCode::FORBIDDEN {
        state.refused(AccessOutcome::MissingPermission, from, Some(caller.by()));
    }
    response
}

/// The body of a form that came from a page of ours.
async fn own_form(
    guard: &Guard,
    parts: &Parts,
    body: Body,
    session: &BrowserSession,
) -> Result<Body, Response> {
    let read = to_bytes(body, guard.most).await;
    let bytes = read.map_err(|_| PageError::too_large().into_response())?;
    let in_header = parts
        .headers
        .get(csrf_header())
        .and_then(|v| v.to_str().ok());
    let in_form = match in_header {
        Some(_) => None,
        None => word_in(&bytes).await?,
    };
    let given = in_header.map(str::to_owned).or(in_form).unwrap_or_default();
    let access = &guard.state.access;
    if csrf::is_from_here(access, &parts.headers) && session.recognises(&given) {
        Ok(Body::from(bytes))
    } else {
        Err(PageError::not_ours().into_response())
    }
}

/// The word in a form's fields. A form of megabytes is searched apart from the threads that serve others.
async fn word_in(form: &Bytes) -> Result<Option<String>, Response> {
    let find = |form: &[u8]| {
        let mut fields = url::form_urlencoded::parse(form);
        let found = fields.find(|(name, _)| name == "csrf");
        found.map(|(_, value)| value.into_owned())
    };
    if form.len() < LONG_BODY {
        return Ok(find(form));
    }
    let form = form.clone();
    let found = tokio::task::spawn_blocking(move || find(&form)).await;
    found.map_err(|error| PageError::from(ControlError::Internal(error.into())).into_response())
}

/// Scripts of our pages send the form's word in a header.
pub const fn csrf_header() -> &'static str {
    "x-csrf-token"
}

/// A script of ours that asks for its page again.
pub fn is_by_itself(headers: &HeaderMap) -> bool {
    headers.contains_key(BY_ITSELF)
}

/// To the login, and from there back to the page: the one that was asked for, or the one that the form was on.
fn to_login(access: &Access, parts: &Parts, asked: &str) -> Response {
    if is_by_itself(&parts.headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let back = if parts.method.is_safe() {
        asked.to_owned()
    } else {
        csrf::page_before(access, &parts.headers).unwrap_or_default()
    };
    if matches!(&*back, "" | "/") {
        return Redirect::to("/login").into_response();
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("to", &back)
        .finish();
    Redirect::to(&format!("/login?{query}")).into_response()
}

/// Before a page or a form that nobody needs to be logged in for.
pub async fn open(Shared(state): Shared<AppState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(ClientAddress(from)) = ClientAddress::from_request_parts(&mut parts, &state).await;
    if let Err(wait) = state.access.open.pass(from, Instant::now()) {
        return too_many(wait, PageError::too_many().into_response());
    }
    if !parts.method.is_safe() && !csrf::is_from_here(&state.access, &parts.headers) {
        return PageError::not_ours().into_response();
    }
    next.run(Request::from_parts(parts, body)).await
}

/// Before a route of the config API.
pub async fn api(Shared(guard): Shared<Guard>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let state = &guard.state;
    let Ok(ClientAddress(from)) = ClientAddress::from_request_parts(&mut parts, state).await;
    let caller = match api_caller(state, &parts, from).await {
        Ok(caller) => caller,
        Err(response) => return response,
    };
    if let Err(wait) = state.access.caller_limit.pass(caller.key(), Instant::now()) {
        return too_many(wait, ApiError::too_many().into_response());
    }
    if let Err(refusal) = is_allowed(&guard, &caller) {
        return noted(state, &caller, from, refusal.into_response());
    }
    let key = match idempotency::key(&parts.headers) {
        Ok(key) => key.filter(|_| guard.changes && parts.method == Method::POST),
        Err(refusal) => return refusal.into_response(),
    };
    parts.extensions.insert(caller.clone());
    let request = Request::from_parts(parts, body);
    let response = match key {
        Some(key) => idempotency::once(&guard, (caller.key_word(), key), request, next).await,
        None => next.run(request).await,
    };
    noted(state, &caller, from, response)
}

fn is_allowed(guard: &Guard, caller: &Caller) -> Result<(), ApiError> {
    if guard.people_only && caller.user().is_none() {
        return Err(ApiError::people_only());
    }
    if caller.may(guard.needs) {
        Ok(())
    } else {
        Err(ApiError::forbidden(guard.needs))
    }
}

/// A program with its token, or a person on a page of ours.
async fn api_caller(state: &AppState, parts: &Parts, from: IpAddr) -> Result<Caller, Response> {
    let refused = |why| match why {
        LookupError::Later(wait) => too_many(wait, ApiError::too_many().into_response()),
        LookupError::Fault(error) => ApiError::from(error).into_response(),
    };
    if parts.headers.contains_key(header::AUTHORIZATION) {
        let found = program(state, &parts.headers, from).await;
        if let Some(caller) = found.map_err(refused)? {
            return Ok(caller);
        }
        state.refused(AccessOutcome::WrongToken, from, None);
        return Err(stranger(state, from));
    }
    let found = person(state, &parts.headers, from).await;
    let Some((caller, session)) = found.map_err(refused)? else {
        return Err(stranger(state, from));
    };
    if !parts.method.is_safe() {
        let given = parts
            .headers
            .get(csrf_header())
            .and_then(|v| v.to_str().ok());
        let ours = csrf::is_from_here(&state.access, &parts.headers)
            && session.recognises(given.unwrap_or_default());
        if !ours {
            return Err(ApiError::not_ours().into_response());
        }
    }
    Ok(caller)
}

/// Turns away who has no good token; how often one is looked up, is limited before: see [`Lookups`](super::lookups::CredentialLookups).
fn stranger(state: &AppState, from: IpAddr) -> Response {
    match state.access.anonymous_limit.pass(from, Instant::now()) {
        Ok(()) => ApiError::unauthorized().into_response(),
        Err(wait) => too_many(wait, ApiError::too_many().into_response()),
    }
}

pub fn too_many(wait: Duration, mut response: Response) -> Response {
    let seconds = wait.as_secs().saturating_add(1);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, seconds.into());
    response
}

/// Whether a session or a token may be looked up now.
fn admit(state: &AppState, word: &[u8; 32], from: IpAddr) -> Result<(), LookupError> {
    let admitted = state.access.lookups.admit(word, from, Instant::now());
    admitted.map_err(LookupError::Later)
}

/// It was looked up, and is somebody's.
fn found_word(state: &AppState, word: &[u8; 32], from: IpAddr) {
    state.access.lookups.found(word, from, Instant::now());
}

/// Who the session's cookie belongs to.
pub async fn person(
    state: &AppState,
    headers: &HeaderMap,
    from: IpAddr,
) -> Result<Option<(Caller, BrowserSession)>, LookupError> {
    let Some(token) = session::token(&state.access, headers) else {
        return Ok(None);
    };
    let now = state.clock.now();
    let idle_since = now - state.access.idle;
    let token_hash = hashing::digest(token);
    admit(state, &token_hash, from)?;
    let Some(found) = db::sessions::find(&state.pool, &token_hash, idle_since, now).await? else {
        state.access.lookups.not_found(&token_hash);
        return Ok(None);
    };
    found_word(state, &token_hash, from);
    // A page that asks for itself is not somebody who uses it.
    if !is_by_itself(headers) && now - found.seen_at >= NOTED_EVERY {
        db::sessions::seen(&state.pool, &token_hash, now).await?;
    }
    let session = BrowserSession::new(token, found.flash);
    Ok(Some((
        Caller::person(found.user, found.name, found.role, found.limit),
        session,
    )))
}

/// Whose bearer token it is.
async fn program(
    state: &AppState,
    headers: &HeaderMap,
    from: IpAddr,
) -> Result<Option<Caller>, LookupError> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(line), None) = (given.next(), given.next()) else {
        return Ok(None);
    };
    let token = line.to_str().ok().and_then(|line| line.split_once(' '));
    let Some(token) = token
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| token.starts_with(crate::control::tokens::PREFIX) && token.len() <= 128)
    else {
        return Ok(None);
    };
    let now = state.clock.now();
    let token_hash = hashing::digest(token);
    admit(state, &token_hash, from)?;
    let Some(found) = db::tokens::find(&state.pool, &token_hash, now).await? else {
        state.access.lookups.not_found(&token_hash);
        return Ok(None);
    };
    found_word(state, &token_hash, from);
    if found.last_used_at.is_none_or(|at| now - at >= NOTED_EVERY) {
        db::tokens::used(&state.pool, found.id, now).await?;
    }
    let (permissions, limit) = (found.permissions(), found.limit());
    let caller = Caller::program(found.id, &found.name, permissions, limit);
    Ok(Some(caller))
}
