//! A decision as the log keeps it: who gave it, what it was, and why.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::Reason;

/// Who gave an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A scan, about a conversation.
    Scan,
    /// The delivery of a reminder.
    Deliver,
    /// The sweep, about what was left over.
    Sweep,
    /// A person.
    Operator,
}

impl Stage {
    pub const ALL: [Self; 4] = [Self::Scan, Self::Deliver, Self::Sweep, Self::Operator];

    /// The word in SQL and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Deliver => "deliver",
            Self::Sweep => "sweep",
            Self::Operator => "operator",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == word)
    }
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// There is to be a reminder.
    Schedule,
    /// There is to be none.
    None,
    Send,
    Cancel,
    Postpone,
    Expire,
}

impl Verdict {
    pub const ALL: [Self; 6] = [
        Self::Schedule,
        Self::None,
        Self::Send,
        Self::Cancel,
        Self::Postpone,
        Self::Expire,
    ];

    /// The word in SQL, metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::None => "none",
            Self::Send => "send",
            Self::Cancel => "cancel",
            Self::Postpone => "postpone",
            Self::Expire => "expire",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|verdict| verdict.as_str() == word)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a reminder stands where it does: a reason of ours or, where a provider had the last word, its code. One column holds both; a
/// reason that only another version knows reads as a code.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    Ours(Reason),
    Code(String),
}

impl Cause {
    pub fn parse(word: &str) -> Self {
        Reason::parse(word).map_or_else(|| Self::Code(word.to_owned()), Self::Ours)
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Ours(reason) => reason.as_str(),
            Self::Code(code) => code,
        }
    }

    /// The reason, where it is one of ours.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Ours(reason) => Some(*reason),
            Self::Code(_) => None,
        }
    }
}

impl FromStr for Cause {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(Self::parse(word))
    }
}

impl From<Reason> for Cause {
    fn from(reason: Reason) -> Self {
        Self::Ours(reason)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for stage in Stage::ALL {
            assert_eq!(Stage::parse(stage.as_str()), Some(stage));
        }
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::parse(verdict.as_str()), Some(verdict));
        }
        for reason in Reason::ALL {
            assert_eq!(Cause::parse(reason.as_str()), Cause::Ours(reason));
        }
        for code in ["rcpt 550 5.1.1", "restored", ""] {
            assert_eq!(Cause::parse(code).as_str(), code);
            assert_eq!(Cause::parse(code).reason(), None);
        }
    }
}
