//! The lines of a journal. Each is an object with a number; the same are appended to the file and posted.
//!
//! ```text
//! {"number":1,"version":1,"journal":"kT0…","begins":"2026-01-05T12:00:00Z","key":"5f0c11ab"}
//! {"number":2,"at":"2025-11-30T08:00:00Z","kind":"opt_out",…,"snapshot":"2026-01-05T12:00:00Z"}
//! {"number":3,"snapshot_ends":"2026-01-05T12:00:00Z"}
//! {"number":4,"at":"2026-01-05T12:07:31Z","kind":"complaint",…}
//! {"number":5,"forgotten":true}
//! ```
//!
//! It begins with all that is in force at that moment, the snapshot, which is whole if its end is there. It begins anew, in the same file
//! and with higher numbers, when what came in between may be missing.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use super::JournalEntry;

/// Of the format.
pub const VERSION: u8 = 1;

/// A line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum JournalLine {
    Begins(Begins),
    SnapshotEnds {
        number: i64,
        snapshot_ends: DateTime<Utc>,
    },
    Entry(JournalEntry),
    /// There was an entry, which is past its time. Its number stays, so that nothing seems to be missing.
    Forgotten {
        number: i64,
        forgotten: bool,
    },
}

/// From here on the journal is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begins {
    pub number: i64,
    pub version: u8,
    /// The journal's name.
    pub journal: String,
    pub begins: DateTime<Utc>,
    /// Short name of the key that hashes are made with at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Until when it was complete before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<JournalMark>,
    /// The database did not know all that the journal had: it may have been restored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub behind: bool,
}

/// All that was to be noted until this moment is in this journal, the last of it with this number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalMark {
    pub journal: String,
    pub number: i64,
    pub at: DateTime<Utc>,
}

impl JournalLine {
    pub fn number(&self) -> i64 {
        match self {
            Self::Begins(begins) => begins.number,
            Self::Entry(entry) => entry.number,
            Self::SnapshotEnds { number, .. } | Self::Forgotten { number, .. } => *number,
        }
    }

    /// The name of the journal that begins with it.
    pub fn begun(&self) -> Option<&str> {
        match self {
            Self::Begins(begins) => Some(&begins.journal),
            _ => None,
        }
    }

    pub fn forgotten(number: i64) -> Self {
        Self::Forgotten {
            number,
            forgotten: true,
        }
    }

    /// When it was noted, if it says so.
    pub fn noted_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Begins(begins) => Some(begins.begins),
            Self::SnapshotEnds { snapshot_ends, .. } => Some(*snapshot_ends),
            Self::Entry(entry) => Some(entry.noted_at()),
            Self::Forgotten { .. } => None,
        }
    }
}

impl<'d> Deserialize<'d> for JournalLine {
    fn deserialize<D: Deserializer<'d>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        line(value).map_err(de::Error::custom)
    }
}

/// By what it has, so that an error says what is wrong with it and not that it is none of them.
fn line(value: Value) -> serde_json::Result<JournalLine> {
    #[derive(Deserialize)]
    struct Ends {
        number: i64,
        snapshot_ends: DateTime<Utc>,
    }
    #[derive(Deserialize)]
    struct Numbered {
        number: i64,
    }
    if value.get("begins").is_some() {
        let begins: Begins = serde_json::from_value(value)?;
        if begins.version != VERSION {
            return Err(de::Error::custom(format!(
                "version {} of the journal's format is not known here",
                begins.version
            )));
        }
        return Ok(JournalLine::Begins(begins));
    }
    if value.get("snapshot_ends").is_some() {
        let Ends {
            number,
            snapshot_ends,
        } = serde_json::from_value(value)?;
        return Ok(JournalLine::SnapshotEnds {
            number,
            snapshot_ends,
        });
    }
    if value.get("forgotten").is_some() {
        let Numbered { number } = serde_json::from_value(value)?;
        return Ok(JournalLine::forgotten(number));
    }
    serde_json::from_value(value).map(JournalLine::Entry)
}

/// A line in the middle of a journal that is none of ours.
#[derive(Debug, thiserror::Error)]
#[error(
    "line {line} of the journal could not be read: {why}; fix it, or remove it if nothing can be lost with it"
)]
pub struct UnreadableLine {
    pub line: usize,
    why: String,
}

/// The lines of a journal's text, in order; one of the text may hold one, or a list as it was posted. A line that was torn when a
/// machine died, which begins like one and does not end, is passed over: what it was to say is still on its way, and comes again.
pub fn parse(text: &str) -> Result<Vec<JournalLine>, UnreadableLine> {
    let mut lines = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let read = if text.starts_with('[') {
            serde_json::from_str(text).map(|posted: Vec<JournalLine>| lines.extend(posted))
        } else {
            serde_json::from_str(text).map(|line| lines.push(line))
        };
        match read {
            Err(error) if !error.is_eof() => {
                let why = error.to_string();
                return Err(UnreadableLine { line, why });
            }
            _ => {}
        }
    }
    Ok(lines)
}

/// What a journal notes, without what it says of itself.
pub fn entries(lines: Vec<JournalLine>) -> Vec<JournalEntry> {
    lines
        .into_iter()
        .filter_map(|line| match line {
            JournalLine::Entry(entry) => Some(entry),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::EntryKind;
    use super::super::tests::{entry, time};
    use super::*;

    #[test]
    fn each_kind_of_line_is_read_as_it_was_written_alone_and_in_a_list() {
        let begins = Begins {
            number: 1,
            version: VERSION,
            journal: "ours".to_owned(),
            begins: time("2026-01-05T12:00:00Z"),
            key: Some("5f0c11ab".to_owned()),
            before: Some(JournalMark {
                journal: "before".to_owned(),
                number: 7,
                at: time("2026-01-04T12:00:00Z"),
            }),
            behind: true,
        };
        let lines = [
            JournalLine::Begins(begins),
            JournalLine::SnapshotEnds {
                number: 2,
                snapshot_ends: time("2026-01-05T12:00:00Z"),
            },
            JournalLine::Entry(entry(EntryKind::OptOut, 3, "2026-01-05T12:00:01Z")),
            JournalLine::forgotten(4),
        ];
        let text = lines.each_ref().map(|l| serde_json::to_string(l).unwrap());
        assert_eq!(parse(&text.join("\n")).unwrap(), lines);
        assert_eq!(
            parse(&serde_json::to_string(&lines).unwrap()).unwrap(),
            lines
        );
        assert_eq!(lines.each_ref().map(JournalLine::number), [1, 2, 3, 4]);
        assert_eq!(text[3], "{\"number\":4,\"forgotten\":true}");
        let newer = text[0].replace("\"version\":1", "\"version\":2");
        let error = parse(&newer).unwrap_err().to_string();
        assert!(
            error.contains("line 1") && error.contains("version 2"),
            "{error}"
        );
        let unnumbered = text[2].replace("\"number\":3,", "");
        let error = parse(&unnumbered).unwrap_err().to_string();
        assert!(error.contains("number"), "{error}");
    }
}
