//! The worker role: takes jobs from the queues until told to stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use crate::db;
use crate::db::upkeep::Retention;
use crate::domain::ids::Channel;
use crate::jobs::advance::Advance;
use crate::jobs::context::Context;
use crate::jobs::deliver::Pipeline;
use crate::jobs::hint::{HintJob, Hints};
use crate::jobs::names::{self, AdvanceJob, DeliverJob, ScanJob, UpkeepJob};
use crate::jobs::queue::{self, JobRun, QueueConfig, WorkerProcess};
use crate::jobs::{incidents, redact, round, settle, skills, sweep, week};

/// How much one worker process does at a time.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Deliveries per channel; of one account at most half of them where there are several.
    pub deliveries: usize,
    /// How long running jobs may go on after the worker was told to stop.
    pub drain: Duration,
    pub keep: Retention,
    /// How long dead letters of the queue are kept.
    pub keep_jobs: TimeDelta,
}

/// A worker that is silent for this long has died: its jobs go to the others.
pub const LEASE: Duration = Duration::from_secs(30);

/// A scan of a very large skill, at one LivePerson call a second, may take this long.
const SCAN_DEADLINE: Duration = Duration::from_hours(1);

/// Works on every queue until `shutdown`, then finishes what is in hand. The host answers whether the queue is healthy.
pub async fn run(
    ctx: Arc<Context>,
    host: &WorkerProcess,
    capacity: Capacity,
    shutdown: CancellationToken,
) {
    let settled = Arc::clone(&ctx.heartbeat_status);
    let line = Pipeline::new(&ctx);
    let deliver = move |job: JobRun| {
        let line = line.clone();
        async move {
            let job: DeliverJob = job.parse()?;
            let span = info_span!("deliver", reminder = %job.reminder, account = %job.account);
            line.deliver(job).instrument(span).await
        }
    };
    let looks = Advance::new(&ctx);
    let advance = move |job: JobRun| {
        let looks = looks.clone();
        async move {
            let job: AdvanceJob = job.parse()?;
            looks.run(job).await
        }
    };
    let hints = Hints::new(&ctx);
    let hint = move |job: JobRun| {
        let hints = hints.clone();
        async move {
            let job: HintJob = job.parse()?;
            hints.run(job).await
        }
    };
    let scanning = ctx.clone();
    let scan = move |job: JobRun| {
        let ctx = scanning.clone();
        async move {
            let scan: ScanJob = job.parse()?;
            let before = scan.before.unwrap_or(job.run_at);
            Box::pin(round::scan(&ctx, &scan, before)).await
        }
    };
    // Room for everything that accounts may have under way at once: one that hangs keeps no other's slot.
    let ids: Vec<String> = ctx.accounts.keys().map(ToString::to_string).collect();
    let accounts = ids.len().max(1);
    let scans = accounts * names::SCANS_AT_ONCE;
    let upkeep = move |job: JobRun| {
        let ctx = ctx.clone();
        async move { keep_up(&ctx, job.parse()?, capacity).await }
    };
    let queue = |name, slots, deadline| QueueConfig {
        slots,
        deadline,
        drain: capacity.drain,
        ..QueueConfig::new(name)
    };
    // Longer than any provider may take: what overruns it is a fault of ours.
    let delivery = Duration::from_mins(7);
    // One account has at most half of these, and each some of its own: two for each are the least that this can be done with.
    let shared = |name| QueueConfig {
        slots: capacity.deliveries.max(2 * accounts),
        sharing: Some(queue::Sharing {
            by: names::ACCOUNT,
            among: ids.clone(),
        }),
        ..queue(name, 0, delivery)
    };
    // Reminders are left to the others until this process may send.
    let delivering = async |name| {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = settled.settled() => {}
        }
        host.run(shared(name), deliver.clone(), shutdown.clone())
            .await;
    };
    tokio::join!(
        join_all(Channel::ALL.map(|channel| delivering(names::deliver_queue(channel)))),
        host.run(shared(names::ADVANCE), advance, shutdown.clone()),
        host.run(shared(names::HINT), hint, shutdown.clone()),
        host.run(
            queue(names::SCAN, scans, SCAN_DEADLINE),
            scan,
            shutdown.clone()
        ),
        host.run(
            queue(names::UPKEEP, 2 + accounts, Duration::from_mins(10)),
            upkeep,
            shutdown.clone()
        ),
    );
}

async fn keep_up(ctx: &Context, what: UpkeepJob, capacity: Capacity) -> anyhow::Result<()> {
    match what {
        UpkeepJob::Sweep => sweep::sweep(ctx).await,
        UpkeepJob::Settle => settle::settle(ctx).await,
        UpkeepJob::Redact => redact::redact(ctx).await,
        UpkeepJob::Incidents => {
            incidents::watch(ctx).await?;
            week::tell(ctx).await
        }
        UpkeepJob::SyncSkills(account) => skills::sync(ctx, &account).await,
        UpkeepJob::Prune => {
            let now = ctx.clock.now();
            let gone = db::upkeep::prune(&ctx.pool, capacity.keep, now)
                .await
                .context("pruning")?;
            let dead = queue::purge_dead(&ctx.pool, now - capacity.keep_jobs)
                .await
                .context("pruning the queue")?;
            if gone + dead > 0 {
                tracing::info!("Pruned {gone} rows and {dead} dead jobs");
            }
            Ok(())
        }
    }
}
