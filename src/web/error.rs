//! What a caller is told when something is wrong: RFC 9457 problems, with the cause in the log only.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("not found")]
    NotFound(&'static str),
    #[error("internal error")]
    Internal(#[from] anyhow::Error),
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound(what) => problem(StatusCode::NOT_FOUND, what),
            Self::Internal(error) => {
                tracing::error!("A request failed: {error:#}");
                problem(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "something went wrong on our side; the log says what",
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

pub async fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "there is nothing at this address")
}
