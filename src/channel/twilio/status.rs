//! Twilio's message statuses: reports come late, twice and out of order, so a status only ever moves up in rank.

use crate::domain::reminder::ReminderState;

/// Statuses of an outgoing message. Others (`receiving`, `received`, `partially_delivered`, new ones) tell us nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageStatus {
    Accepted,
    Scheduled,
    Queued,
    Sending,
    Sent,
    Delivered,
    Undelivered,
    Failed,
    Canceled,
    Read,
}

impl MessageStatus {
    pub const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Scheduled,
        Self::Queued,
        Self::Sending,
        Self::Sent,
        Self::Delivered,
        Self::Undelivered,
        Self::Failed,
        Self::Canceled,
        Self::Read,
    ];

    /// Twilio's word, which is also ours in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Read => "read",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str().eq_ignore_ascii_case(word))
    }

    pub fn rank(self) -> u8 {
        match self {
            Self::Accepted | Self::Scheduled => 0,
            Self::Queued => 1,
            Self::Sending => 2,
            Self::Sent => 3,
            Self::Delivered | Self::Undelivered | Self::Failed | Self::Canceled => 4,
            Self::Read => 5,
        }
    }

    /// The status after a report. Of two ends the first stays; the caller may log the conflict.
    #[must_use]
    pub fn after(self, report: Self) -> Self {
        if report.rank() > self.rank() {
            report
        } else {
            self
        }
    }

    /// What it says about the reminder. Anything short of an end means that Twilio has it.
    pub fn reminder_state(self) -> ReminderState {
        match self {
            Self::Accepted | Self::Scheduled | Self::Queued | Self::Sending | Self::Sent => {
                ReminderState::Sent
            }
            Self::Delivered | Self::Read => ReminderState::Delivered,
            Self::Undelivered => ReminderState::Undelivered,
            Self::Failed | Self::Canceled => ReminderState::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::MessageStatus::{Accepted, Delivered, Failed, Queued, Read, Sent, Undelivered};
    use super::*;

    #[test]
    fn words_are_read_back_and_others_are_nothing() {
        for status in MessageStatus::ALL {
            assert_eq!(MessageStatus::parse(status.as_str()), Some(status));
        }
        for word in ["received", "partially_delivered", "cancelled", ""] {
            assert_eq!(MessageStatus::parse(word), None);
        }
    }

    #[test]
    fn a_status_moves_up_and_the_first_end_stays() {
        let cases = [
            (Accepted, Queued, Queued),
            (Sent, Queued, Sent),
            (Queued, Delivered, Delivered),
            (Delivered, Sent, Delivered),
            (Delivered, Undelivered, Delivered),
            (Undelivered, Delivered, Undelivered),
            (Failed, Delivered, Failed),
            (Delivered, Read, Read),
            (Read, Delivered, Read),
        ];
        for (status, report, expected) in cases {
            assert_eq!(
                status.after(report),
                expected,
                "{status:?} after {report:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn reports_never_move_a_status_down_and_never_contradict_the_ledger(
            reports in prop::collection::vec(prop::sample::select(&MessageStatus::ALL[..]), 1..20),
        ) {
            let mut status = Accepted;
            for report in reports {
                let next = status.after(report);
                prop_assert!(next == status || next.rank() > status.rank());
                prop_assert_eq!(next.after(report), next, "a report twice is a report once");
                let (from, to) = (status.reminder_state(), next.reminder_state());
                // Only "read" tells more than a terminal status did.
                prop_assert!(from == to || from == ReminderState::Sent || next == Read);
                status = next;
            }
        }
    }
}
