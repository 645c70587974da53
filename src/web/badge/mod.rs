//! The badge for websites: whether a consumer has something unread, for every page view of a brand.
//!
//! It tells of a consumer only to who holds the consumer's token or LivePerson's unguessable id, says the same of the unknown as
//! of who has read everything, and learns of changes by notices from whichever process made them. It writes nothing.
//!
//! Two addresses, because pages of brands call the old one today; both are the same answer (`answer`).

mod answer;
mod cache;
mod client;
mod events;
mod jwks;
mod recent;
mod script;
mod token;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{SecondsFormat, TimeDelta};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::answer::{Lookups, Unavailable, answer, plausible};
use self::cache::{Answer, Cache, Ids};
use self::client::Connections;
use self::events::Watchers;
use self::token::{Tokens, Verified};
use super::State;
use super::error::{ApiError, problem};
use crate::config::{self, Network};
use crate::db::changes::{ConsumerKey, Heard, Listener, consumer_key};
use crate::domain::ids::AccountId;

pub use self::client::{Client, Limiter};
pub use self::jwks::Jwks;
pub use self::script::{integrity, pinned_path};

/// Consumers remembered; with all that is kept of one, some 300 bytes each.
const REMEMBERED: usize = 50_000;

/// Connections to the database that the badge uses at once.
const QUERIES: usize = 6;

/// A page asks again after so many seconds.
const NEXT_POLL: u64 = 30;

/// How long browsers may remember what a page of another origin may do; they take no more than two hours.
const PREFLIGHT: &str = "7200";

/// What the badge of one process remembers.
pub struct Badge {
    cache: Cache,
    watchers: Watchers,
    queries: Semaphore,
    requests: Limiter<IpAddr>,
    of_tokens: Limiter<ConsumerKey>,
    connections: Connections<()>,
    of_address: Connections<IpAddr>,
    of_consumer: Connections<ConsumerKey>,
    trusted_proxies: Vec<Network>,
    shutdown: CancellationToken,
}

impl Badge {
    pub fn new(web: &config::Web, shutdown: CancellationToken) -> Self {
        let rate = web.badge_requests_per_second;
        Self {
            cache: Cache::new(REMEMBERED),
            watchers: Watchers::default(),
            queries: Semaphore::new(QUERIES),
            requests: Limiter::new(rate, rate * 10.0, REMEMBERED),
            // A page asks twice a minute; a person opens a few at once.
            of_tokens: Limiter::new(2.0, 60.0, REMEMBERED),
            connections: Connections::default(),
            of_address: Connections::default(),
            of_consumer: Connections::default(),
            trusted_proxies: web.trusted_proxies.clone(),
            shutdown,
        }
    }

    fn heard(&self, heard: &Heard) {
        match heard {
            Heard::Changed(consumers) => {
                for consumer in consumers {
                    self.cache.changed(*consumer);
                    self.watchers.wake(*consumer);
                }
            }
            Heard::Gap => {
                self.cache.all_changed();
                self.watchers.wake_all();
            }
        }
    }
}

/// An account's badge.
pub struct Site {
    origins: Vec<String>,
    customer_ids_need_token: bool,
    tokens: Tokens,
    lookups: Lookups,
}

impl Site {
    pub fn new(
        account: &config::Account,
        liveperson: &config::LivePerson,
        http: &reqwest::Client,
    ) -> Self {
        let scans = TimeDelta::from_std(liveperson.scan_interval * 3).unwrap_or(TimeDelta::MAX);
        Self {
            origins: account.badge_origins.clone(),
            customer_ids_need_token: account.badge_require_token_for_customer_ids,
            tokens: Tokens::new(&account.id, &account.badge_tokens, http),
            lookups: Lookups::new(
                liveperson.badge_lookups_per_second,
                scans.max(TimeDelta::minutes(5)),
            ),
        }
    }
}

pub fn routes() -> Router<State> {
    Router::new()
        .route(
            "/helpers/msghist/{account}/{consumer}/unreadByConsumer",
            get(unread_by_consumer).options(preflight_of_consumer),
        )
        .route("/v1/badge/{account}", get(badge).options(preflight))
        .route(
            "/v1/badge/{account}/events",
            get(badge_events).options(preflight),
        )
        .route("/badge/{file}", get(script::script))
}

/// Hears of changes until the process stops. While the database is away nothing can be heard; answers hold only for seconds.
pub async fn follow_changes(state: State, shutdown: CancellationToken) {
    let mut pause = Duration::from_secs(1);
    let following = async {
        loop {
            match Listener::connect(&state.pool).await {
                Ok(mut listener) => {
                    pause = Duration::from_secs(1);
                    state.badge.heard(&Heard::Gap);
                    loop {
                        match listener.next().await {
                            Ok(heard) => state.badge.heard(&heard),
                            Err(error) => {
                                tracing::warn!("Changes cannot be heard of: {error}");
                                break;
                            }
                        }
                    }
                }
                Err(error) => tracing::warn!("Changes cannot be heard of yet: {error}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(15));
        }
    };
    shutdown.run_until_cancelled(following).await;
}

/// Why a badge is not told.
enum Problem {
    Unauthorized,
    TooMany(Duration),
    Unavailable,
}

impl From<Unavailable> for Problem {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let seconds = |wait: Duration| wait.as_secs().saturating_add(1).to_string();
        match self {
            Self::Unauthorized => {
                let bearer = [(header::WWW_AUTHENTICATE, "Bearer")];
                let problem = problem(StatusCode::UNAUTHORIZED, "a valid token is needed");
                (bearer, problem).into_response()
            }
            Self::TooMany(wait) => {
                let later = [(header::RETRY_AFTER, seconds(wait))];
                let problem = problem(StatusCode::TOO_MANY_REQUESTS, "too many requests");
                (later, problem).into_response()
            }
            Self::Unavailable => {
                let later = [(header::RETRY_AFTER, "5")];
                let problem = problem(StatusCode::SERVICE_UNAVAILABLE, "try again later");
                (later, problem).into_response()
            }
        }
    }
}

/// The account that a path names, and its badge.
fn site<'a>(state: &'a State, account: &str) -> Option<(&'a AccountId, &'a Site)> {
    let id: AccountId = account.parse().ok()?;
    let (id, account) = state.accounts.get_key_value(&id)?;
    Some((id, &account.badge))
}

fn no_such_account() -> Response {
    ApiError::NotFound("there is no such account here").into_response()
}

/// `GET /helpers/msghist/{account}/{consumer}/unreadByConsumer` → `{"unreadByConsumer": bool}`.
async fn unread_by_consumer(
    Shared(state): Shared<State>,
    Client(address): Client,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    // An id that is not even text.
    let Ok(Path((account, consumer))) = path else {
        return old_answer(false, &headers);
    };
    let Some((id, site)) = site(&state, &account) else {
        return no_such_account();
    };
    let told = old_badge(&state, (id, site), address, &consumer, &headers).await;
    let response = match told {
        Ok(unread) => old_answer(unread, &headers),
        Err(problem) => problem.into_response(),
    };
    shared(site, &headers, response)
}

async fn old_badge(
    state: &State,
    (id, site): (&AccountId, &Site),
    address: IpAddr,
    consumer: &str,
    headers: &HeaderMap,
) -> Result<bool, Problem> {
    let started = Instant::now();
    let limited = state.badge.requests.pass(address, started);
    limited.map_err(Problem::TooMany)?;
    if !plausible(consumer) {
        state.metrics.badge("none", started.elapsed());
        return Ok(false);
    }
    let ids = if headers.contains_key(header::AUTHORIZATION) {
        let token = verify(state, site, headers).await?;
        if token.subject != consumer {
            return Err(Problem::Unauthorized);
        }
        Ids::Both
    } else if site.customer_ids_need_token {
        Ids::LivePerson
    } else {
        Ids::Both
    };
    let (answer, source) = answer(state, id, consumer, ids).await?;
    state.metrics.badge(source, started.elapsed());
    Ok(answer.unread)
}

/// Byte for byte what pages have always been told.
fn old_answer(unread: bool, headers: &HeaderMap) -> Response {
    let (tag, body) = if unread {
        ("\"true\"", "{\"unreadByConsumer\":true}")
    } else {
        ("\"false\"", "{\"unreadByConsumer\":false}")
    };
    tagged(tag, "private, max-age=15", headers, body.to_owned())
}

fn tagged(tag: &str, lifetime: &'static str, headers: &HeaderMap, body: String) -> Response {
    let lifetime = HeaderValue::from_static(lifetime);
    let mut response = if matches(headers, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    };
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, lifetime);
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Whether `If-None-Match` names this tag.
fn matches(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|own| own == "*" || own.strip_prefix("W/").unwrap_or(own) == tag)
}

/// `GET /v1/badge/{account}`: the state of the token's consumer.
async fn badge(
    Shared(state): Shared<State>,
    Client(address): Client,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some((id, site)) = site(&state, &account) else {
        return no_such_account();
    };
    let told = async {
        let started = Instant::now();
        let token = admit(&state, id, site, address, &headers).await?;
        let (answer, source) = answer(&state, id, &token.subject, Ids::Both).await?;
        state.metrics.badge(source, started.elapsed());
        Ok(answer)
    };
    let response = match told.await {
        Ok(answer) => {
            let tag = format!("\"{}\"", tag(&answer));
            tagged(&tag, "private, no-cache", &headers, body(&answer))
        }
        Err(problem) => Problem::into_response(problem),
    };
    shared(site, &headers, response)
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
    let opened = match admit(&state, id, site, address, &headers).await {
        Ok(token) => events::open(&state, id, token, address, &headers),
        Err(problem) => Err(problem),
    };
    let response = opened.unwrap_or_else(Problem::into_response);
    shared(site, &headers, response)
}

/// Lets a request in: not too many of them, and with a good token.
async fn admit(
    state: &State,
    id: &AccountId,
    site: &Site,
    address: IpAddr,
    headers: &HeaderMap,
) -> Result<Verified, Problem> {
    let now = Instant::now();
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

/// The answer in words, the same for every way of asking.
fn body(answer: &Answer) -> String {
    let since = answer.since.map_or("null".to_owned(), |at| {
        format!("\"{}\"", at.to_rfc3339_opts(SecondsFormat::Millis, true))
    });
    let Answer { unread, count, .. } = answer;
    let (next_poll, stale) = if answer.stale {
        (NEXT_POLL * 2, ",\"stale\":true")
    } else {
        (NEXT_POLL, "")
    };
    format!(
        "{{\"unread\":{unread},\"count\":{count},\"since\":{since},\"next_poll_s\":{next_poll}{stale}}}"
    )
}

/// Names the state: the same for the same answer, in every process.
fn tag(answer: &Answer) -> String {
    let since = answer.since.map_or(0, |at| at.timestamp_millis());
    let stale = if answer.stale { "s" } else { "" };
    format!("{}-{since:x}{stale}", answer.count)
}

async fn preflight(
    Shared(state): Shared<State>,
    Path(account): Path<String>,
    headers: HeaderMap,
) -> Response {
    preflight_for(&state, &account, &headers)
}

async fn preflight_of_consumer(
    Shared(state): Shared<State>,
    Path((account, _)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    preflight_for(&state, &account, &headers)
}

/// What a page of another origin may send: the same for all addresses of the badge.
fn preflight_for(state: &State, account: &str, headers: &HeaderMap) -> Response {
    let Some((_, site)) = site(state, account) else {
        return no_such_account();
    };
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, last-event-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT),
        (header::CACHE_CONTROL, "private, max-age=7200"),
    ];
    let response = (StatusCode::NO_CONTENT, allowed).into_response();
    shared(site, headers, response)
}

/// Lets pages of the account's origins read an answer. Others get it too, and their browsers keep it from them.
fn shared(site: &Site, headers: &HeaderMap, mut response: Response) -> Response {
    let out = response.headers_mut();
    out.insert(
        header::VARY,
        HeaderValue::from_static("origin, authorization"),
    );
    let origin = headers.get(header::ORIGIN);
    if let Some(origin) = origin.filter(|o| {
        site.origins
            .iter()
            .any(|own| own.as_bytes() == o.as_bytes())
    }) {
        out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        out.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("retry-after"),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_recognised_however_it_comes_back() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            headers
        };
        assert!(matches(&with("\"1-0\""), "\"1-0\""));
        assert!(matches(&with("\"x\", W/\"1-0\""), "\"1-0\""));
        assert!(matches(&with("*"), "\"1-0\""));
        assert!(!matches(&with("\"1-0"), "\"1-0\""));
        assert!(!matches(&HeaderMap::new(), "\"1-0\""));
    }

    #[test]
    fn the_answer_says_stale_only_when_it_is() {
        assert_eq!(
            body(&Answer::default()),
            r#"{"unread":false,"count":0,"since":null,"next_poll_s":30}"#
        );
        let stale = Answer {
            unread: true,
            count: 2,
            since: chrono::DateTime::from_timestamp(1, 0),
            stale: true,
        };
        assert_eq!(
            body(&stale),
            r#"{"unread":true,"count":2,"since":"1970-01-01T00:00:01.000Z","next_poll_s":60,"stale":true}"#
        );
        assert_ne!(tag(&stale), tag(&Answer::default()));
    }
}
