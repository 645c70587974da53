//! The editor's form: from settings to fields, and from fields to settings.
//!
//! The fields are those of the table of settings, under their paths; only steps, hours and texts are rows of their own. In `read`: what a
//! form says. In `steps`: the rows of the timeline. In `texts`: those of the messages. In `show`: what a form shows. In `words`: settings, values and faults as the page calls
//! them.

mod read;
mod show;
mod steps;
#[cfg(test)]
mod tests;
mod texts;
mod words;

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde_json::Value;

use crate::web::AppState;

pub use read::settings;
pub use show::{mark, model};
pub use steps::{StepChange, placed};
pub use texts::{OpenLanguages, TextChange};
pub use words::{differences, fault, label, sequence_parts};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The fields of a form, in their order.
pub struct FormFields(Vec<(String, String)>);

impl FromRequest<AppState> for FormFields {
    type Rejection = StatusCode;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, StatusCode> {
        let bytes = axum::body::Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| StatusCode::BAD_REQUEST)?;
        let pairs = url::form_urlencoded::parse(&bytes);
        Ok(Self(pairs.into_owned().collect()))
    }
}

impl FormFields {
    /// The value of a field, without space around it; empty if it is not there.
    pub fn one(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map_or("", |(_, value)| value.trim())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let own = self.0.iter().filter(move |(own, _)| own == name);
        own.map(|(_, value)| value.trim())
    }
}

/// A value as a field holds it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
