//! The states of a reminder in the ledger. Which may follow which, the statements of `db` say, each for the states that it finds.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `scheduled → sending → sent → delivered | undelivered`, or one of the other ends.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ReminderState {
    /// Waits for its moment: due, postponed, or between two tries.
    Scheduled,
    /// An attempt is out, or its outcome is being looked up at the provider.
    Sending,
    /// The provider accepted it.
    Sent,
    /// The provider reports that it arrived.
    Delivered,
    /// The provider accepted it and reports that it did not arrive.
    Undelivered,
    /// Not sent, for a reason.
    Cancelled,
    /// Not sent in time.
    Expired,
    /// Refused, or tried too often.
    Failed,
    /// May have been sent; nobody can say.
    Unknown,
}

impl ReminderState {
    pub const ALL: [Self; 9] = [
        Self::Scheduled,
        Self::Sending,
        Self::Sent,
        Self::Delivered,
        Self::Undelivered,
        Self::Cancelled,
        Self::Expired,
        Self::Failed,
        Self::Unknown,
    ];

    /// The word in SQL, metrics, logs and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

impl fmt::Display for ReminderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for state in ReminderState::ALL {
            assert_eq!(ReminderState::parse(state.as_str()), Some(state));
        }
        assert_eq!(ReminderState::parse("queued"), None);
    }
}
