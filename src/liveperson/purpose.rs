//! What a call is made for: who goes first where calls wait for one limit, and how long an answer may take.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A reminder that is due waits for it.
    Recheck,
    /// Nobody waits for it in particular: recent passes, the list of skills, the badge's look-ups.
    Background,
    /// A pass over all open conversations, which may not take everybody's turns.
    FullPass,
    /// Somebody sits before a page and waits for it.
    Person,
}

impl Purpose {
    /// How long one call may take. A reminder that waits for an answer keeps a slot, and can ask again; a scan that is not answered
    /// soon is made again in its next round, and a person would rather be told.
    pub fn patience(self) -> Duration {
        match self {
            Self::Recheck => Duration::from_secs(5),
            Self::Background | Self::FullPass => Duration::from_secs(15),
            Self::Person => Duration::from_secs(10),
        }
    }

    /// Whether a search that failed is tried again in the same place.
    pub fn repeats(self) -> bool {
        self != Self::Person
    }
}
