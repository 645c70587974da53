//! The addresses of the badge: the one that brands' pages have always called, the one for tokens, and its events.
//!
//! Requests are taken apart by hand: the usual extractors copy all headers and every part of the path, for each page view. For the
//! same reason [`from_memory`] and [`express`] answer page views before the table of routes, which knows the same handlers.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Instant;

use axum::Router;
use axum::extract::{Path, Request, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use percent_encoding::percent_decode_str;

use super::answer::{answer, plausible, remembered};
use super::cache::{BadgeState, Ids};
use super::reply::{self, BadgeProblem, no_such_account, shared};
use super::token::Verified;
use super::{Site, events};
use crate::db::changes::ConsumerKey;
use crate::domain::ids::AccountId;
use crate::metrics::BadgeSource;
use crate::web::AppState;
use crate::web::client::{ClientAddress, peer};

pub fn routes() -> Router<AppState> {
    let page_view = async |Shared(state): Shared<AppState>, request: Request| {
        let (request, _) = request.into_parts();
        express(&state, peer(&request.extensions), request).await
    };
    Router::new()
        .route(
            "/helpers/msghist/{account}/{consumer}/unreadByConsumer",
            get(page_view).options(preflight_of_consumer),
        )
        .route("/v1/badge/{account}", get(page_view).options(preflight))
        .route(
            "/v1/badge/{account}/events",
            get(badge_events).options(preflight),
        )
}

/// What a page view asks for, with the parts of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageView<'a> {
    UnreadByConsumer { account: &'a str, consumer: &'a str },
    Badge { account: &'a str },
}

impl<'a> PageView<'a> {
    /// `None`: the table of routes answers.
    pub fn of(method: &Method, uri: &'a Uri) -> Option<Self> {
        let get = *method == Method::GET;
        get.then(|| Self::at(uri.path())).flatten()
    }

    fn at(path: &'a str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix("/helpers/msghist/") {
            let parts = rest.strip_suffix("/unreadByConsumer")?;
            let (account, consumer) = parts.split_once('/')?;
            let whole = !account.is_empty() && !consumer.is_empty() && !consumer.contains('/');
            return whole.then_some(Self::UnreadByConsumer { account, consumer });
        }
        let account = path.strip_prefix("/v1/badge/")?;
        let whole = !account.is_empty() && !account.contains('/');
        whole.then_some(Self::Badge { account })
    }
}

/// Answers a page view without looking up its route.
pub async fn express(state: &AppState, peer: IpAddr, request: Parts) -> Response {
    let mut headers = request.headers;
    match PageView::at(request.uri.path()) {
        Some(PageView::UnreadByConsumer { account, consumer }) => {
            unread_by_consumer(state, peer, (account, consumer), &mut headers).await
        }
        Some(PageView::Badge { account }) => badge(state, peer, account, &mut headers).await,
        None => no_such_account(),
    }
}

/// Answers a page view that needs nothing but memory, as most do; `None`: [`express`] must, and nothing has been counted yet.
pub fn from_memory(
    state: &AppState,
    view: PageView<'_>,
    peer: IpAddr,
    headers: &mut HeaderMap,
) -> Option<Response> {
    let now = Instant::now();
    let badge = &state.badge;
    match view {
        PageView::UnreadByConsumer { account, consumer } => {
            if headers.contains_key(header::AUTHORIZATION) {
                return None;
            }
            let (id, site) = site(state, account)?;
            let key = badge.keys.of(id, &decoded(consumer));
            let known = remembered(state, (key, site.without_token()), now)?;
            let client = ClientAddress::of(headers, peer, state);
            Some(match admit_client(state, client, now) {
                Ok(()) => reply::old(counted(state, known, now).unread, site, headers),
                Err(problem) => shared(site, headers, problem.into_response()),
            })
        }
        PageView::Badge { account } => {
            let (id, site) = site(state, account)?;
            let token = site
                .tokens
                .remembered(bearer(headers)?, state.clock.now())?;
            let key = badge.keys.of(id, &token.subject);
            let known = remembered(state, (key, Ids::Both), now)?;
            let client = ClientAddress::of(headers, peer, state);
            let admitted =
                admit_client(state, client, now).and_then(|()| admit_token(state, key, now));
            Some(match admitted {
                Ok(()) => reply::own(&counted(state, known, now), site, headers),
                Err(problem) => shared(site, headers, problem.into_response()),
            })
        }
    }
}

/// Counts an answer that is given.
fn counted(
    state: &AppState,
    (answer, source): (BadgeState, BadgeSource),
    since: Instant,
) -> BadgeState {
    state.metrics.badge(source, since.elapsed());
    answer
}

/// The account that a path names, and its badge.
fn site<'a>(state: &'a AppState, account: &str) -> Option<(&'a AccountId, &'a Site)> {
    state.sites.get_key_value(account)
}

/// A consumer's id as an address has it. What is not even text is nobody's id.
fn decoded(consumer: &str) -> Cow<'_, str> {
    if !consumer.contains('%') {
        return Cow::Borrowed(consumer);
    }
    let consumer = percent_decode_str(consumer).decode_utf8();
    consumer.unwrap_or(Cow::Borrowed(""))
}

/// `GET /helpers/msghist/{account}/{consumer}/unreadByConsumer` → `{"unreadByConsumer": bool}`.
async fn unread_by_consumer(
    state: &AppState,
    peer: IpAddr,
    (account, consumer): (&str, &str),
    headers: &mut HeaderMap,
) -> Response {
    let Some((id, site)) = site(state, account) else {
        return no_such_account();
    };
    let client = ClientAddress::of(headers, peer, state);
    let consumer = decoded(consumer);
    match of_consumer(state, (id, site), &consumer, client, headers).await {
        Ok(unread) => reply::old(unread, site, headers),
        Err(problem) => shared(site, headers, problem.into_response()),
    }
}

/// Whether something is unread for a consumer whose id was written into an address.
async fn of_consumer(
    state: &AppState,
    (id, site): (&AccountId, &Site),
    consumer: &str,
    client: ClientAddress,
    headers: &HeaderMap,
) -> Result<bool, BadgeProblem> {
    let now = Instant::now();
    admit_client(state, client, now)?;
    if !plausible(consumer) {
        state.metrics.badge(BadgeSource::None, now.elapsed());
        return Ok(false);
    }
    let ids = if headers.contains_key(header::AUTHORIZATION) {
        let token = verify(state, site, headers).await?;
        if token.subject != consumer {
            return Err(BadgeProblem::Unauthorized);
        }
        Ids::Both
    } else {
        site.without_token()
    };
    let found = answer(state, id, consumer, ids, now).await?;
    Ok(counted(state, found, now).unread)
}

/// `GET /v1/badge/{account}`: the state of the token's consumer.
async fn badge(state: &AppState, peer: IpAddr, account: &str, headers: &mut HeaderMap) -> Response {
    let Some((id, site)) = site(state, account) else {
        return no_such_account();
    };
    let client = ClientAddress::of(headers, peer, state);
    match of_token(state, (id, site), client, headers).await {
        Ok(answer) => reply::own(&answer, site, headers),
        Err(problem) => shared(site, headers, problem.into_response()),
    }
}

async fn of_token(
    state: &AppState,
    (id, site): (&AccountId, &Site),
    client: ClientAddress,
    headers: &HeaderMap,
) -> Result<BadgeState, BadgeProblem> {
    let now = Instant::now();
    let token = admit(state, (id, site), client, headers, now).await?;
    let found = answer(state, id, &token.subject, Ids::Both, now).await?;
    Ok(counted(state, found, now))
}

/// `GET /v1/badge/{account}/events`: the same, pushed.
async fn badge_events(
    Shared(state): Shared<AppState>,
    client: ClientAddress,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some((id, site)) = site(&state, &account) else {
        return no_such_account();
    };
    let opened = match admit(&state, (id, site), client, &headers, Instant::now()).await {
        Ok(token) => events::open(&state, id, token, client.0, &headers),
        Err(problem) => Err(problem),
    };
    let response = opened.unwrap_or_else(BadgeProblem::into_response);
    shared(site, &headers, response)
}

/// Lets a request in: not too many of them, and with a good token.
async fn admit(
    state: &AppState,
    (id, site): (&AccountId, &Site),
    client: ClientAddress,
    headers: &HeaderMap,
    now: Instant,
) -> Result<Verified, BadgeProblem> {
    admit_client(state, client, now)?;
    let token = verify(state, site, headers).await?;
    admit_token(state, state.badge.keys.of(id, &token.subject), now)?;
    Ok(token)
}

fn admit_client(state: &AppState, client: ClientAddress, now: Instant) -> Result<(), BadgeProblem> {
    let limited = state.badge.requests.pass(client.0, now);
    limited.map_err(BadgeProblem::TooMany)
}

fn admit_token(state: &AppState, consumer: ConsumerKey, now: Instant) -> Result<(), BadgeProblem> {
    let limited = state.badge.of_tokens.pass(consumer, now);
    limited.map_err(BadgeProblem::TooMany)
}

async fn verify(
    state: &AppState,
    site: &Site,
    headers: &HeaderMap,
) -> Result<Verified, BadgeProblem> {
    let token = bearer(headers).ok_or(BadgeProblem::Unauthorized)?;
    let verified = site.tokens.verify(token, state.clock.now()).await;
    verified.map_err(|_| BadgeProblem::Unauthorized)
}

/// The token that a request has, if it has one and nothing else.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(header), None) = (given.next(), given.next()) else {
        return None;
    };
    let (scheme, token) = std::str::from_utf8(header.as_bytes())
        .ok()?
        .split_once(' ')?;
    let bearer = scheme.eq_ignore_ascii_case("bearer");
    bearer.then(|| token.trim_ascii())
}

async fn preflight(
    Shared(state): Shared<AppState>,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Response {
    match site(&state, &account) {
        Some((_, site)) => reply::preflight(site, &headers),
        None => no_such_account(),
    }
}

async fn preflight_of_consumer(
    state: Shared<AppState>,
    Path((account, _)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    preflight(state, Path(account), headers).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_routes_would_take_is_answered_before_them() {
        let view = |path: &str| match PageView::at(path) {
            Some(PageView::UnreadByConsumer { .. }) => "old",
            Some(PageView::Badge { .. }) => "new",
            None => "routes",
        };
        assert_eq!(view("/helpers/msghist/1/a%2Fb/unreadByConsumer"), "old");
        assert_eq!(view("/v1/badge/1"), "new");
        assert_eq!(
            PageView::at("/helpers/msghist/1/a%2Fb/unreadByConsumer"),
            Some(PageView::UnreadByConsumer {
                account: "1",
                consumer: "a%2Fb"
            })
        );
        for other in [
            "/",
            "/v1/badge/",
            "/v1/badge/1/",
            "/v1/badge/1/events",
            "/helpers/msghist/",
            "/helpers/msghist//x/unreadByConsumer",
            "/helpers/msghist/1//unreadByConsumer",
            "/helpers/msghist/1/x/unreadByConsumer/",
            "/helpers/msghist/1/x/y/unreadByConsumer",
            "/helpers/msghist/1/unreadByConsumer",
            "/helpers/msghist/unreadByConsumer",
            "/helpers/msghist/1/x/unread",
        ] {
            assert_eq!(view(other), "routes", "{other}");
        }
        for (method, express) in [("GET", true), ("HEAD", false), ("OPTIONS", false)] {
            let (method, uri) = (method.parse().unwrap(), Uri::from_static("/v1/badge/1"));
            assert_eq!(PageView::of(&method, &uri).is_some(), express, "{method}");
        }
    }
}
