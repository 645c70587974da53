//! The journal: opt-outs, complaints and erasures, noted outside the database so that they outlive it.
//!
//! It holds keyed hashes, times and kinds, and nothing that tells who somebody is. Of one address the last entry counts. It tells by
//! itself whether anything is missing in it.

mod cover;
mod file;
mod head;
mod line;
mod small;
mod webhook;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use cover::{JournalEnd, Lack, Missing, missing};
pub use file::{JournalFile, Tail, Writer};
pub use head::HeartbeatFile;
pub use line::{Begins, JournalLine, JournalMark, UnreadableLine, VERSION, entries, parse};
pub use webhook::Webhook;

/// What is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    OptOut,
    Complaint,
    /// Somebody of the team blocked the address.
    Block,
    /// One of these is over.
    Lifted,
    /// A consumer was erased; the hash is of one of their conversations.
    Erasure,
}

impl EntryKind {
    pub const ALL: [Self; 5] = [
        Self::OptOut,
        Self::Complaint,
        Self::Block,
        Self::Lifted,
        Self::Erasure,
    ];

    /// The word in SQL and in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OptOut => "opt_out",
            Self::Complaint => "complaint",
            Self::Block => "block",
            Self::Lifted => "lifted",
            Self::Erasure => "erasure",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// One entry, as it is written and posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Its line's.
    pub number: i64,
    /// When somebody said it. Of one address, the later counts.
    pub at: DateTime<Utc>,
    pub kind: EntryKind,
    pub account: String,
    /// Of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Keyed hash, hexadecimal: of an address, or of an erased conversation.
    #[serde(with = "hexadecimal")]
    pub hash: [u8; 16],
    /// Short name of the key of the hash; left out: from before keys had names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where an opt-out came from, which says what lifts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// It was in force when the journal was begun at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<DateTime<Utc>>,
}

impl JournalEntry {
    /// The database may have learnt it as late as this.
    pub fn noted_at(&self) -> DateTime<Utc> {
        self.snapshot.map_or(self.at, |begun| begun.max(self.at))
    }
}

mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(hash: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{:032x}", u128::from_be_bytes(*hash)))
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u128::from_str_radix(&text, 16).ok();
        let number = number.filter(|_| text.len() == 32);
        let number = number.ok_or_else(|| de::Error::custom("not 32 hexadecimal digits"))?;
        Ok(number.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// A folder that goes with the test.
    pub struct Folder(PathBuf);

    impl Folder {
        pub fn new() -> Self {
            let name = format!("unread-journal-{:016x}", rand::random::<u64>());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        pub fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub fn mode(path: &Path) -> u32 {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    pub fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    pub fn entry(kind: EntryKind, n: u8, at: &str) -> JournalEntry {
        JournalEntry {
            number: i64::from(n),
            at: time(at),
            kind,
            account: "12345678".to_owned(),
            channel: (kind != EntryKind::Erasure).then(|| "email".to_owned()),
            hash: [n; 16],
            key: Some("5f0c11ab".to_owned()),
            source: (kind == EntryKind::OptOut).then(|| "unsubscribe link".to_owned()),
            until: None,
            snapshot: None,
        }
    }

    #[test]
    fn an_entry_is_a_line_of_hashes_and_words() {
        let entry = entry(EntryKind::OptOut, 0xab, "2026-01-05T12:00:00Z");
        let line = serde_json::to_string(&entry).unwrap();
        assert_eq!(
            line,
            "{\"number\":171,\"at\":\"2026-01-05T12:00:00Z\",\"kind\":\"opt_out\",\"account\":\"12345678\",\"channel\":\"email\",\
             \"hash\":\"abababababababababababababababab\",\"key\":\"5f0c11ab\",\"source\":\"unsubscribe link\"}"
        );
        assert_eq!(serde_json::from_str::<JournalEntry>(&line).unwrap(), entry);
        for kind in EntryKind::ALL {
            assert_eq!(EntryKind::parse(kind.as_str()), Some(kind));
            let written = serde_json::to_string(&kind).unwrap();
            assert_eq!(written, format!("\"{}\"", kind.as_str()));
        }
        for broken in ["", "ab", &"a".repeat(33), &"+".repeat(32)] {
            let line = line.replace(&"ab".repeat(16), broken);
            assert!(
                serde_json::from_str::<JournalEntry>(&line).is_err(),
                "{broken}"
            );
        }
    }
}
