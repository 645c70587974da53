//! Which reminder is owed next, and when.

use chrono::{DateTime, Utc};

/// The next reminder of an episode under a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Position in the rule's sequence, from 1.
    pub step: i16,
    pub at: DateTime<Utc>,
    /// Past this moment it is not sent any more.
    pub deadline: DateTime<Utc>,
}
