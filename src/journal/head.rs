//! The heartbeat that was seen last, in a small file beside the journal.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::small::replace;
use crate::domain::heartbeat::RememberedHeartbeat;

/// Where the heartbeat is remembered outside the database.
#[derive(Clone, Debug)]
pub struct HeartbeatFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct HeartbeatRecord {
    installation: String,
    counter: i64,
    at: DateTime<Utc>,
    server: Option<String>,
    #[serde(default)]
    process: Option<String>,
    #[serde(default)]
    decided_at: Option<DateTime<Utc>>,
}

impl HeartbeatFile {
    /// That of a journal: `journal.jsonl` has `journal.heartbeat` beside it.
    pub fn beside(journal: &Path) -> Self {
        Self {
            path: journal.with_extension("heartbeat"),
        }
    }

    /// What was remembered last; `None`: nothing ever was. A file that cannot be read or understood is an error: to take it for none
    /// would let a restored database send.
    pub fn read(&self) -> anyhow::Result<Option<RememberedHeartbeat>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| self.unreadable()),
        };
        let line: HeartbeatRecord =
            serde_json::from_str(&text).with_context(|| self.unreadable())?;
        Ok(Some(RememberedHeartbeat {
            installation: line.installation,
            counter: line.counter,
            at: line.at,
            server: line.server,
            process: line.process,
            decided_at: line.decided_at,
        }))
    }

    fn unreadable(&self) -> String {
        format!(
            "{} cannot be read; put its permissions or its content right, or, if nothing was restored, remove it",
            self.path.display()
        )
    }

    /// Remembers; whole or not at all, whenever the process or the machine dies.
    pub fn write(&self, seen: &RememberedHeartbeat) -> anyhow::Result<()> {
        let line = HeartbeatRecord {
            installation: seen.installation.clone(),
            counter: seen.counter,
            at: seen.at,
            server: seen.server.clone(),
            process: seen.process.clone(),
            decided_at: seen.decided_at,
        };
        let text = serde_json::to_vec(&line)?;
        replace(&self.path, &text).with_context(|| format!("writing {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_heartbeat_is_remembered_and_a_damaged_file_is_not_taken_for_none() {
        let folder = super::super::tests::Folder::new();
        let head = HeartbeatFile::beside(&folder.path().join("journal.jsonl"));
        assert_eq!(head.read().unwrap(), None);
        for counter in [1, 70_000] {
            let seen = RememberedHeartbeat {
                installation: "ours".to_owned(),
                counter,
                at: "2026-01-05T12:00:00.123456Z".parse().unwrap(),
                server: (counter > 1).then(|| "7/5".to_owned()),
                process: (counter > 1).then(|| "p".to_owned()),
                decided_at: None,
            };
            head.write(&seen).unwrap();
            assert_eq!(head.read().unwrap(), Some(seen));
        }
        let path = folder.path().join("journal.heartbeat");
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside it");
        fs::write(&path, "{\"installation\":\"ou").unwrap();
        let error = head.read().unwrap_err();
        assert!(error.to_string().contains("journal.heartbeat"), "{error}");
    }
}
