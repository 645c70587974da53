//! Backups of the whole database, and their way back.
//!
//! A backup is a dump of PostgreSQL, made and read by PostgreSQL's own programs: it can be brought back without us, and we can bring
//! back one that was made without us. What a backup cannot know is what happened after it: whether sending may go on is for a person
//! to say.

mod file;
mod kept;
mod nightly;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

use crate::db::restore::{self, DatabaseState};
use crate::postgres::{Address, Children, Clients};
use file::Partial;

pub use kept::{BackupFile, kept, newest};
pub use nightly::{FOLDER, Nightly};

/// The database that is backed up, or that takes a backup in.
#[derive(Clone, Debug)]
pub struct BackupDatabase {
    /// For our own look at it.
    pub options: PgConnectOptions,
    /// For PostgreSQL's programs.
    pub address: Address,
    /// Where those are looked for first.
    pub bin_dir: Option<PathBuf>,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenBackup {
    pub file: PathBuf,
    pub bytes: u64,
}

/// Writes a backup. It has its name only when it is whole and has been looked at; a file that is there is replaced if `force`.
pub async fn write(database: &BackupDatabase, file: &Path, force: bool) -> Result<WrittenBackup> {
    let state = database.state().await?;
    ensure!(
        state.is_ours,
        "the database has no tables of unread: there is nothing to back up"
    );
    let major = major(&state)?;
    let partial = Partial::create(file, force)?;
    let (address, bin_dir) = (database.address.clone(), database.bin_dir.clone());
    with_children(move |children| {
        let clients = Clients::find(bin_dir.as_deref(), major)?;
        clients.dump(&address, partial.file(), children)?;
        let contents = clients.contents(partial.path())?;
        ensure!(
            contents.has_table("reminders"),
            "the backup lacks the table `reminders`: may the database's user read every table?"
        );
        partial.finish()
    })
    .await
}

/// What was brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredBackup {
    /// When the backup was begun: what happened since is not in it.
    pub made_at: Option<DateTime<Utc>>,
}

/// Brings a backup back, all of it or nothing. What the database holds is in the way unless `replace`.
pub async fn restore(
    database: &BackupDatabase,
    file: &Path,
    replace: bool,
) -> Result<RestoredBackup> {
    check_there(file)?;
    let state = database.state().await?;
    let first = make_room(&state, replace)?;
    let major = major(&state)?;
    let (address, bin_dir, file) = (
        database.address.clone(),
        database.bin_dir.clone(),
        file.to_path_buf(),
    );
    with_children(move |children| {
        let clients = Clients::find(bin_dir.as_deref(), major)?;
        let contents = clients.contents(&file)?;
        ensure!(
            contents.has_table("reminders") && contents.has_table("_sqlx_migrations"),
            "{} is a dump of some other database: it has no tables of unread",
            file.display()
        );
        let restored = clients.restore(&address, &file, first, children);
        restored.with_context(|| {
            if clients.major == major {
                format!("bringing {} back", file.display())
            } else {
                format!(
                    "bringing {} back with the programs of version {} to a server of version {major}; those of version {major} are the better ones",
                    file.display(),
                    clients.major
                )
            }
        })?;
        Ok(RestoredBackup {
            made_at: contents.made_at,
        })
    })
    .await
}

/// Before a database is made or opened for it.
pub fn check_there(file: &Path) -> Result<()> {
    ensure!(file.is_file(), "there is no file {}", file.display());
    Ok(())
}

/// What must be done first in a database like this, or why it cannot take a backup in.
fn make_room(state: &DatabaseState, replace: bool) -> Result<&'static str> {
    ensure!(
        state.sessions == 0,
        "{} connections of unread are open on this database: stop every process of the installation first",
        state.sessions
    );
    let is_empty = state.tables == 0 && state.other_schemas.is_empty();
    if is_empty {
        return Ok("");
    }
    ensure!(
        replace,
        "the database is not empty. `--replace` drops what unread has in it; a new database is the safer choice"
    );
    ensure!(
        state.other_schemas.is_empty(),
        "the database holds tables of other programs (schema {}): bring the backup back into a database of its own",
        state.other_schemas.join(", ")
    );
    ensure!(
        state.is_ours,
        "the database holds tables, and they are not those of unread, so they are not dropped: bring the backup back into a \
         database of its own"
    );
    Ok(restore::CLEAR)
}

fn major(state: &DatabaseState) -> Result<u32> {
    u32::try_from(state.version_number / 10_000).context("the server tells no version")
}

impl BackupDatabase {
    /// Over a connection that is closed at once: who looks for others must not be one of them.
    async fn state(&self) -> Result<DatabaseState> {
        let options = self.options.clone().application_name("unread backup");
        let mut conn = PgConnection::connect_with(&options)
            .await
            .context("the database cannot be reached")?;
        let state = restore::state(&mut conn).await?;
        conn.close().await?;
        Ok(state)
    }

    async fn size(&self) -> Result<u64> {
        let options = self.options.clone().application_name("unread backup");
        let mut conn = PgConnection::connect_with(&options).await?;
        let size = restore::size(&mut conn).await?;
        conn.close().await?;
        Ok(u64::try_from(size)?)
    }
}

/// Does what blocks on a thread of its own. When nobody waits for it any more, its children are stopped.
async fn with_children<T: Send + 'static>(
    work: impl FnOnce(&Children) -> Result<T> + Send + 'static,
) -> Result<T> {
    struct StopWhenDropped(Children);
    impl Drop for StopWhenDropped {
        fn drop(&mut self) {
            self.0.stop();
        }
    }
    let guard = StopWhenDropped(Children::default());
    let children = guard.0.clone();
    match tokio::task::spawn_blocking(move || work(&children)).await {
        Ok(done) => done,
        Err(error) => bail!("the backup's thread ended: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> DatabaseState {
        DatabaseState {
            version_number: 150_018,
            sessions: 0,
            is_ours: false,
            tables: 0,
            other_schemas: Vec::new(),
        }
    }

    #[test]
    fn only_what_is_ours_makes_room_and_only_when_told() {
        let ours = || DatabaseState {
            is_ours: true,
            tables: 50,
            ..state()
        };
        let in_use = DatabaseState {
            sessions: 3,
            ..ours()
        };
        let shared = DatabaseState {
            other_schemas: vec!["shop".to_owned()],
            ..ours()
        };
        let beside = DatabaseState {
            other_schemas: vec!["shop".to_owned()],
            ..state()
        };
        let strange = DatabaseState {
            tables: 2,
            ..state()
        };
        for (state, replace, expected) in [
            (state(), false, Ok("")),
            (state(), true, Ok("")),
            (ours(), false, Err("not empty")),
            (ours(), true, Ok(restore::CLEAR)),
            (in_use.clone(), false, Err("3 connections of unread")),
            (in_use, true, Err("3 connections of unread")),
            (shared, true, Err("schema shop")),
            (beside, false, Err("not empty")),
            (strange, true, Err("not those of unread")),
        ] {
            match (make_room(&state, replace), expected) {
                (Ok(first), Ok(expected)) => assert_eq!(first, expected),
                (Err(error), Err(words)) => {
                    assert!(error.to_string().contains(words), "{error}");
                }
                (found, expected) => panic!("{state:?}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_server_tells_its_major_version() {
        assert_eq!(major(&state()).unwrap(), 15);
    }
}
