//! Why a page cannot be shown, as a page.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::templates::{self, careful};
use crate::control::ControlError;

/// Why a page cannot be shown, as a page.
#[derive(Debug)]
pub struct PageError {
    status: StatusCode,
    heading: &'static str,
    text: String,
    /// When the same may be asked again.
    retry_after: Option<Duration>,
}

impl PageError {
    fn new(status: StatusCode, heading: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            heading,
            text: text.into(),
            retry_after: None,
        }
    }

    pub fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "This is not for your role",
            "Ask an administrator if you should be able to see or do this.",
        )
    }

    pub fn not_ours() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Nothing was changed",
            "The form is too old, or did not come from this site. Go back, reload the page and try again.",
        )
    }

    pub fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Too much at once",
            "A form may be 4 MB in all. Send it in several parts.",
        )
    }

    pub fn too_many() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "Too fast",
            "There were too many requests. Wait a moment and reload the page.",
        )
    }
}

impl From<ControlError> for PageError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotFound(_) => Self::new(
                StatusCode::NOT_FOUND,
                "Not found",
                format!("Sorry, {error}."),
            ),
            ControlError::Invalid(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "That does not fit",
                format!("{error}."),
            ),
            ControlError::Changed(_) | ControlError::Conflict(_) => Self::new(
                StatusCode::CONFLICT,
                "Nothing was changed",
                format!("{error}."),
            ),
            ControlError::Forbidden(_) => Self::new(
                StatusCode::FORBIDDEN,
                "This is not for you",
                format!("Sorry, {error}."),
            ),
            ControlError::Unavailable(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Not at the moment",
                format!("{error}."),
            ),
            ControlError::Busy(ref said, wait) => Self {
                retry_after: Some(wait),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "Not at the moment",
                    format!("Sorry, {said}."),
                )
            },
            ControlError::Internal(error) => {
                tracing::error!("A page cannot be shown: {error:#}");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Something went wrong",
                    "The fault is on our side; the log says what it is. Try again in a moment.",
                )
            }
        }
    }
}

impl From<sqlx::Error> for PageError {
    fn from(error: sqlx::Error) -> Self {
        ControlError::from(error).into()
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let page = templates::message(self.heading, &self.text, Some(("/", "To the overview")));
        let mut response = (self.status, careful(page)).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs().max(1);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
