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
            "Your role does not allow this",
            "Ask an administrator if you should be able to see or do this.",
        )
    }

    pub fn not_ours() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Nothing was changed",
            "The form has expired, or did not come from this site. Go back, reload the page and try again.",
        )
    }

    pub fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Too large",
            "A form can be up to 4 MB. Send it in several parts.",
        )
    }

    pub fn too_many() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many requests",
            "Wait a moment and reload the page.",
        )
    }
}

impl From<ControlError> for PageError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::NotFound(_) => Self::new(
                StatusCode::NOT_FOUND,
                "Not found",
                sentence(&format!("Sorry, {error}")),
            ),
            ControlError::Invalid(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "That is not valid",
                sentence(&error.to_string()),
            ),
            ControlError::Changed(_) | ControlError::Conflict(_) => Self::new(
                StatusCode::CONFLICT,
                "Nothing was changed",
                sentence(&error.to_string()),
            ),
            ControlError::Forbidden(_) => Self::new(
                StatusCode::FORBIDDEN,
                "You do not have access",
                sentence(&format!("Sorry, {error}")),
            ),
            ControlError::Unavailable(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Try again in a moment",
                sentence(&error.to_string()),
            ),
            ControlError::Busy(ref said, wait) => Self {
                retry_after: Some(wait),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "Try again in a moment",
                    sentence(&format!("Sorry, {said}")),
                )
            },
            ControlError::Internal(error) => {
                tracing::error!("A page cannot be shown: {error:#}");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Something went wrong",
                    "It is our fault, and the log has the details. Try again in a moment.",
                )
            }
        }
    }
}

/// With one full stop at its end, and begun with a capital letter.
pub fn sentence(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    let first = letters.next().map(char::to_uppercase);
    let letters = first.into_iter().flatten().chain(letters);
    letters.chain(['.']).collect()
}

impl From<sqlx::Error> for PageError {
    fn from(error: sqlx::Error) -> Self {
        ControlError::from(error).into()
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let page = templates::message(self.heading, &self.text, Some(("/", "Go to overview")));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_ends_once() {
        assert_eq!(
            sentence("there is no such login any more"),
            "There is no such login any more."
        );
        assert_eq!(sentence("Save one first."), "Save one first.");
    }
}
