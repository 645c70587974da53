//! Which parts a process plays, and how each of them is started.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{live, serve};
use crate::clock::Clock;
use crate::config::Config;
use crate::control::live::Examine;
use crate::db;
use crate::db::upkeep::Retention;
use crate::domain::round::ScanPace;
use crate::domain::rule::RuleSettings;
use crate::jobs::context::Context;
use crate::jobs::queue::WorkerProcess;
use crate::scheduler::Scheduler;
use crate::web;
use crate::worker::{self, Capacity};

/// Which parts this process plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleSet {
    pub web: bool,
    pub worker: bool,
    pub scheduler: bool,
}

impl RoleSet {
    pub const ALL: Self = Self {
        web: true,
        worker: true,
        scheduler: true,
    };
    pub const WEB: Self = Self {
        web: true,
        worker: false,
        scheduler: false,
    };
    pub const WORKER: Self = Self {
        web: false,
        worker: true,
        scheduler: false,
    };
    pub const SCHEDULER: Self = Self {
        web: false,
        worker: false,
        scheduler: true,
    };

    /// As metrics and logs call it. The web without its dashboard is another role: it is what visitors reach, and is replaced and
    /// missed by itself.
    pub fn name(self, config: &Config) -> &'static str {
        match self {
            Self::WEB if config.web.dashboard => "web",
            Self::WEB => "badge",
            Self::WORKER => "worker",
            Self::SCHEDULER => "scheduler",
            _ => "run",
        }
    }
}

/// Starts the parts as tasks of one process.
pub(super) struct Roles<'a> {
    pub config: &'a Config,
    pub shared: &'a Arc<Context>,
    pub examine: Examine,
    pub tasks: &'a mut JoinSet<&'static str>,
    pub shutdown: &'a CancellationToken,
}

impl Roles<'_> {
    pub async fn worker(&mut self) -> anyhow::Result<Arc<WorkerProcess>> {
        let (pool, clock) = (&self.shared.pool, &self.shared.clock);
        default_rules(self.config, pool, clock).await?;
        let lease = worker::LEASE;
        let host = Arc::new(WorkerProcess::start(
            pool.clone(),
            clock.clone(),
            "worker",
            lease,
        ));
        if self.config.live {
            let (config, ctx) = (self.config.clone(), self.shared.clone());
            let token = self.shutdown.clone();
            self.tasks
                .spawn(live::go_when_possible(config, ctx, self.examine, token));
        }
        let (own, ctx) = (host.clone(), self.shared.clone());
        let (capacity, token) = (capacity(self.config), self.shutdown.clone());
        self.tasks.spawn(async move {
            worker::run(ctx, &own, capacity, token).await;
            "worker"
        });
        Ok(host)
    }

    pub fn scheduler(&mut self) -> anyhow::Result<()> {
        let scheduler = scheduler(self.config, &self.shared.pool, &self.shared.clock)?;
        let token = self.shutdown.clone();
        self.tasks.spawn(async move {
            scheduler.run(token).await;
            "scheduler"
        });
        Ok(())
    }

    /// Where it listens.
    pub async fn web(
        &mut self,
        listener: TcpListener,
        state: &web::AppState,
        files: usize,
    ) -> anyhow::Result<SocketAddr> {
        let address = listener.local_addr()?;
        web::dashboard::login::tell_first_link(state, true).await?;
        let (following, token) = (state.clone(), self.shutdown.clone());
        self.tasks.spawn(async move {
            web::badge::follow_changes(following, token).await;
            "listener for changes"
        });
        let (telling, token) = (state.clone(), self.shutdown.clone());
        self.tasks.spawn(async move {
            web::badge::tell_what_is_shown(telling, token).await;
            "notes of open badges"
        });
        let stop = self.shutdown.clone();
        self.tasks
            .spawn(serve::serve_web(listener, state, self.config, files, stop));
        Ok(address)
    }
}

/// An account that has never had rules gets one over the configured channels, so that the first start already reminds.
async fn default_rules(config: &Config, pool: &PgPool, clock: &Clock) -> anyhow::Result<()> {
    for account in &config.accounts {
        let channels = config.channels_of(&account.id).channels();
        if channels.is_empty() {
            continue;
        }
        let settings = RuleSettings::default_for(&channels);
        let mut tx = pool.begin().await?;
        if db::rules::make_default(&mut tx, &account.id, &settings, clock.now()).await? {
            info!(account = %account.id, "First start: the account gets a default rule (see `unread rules export`)");
        }
        tx.commit().await?;
    }
    Ok(())
}

/// How the settings want accounts to be scanned.
pub fn scan_pace(config: &Config) -> anyhow::Result<ScanPace> {
    let delta = |interval| TimeDelta::from_std(interval).context("the scan interval is too long");
    Ok(ScanPace {
        per_second: config.liveperson.rate_per_second,
        every: delta(config.liveperson.scan_interval)?,
        full_every: delta(config.liveperson.full_scan_interval)?,
    })
}

/// The scheduler of these settings, for whoever ticks it.
pub fn scheduler(config: &Config, pool: &PgPool, clock: &Clock) -> anyhow::Result<Scheduler> {
    let accounts = config.accounts.iter();
    Ok(Scheduler {
        pool: pool.clone(),
        clock: clock.clone(),
        accounts: accounts.map(|account| account.id.clone()).collect(),
        scan_every: scan_pace(config)?.every,
    })
}

fn capacity(config: &Config) -> Capacity {
    let days = |days: u32| TimeDelta::days(i64::from(days));
    Capacity {
        deliveries: config.worker.slots,
        drain: config.worker.drain,
        keep: Retention {
            decisions: days(config.retention.decisions_days),
            conversations: days(config.retention.conversations_days),
            reminders: days(config.retention.reminders_days),
            audit: days(config.retention.audit_days),
        },
        keep_jobs: days(config.retention.jobs_days),
    }
}
