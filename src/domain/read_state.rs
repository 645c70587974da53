//! Has the consumer seen what the agent wrote? (The rules of LivePerson's read receipts, applied to one record.)

use chrono::{DateTime, Utc};

/// What one record says about the consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadState {
    Read(ReadReason),
    Unread(Episode),
    /// The record is partial: fetch it by id, and decide nothing from this one.
    Undecided,
}

/// Why nothing is unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadReason {
    /// The conversation, or its main dialog, is closed.
    Closed,
    /// No agent has written to the consumer yet.
    NoAgentMessage,
    /// The consumer wrote after the agent's last message.
    Answered,
    /// A read receipt of the consumer covers the agent's last message.
    Receipt,
}

/// The agent messages that the consumer has neither read nor answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// The id of its first message; it identifies the episode.
    pub first_message: String,
    pub since: DateTime<Utc>,
    pub last_message: String,
    pub last_at: DateTime<Utc>,
    pub count: u32,
    /// The display name of who wrote last, if LivePerson told it.
    pub agent: Option<String>,
}
