//! The states of a reminder in the ledger, and which may follow which.

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
    /// The provider took it.
    Sent,
    /// The provider reports that it arrived.
    Delivered,
    /// The provider took it and reports that it did not arrive.
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

    /// Nothing more is tried. A report of the provider may still tell how it ended.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Scheduled | Self::Sending)
    }

    /// What the service may do by itself. (A person's "send again" starts a final reminder anew; that is theirs to answer for.)
    ///
    /// A provider's report can overtake its answer, so `sending` may end in what only reports can tell; and a late report settles
    /// what was `unknown`.
    pub fn may_become(self, next: Self) -> bool {
        use ReminderState::{
            Cancelled, Delivered, Expired, Failed, Scheduled, Sending, Sent, Undelivered, Unknown,
        };
        match self {
            Scheduled => matches!(next, Sending | Cancelled | Expired),
            Sending => next != Sending,
            Sent => matches!(next, Delivered | Undelivered | Expired | Failed),
            Unknown => matches!(next, Sent | Delivered | Undelivered | Expired | Failed),
            Delivered | Undelivered | Cancelled | Expired | Failed => false,
        }
    }
}

impl fmt::Display for ReminderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_state() -> impl Strategy<Value = ReminderState> {
        prop::sample::select(&ReminderState::ALL[..])
    }

    #[test]
    fn words_are_read_back() {
        for state in ReminderState::ALL {
            assert_eq!(ReminderState::parse(state.as_str()), Some(state));
        }
        assert_eq!(ReminderState::parse("queued"), None);
    }

    #[test]
    fn every_state_is_reached_and_every_reminder_can_end() {
        for state in ReminderState::ALL {
            let reached = ReminderState::ALL.iter().any(|s| s.may_become(state));
            let can_end = ReminderState::ALL
                .iter()
                .any(|s| state.may_become(*s) && s.is_final());
            assert!(reached, "{state}");
            assert!(can_end || state.is_final(), "{state}");
        }
    }

    proptest! {
        #[test]
        fn what_is_final_is_never_tried_again(state in any_state(), next in any_state()) {
            if state.is_final() && state.may_become(next) {
                prop_assert!(next.is_final());
            }
        }

        #[test]
        fn whatever_is_proposed_a_reminder_ends_once(
            proposals in prop::collection::vec(any_state(), 0..40),
        ) {
            let mut state = ReminderState::Scheduled;
            let mut ended = 0;
            for next in proposals {
                if state.may_become(next) {
                    prop_assert_ne!(state, next);
                    ended += usize::from(next.is_final() && !state.is_final());
                    state = next;
                }
            }
            prop_assert!(ended <= 1);
        }
    }
}
