//! One HTTP exchange: bounded in time and size, and without an address in its errors.
//!
//! Every status is an answer here; what it means is decided in [`LivePersonResponse::accepted`], once for all endpoints.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{Response, StatusCode, redirect};

use super::LivePersonError;
use super::error::{FAILED, TIMED_OUT};
use crate::clock::Moment;
use crate::trace;

const CONNECT: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(30);
/// Longer pauses are not believed: a slip of one digit must not silence an account for a day.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// LivePerson asks for at least this much after a 429.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// More of an error page is not read.
const MAX_ERROR_BODY: usize = 64 << 10;

/// A client for talking to providers: time-outs set, no redirects (they would carry credentials elsewhere), no cookies.
pub fn http_client() -> reqwest::Client {
    build(TOTAL)
}

pub fn build(total: Duration) -> reqwest::Client {
    // reqwest is built without a default for TLS and would panic; a second installation is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .timeout(total)
        .redirect(redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("unread/", env!("CARGO_PKG_VERSION")))
        .build()
        .expect("a client from constants")
}

/// What came back, whatever its status.
pub struct LivePersonResponse {
    /// Not after the question was sent: the answer is at least as old as that.
    pub asked: Moment,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl LivePersonResponse {
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The server's clock, to the second.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        parse_date(self.header(&DATE)?)
    }

    /// The status in a word out of a closed set, for metrics.
    pub fn label(&self) -> &'static str {
        match self.status.as_u16() {
            304 => "not_modified",
            200..300 => "ok",
            401 | 403 => "unauthorized",
            429 => "throttled",
            408 | 500.. => "unavailable",
            _ => "rejected",
        }
    }

    /// The answer itself if its status is a success (or 304), else the error that the status stands for.
    pub fn accepted(
        self,
        endpoint: &'static str,
        now: DateTime<Utc>,
    ) -> Result<Self, LivePersonError> {
        let status = self.status.as_u16();
        match status {
            200..300 | 304 => Ok(self),
            401 | 403 => Err(LivePersonError::Unauthorized { endpoint, status }),
            429 => Err(LivePersonError::Throttled {
                endpoint,
                retry_after: self
                    .retry_after(now)
                    .unwrap_or_default()
                    .max(SHORTEST_PAUSE),
            }),
            408 | 500.. => Err(LivePersonError::Unavailable {
                endpoint,
                why: describe(status),
                retry_after: self.retry_after(now),
            }),
            _ => Err(LivePersonError::Rejected { endpoint, status }),
        }
    }

    /// `Retry-After`, in seconds or as a date, which is measured against the server's own clock if it shows one.
    fn retry_after(&self, now: DateTime<Utc>) -> Option<Duration> {
        let raw = self.header(&RETRY_AFTER)?.trim();
        let pause = match raw.parse::<u32>() {
            Ok(seconds) => Duration::from_secs(seconds.into()),
            Err(_) => (parse_date(raw)? - self.date().unwrap_or(now))
                .max(TimeDelta::zero())
                .to_std()
                .unwrap_or_default(),
        };
        Some(pause.min(LONGEST_PAUSE))
    }
}

/// An HTTP date (`Sun, 06 Nov 1994 08:49:37 GMT`), which RFC 2822 covers.
fn parse_date(raw: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc2822(raw).ok()?.to_utc())
}

fn describe(status: u16) -> &'static str {
    match status {
        408 => "HTTP 408",
        500 => FAILED,
        502 => "HTTP 502",
        503 => "HTTP 503",
        504 => "HTTP 504",
        _ => "HTTP 5xx",
    }
}

/// Sends one request and reads its whole answer, if it is not larger than `max_body`.
pub async fn exchange(
    request: reqwest::RequestBuilder,
    endpoint: &'static str,
    max_body: usize,
) -> Result<LivePersonResponse, LivePersonError> {
    let unreachable = |error: reqwest::Error| LivePersonError::Unavailable {
        endpoint,
        why: blame(&error),
        retry_after: None,
    };
    let asked = Moment::now();
    let request = request.headers(trace::headers());
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let headers = std::mem::take(response.headers_mut());
    let body = if status.is_success() {
        read(response, max_body)
            .await
            .map_err(unreachable)?
            .ok_or(LivePersonError::Malformed {
                endpoint,
                why: "the answer is too large",
            })?
    } else {
        // Never needed, often HTML: read so that the connection can be used again.
        read(response, MAX_ERROR_BODY)
            .await
            .unwrap_or_default()
            .unwrap_or_default()
    };
    Ok(LivePersonResponse {
        asked,
        status,
        headers,
        body,
    })
}

/// The body, or `None` if it is larger than `max`.
async fn read(mut response: Response, max: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// What failed, in words of ours: reqwest's own would name the address.
fn blame(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        TIMED_OUT
    } else if error.is_connect() {
        "no connection"
    } else if error.is_builder() {
        "the request cannot be built"
    } else {
        "the connection broke"
    }
}
