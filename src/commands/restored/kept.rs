//! The journal that comes back, and whether it tells all of a lost time.

use std::path::Path;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use unread::app;
use unread::config::Config;
use unread::db;
use unread::hashing::Hasher;
use unread::journal::{
    self, HeartbeatFile, JournalEnd, JournalEntry, JournalFile, JournalLine, Missing,
};
use unread::say;

use crate::commands::read;

/// A journal, and what is known of its end.
pub(super) struct FoundJournal {
    /// How it is called in what is said of it.
    name: String,
    lines: Vec<JournalLine>,
    end: JournalEnd,
}

impl FoundJournal {
    /// The journal that is kept here, if one is, or was: a file that is gone while others beside it are not is one in which all is missing.
    pub(super) fn here(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(path) = app::journal::file(config).filter(|_| config.secret.is_some()) else {
            return Ok(None);
        };
        let file = JournalFile::at(path.clone());
        let (lines, mark) = (file.read()?, file.mark()?);
        let is_kept =
            !lines.is_empty() || mark.is_some() || HeartbeatFile::beside(&path).read()?.is_some();
        Ok(is_kept.then(|| Self {
            name: path.display().to_string(),
            lines,
            end: JournalEnd::Told(mark),
        }))
    }

    /// One from elsewhere: as its receiver has it, or a file with what is beside it. A copy of the file that is kept here has its end there;
    /// one of another file that the database knows of has lost its own.
    pub(super) async fn elsewhere(
        path: &Path,
        config: &Config,
        pool: &PgPool,
    ) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = read(path)?;
        let lines = journal::parse(&text).with_context(|| format!("reading {name}"))?;
        let begun: Vec<&str> = lines.iter().filter_map(JournalLine::begun).collect();
        let beside = JournalFile::at(path.to_owned()).mark()?;
        let own = match app::journal::file(config) {
            Some(own) if beside.is_none() => JournalFile::at(own).mark()?,
            _ => None,
        };
        let own = own.filter(|mark| begun.contains(&mark.journal.as_str()));
        let end = match beside.or(own) {
            Some(mark) => JournalEnd::Told(Some(mark)),
            None if db::journal::is_a_file(pool, &begun).await? => JournalEnd::Told(None),
            None => JournalEnd::Untold,
        };
        Ok(Self { name, lines, end })
    }

    /// Refuses if it does not tell all of this time, unless a person says that it will do.
    pub(super) fn covers(
        &self,
        lost: (DateTime<Utc>, DateTime<Utc>),
        hasher: &Hasher,
        incomplete: bool,
    ) -> anyhow::Result<()> {
        let missing = journal::missing(&self.lines, &self.end, lost);
        let lacks: Vec<String> = missing.iter().map(lack).collect();
        let keys = unknown_keys(&self.lines, lost.0, hasher);
        if incomplete {
            for lack in lacks {
                say!("{}: {lack}", self.name);
            }
        } else if !lacks.is_empty() {
            bail!(
                "the journal {} does not tell all of the lost time ({} to {}), and people who opted out or were erased meanwhile would \
                 get messages:\n- {}\nName a journal that does (--journal), or add --incomplete-journal to take what it has and go on \
                 without the rest (--no-journal: without all of it)",
                self.name,
                lost.0,
                lost.1,
                lacks.join("\n- ")
            );
        }
        if !keys.is_empty() && !incomplete {
            bail!(
                "the journal {} has hashes of keys that are not known here ({}), which match no one: set UNREAD_SECRET, or \
                 UNREAD_SECRET_OLD, to what they were made with, or add --incomplete-journal",
                self.name,
                keys.join(", ")
            );
        }
        if self.end == JournalEnd::Untold
            && let Some(last) = self.lines.iter().filter_map(JournalLine::noted_at).max()
        {
            say!(
                "The last entry of {} is from {last}; what was noted after it and did not get there is not known.",
                self.name
            );
        }
        Ok(())
    }

    pub(super) fn entries(self) -> Vec<JournalEntry> {
        journal::entries(self.lines)
    }
}

/// The names of keys that this installation does not have, of what was said since.
fn unknown_keys(lines: &[JournalLine], since: DateTime<Utc>, hasher: &Hasher) -> Vec<String> {
    let known = hasher.key_ids();
    let mut unknown: Vec<String> = lines
        .iter()
        .filter_map(|line| match line {
            JournalLine::Entry(entry) if entry.at >= since => entry.key.clone(),
            _ => None,
        })
        .filter(|key| !known.contains(key))
        .collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown
}

fn lack(missing: &Missing) -> String {
    let Missing { lack, from, until } = missing;
    let hours = hours(*from, *until);
    format!("{lack}: {hours} hours are not covered ({from} to {until})")
}

/// Begun hours count.
pub(super) fn hours(from: DateTime<Utc>, until: DateTime<Utc>) -> i64 {
    let minutes = (until - from).num_minutes();
    minutes.div_euclid(60) + i64::from(minutes.rem_euclid(60) > 0)
}
