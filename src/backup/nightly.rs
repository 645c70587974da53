//! The backup that `unread run` makes of its own PostgreSQL every night.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::{BackupDatabase, WrittenBackup, kept, newest};
use crate::clock::Clock;
use crate::domain::backup;
use crate::domain::zone::Zone;
use crate::metrics::Metrics;
use crate::postgres::disk;

/// Where the backups are, in the folder of the data.
pub const FOLDER: &str = "backups";

/// After a failure.
const TRY_AGAIN: TimeDelta = TimeDelta::hours(1);

/// A machine that sleeps through the night wakes up to what it has missed.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

/// The least, whatever a clock says.
const SHORTEST_SLEEP: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub struct Nightly {
    pub database: BackupDatabase,
    pub folder: PathBuf,
    /// How many stay. Not zero.
    pub keep: usize,
    /// By whose night.
    pub zone: Zone,
    /// Since when there is something to back up.
    pub since: DateTime<Utc>,
    pub clock: Clock,
    pub metrics: Metrics,
}

impl Nightly {
    /// Backs up every night until `shutdown`, and at once what was missed.
    pub async fn run(self, shutdown: CancellationToken) -> &'static str {
        let mut not_before = DateTime::<Utc>::MIN_UTC;
        if let Some(last) = newest(&self.folder) {
            self.metrics.backed_up(last.made_at);
        }
        loop {
            let since = newest(&self.folder).map_or(self.since, |last| last.made_at);
            let due = backup::next_after(since, self.zone).max(not_before);
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.wait_until(due) => {}
            }
            let written = tokio::select! {
                () = shutdown.cancelled() => break,
                written = self.back_up() => written,
            };
            match written {
                Ok(written) => tracing::info!(
                    file = %written.file.display(),
                    "Backed up: {}",
                    disk::shown(written.bytes)
                ),
                Err(error) => {
                    tracing::error!(
                        "The nightly backup failed, trying again in an hour: {error:#}"
                    );
                    not_before = self.clock.now() + TRY_AGAIN;
                }
            }
        }
        "nightly backup"
    }

    async fn wait_until(&self, due: DateTime<Utc>) {
        while self.clock.now() < due {
            let left = self.clock.wait_until(due);
            tokio::time::sleep(left.clamp(SHORTEST_SLEEP, LONGEST_SLEEP)).await;
        }
    }

    /// Backs up once, and removes what is too old then. A second backup of one day takes the place of the first.
    pub async fn back_up(&self) -> Result<WrittenBackup> {
        let folder = &self.folder;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let last = newest(folder).map(|last| last.bytes);
        let (wanted, free) = (
            backup::room(last, self.database.size().await?),
            disk::free(folder)?,
        );
        ensure!(
            free >= wanted,
            "{} are free in {}, and a backup needs {}: make room, or keep fewer with UNREAD_BACKUPS_KEPT",
            disk::shown(free),
            folder.display(),
            disk::shown(wanted)
        );
        let now = self.clock.now();
        let file = folder.join(backup::file_name(now, self.zone));
        let written = super::write(&self.database, &file, true).await?;
        self.metrics.backed_up(now);
        kept::prune(folder, self.keep).context("removing old backups")?;
        Ok(written)
    }
}
