//! The database as a process finds it: brought up to date or waited for, and watched while it works.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::database::Database;
use super::key::key_id;
use super::time::set_clock_right;
use crate::clock::{Backoff, Clock};
use crate::config::Config;
use crate::db::{self, Schema, SchemaProblem};
use crate::jobs::queue;

/// A pool on tables that are up to date, with the clock set right by them.
pub(super) async fn connect(
    config: &Config,
    database: &Database,
    clock: &Clock,
    migrate: bool,
    shutdown: &CancellationToken,
) -> anyhow::Result<PgPool> {
    let options = database.options.clone();
    let pool = db::pool_with_key(options, config.database_connections, key_id(config));
    if migrate {
        migrate_when_up(&pool).await?;
    } else {
        anyhow::ensure!(
            wait_for_schema(&pool, shutdown).await?,
            "stopped before the database could be reached"
        );
    }
    database.settle(&pool).await?;
    // Before anything is dated. What it cannot be told now it is told soon.
    set_clock_right(&pool, clock).await;
    Ok(pool)
}

/// Brings the ledger's and the queue's tables up to date. Tables of a newer version that this one can work with stay as they are:
/// an old process may be started anew in the middle of a roll-out. Those of another baseline are refused, the queue's included.
pub async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    match db::check_schema(pool).await {
        Ok(Schema::Newer) => {
            info!(NEWER);
            return Ok(());
        }
        Ok(Schema::Own) | Err(SchemaProblem::Behind { .. }) => {}
        Err(problem) => return Err(problem.into()),
    }
    queue::migrate(pool).await?;
    db::migrate(pool)
        .await
        .context("migrating the ledger's tables")
}

/// Migrates, waiting for a database that is still starting.
pub async fn migrate_when_up(pool: &PgPool) -> anyhow::Result<()> {
    let give_up = tokio::time::sleep(Duration::from_mins(1));
    tokio::select! {
        () = reach(pool) => migrate(pool).await,
        () = give_up => {
            db::ping(pool).await.context("the database cannot be reached; check DATABASE_URL")?;
            migrate(pool).await
        }
    }
}

/// Waits until the database answers, with growing pauses.
async fn reach(pool: &PgPool) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    while let Err(error) = db::ping(pool).await {
        let pause = backoff.pause();
        warn!(
            "The database cannot be reached, trying again in {pause:?} (check DATABASE_URL): {error}"
        );
        tokio::time::sleep(pause).await;
    }
}

/// Waits for a database that can be worked with: long-running roles start before it and outlive its absence, but never work on
/// tables they do not know. False if the shutdown came first.
async fn wait_for_schema(pool: &PgPool, shutdown: &CancellationToken) -> anyhow::Result<bool> {
    tokio::select! {
        () = shutdown.cancelled() => return Ok(false),
        () = reach(pool) => {}
    }
    if db::check_schema(pool).await? == Schema::Newer {
        info!(NEWER);
    }
    Ok(true)
}

const NEWER: &str =
    "The database was migrated by a newer version of unread, beside which this one can work";

/// How often a running process looks whether it can still work with the tables.
const SCHEMA_WATCH: Duration = Duration::from_secs(10);

/// Ends when the tables have changed in a way that this program cannot work with: to stop is better than to guess. A database that
/// is away is nobody's fault here.
pub(super) async fn watch_schema(pool: PgPool, shutdown: CancellationToken) -> &'static str {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(SCHEMA_WATCH) => {}
        }
        match db::check_schema(&pool).await {
            Ok(_) | Err(SchemaProblem::Unreachable(_)) => {}
            Err(problem) => {
                tracing::error!("Stopping: {problem}");
                break;
            }
        }
    }
    "watch over the tables"
}
