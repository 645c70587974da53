//! What the badge answers over HTTP: states with their tags, refusals, and who may read them.
//!
//! The badge's answers are for scripts and are no pages. They have headers of their own and not the pages' hardening, which would
//! be most of what an answer from memory costs.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;

use super::Site;
use super::answer::Unavailable;
use super::cache::Answer;
use crate::web::error::{ApiError, problem};

/// A page asks again after so many seconds.
const NEXT_POLL: u64 = 30;

/// How long browsers may remember what a page of another origin may do; they take no more than two hours.
const PREFLIGHT: &str = "7200";

/// Why a badge is not told.
pub enum Problem {
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

pub fn no_such_account() -> Response {
    let problem = ApiError::NotFound("there is no such account here");
    hardened(problem.into_response())
}

/// Byte for byte what pages have always been told.
pub fn old(unread: bool, headers: &HeaderMap) -> Response {
    let (tag, body) = if unread {
        (TRUE, "{\"unreadByConsumer\":true}")
    } else {
        (FALSE, "{\"unreadByConsumer\":false}")
    };
    tagged(tag, LATELY, headers, || body.into())
}

const TRUE: HeaderValue = HeaderValue::from_static("\"true\"");
const FALSE: HeaderValue = HeaderValue::from_static("\"false\"");
const LATELY: HeaderValue = HeaderValue::from_static("private, max-age=15");
const NOW: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The state of a token's consumer.
pub fn own(answer: &Answer, headers: &HeaderMap) -> Response {
    let quoted = format!("\"{}\"", tag(answer));
    // A tag is made of digits, letters and a dash.
    let tag = HeaderValue::try_from(quoted).unwrap_or(FALSE);
    tagged(tag, NOW, headers, || body(answer).into())
}

fn tagged(
    tag: HeaderValue,
    lifetime: HeaderValue,
    headers: &HeaderMap,
    body: impl FnOnce() -> Body,
) -> Response {
    let mut response = Response::new(Body::empty());
    let out = response.headers_mut();
    // With those that CORS adds: grown once.
    out.reserve(8);
    let known = matches(headers, tag.as_bytes());
    out.insert(header::CACHE_CONTROL, lifetime);
    out.insert(header::ETAG, tag);
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        let json = HeaderValue::from_static("application/json");
        out.insert(header::CONTENT_TYPE, json);
        *response.body_mut() = body();
    }
    response
}

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
pub fn body(answer: &Answer) -> String {
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
pub fn tag(answer: &Answer) -> String {
    let since = answer.since.map_or(0, |at| at.timestamp_millis());
    let stale = if answer.stale { "s" } else { "" };
    format!("{}-{since:x}{stale}", answer.count)
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
pub fn shared(site: &Site, headers: &HeaderMap, mut response: Response) -> Response {
    let out = response.headers_mut();
    out.insert(
        header::VARY,
        HeaderValue::from_static("origin, authorization"),
    );
    let origin = headers.get(header::ORIGIN);
    if let Some(origin) =
        origin.filter(|o| site.origins.iter().any(|own| allows(own, o.as_bytes())))
    {
        out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if out.contains_key(header::RETRY_AFTER) {
            let name = HeaderValue::from_static("retry-after");
            out.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, name);
        }
    }
    hardened(response)
}

/// Whether an account's origin is a page's. `https://*.example.com` stands for one label or more before `.example.com`, never for
/// the bare domain.
fn allows(own: &str, origin: &[u8]) -> bool {
    let Some((scheme, domain)) = own.split_once("*.") else {
        return own.as_bytes() == origin;
    };
    let host = origin.strip_prefix(scheme.as_bytes());
    let below = host.and_then(|host| host.strip_suffix(domain.as_bytes())?.strip_suffix(b"."));
    let fits = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    let is_label = |label: &[u8]| !label.is_empty() && label.iter().all(fits);
    below.is_some_and(|below| below.split(|b| *b == b'.').all(is_label))
}

/// What every answer carries: it is what it says it is, and nobody keeps it unless told so.
fn hardened(mut response: Response) -> Response {
    let out = response.headers_mut();
    let nosniff = HeaderValue::from_static("nosniff");
    out.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    out.entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_what_is_below_a_domain_and_for_nothing_else() {
        for (own, origin, allowed) in [
            ("https://*.example.com", "https://www.example.com", true),
            ("https://*.example.com", "https://a.b-c.example.com", true),
            (
                "https://*.example.com:8443",
                "https://www.example.com:8443",
                true,
            ),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://a..example.com", false),
            ("https://*.example.com", "https://evilexample.com", false),
            (
                "https://*.example.com",
                "https://www.example.com.evil.example",
                false,
            ),
            (
                "https://*.example.com",
                "https://evil.example/.example.com",
                false,
            ),
            (
                "https://*.example.com",
                "https://evil.example:1.example.com",
                false,
            ),
            ("https://*.example.com", "https://a@b.example.com", false),
            ("https://*.example.com", "http://www.example.com", false),
            (
                "https://*.example.com",
                "https://www.example.com:8443",
                false,
            ),
            (
                "https://*.example.com:8443",
                "https://www.example.com",
                false,
            ),
            ("https://*.example.com", "null", false),
            ("https://*.example.com", "https://*.example.com", false),
            ("https://www.example.com", "https://www.example.com", true),
            (
                "https://www.example.com",
                "https://a.www.example.com",
                false,
            ),
        ] {
            assert_eq!(allows(own, origin.as_bytes()), allowed, "{own} {origin}");
        }
    }

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
