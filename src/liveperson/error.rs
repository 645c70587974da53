//! Why LivePerson gave no usable answer, as far as a caller must tell apart: again later, or never without a human.

use std::time::Duration;

/// [`LivePersonError::Unavailable`]'s word for an answer that did not come in time.
pub(super) const TIMED_OUT: &str = "timed out";

/// The same for a failure of LivePerson's own.
pub(super) const FAILED: &str = "HTTP 500";

/// Prints no address, no credential and no value out of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LivePersonError {
    /// LivePerson says 401 also for a missing permission. A 401 with a token comes here only after a fresh one was refused.
    #[error("LivePerson refuses our credentials for {endpoint} (HTTP {status})")]
    Unauthorized { endpoint: &'static str, status: u16 },
    #[error("LivePerson limits our requests to {endpoint} for {} s", retry_after.as_secs())]
    Throttled {
        endpoint: &'static str,
        retry_after: Duration,
    },
    #[error("LivePerson cannot be reached for {endpoint}: {why}")]
    Unavailable {
        endpoint: &'static str,
        why: &'static str,
        retry_after: Option<Duration>,
    },
    /// The question itself was refused; asking again gives the same answer.
    #[error("LivePerson rejects the request for {endpoint} (HTTP {status})")]
    Rejected { endpoint: &'static str, status: u16 },
    #[error("LivePerson's answer for {endpoint} could not be read: {why}")]
    Malformed {
        endpoint: &'static str,
        why: &'static str,
    },
    /// The lookup knows no such service for this account: most often a wrong account number.
    #[error("LivePerson has no service {0} for this account")]
    NoService(&'static str),
    /// Our own limit: other calls go first.
    #[error("too many requests to LivePerson are waiting; try again in {} s",
        retry_after.as_secs().max(1))]
    Busy { retry_after: Duration },
}

impl LivePersonError {
    /// Whether the same call may succeed later with nobody changing a setting.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Throttled { .. }
            | Self::Unavailable { .. }
            | Self::Malformed { .. }
            | Self::Busy { .. } => true,
            Self::Unauthorized { .. } | Self::Rejected { .. } | Self::NoService(_) => false,
        }
    }

    /// LivePerson took the question and did not answer in time. Asking again at once would wait as long again.
    pub fn timed_out(&self) -> bool {
        matches!(self, Self::Unavailable { why, .. } if *why == TIMED_OUT)
    }

    /// Whether LivePerson may choke on something in the question, so that asking for less may be answered. A 401 is about the
    /// credentials, a 403 may be about one skill.
    pub fn may_be_about_one(&self) -> bool {
        match self {
            Self::Rejected { .. } | Self::Malformed { .. } => true,
            Self::Unauthorized { status, .. } => *status == 403,
            Self::Unavailable { why, .. } => *why == FAILED,
            Self::Throttled { .. } | Self::NoService(_) | Self::Busy { .. } => false,
        }
    }

    /// How long LivePerson, or our own limit, asks us to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } | Self::Busy { retry_after } => Some(*retry_after),
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A word out of a closed set, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unauthorized { .. } => "unauthorized",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable { .. } => "unavailable",
            Self::Rejected { .. } => "rejected",
            Self::Malformed { .. } => "malformed",
            Self::NoService(_) => "no_service",
            Self::Busy { .. } => "busy",
        }
    }
}
