//! The addresses of the badge: the one that brands' pages have always called, the one for tokens, and its events.
//!
//! Requests are taken apart by hand: the usual extractors copy all headers and every part of the path, for each page view. For the
//! same reason [`express`] answers page views before the table of routes, which knows the same handlers.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Instant;

use axum::Router;
use axum::extract::{Path, Request, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use percent_encoding::percent_decode_str;

use super::answer::{answer, plausible};
use super::cache::{Answer, Ids};
use super::client::Client;
use super::reply::{self, Problem, no_such_account, shared};
use super::token::Verified;
use super::{Site, State, events};
use crate::db::changes::consumer_key;
use crate::domain::ids::AccountId;
use crate::metrics::BadgeSource;

pub fn routes() -> Router<State> {
    Router::new()
        .route(
            "/helpers/msghist/{account}/{consumer}/unreadByConsumer",
            get(async |Shared(state): Shared<State>, request: Request| {
                unread_by_consumer(&state, request).await
            })
            .options(preflight_of_consumer),
        )
        .route(
            "/v1/badge/{account}",
            get(async |Shared(state): Shared<State>, request: Request| {
                badge(&state, request).await
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
pub async fn express(state: &State, view: PageView, request: Request) -> Response {
    match view {
        PageView::UnreadByConsumer => unread_by_consumer(state, request).await,
        PageView::Badge => badge(state, request).await,
    }
}

/// The account that a path names, and its badge.
fn site<'a>(state: &'a State, account: &str) -> Option<(&'a AccountId, &'a Site)> {
    let (id, account) = state.accounts.get_key_value(account)?;
    Some((id, &account.badge))
}

/// `GET /helpers/msghist/{account}/{consumer}/unreadByConsumer` → `{"unreadByConsumer": bool}`.
async fn unread_by_consumer(state: &State, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let mut path = request.uri.path().split('/').skip(3);
    let (account, consumer) = (path.next().unwrap_or(""), path.next().unwrap_or(""));
    let Some((id, site)) = site(state, account) else {
        return no_such_account();
    };
    let response = match of_consumer(state, (id, site), consumer, &request).await {
        Ok(unread) => reply::old(unread, &request.headers),
        Err(problem) => problem.into_response(),
    };
    shared(site, &request.headers, response)
}

/// Whether something is unread for a consumer whose id was written into an address.
async fn of_consumer(
    state: &State,
    (id, site): (&AccountId, &Site),
    consumer: &str,
    request: &Parts,
) -> Result<bool, Problem> {
    let now = Instant::now();
    let client = Client::of(&request.headers, &request.extensions, state);
    let limited = state.badge.requests.pass(client.0, now);
    limited.map_err(Problem::TooMany)?;
    // An id that is not even text is nobody's.
    let consumer = percent_decode_str(consumer).decode_utf8();
    let consumer = consumer.unwrap_or(Cow::Borrowed(""));
    if !plausible(&consumer) {
        state.metrics.badge(BadgeSource::None, now.elapsed());
        return Ok(false);
    }
    let ids = if request.headers.contains_key(header::AUTHORIZATION) {
        let token = verify(state, site, &request.headers).await?;
        if token.subject != consumer {
            return Err(Problem::Unauthorized);
        }
        Ids::Both
    } else if site.customer_ids_need_token {
        Ids::LivePerson
    } else {
        Ids::Both
    };
    let (answer, source) = answer(state, id, &consumer, ids, now).await?;
    state.metrics.badge(source, now.elapsed());
    Ok(answer.unread)
}

/// `GET /v1/badge/{account}`: the state of the token's consumer.
async fn badge(state: &State, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let account = request.uri.path().split('/').nth(3).unwrap_or("");
    let Some((id, site)) = site(state, account) else {
        return no_such_account();
    };
    let response = match of_token(state, (id, site), &request).await {
        Ok(answer) => reply::own(&answer, &request.headers),
        Err(problem) => problem.into_response(),
    };
    shared(site, &request.headers, response)
}

async fn of_token(
    state: &State,
    (id, site): (&AccountId, &Site),
    request: &Parts,
) -> Result<Answer, Problem> {
    let now = Instant::now();
    let client = Client::of(&request.headers, &request.extensions, state);
    let token = admit(state, (id, site), client.0, &request.headers, now).await?;
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
