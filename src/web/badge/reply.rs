//! What the badge answers over HTTP: states with their tags, refusals, and who may read them.
//!
//! The badge's answers are for scripts and are no pages. They have headers of their own and not the pages' hardening, which would
//! be most of what an answer from memory costs.

use std::fmt::{self, Write as _};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;

use super::Site;
use super::answer::Unavailable;
use super::cache::BadgeState;
use crate::web::error::{PublicError, problem};

/// A page asks again after so many seconds.
const NEXT_POLL: u64 = 30;

/// How long browsers may remember what a page of another origin may do; they take no more than two hours.
const PREFLIGHT: &str = "7200";

/// Why a badge is not told.
pub enum BadgeProblem {
    Unauthorized,
    TooMany(Duration),
    Unavailable,
}

impl From<Unavailable> for BadgeProblem {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl IntoResponse for BadgeProblem {
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

pub fn no_such_account() -> Response {
    let problem = PublicError::NotFound("there is no such account here");
    hardened(problem.into_response())
}

/// Byte for byte what pages have always been told.
pub fn old(unread: bool, site: &Site, request: &mut HeaderMap) -> Response {
    let (tag, body) = if unread {
        (TRUE, "{\"unreadByConsumer\":true}")
    } else {
        (FALSE, "{\"unreadByConsumer\":false}")
    };
    tagged(tag, LATELY, site, request, || body.into())
}

const TRUE: HeaderValue = HeaderValue::from_static("\"true\"");
const FALSE: HeaderValue = HeaderValue::from_static("\"false\"");
const LATELY: HeaderValue = HeaderValue::from_static("private, max-age=15");
const NOW: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The state of a token's consumer.
pub fn own(answer: &BadgeState, site: &Site, request: &mut HeaderMap) -> Response {
    // A tag is made of digits, letters and a dash.
    let tag = HeaderValue::try_from(format!("\"{}\"", EntityTag(answer))).unwrap_or(FALSE);
    tagged(tag, NOW, site, request, || body(answer).into())
}

/// An answer whose headers take the place of the request's.
fn tagged(
    tag: HeaderValue,
    lifetime: HeaderValue,
    site: &Site,
    request: &mut HeaderMap,
    body: impl FnOnce() -> Body,
) -> Response {
    let known = matches(request, tag.as_bytes());
    let origin = allowed_origin(site, request).cloned();
    let mut out = emptied(request);
    out.insert(header::CACHE_CONTROL, lifetime);
    out.insert(header::ETAG, tag);
    if !known {
        out.insert(header::CONTENT_TYPE, JSON);
    }
    for_origin(&mut out, origin);
    out.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    let mut response = Response::new(if known { Body::empty() } else { body() });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    *response.headers_mut() = out;
    response
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The room of a request's headers, for an answer's. hyper keeps it for the connection's next request, so that a page view needs no
/// memory for headers; a request with uncommonly many is not to be paid for as long as its connection lasts.
fn emptied(request: &mut HeaderMap) -> HeaderMap {
    let mut room = std::mem::take(request);
    if room.capacity() > MOST_HEADERS {
        return HeaderMap::with_capacity(8);
    }
    room.clear();
    room
}

/// Browsers send up to twenty headers, and proxies add a few.
const MOST_HEADERS: usize = 48;

/// Whether `If-None-Match` names this tag.
pub fn matches(headers: &HeaderMap, tag: &[u8]) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|own| own == b"*" || own.strip_prefix(b"W/").unwrap_or(own) == tag)
}

/// The answer in words, the same for every way of asking.
pub fn body(answer: &BadgeState) -> String {
    let BadgeState { unread, count, .. } = answer;
    let (next_poll, stale) = if answer.stale {
        (NEXT_POLL * 2, ",\"stale\":true")
    } else {
        (NEXT_POLL, "")
    };
    let mut body = String::with_capacity(112);
    // Nothing can go wrong with writing into memory.
    let _ = write!(body, "{{\"unread\":{unread},\"count\":{count},\"since\":");
    let _ = match answer.since {
        Some(at) => write!(
            body,
            "\"{}\"",
            at.to_rfc3339_opts(SecondsFormat::Millis, true)
        ),
        None => write!(body, "null"),
    };
    let _ = write!(body, ",\"next_poll_s\":{next_poll}{stale}}}");
    body
}

/// Names the state: the same for the same answer, in every process.
pub fn tag(answer: &BadgeState) -> String {
    EntityTag(answer).to_string()
}

struct EntityTag<'a>(&'a BadgeState);

impl fmt::Display for EntityTag<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.since.map_or(0, |at| at.timestamp_millis());
        let stale = if self.0.stale { "s" } else { "" };
        write!(f, "{}-{since:x}{stale}", self.0.count)
    }
}

/// What a page of another origin may send: the same for all addresses of the badge.
pub fn preflight(site: &Site, headers: &HeaderMap) -> Response {
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
pub fn shared(site: &Site, request: &HeaderMap, mut response: Response) -> Response {
    let out = response.headers_mut();
    let origin = allowed_origin(site, request);
    if origin.is_some() && out.contains_key(header::RETRY_AFTER) {
        let name = HeaderValue::from_static("retry-after");
        out.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, name);
    }
    for_origin(out, origin.cloned());
    hardened(response)
}

/// The origin of the page that asks, if its pages may read the answer.
fn allowed_origin<'a>(site: &Site, request: &'a HeaderMap) -> Option<&'a HeaderValue> {
    let origin = request.get(header::ORIGIN)?;
    let mut own = site.origins.iter();
    own.any(|own| own.is(origin.as_bytes())).then_some(origin)
}

fn for_origin(out: &mut HeaderMap, origin: Option<HeaderValue>) {
    let vary = HeaderValue::from_static("origin, authorization");
    out.insert(header::VARY, vary);
    if let Some(origin) = origin {
        out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

/// What every answer carries: it is what it says it is, and nobody keeps it unless told so.
fn hardened(mut response: Response) -> Response {
    let out = response.headers_mut();
    out.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    out.entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    #[test]
    fn a_tag_is_recognised_however_it_comes_back() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            headers
        };
        assert!(matches(&with("\"1-0\""), b"\"1-0\""));
        assert!(matches(&with("\"x\", W/\"1-0\""), b"\"1-0\""));
        assert!(matches(&with("*"), b"\"1-0\""));
        assert!(!matches(&with("\"1-0"), b"\"1-0\""));
        assert!(!matches(&HeaderMap::new(), b"\"1-0\""));
    }

    #[test]
    fn nothing_of_a_request_is_in_its_answer_and_a_long_one_leaves_no_room_behind() {
        for many in [1, 20, 90] {
            let mut request = HeaderMap::new();
            for number in 0..many {
                let name: HeaderName = format!("x-{number}").parse().unwrap();
                request.append(name.clone(), HeaderValue::from_static("one"));
                request.append(name, HeaderValue::from_static("two"));
            }
            let room = emptied(&mut request);
            assert!(room.is_empty() && request.is_empty(), "{many}");
            assert!(room.capacity() <= MOST_HEADERS, "{many}");
        }
    }

    #[test]
    fn the_answer_says_stale_only_when_it_is() {
        assert_eq!(
            body(&BadgeState::default()),
            r#"{"unread":false,"count":0,"since":null,"next_poll_s":30}"#
        );
        let stale = BadgeState {
            unread: true,
            count: 2,
            since: chrono::DateTime::from_timestamp(1, 0),
            stale: true,
        };
        assert_eq!(
            body(&stale),
            r#"{"unread":true,"count":2,"since":"1970-01-01T00:00:01.000Z","next_poll_s":60,"stale":true}"#
        );
        assert_ne!(tag(&stale), tag(&BadgeState::default()));
    }
}
