//! `unread backup` and `unread restore`.

use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use unread::app::{self, Database};
use unread::config::Config;
use unread::control::hold;
use unread::domain::backup::complete_until;
use unread::{backup, db, postgres::disk, say};

use super::by;

#[derive(clap::Args)]
pub struct Backup {
    /// Where to write it
    file: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

#[derive(clap::Args)]
pub struct RestoreCommand {
    /// What `unread backup` has written, or `pg_dump --format=custom`
    file: PathBuf,
    /// Drop what the database holds of unread, in the same transaction
    #[arg(long)]
    replace: bool,
}

pub async fn write(config: &Config, what: &Backup) -> anyhow::Result<()> {
    let database = Database::find(config).await?;
    let written = backup::write(&database.for_backup(config)?, &what.file, what.force).await;
    database.close().await?;
    let written = written?;
    say!(
        "Backed up: {} in {}.",
        disk::shown(written.bytes),
        written.file.display()
    );
    if config.secret.is_some() {
        say!(
            "Keep UNREAD_SECRET as well, at another place: without it, opt-outs are not recognised."
        );
    } else {
        say!(
            "The key of the address hashes is in it: anyone who reads the file can find out addresses by guessing."
        );
    }
    Ok(())
}

pub async fn restore(config: &Config, what: &RestoreCommand) -> anyhow::Result<()> {
    backup::check_there(&what.file)?;
    let database = Database::alone(config, what.replace).await?;
    let restored = restore_into(config, &database, what).await;
    database.close().await?;
    let since = restored?.map_or("TIME".to_owned(), |at| {
        at.to_rfc3339_opts(SecondsFormat::Secs, true)
    });
    say!(
        "Restored, and up to date. What happened after {since} is not in it. Before anything is sent:

  If it comes from a backup, and the service went on after it was made:
      unread restored --lost-from {since}
  Only if nothing was sent after that (the old installation was stopped first, and this one takes its place):
      unread moved

  Then start the service."
    );
    Ok(())
}

/// Returns until when the database knows what was done.
async fn restore_into(
    config: &Config,
    database: &Database,
    what: &RestoreCommand,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    let target = database.for_backup(config)?;
    let restored = backup::restore(&target, &what.file, what.replace).await?;
    let pool = db::pool(database.options.clone(), 2);
    app::migrate(&pool).await?;
    db::restore::analyze(&pool).await?;
    let last_beat = db::heartbeat::read(&pool).await?.map(|pulse| pulse.beat_at);
    let until = complete_until(last_beat, restored.made_at);
    hold::after_restore(&pool, until, by()).await?;
    pool.close().await;
    Ok(until)
}
