//! What a person or a program may do with the product, whichever way they ask: the config API and the dashboard's pages both call
//! these functions, so that one cannot do what the other does not.
//!
//! A function here takes what it needs (a pool, the time), checks its input, writes the change and its audit entry in one
//! transaction, and answers with plain values. It knows nothing of HTTP. Who may call it is decided before, by
//! [`Permission`](crate::domain::access::Permission).

pub mod accounts;
pub mod answer;
pub mod audit;
pub mod consumers;
pub mod effect;
pub mod forecast;
mod guessable;
pub mod hold;
pub mod incidents;
pub mod known;
pub mod labels;
pub mod live;
pub mod logins;
pub mod obstacles;
pub mod opt_outs;
pub mod overview;
pub mod passwords;
pub mod pause;
pub mod pending;
pub mod reminders;
pub mod restored;
pub mod rules;
pub mod second_factor;
pub mod senders;
pub mod sessions;
pub mod setup;
pub mod sso;
pub mod story;
pub mod suppressions;
pub mod test_send;
pub mod texts;
pub mod tokens;
pub mod users;

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::channel::render::Unanswered;
use crate::liveperson;

/// Why something was not done. The wording is for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such thing: "rule", "reminder 17".
    #[error("there is no {0}")]
    NotFound(String),
    /// The input is wrong: every fault at once.
    #[error("{}", Faults(.0))]
    Invalid(Vec<Fault>),
    /// Somebody else changed it since it was read; nothing was overwritten.
    #[error("{0}")]
    Changed(String),
    /// Its state does not allow it: a reminder that is being sent cannot be cancelled.
    #[error("{0}")]
    Conflict(String),
    /// The caller may not do it, whatever its state.
    #[error("{0}")]
    Forbidden(String),
    /// Something outside that is needed does not answer: LivePerson, the mail server.
    #[error("{0}")]
    Unavailable(String),
    /// Too much is asked for at once, or it is done for one at a time; the same may be asked again after this long.
    #[error("{0}")]
    Busy(String, Duration),
    #[error("internal error")]
    Internal(#[from] anyhow::Error),
}

/// One fault of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Where, as a JSON pointer into the body (`/settings/steps/0/after_minutes`) or the name of a parameter.
    pub field: String,
    /// What is wrong and how to fix it.
    pub detail: String,
}

impl From<Unanswered> for ControlError {
    fn from(error: Unanswered) -> Self {
        match error {
            Unanswered::Busy => Self::Busy(
                "too many texts are being checked right now; try again in a few seconds".to_owned(),
                Duration::from_secs(5),
            ),
            Unanswered::Failed => Self::Internal(error.into()),
        }
    }
}

impl From<sqlx::Error> for ControlError {
    fn from(error: sqlx::Error) -> Self {
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        if code.is_some_and(|code| NOT_A_TEXT.contains(&&*code)) {
            return Self::Invalid(vec![Fault {
                field: String::new(),
                detail: NUL.to_owned(),
            }]);
        }
        Self::Internal(error.into())
    }
}

/// Why LivePerson could not be asked.
impl From<liveperson::LivePersonError> for ControlError {
    fn from(error: liveperson::LivePersonError) -> Self {
        match error {
            liveperson::LivePersonError::Busy { retry_after } => {
                Self::Busy(error.to_string(), retry_after)
            }
            other => Self::Unavailable(format!("LivePerson could not be asked: {other}")),
        }
    }
}

/// The fix for a text that cannot be kept.
pub const NUL: &str = "a text holds the character NUL (U+0000); leave it out";

/// What PostgreSQL says of a text with a NUL in it, by itself and in JSON. Whoever sent it can fix it.
const NOT_A_TEXT: [&str; 2] = ["22021", "22P05"];

struct Faults<'a>(&'a [Fault]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            let separator = if i > 0 { "; " } else { "" };
            f.write_str(separator)?;
            if !fault.field.is_empty() {
                write!(f, "{}: ", fault.field)?;
            }
            f.write_str(&fault.detail)?;
        }
        Ok(())
    }
}
