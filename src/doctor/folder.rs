//! The folder in which `run` keeps its PostgreSQL: whose it is, how much room there is, and the nightly backups.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use super::{CheckState, Doctor};
use crate::app;
use crate::backup::{self, BackupFile};
use crate::config::Config;
use crate::postgres::{self, disk};

/// With less PostgreSQL soon stops …
const TOO_LITTLE: u64 = 100_000_000;

/// … and with less than this it is time to look.
const LITTLE: u64 = 1_000_000_000;

/// A night may be missed, not two.
const OLD: TimeDelta = TimeDelta::hours(50);

const MAKE_ROOM: &str =
    "Make room on that disk, or move the folder to a larger one and name it in UNREAD_DATA_DIR.";

impl Doctor<'_> {
    /// Looked at before the server is: without room it does not even start.
    pub(super) fn folder(&mut self, config: &Config, root: &Path, now: DateTime<Utc>) {
        match whose(root) {
            Ok(found) => self.ok("data folder", found),
            Err(error) => self.failed(
                "data folder",
                format!("{error:#}"),
                "Run this as the account that runs `unread run`.",
            ),
        }
        match disk::free(root) {
            Ok(free) => {
                let found = format!("{} are free", disk::shown(free));
                match room(free) {
                    CheckState::Ok => self.ok("free space", found),
                    state => self.line("free space", state, found, Some(MAKE_ROOM.to_owned())),
                }
            }
            Err(error) => self.unchecked("free space", error.to_string(), "Look with df."),
        }
        let folder = app::backups(config);
        match backup::kept(&folder) {
            Ok(all) => self.backups(config, all.first(), now),
            Err(error) => self.failed(
                "backup",
                format!("{} cannot be read: {error}", folder.display()),
                "Run this as the account that runs `unread run`.",
            ),
        }
    }

    fn backups(&mut self, config: &Config, newest: Option<&BackupFile>, now: DateTime<Utc>) {
        if config.backups_kept == 0 {
            return self.warning(
                "backup",
                "none are made (UNREAD_BACKUPS_KEPT is 0)",
                "Back up by other means: `unread backup FILE`, or remove that setting.",
            );
        }
        let Some(newest) = newest else {
            return self.ok("backup", "none yet; `unread run` makes one every night");
        };
        let age = now - newest.made_at;
        let found = format!(
            "the newest is {} old and has {}",
            shown(age),
            disk::shown(newest.bytes)
        );
        if age > OLD {
            self.warning(
                "backup",
                found,
                "See the log of `unread run` for what fails at night, or make one by hand: `unread backup FILE`.",
            );
        } else {
            self.ok("backup", found);
        }
    }
}

fn whose(root: &Path) -> anyhow::Result<String> {
    let owner = fs::metadata(postgres::data_of(root))?.uid();
    let major = postgres::data_major(root)?;
    let major = major.map_or("no".to_owned(), |major| format!("PostgreSQL {major}"));
    Ok(format!("{}: {major} data of uid {owner}", root.display()))
}

fn room(free: u64) -> CheckState {
    match free {
        ..TOO_LITTLE => CheckState::Failed,
        TOO_LITTLE..LITTLE => CheckState::Warning,
        _ => CheckState::Ok,
    }
}

/// `5 hours`, `3 days`.
fn shown(age: TimeDelta) -> String {
    match age.num_hours() {
        hours @ ..48 => format!("{} hours", hours.max(0)),
        hours => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_is_warned_of_before_it_is_too_little() {
        for (free, state) in [
            (0, CheckState::Failed),
            (99_999_999, CheckState::Failed),
            (100_000_000, CheckState::Warning),
            (999_999_999, CheckState::Warning),
            (1_000_000_000, CheckState::Ok),
        ] {
            assert_eq!(room(free), state, "{free}");
        }
    }

    #[test]
    fn an_age_is_told_in_hours_then_in_days() {
        for (minutes, text) in [
            (-5, "0 hours"),
            (59, "0 hours"),
            (61, "1 hours"),
            (47 * 60 + 59, "47 hours"),
            (3 * 24 * 60, "3 days"),
        ] {
            assert_eq!(shown(TimeDelta::minutes(minutes)), text);
        }
    }
}
