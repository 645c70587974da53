//! The database as a process finds it: brought up to date or waited for, and watched while it works.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::database::Database;
use super::key::key_id;
use super::time::set_clock_right;
use crate::clock::{Backoff, Clock};
use crate::config::Config;
use crate::db::{self, Schema, SchemaProblem};
use crate::jobs::queue;

/// Connections that a process with the web role does not give back.
const KEPT_BY_THE_WEB: u32 = 3;

/// A pool on tables that are up to date, with the clock set right by them.
pub(super) async fn connect(
    config: &Config,
    database: &Database,
    clock: &Clock,
    (web, migrate): (bool, bool),
    shutdown: &CancellationToken,
) -> anyhow::Result<PgPool> {
    let options = database.options.clone();
    // Workers open connections when there is much to do, and then there may be none left for those who answer visitors.
    let kept = if web { KEPT_BY_THE_WEB } else { 0 };
    let pool = db::pool_with_key(options, config.database_connections, kept, key_id(config));
    database.followed_by(&pool);
    if migrate {
        tokio::select! {
            done = migrate_when_up(&pool) => done?,
            () = shutdown.cancelled() => anyhow::bail!("stopped before the database was migrated"),
        }
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
            info!("{NEWER}");
            return Ok(());
        }
        Ok(Schema::Own) | Err(SchemaProblem::Behind { .. }) => {}
        Err(problem) => return Err(problem.into()),
    }
    migrate_despite_locks(&pool.connect_options()).await
}

/// How long migrations are tried while others hold what they need: longer than a dump of a large ledger takes.
const LOCKED_OUT: Duration = Duration::from_mins(30);

/// Each migration is a transaction of its own: what was done stays, and the one that was kept waiting begins anew. What asks for the same
/// tables goes on in the pauses.
async fn migrate_despite_locks(options: &PgConnectOptions) -> anyhow::Result<()> {
    let started = tokio::time::Instant::now();
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15));
    loop {
        // Connections of its own for each attempt: one that failed keeps the migrations' advisory lock for as long as it is open.
        let pool = db::pool_for_migrations(options.clone());
        let migrated = migrate_once(&pool).await;
        let holders = match &migrated {
            Err(error) if db::is_locked_out(error) => holders(&pool).await,
            _ => String::new(),
        };
        pool.close().await;
        let error = match migrated {
            Ok(()) => return Ok(()),
            Err(error) if db::is_locked_out(&error) && started.elapsed() < LOCKED_OUT => error,
            Err(error) => return Err(error),
        };
        let pause = backoff.pause();
        warn!("A migration waits for a lock{holders}; trying again in {pause:?}: {error:#}");
        tokio::time::sleep(pause).await;
    }
}

async fn migrate_once(pool: &PgPool) -> anyhow::Result<()> {
    let missing = db::missing_migrations(pool).await?;
    if missing > 0 {
        info!("Migrating: {missing} migrations to apply");
    }
    queue::migrate(pool).await?;
    tokio::select! {
        done = db::migrate(pool) => done.context("migrating the ledger's tables"),
        never = tell_progress(pool) => match never {},
    }
}

/// Building an index takes as long as it takes: whoever waits reads how far it is.
async fn tell_progress(pool: &PgPool) -> Infallible {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        if let Ok(Some(progress)) = db::migrations::index_progress(pool).await {
            info!("Building the index {progress}");
        }
    }
}

/// Who may hold it, as a clause.
async fn holders(pool: &PgPool) -> String {
    let open = db::server::oldest_transactions(pool)
        .await
        .unwrap_or_default();
    let open: Vec<String> = open
        .iter()
        .map(|t| format!("{} (pid {}) for {} s", t.application, t.pid, t.seconds))
        .collect();
    if open.is_empty() {
        String::new()
    } else {
        format!("; transactions of others: {}", open.join(", "))
    }
}

/// Waits for tables that this program can work with, which another process brings up to date.
pub async fn wait_until_migrated(pool: &PgPool) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    loop {
        let waits_for = match db::check_schema(pool).await {
            Ok(_) => return Ok(()),
            Err(problem @ SchemaProblem::Behind { .. }) => problem.to_string(),
            Err(SchemaProblem::Unreachable(error)) => match db::ping(pool).await {
                Ok(()) => error.to_string(),
                Err(why) => format!("the database cannot be reached: {why}"),
            },
            Err(problem) => return Err(problem.into()),
        };
        let pause = backoff.pause();
        info!("Waiting until the database is migrated, looking again in {pause:?}: {waits_for}");
        tokio::time::sleep(pause).await;
    }
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
        db::note_reachable(Some(&error));
        let pause = backoff.pause();
        warn!(
            "The database cannot be reached, trying again in {pause:?} (check DATABASE_URL): {error}"
        );
        tokio::time::sleep(pause).await;
    }
    db::note_reachable(None);
}

/// Waits for a database that can be worked with: long-running roles start before it and outlive its absence, but never work on
/// tables they do not know. False if the shutdown came first.
async fn wait_for_schema(pool: &PgPool, shutdown: &CancellationToken) -> anyhow::Result<bool> {
    tokio::select! {
        () = shutdown.cancelled() => return Ok(false),
        () = reach(pool) => {}
    }
    if db::check_schema(pool).await? == Schema::Newer {
        info!("{NEWER}");
    }
    Ok(true)
}

const NEWER: &str =
    "The database was migrated by a newer version of unread, beside which this one can work";

/// How often a running process looks whether it can still work with the tables.
const SCHEMA_WATCH: Duration = Duration::from_secs(5);

/// A database that answers later than this is away.
const SCHEMA_PATIENCE: Duration = Duration::from_secs(3);

/// Ends when the tables have changed in a way that this program cannot work with: to stop is better than to guess. A database that
/// is away is nobody's fault here; why it is, is asked on a connection of its own, since a pool only knows that it has none, and is
/// logged when it changes.
pub(super) async fn watch_schema(pool: PgPool, shutdown: CancellationToken) -> &'static str {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(SCHEMA_WATCH) => {}
        }
        match tokio::time::timeout(SCHEMA_PATIENCE, db::check_schema(&pool)).await {
            Ok(Ok(_)) => {
                if db::note_reachable(None) {
                    info!("The database can be reached again");
                }
            }
            Ok(Err(SchemaProblem::Unreachable(_))) | Err(_) => tell_why(&pool).await,
            Ok(Err(problem)) => {
                tracing::error!("Stopping: {problem}");
                break;
            }
        }
    }
    "watch over the tables"
}

/// So long a process that stops waits for a database that is away.
const LAST_PATIENCE: Duration = Duration::from_secs(8);

/// Ends some seconds after the shutdown if the database could not be reached in all of them.
pub(super) async fn away_at_the_end(pool: PgPool, shutdown: CancellationToken) {
    shutdown.cancelled().await;
    let mut seen = tokio::time::Instant::now();
    while seen.elapsed() < LAST_PATIENCE {
        let asked = tokio::time::Instant::now();
        if db::ping(&pool).await.is_ok() {
            seen = asked;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A database that answers on a new connection is there: all others are in use.
async fn tell_why(pool: &PgPool) {
    let error = match db::ping(pool).await {
        Ok(()) => return,
        Err(error) => error,
    };
    if db::note_reachable(Some(&error)) {
        warn!("The database cannot be reached: {error}");
    }
}
