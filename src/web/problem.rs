//! What a caller of the config API is told when something is not done: RFC 9457, with every fault of the input and its fix.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::{ControlError, Fault};
use crate::domain::access::Permission;

/// A problem as RFC 9457 shapes it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    #[schema(example = "Unprocessable Entity")]
    title: &'static str,
    #[schema(example = 422)]
    status: u16,
    /// For whoever reads the answer.
    detail: String,
    /// Each fault of the input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<InputFault>,
}

/// One fault of the input.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct InputFault {
    /// A JSON pointer into the body, or the name of a parameter.
    #[schema(example = "/settings/steps/0/after_minutes")]
    field: String,
    /// What is wrong and how to fix it.
    detail: String,
}

impl From<Fault> for InputFault {
    fn from(fault: Fault) -> Self {
        Self {
            field: fault.field,
            detail: fault.detail,
        }
    }
}

/// Why a request was not done. Handlers answer `Result<…, ApiError>`; `?` turns a [`control::Error`](ControlError) into it.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    detail: String,
    faults: Vec<Fault>,
    /// When the same may be asked again.
    retry_after: Option<Duration>,
}

impl ApiError {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            faults: Vec::new(),
            retry_after: None,
        }
    }

    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "log in, or send a token: `Authorization: Bearer unread_…`",
        )
    }

    pub fn forbidden(needs: Permission) -> Self {
        let scope = needs.as_str();
        Self::new(
            StatusCode::FORBIDDEN,
            format!(
                "this needs the scope `{scope}`, which the token or the person's role does not have"
            ),
        )
    }

    pub fn people_only() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "this gives access, so no token may do it, whatever its scopes: log in and do it in the dashboard",
        )
    }

    pub fn not_ours() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "with a session, changes need the header X-CSRF-Token and must come from a page of ours; programs use a token",
        )
    }

    pub fn too_many() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests; Retry-After says when to try again",
        )
    }

    /// `most`: bytes.
    pub fn too_long(most: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is too long; at most {most} bytes"),
        )
    }

    /// A fault of one parameter or field.
    pub fn fault(status: StatusCode, field: impl Into<String>, detail: impl Into<String>) -> Self {
        let fault = Fault {
            field: field.into(),
            detail: detail.into(),
        };
        Self {
            status,
            detail: "the request is not valid".to_owned(),
            faults: vec![fault],
            retry_after: None,
        }
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        let status = match &error {
            ControlError::NotFound(_) => StatusCode::NOT_FOUND,
            ControlError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ControlError::Changed(_) => StatusCode::PRECONDITION_FAILED,
            ControlError::Conflict(_) => StatusCode::CONFLICT,
            ControlError::Forbidden(_) => StatusCode::FORBIDDEN,
            ControlError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            ControlError::Busy(..) => StatusCode::TOO_MANY_REQUESTS,
            ControlError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        match error {
            ControlError::Invalid(faults) => Self {
                status,
                detail: "the input has errors".to_owned(),
                faults,
                retry_after: None,
            },
            ControlError::Internal(error) => {
                tracing::error!("A request failed: {error:#}");
                Self::new(
                    status,
                    "something went wrong on our side; the log has the details",
                )
            }
            ControlError::Busy(detail, retry_after) => Self {
                retry_after: Some(retry_after),
                ..Self::new(status, detail)
            },
            other => Self::new(status, other.to_string()),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        ControlError::from(error).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("error"),
            status: self.status.as_u16(),
            detail: self.detail,
            errors: self.faults.into_iter().map(InputFault::from).collect(),
        };
        let mut response = (self.status, axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("application/problem+json"),
        );
        let more = match self.status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "5")),
            _ => None,
        };
        if let Some((name, value)) = more {
            headers.insert(name, header::HeaderValue::from_static(value));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
        }
        response
    }
}
