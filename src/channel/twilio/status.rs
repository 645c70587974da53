//! The life of a message at Twilio.

/// A message's status. Callbacks arrive late, twice and out of order: compare [`MessageStatus::rank`] and never go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// A status newer than this program.
    Other,
}

impl MessageStatus {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Accepted, "accepted"),
        (Self::Scheduled, "scheduled"),
        (Self::Queued, "queued"),
        (Self::Sending, "sending"),
        (Self::Sent, "sent"),
        (Self::Delivered, "delivered"),
        (Self::Undelivered, "undelivered"),
        (Self::Failed, "failed"),
        (Self::Canceled, "canceled"),
        (Self::Read, "read"),
    ];

    pub fn parse(raw: &str) -> Self {
        let found = Self::ALL.into_iter().find(|(_, name)| *name == raw);
        found.map_or(Self::Other, |(status, _)| status)
    }

    pub fn as_str(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(status, _)| *status == self);
        found.map_or("other", |(_, name)| name)
    }

    /// How far the message has come; a status of a lower rank is old news.
    pub fn rank(self) -> u8 {
        match self {
            Self::Other | Self::Accepted | Self::Scheduled => 0,
            Self::Queued => 1,
            Self::Sending => 2,
            Self::Sent => 3,
            Self::Delivered | Self::Undelivered | Self::Failed | Self::Canceled => 4,
            Self::Read => 5,
        }
    }

    /// Whether the message did not and will not arrive.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Undelivered | Self::Failed | Self::Canceled)
    }
}
