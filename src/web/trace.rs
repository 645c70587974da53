//! What is told of every request: a span around it, for the log and for traces, and a count by route and kind of answer. Never the
//! path itself, which may hold a link's token.
//!
//! Each has an id, in its lines and in the answer's `X-Request-Id`: the caller's, if it gives one that fits, so that a proxy's lines and
//! ours are found by the same word.

use axum::extract::{MatchedPath, Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

use super::AppState;
use crate::hashing;
use crate::trace::{self, TraceParent};

const REQUEST_ID: &str = "x-request-id";

/// A caller's id of more than this is not repeated in every line.
const LONGEST_ID: usize = 64;

pub async fn observe(Shared(state): Shared<AppState>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("none", MatchedPath::as_str);
    let request_id = request_id(request.headers());
    let span = info_span!(
        "request",
        route,
        request_id,
        trace_id = Empty,
        status = Empty
    );
    let parent = request.headers().get(trace::HEADER);
    let parent = parent.and_then(|header| TraceParent::parse(header.to_str().ok()?));
    let own = trace::enter(parent, &span);
    let answer = trace::within(Some(own), next.run(request));
    let mut response = answer.instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    state.metrics.answered(route, response.status().as_u16());
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Letters, digits and a few signs only: it goes into lines and headers.
fn request_id(headers: &HeaderMap) -> String {
    let fits = |id: &&str| {
        (1..=LONGEST_ID).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
    };
    let given = headers.get(REQUEST_ID);
    let given = given.and_then(|id| id.to_str().ok()).filter(fits);
    given.map_or_else(hashing::token, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_s_id_is_kept_if_it_can_do_no_harm_in_a_line() {
        let of = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap());
            request_id(&headers)
        };
        for kept in ["7b3f", "0af7-65.19:cd_43"] {
            assert_eq!(of(kept), kept);
        }
        for replaced in ["", "a b", "ann@example.net", "é", &"a".repeat(65)] {
            let own = of(replaced);
            assert!(hashing::is_token(&own), "{own}");
        }
    }
}
