//! Puts the parts together: from settings to running roles, and down again.

mod adapters;
pub mod codes;
mod database;
pub mod journal;
mod key;
mod live;
mod parts;
mod roles;
mod schema;
mod serve;
mod time;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::control::live::Examine;
use crate::domain::ids::AccountId;
use crate::hashing::Hasher;
use crate::jobs::queue::WorkerProcess;
use crate::metrics::Metrics;
use crate::version::{REVISION, VERSION};
use crate::web::{self, connections};

pub use adapters::liveperson_settings;
pub use database::{Database, DatabaseSource, backups, locate};
pub use key::{KEY_BESIDE_HASHES, SET_A_KEY, hasher, key_id};
pub use parts::{account_of, context, installation, web_state};
pub use roles::{RoleSet, scan_pace, scheduler};
pub use schema::{migrate, migrate_when_up, wait_until_migrated};

/// A service that runs until its shutdown token is cancelled.
pub struct Running {
    /// Where the web listens, if it does.
    pub web: Option<SocketAddr>,
    pub pool: PgPool,
    /// What the web's handlers have at hand.
    pub state: web::AppState,
    tasks: JoinSet<&'static str>,
    shutdown: CancellationToken,
    host: Option<Arc<WorkerProcess>>,
}

impl Running {
    /// Waits for the shutdown, and for every part to finish what it has in hand.
    ///
    /// Without a database nothing can be finished: what is in hand is left to others, as if this process had been killed.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        let (pool, shutdown) = (self.pool.clone(), self.shutdown.clone());
        let abandoned = schema::away_at_the_end(pool, shutdown);
        tokio::select! {
            ended = self.finish_in_order() => ended,
            () = abandoned => {
                tracing::warn!("Stopping without the database: what is in hand is taken over by others, or looked up when it is back");
                Ok(())
            }
        }
    }

    async fn finish_in_order(&mut self) -> anyhow::Result<()> {
        let mut failed = None;
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(part) if !self.shutdown.is_cancelled() => {
                    failed = Some(format!("the {part} ended by itself"));
                }
                Ok(_) => {}
                Err(error) => failed = Some(format!("a part of the service crashed: {error}")),
            }
            self.shutdown.cancel();
        }
        if let Some(host) = self.host.take().and_then(Arc::into_inner) {
            host.leave().await;
        }
        self.pool.close().await;
        failed.map_or(Ok(()), |why| bail!(why))
    }
}

/// How a service is started beside its settings.
pub struct Start {
    pub parts: RoleSet,
    pub clock: Clock,
    /// Bring the tables up to date first; separate roles leave that to `unread migrate`.
    pub migrate: bool,
    pub demo: Option<web::Demo>,
    /// What is found broken before a channel goes live.
    pub examine: Examine,
    pub shutdown: CancellationToken,
}

/// Starts the parts of the service on a database.
pub async fn start(config: &Config, database: &Database, start: Start) -> anyhow::Result<Running> {
    let Start {
        parts,
        clock,
        migrate,
        demo,
        examine,
        shutdown,
    } = start;
    let files = connections::raise_file_limit();
    let web_listener = if parts.web {
        Some(serve::bind(&config.web).await?)
    } else {
        None
    };
    let metrics_listener = serve::bind_metrics(&config.web).await?;
    let metrics = Metrics::of_process(parts.name(config), config.web.metrics_by_account);
    let starting = web::Starting::new(metrics.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(serve::serve_metrics(
        metrics_listener,
        starting.clone(),
        &metrics,
        config,
        shutdown.clone(),
    ));

    let pool = schema::connect(config, database, &clock, (parts.web, migrate), &shutdown).await?;
    log_start(config, parts, database);
    // From here on somebody says why the database is away when it is.
    tasks.spawn(schema::watch_schema(pool.clone(), shutdown.clone()));
    let hasher = if parts.web || parts.worker {
        hasher(config, &pool).await?
    } else {
        // It hashes no address, and is not given the key.
        Hasher::new(crate::hashing::token().as_bytes())
    };
    if parts.web && config.web.dashboard {
        codes::warn_of_lost(&pool, &hasher).await?;
    }
    let shared = Arc::new(context(config, &pool, &clock, &hasher, &metrics)?);
    let journal = journal::of_process(config, parts, demo.is_some());
    let heart = journal::sign_on(config, &shared, journal.as_ref(), &shutdown).await?;

    tasks.spawn(heart.run(shutdown.clone()));
    if parts.worker {
        journal::keep(config, &shared, journal, &mut tasks, &shutdown).await?;
    }
    tasks.spawn(watch(database.lost(), shutdown.clone()));
    if matches!(clock, Clock::OfDatabase(_)) {
        tasks.spawn(time::keep_time(
            pool.clone(),
            clock.clone(),
            shutdown.clone(),
        ));
    }
    if let Some(nightly) = database.nightly(config, &clock, &metrics)? {
        tasks.spawn(nightly.run(shutdown.clone()));
    }

    let mut roles = roles::Roles {
        config,
        shared: &shared,
        examine,
        tasks: &mut tasks,
        shutdown: &shutdown,
    };
    let mut host = None;
    if parts.worker {
        host = Some(roles.worker().await?);
    }
    if parts.scheduler {
        roles.scheduler()?;
    }
    let healthy = host.as_ref().map(serve::health_of);
    let state = web_state(config, &shared, healthy, demo, examine, &shutdown)?;
    let mut address = None;
    if let Some(listener) = web_listener {
        address = Some(roles.web(listener, &state, files).await?);
    }
    starting.started(state.clone());
    Ok(Running {
        web: address,
        pool,
        state,
        tasks,
        shutdown,
        host,
    })
}

/// What every question about a process begins with.
fn log_start(config: &Config, parts: RoleSet, database: &Database) {
    let accounts: Vec<&str> = config.accounts.iter().map(|a| a.id.as_str()).collect();
    tracing::info!(
        version = VERSION,
        revision = REVISION,
        role = parts.name(config),
        accounts = accounts.join(","),
        database = database.place(),
        schema = crate::db::newest_migration(),
        "Starting to work"
    );
}

/// A PostgreSQL of our own that dies takes the service with it: whoever started us starts both again.
async fn watch(lost: impl Future<Output = String>, shutdown: CancellationToken) -> &'static str {
    tokio::select! {
        () = shutdown.cancelled() => {}
        why = lost => tracing::error!("PostgreSQL of our own has ended: {why}"),
    }
    "database server"
}

/// The account that is meant: the one named, or the only one there is.
pub fn account<'c>(
    config: &'c Config,
    named: Option<&AccountId>,
) -> anyhow::Result<&'c config::AccountSettings> {
    match (named, config.accounts.as_slice()) {
        (Some(id), accounts) => accounts
            .iter()
            .find(|account| account.id == *id)
            .with_context(|| format!("account {id} is not configured")),
        (None, [only]) => Ok(only),
        (None, []) => bail!("no account is configured: set LE_ACCOUNT"),
        (None, _) => bail!("there are several accounts: name one with --account"),
    }
}

#[cfg(test)]
mod tests;
