//! The roles as commands; the database brought up to date.

use tokio_util::sync::CancellationToken;
use unread::app::{self, Database, RoleSet, Start};
use unread::clock::Clock;
use unread::config::Config;
use unread::db;
use unread::postgres::Durability;
use unread::say;

pub async fn play(
    config: &Config,
    parts: RoleSet,
    migrate: bool,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let stopping = shutdown.clone();
    if config.secret.is_none() {
        let (danger, fix) = (app::KEY_BESIDE_HASHES, app::SET_A_KEY);
        tracing::warn!("UNREAD_SECRET is not set: {danger}. {fix}");
    }
    let database = Database::open(config, Durability::Durable).await?;
    let start = Start {
        parts,
        clock: Clock::of_database(),
        migrate,
        demo: None,
        examine: unread::doctor::find_broken,
        shutdown,
    };
    let running = match app::start(config, &database, start).await {
        Ok(running) => running,
        Err(error) => {
            database.close().await?;
            // Asked to stop while still waiting for the database: that is no failure.
            return if stopping.is_cancelled() {
                Ok(())
            } else {
                Err(error)
            };
        }
    };
    if let Some(address) = running.web {
        tracing::info!("Listening on {address}");
    }
    let ended = running.finish().await;
    database.close().await?;
    ended
}

/// `wait`: another process brings it up to date.
pub async fn migrate(config: &Config, wait: bool) -> anyhow::Result<()> {
    let database = Database::find(config).await?;
    let pool = db::pool(database.options.clone(), 2);
    if wait {
        app::wait_until_migrated(&pool).await?;
    } else {
        app::migrate_when_up(&pool).await?;
    }
    say!("The database is up to date.");
    pool.close().await;
    database.close().await
}
