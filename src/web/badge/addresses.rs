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
use super::cache::{Answer, Ids};
use super::reply::{self, Problem, no_such_account, shared};
use super::token::Verified;
use super::{Site, events};
use crate::db::changes::consumer_key;
use crate::domain::ids::AccountId;
use crate::metrics::BadgeSource;
use crate::web::State;
use crate::web::client::{Client, peer};

pub fn routes() -> Router<State> {
    Router::new()
        .route(
            "/helpers/msghist/{account}/{consumer}/unreadByConsumer",
            get(async |Shared(state): Shared<State>, request: Request| {
                express(
                    &state,
                    PageView::UnreadByConsumer,
                    peer(request.extensions()),
                    request,
                )
                .await
            })
            .options(preflight_of_consumer),
        )
        .route(
            "/v1/badge/{account}",
            get(async |Shared(state): Shared<State>, request: Request| {
                express(&state, PageView::Badge, peer(request.extensions()), request).await
            })
            .options(preflight),
        )
        .route(
            "/v1/badge/{account}/events",
            get(badge_events).options(preflight),
        )
}

/// What a page view asks for.
#[derive(Clone, Copy)]
pub enum PageView {
    UnreadByConsumer,
    Badge,
}

impl PageView {
    /// `None`: the table of routes answers.
    pub fn of(request: &Request) -> Option<Self> {
        let get = request.method() == Method::GET;
        get.then(|| Self::at(request.uri().path())).flatten()
    }

    fn at(path: &str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix("/helpers/msghist/") {
            let mut rest = rest.split('/');
            let parts = (rest.next(), rest.next(), rest.next(), rest.next());
            let (Some(account), Some(consumer), Some("unreadByConsumer"), None) = parts else {
                return None;
            };
            return (!account.is_empty() && !consumer.is_empty()).then_some(Self::UnreadByConsumer);
        }
        let account = path.strip_prefix("/v1/badge/")?;
        (!account.is_empty() && !account.contains('/')).then_some(Self::Badge)
    }
}

/// Answers a page view without looking up its route.
pub async fn express(state: &State, view: PageView, peer: IpAddr, request: Request) -> Response {
    let (request, _) = request.into_parts();
    match view {
        PageView::UnreadByConsumer => unread_by_consumer(state, peer, &request).await,
        PageView::Badge => badge(state, peer, &request).await,
    }
}

/// Answers a page view that needs no token and no look-up, as most do; `None`: [`express`] must.
pub fn from_memory(
    state: &State,
    view: PageView,
    peer: IpAddr,
    request: &Request,
) -> Option<Response> {
    let headers = request.headers();
    if !matches!(view, PageView::UnreadByConsumer) || headers.contains_key(header::AUTHORIZATION) {
        return None;
    }
    let (id, site, consumer) = consumer_of(state, request.uri())?;
    let now = Instant::now();
    let (answer, source) = remembered(state, id, &consumer, site.without_token(), now)?;
    let client = Client::of(headers, peer, state);
    let response = match state.badge.requests.pass(client.0, now) {
        Ok(()) => {
            state.metrics.badge(source, now.elapsed());
            reply::old(answer.unread, headers)
        }
        Err(wait) => Problem::TooMany(wait).into_response(),
    };
    Some(shared(site, headers, response))
}

/// The account that a path names, and its badge.
fn site<'a>(state: &'a State, account: &str) -> Option<(&'a AccountId, &'a Site)> {
    state.sites.get_key_value(account)
}

/// The account and the consumer of `/helpers/msghist/{account}/{consumer}/unreadByConsumer`; `None`: there is no such account.
fn consumer_of<'a>(
    state: &'a State,
    uri: &'a Uri,
) -> Option<(&'a AccountId, &'a Site, Cow<'a, str>)> {
    let mut path = uri.path().split('/').skip(3);
    let (id, site) = site(state, path.next()?)?;
    let consumer = path.next()?;
    if !consumer.contains('%') {
        return Some((id, site, Cow::Borrowed(consumer)));
    }
    let consumer = percent_decode_str(consumer).decode_utf8();
    // An id that is not even text is nobody's.
    Some((id, site, consumer.unwrap_or(Cow::Borrowed(""))))
}

/// `GET /helpers/msghist/{account}/{consumer}/unreadByConsumer` → `{"unreadByConsumer": bool}`.
async fn unread_by_consumer(state: &State, peer: IpAddr, request: &Parts) -> Response {
    let headers = &request.headers;
    let Some((id, site, consumer)) = consumer_of(state, &request.uri) else {
        return no_such_account();
    };
    let client = Client::of(headers, peer, state);
    let response = match of_consumer(state, (id, site), &consumer, client.0, headers).await {
        Ok(unread) => reply::old(unread, headers),
        Err(problem) => problem.into_response(),
    };
    shared(site, headers, response)
}

/// Whether something is unread for a consumer whose id was written into an address.
async fn of_consumer(
    state: &State,
    (id, site): (&AccountId, &Site),
    consumer: &str,
    client: IpAddr,
    headers: &HeaderMap,
) -> Result<bool, Problem> {
    let now = Instant::now();
    let limited = state.badge.requests.pass(client, now);
    limited.map_err(Problem::TooMany)?;
    if !plausible(consumer) {
        state.metrics.badge(BadgeSource::None, now.elapsed());
        return Ok(false);
    }
    let ids = if headers.contains_key(header::AUTHORIZATION) {
        let token = verify(state, site, headers).await?;
        if token.subject != consumer {
            return Err(Problem::Unauthorized);
        }
        Ids::Both
    } else {
        site.without_token()
    };
    let (answer, source) = answer(state, id, consumer, ids, now).await?;
    state.metrics.badge(source, now.elapsed());
    Ok(answer.unread)
}

/// `GET /v1/badge/{account}`: the state of the token's consumer.
async fn badge(state: &State, peer: IpAddr, request: &Parts) -> Response {
    let headers = &request.headers;
    let account = request.uri.path().split('/').nth(3).unwrap_or("");
    let Some((id, site)) = site(state, account) else {
        return no_such_account();
    };
    let client = Client::of(headers, peer, state);
    let response = match of_token(state, (id, site), client.0, headers).await {
        Ok(answer) => reply::own(&answer, headers),
        Err(problem) => problem.into_response(),
    };
    shared(site, headers, response)
}

async fn of_token(
    state: &State,
    (id, site): (&AccountId, &Site),
    client: IpAddr,
    headers: &HeaderMap,
) -> Result<Answer, Problem> {
    let now = Instant::now();
    let token = admit(state, (id, site), client, headers, now).await?;
    let (answer, source) = answer(state, id, &token.subject, Ids::Both, now).await?;
    state.metrics.badge(source, now.elapsed());
    Ok(answer)
}

/// `GET /v1/badge/{account}/events`: the same, pushed.
async fn badge_events(
    Shared(state): Shared<State>,
    Client(address): Client,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some((id, site)) = site(&state, &account) else {
        return no_such_account();
    };
    let opened = match admit(&state, (id, site), address, &headers, Instant::now()).await {
        Ok(token) => events::open(&state, id, token, address, &headers),
        Err(problem) => Err(problem),
    };
    let response = opened.unwrap_or_else(Problem::into_response);
    shared(site, &headers, response)
}

/// Lets a request in: not too many of them, and with a good token.
async fn admit(
    state: &State,
    (id, site): (&AccountId, &Site),
    address: IpAddr,
    headers: &HeaderMap,
    now: Instant,
) -> Result<Verified, Problem> {
    let limited = state.badge.requests.pass(address, now);
    limited.map_err(Problem::TooMany)?;
    let token = verify(state, site, headers).await?;
    let key = consumer_key(id, &token.subject);
    let limited = state.badge.of_tokens.pass(key, now);
    limited.map_err(Problem::TooMany)?;
    Ok(token)
}

async fn verify(state: &State, site: &Site, headers: &HeaderMap) -> Result<Verified, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(header), None) = (given.next(), given.next()) else {
        return Err(Problem::Unauthorized);
    };
    let (scheme, token) = header
        .to_str()
        .ok()
        .and_then(|header| header.split_once(' '))
        .ok_or(Problem::Unauthorized)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Problem::Unauthorized);
    }
    let verified = site.tokens.verify(token.trim(), state.clock.now()).await;
    verified.map_err(|_| Problem::Unauthorized)
}

async fn preflight(
    Shared(state): Shared<State>,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Response {
    match site(&state, &account) {
        Some((_, site)) => reply::preflight(site, &headers),
        None => no_such_account(),
    }
}

async fn preflight_of_consumer(
    state: Shared<State>,
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
            Some(PageView::UnreadByConsumer) => "old",
            Some(PageView::Badge) => "new",
            None => "routes",
        };
        assert_eq!(view("/helpers/msghist/1/a%2Fb/unreadByConsumer"), "old");
        assert_eq!(view("/v1/badge/1"), "new");
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
            "/helpers/msghist/1/x/unread",
        ] {
            assert_eq!(view(other), "routes", "{other}");
        }
        for (method, express) in [("GET", true), ("HEAD", false), ("OPTIONS", false)] {
            let request = Request::builder().method(method).uri("/v1/badge/1");
            let request = request.body(axum::body::Body::empty()).unwrap();
            assert_eq!(PageView::of(&request).is_some(), express, "{method}");
        }
    }
}
