//! The tick: puts scan and upkeep jobs into the queue. Any number of schedulers may run; each slot of each schedule is claimed
//! by one of them, in the transaction that enqueues the job.
//!
//! The slot is the back-off: a job that failed, or that died after failing too often, is scheduled afresh in its next slot.

use std::time::Duration;

use anyhow::Context as _;
use chrono::{DurationRound as _, TimeDelta};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::db;
use crate::domain::ids::AccountId;
use crate::jobs::names::{self, SCAN, ScanJob, UPKEEP, UpkeepJob};
use crate::jobs::queue::{self, When};

#[derive(Clone)]
pub struct Scheduler {
    pub pool: PgPool,
    pub clock: Clock,
    /// Those to scan.
    pub accounts: Vec<AccountId>,
    pub scan_every: TimeDelta,
}

const DEEP_SCAN_EVERY: TimeDelta = TimeDelta::hours(1);
const SWEEP_EVERY: TimeDelta = TimeDelta::seconds(10);
const SETTLE_EVERY: TimeDelta = TimeDelta::seconds(10);
const SYNC_SKILLS_EVERY: TimeDelta = TimeDelta::minutes(5);
const REDACT_EVERY: TimeDelta = TimeDelta::minutes(1);
const INCIDENTS_EVERY: TimeDelta = TimeDelta::minutes(1);
const PRUNE_EVERY: TimeDelta = TimeDelta::hours(1);

/// Time between two ticks on the scheduler's clock, and the least in real time (a clock may run fast).
const TICK: TimeDelta = TimeDelta::seconds(1);
const LEAST_REAL_TICK: Duration = Duration::from_millis(50);

impl Scheduler {
    /// Ticks until `shutdown`. A database that cannot be reached is logged once and tried again.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut failing = false;
        loop {
            match self.tick().await {
                Ok(()) if failing => {
                    tracing::info!("Ticking again");
                    failing = false;
                }
                Err(error) if !failing => {
                    tracing::warn!("The tick failed, trying again every second: {error:#}");
                    failing = true;
                }
                Ok(()) | Err(_) => {}
            }
            let now = self.clock.now();
            let pause = self.clock.wait_until(now + TICK).max(LEAST_REAL_TICK);
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Claims what is due at this moment and enqueues it, in one transaction.
    pub async fn tick(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await.context("opening a tick")?;
        let schedules = self.upkeep();
        let slots: Vec<(&str, TimeDelta)> = schedules
            .iter()
            .map(|(name, period, _)| (name.as_str(), *period))
            .collect();
        let won = db::schedule_ticks::claim(&mut *tx, &slots, now).await?;
        let jobs = schedules
            .iter()
            .filter(|(name, ..)| won.contains(name))
            .map(|(.., what)| names::upkeep(what, now));
        queue::schedule(&mut tx, &self.clock, UPKEEP, When::At, jobs).await?;
        for account in &self.accounts {
            let slot =
                db::schedule_ticks::claim_scan(&mut *tx, account, self.scan_every, now).await?;
            if let Some(began) = slot {
                let deep_before = now.duration_trunc(DEEP_SCAN_EVERY).unwrap_or(began);
                let scans = ScanJob::of_slot(account, began, deep_before);
                let jobs = scans.map(|scan| names::scan(&scan, now));
                queue::schedule(&mut tx, &self.clock, SCAN, When::At, jobs).await?;
            }
        }
        tx.commit().await.context("committing a tick")
    }

    /// The schedules of the upkeep queue: a name, a period, what to do.
    fn upkeep(&self) -> Vec<(String, TimeDelta, UpkeepJob)> {
        let sync = self.accounts.iter().map(|account| {
            (
                format!("sync_skills:{account}"),
                SYNC_SKILLS_EVERY,
                UpkeepJob::SyncSkills(account.clone()),
            )
        });
        [
            ("sweep".to_owned(), SWEEP_EVERY, UpkeepJob::Sweep),
            ("settle".to_owned(), SETTLE_EVERY, UpkeepJob::Settle),
            ("prune".to_owned(), PRUNE_EVERY, UpkeepJob::Prune),
            ("redact".to_owned(), REDACT_EVERY, UpkeepJob::Redact),
            (
                "incidents".to_owned(),
                INCIDENTS_EVERY,
                UpkeepJob::Incidents,
            ),
        ]
        .into_iter()
        .chain(sync)
        .collect()
    }
}
