//! What every request passes first: it is counted, and suffers the faults that are switched on.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{RawPathParams, Request, State};
use axum::http::{Response as HttpResponse, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::criteria::skill_ids;
use super::{LivePersonServer, json_body};
use crate::faults::{Endpoint, Fault};

const LARGEST_REQUEST: usize = 1 << 20;
const LARGEST_ANSWER: usize = 1 << 28;

/// The account in a path.
pub fn account(path: &RawPathParams) -> &str {
    path.iter()
        .find(|(name, _)| *name == "account")
        .map_or("", |(_, value)| value)
}

pub async fn gate(
    State((server, endpoint)): State<(LivePersonServer, Endpoint)>,
    path: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    let _in_flight = server.faults.enter(endpoint);
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_REQUEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let skills = skill_ids(&asked["latestSkillIds"]).unwrap_or_default();
    let verdict = server.faults.judge(endpoint, account(&path), &skills);
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    let answer = next.run(Request::from_parts(head, Body::from(body)));
    match verdict.fault {
        None => answer.await,
        Some(Fault::Truncated) => truncated(answer.await).await,
        Some(Fault::PartialResult) => partial(answer.await).await,
        Some(fault) => server.failure(endpoint, fault),
    }
}

impl LivePersonServer {
    pub(super) fn failure(&self, endpoint: Endpoint, fault: Fault) -> Response {
        let error = |status, message, code| self.error(status, message, code);
        match fault {
            Fault::BadRequest => self.bad_request("Problem with body or query parameters"),
            Fault::Unauthorized => self.unauthorized(endpoint),
            Fault::Forbidden => StatusCode::FORBIDDEN.into_response(),
            Fault::Throttled {
                retry_after_s: None,
            } => StatusCode::TOO_MANY_REQUESTS.into_response(),
            Fault::Throttled {
                retry_after_s: Some(wait),
            } => (
                StatusCode::TOO_MANY_REQUESTS,
                [(header::RETRY_AFTER, wait.to_string())],
            )
                .into_response(),
            Fault::ElasticSearch => error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Elastic search exception",
                &json!("0007"),
            ),
            Fault::Runtime => error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Runtime exception",
                &json!("0008"),
            ),
            Fault::Unavailable => {
                let html = "<html><body><h1>503 Service Unavailable</h1></body></html>";
                let kind = [(header::CONTENT_TYPE, "text/html")];
                (StatusCode::SERVICE_UNAVAILABLE, kind, html).into_response()
            }
            Fault::NoContent => StatusCode::NO_CONTENT.into_response(),
            Fault::Garbage => {
                let kind = [(header::CONTENT_TYPE, "application/json;charset=UTF-8")];
                (
                    kind,
                    "{\"_metadata\":{\"count\":\u{fffd}]<!-- nothing of use -->",
                )
                    .into_response()
            }
            Fault::Dropped => broken(Bytes::new(), 1),
            Fault::Truncated | Fault::PartialResult | Fault::Delay { .. } => {
                unreachable!("these alter a true answer")
            }
        }
    }

    pub fn bad_request(&self, why: &str) -> Response {
        self.error(
            StatusCode::BAD_REQUEST,
            &format!("Bad Request; {why}"),
            &json!(1),
        )
    }

    pub fn unauthorized(&self, endpoint: Endpoint) -> Response {
        match endpoint {
            Endpoint::Skills => {
                self.error(StatusCode::UNAUTHORIZED, "Not authenticated", &json!(16))
            }
            Endpoint::Token => {
                let why = json!({"error": "invalid_client", "error_description": "Client authentication failed"});
                (StatusCode::UNAUTHORIZED, json_body(&why)).into_response()
            }
            _ => StatusCode::UNAUTHORIZED.into_response(),
        }
    }
}

/// An answer that announces `length` bytes, gives `start` and then breaks the connection. With nothing to give, hyper has not sent
/// the head either by then, so that the client sees no answer at all.
fn broken(start: Bytes, length: usize) -> Response {
    let rest = stream::once(async move {
        if length > 1 {
            // Long enough for what is there to leave this machine.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(io::Error::other("a fault that was asked for"))
    });
    let given = (!start.is_empty()).then_some(Ok(start));
    HttpResponse::builder()
        .header(header::CONTENT_TYPE, "application/json;charset=UTF-8")
        .header(header::CONTENT_LENGTH, length)
        .body(Body::from_stream(stream::iter(given).chain(rest)))
        .expect("headers are well-formed")
}

async fn truncated(answer: Response) -> Response {
    let whole = to_bytes(answer.into_body(), LARGEST_ANSWER)
        .await
        .unwrap_or_default();
    broken(whole.slice(..whole.len() / 2), whole.len().max(2))
}

async fn partial(answer: Response) -> Response {
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, LARGEST_ANSWER).await.unwrap_or_default();
    let Ok(mut page) = serde_json::from_slice::<Value>(&body) else {
        return (head.status, body).into_response();
    };
    if let Some(records) = page["conversationHistoryRecords"].as_array_mut() {
        records.truncate(records.len().div_ceil(2));
        page["_metadata"]["shardsStatusResult"]["partialResult"] = json!(true);
    }
    (head.status, json_body(&page)).into_response()
}
