//! What a caller is told when something is wrong: RFC 9457 problems, with the cause in the log only.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::templates;

#[derive(Debug, thiserror::Error)]
pub enum PublicError {
    #[error("not found")]
    NotFound(&'static str),
    /// And how long to stay away.
    #[error("too many requests")]
    TooMany(Duration),
    #[error("internal error")]
    Internal(#[from] anyhow::Error),
}

impl From<sqlx::Error> for PublicError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl IntoResponse for PublicError {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound(what) => problem(StatusCode::NOT_FOUND, what),
            Self::TooMany(wait) => {
                let mut response = problem(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many requests came from here",
                );
                let seconds = wait.as_secs().saturating_add(1);
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, seconds.into());
                response
            }
            Self::Internal(error) => {
                tracing::error!("A request failed: {error:#}");
                problem(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "something went wrong on our side; the log has the details",
                )
            }
        }
    }
}

/// An answer in the shape of RFC 9457.
pub fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("error");
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

pub fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing at this address")
}

/// An address that is there, asked in another way than it answers. `Allow` says how it does.
pub async fn another_method() -> Response {
    problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "this address does not answer to that method; `Allow` names those it does",
    )
}

/// Whether a person asks, who is better told by a page.
pub fn accepts_pages(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    accepts.is_some_and(|kinds| kinds.contains("text/html"))
}

/// Every address that leads nowhere; people get a page.
pub async fn nowhere(headers: HeaderMap) -> Response {
    if accepts_pages(&headers) {
        let text = "There is nothing at this address. The link may be old or mistyped.";
        let page = templates::message("Not found", text, None);
        return (StatusCode::NOT_FOUND, page).into_response();
    }
    not_found()
}
