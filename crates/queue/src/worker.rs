//! The rows of one queue that this process holds: fetched when slots are free, settled when their jobs have ended.
//!
//! A slot is free again when the outcome is *written*, not when the handler returns: so a slow database slows the
//! fetching, outcomes gather into batches by themselves, and when all slots are free there is nothing left to write.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use unread_clock::Clock;
use unread_trace::TraceParent;

use super::process::{AWAY, Link, Shared};
use super::rows::{self, BATCH, Outcome, Row, RowClaim};
use super::shares::{Share, Shares};
use super::{JobRun, QueueConfig};

/// How long the last outcomes may take to be written at shutdown, and the rest to be handed back. What is missing then is
/// rescued by others when the lease ends.
pub(super) const LAST_WRITES: Duration = Duration::from_secs(5);

/// How long a fetch waits for a quarter of the slots while more is due than there are slots: a few rows at a time would cost a
/// statement each, at every step that they take together from then on.
const GATHER: Duration = Duration::from_millis(25);

/// How soon to ask again for a row that an open transaction is about to change.
const LOCKED_ROW_PAUSE: Duration = Duration::from_millis(20);

/// A fetched row on its way through the worker.
pub(super) struct Run {
    pub job: JobRun,
    pub claim: Claim,
}

/// The claim to a row and the slot it occupies, from the fetch until the outcome is written.
pub(super) struct Claim {
    row: RowClaim,
    _slot: OwnedSemaphorePermit,
    _share: Share,
}

/// How a run ended, on its way to the database.
pub(super) struct Ended {
    pub claim: Claim,
    pub outcome: Outcome,
}

/// What the tasks of one queue have in common.
pub(super) struct QueueWorker {
    pub process: Arc<Shared>,
    pub config: QueueConfig,
    slots: Arc<Semaphore>,
    shares: Arc<Shares>,
    /// Everything fetched and not yet settled.
    held: Mutex<HashSet<RowClaim>>,
    settle: mpsc::UnboundedSender<Ended>,
    pub shutdown: CancellationToken,
}

/// Takes due rows whenever slots are free, until shutdown. Ending it closes the feed.
pub(super) async fn fetch_rows(worker: Arc<QueueWorker>, feed: mpsc::UnboundedSender<Run>) {
    let notifier = worker.process.notifier(worker.config.name);
    let mut delay = AWAY;
    let mut audit_at = Instant::now() + worker.process.lease / 3;
    let mut more_is_due = false;
    loop {
        let slots = tokio::select! {
            biased;
            () = worker.shutdown.cancelled() => return,
            () = tokio::time::sleep_until(audit_at) => None,
            slots = worker.free_slots(more_is_due) => slots,
        };
        let step = match slots {
            None => worker.audit().await.map(|()| {
                audit_at = Instant::now() + worker.process.lease / 3;
                Duration::ZERO
            }),
            Some(slots) => worker.fetch(slots, &feed).await,
        };
        let pause = match step {
            Ok(pause) => {
                worker.process.links.up(Link::Fetch);
                delay.reset();
                more_is_due = pause.is_zero();
                pause
            }
            Err(error) => {
                worker.process.links.down(Link::Fetch, &error);
                // The fetch may have been committed although its answer never came: find out before the next one.
                audit_at = Instant::now();
                delay.pause()
            }
        };
        if !pause.is_zero() {
            tokio::select! {
                () = worker.shutdown.cancelled() => return,
                () = notifier.notified() => {}
                () = worker.shares.freed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

impl QueueWorker {
    pub fn new(
        process: Arc<Shared>,
        config: QueueConfig,
        settle: mpsc::UnboundedSender<Ended>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(config.slots)),
            shares: Shares::new(config.slots, config.sharing.clone()),
            held: Mutex::default(),
            process,
            config,
            settle,
            shutdown,
        }
    }

    /// Waits until every slot is free: every outcome is written, and nothing else is under way.
    pub async fn all_settled(&self) {
        let all = u32::try_from(self.config.slots).unwrap_or(u32::MAX);
        let _ = self.slots.acquire_many(all).await;
    }

    /// All free slots, up to a batch of them; waits for the first and, if `more_is_due` than there were slots for, a moment for more.
    async fn free_slots(&self, more_is_due: bool) -> Option<OwnedSemaphorePermit> {
        let mut slots = self.slots.clone().acquire_owned().await.ok()?;
        if more_is_due {
            let quarter = (self.config.slots / 4).min(BATCH);
            let others = u32::try_from(quarter.saturating_sub(1)).unwrap_or(0);
            let others = self.slots.clone().acquire_many_owned(others);
            if let Ok(Ok(others)) = tokio::time::timeout(GATHER, others).await {
                slots.merge(others);
            }
        }
        let more = BATCH.saturating_sub(slots.num_permits());
        let more = self.slots.available_permits().min(more);
        if let Ok(more) = self
            .slots
            .clone()
            .try_acquire_many_owned(u32::try_from(more).unwrap_or(0))
        {
            slots.merge(more);
        }
        Some(slots)
    }

    /// Fetches as many rows as there are `slots`. Returns how long there will be nothing to fetch.
    async fn fetch(
        &self,
        mut slots: OwnedSemaphorePermit,
        feed: &mpsc::UnboundedSender<Run>,
    ) -> sqlx::Result<Duration> {
        let Shared {
            pool, clock, name, ..
        } = &*self.process;
        let plan = self.shares.plan(slots.num_permits());
        let now = clock.instead_of_database();
        let fetched = rows::fetch(pool, self.config.name, name, now, &plan).await?;
        let found_all = fetched.rows.len() < plan.limit;
        self.held()
            .extend(fetched.rows.iter().map(|row| row.claim.clone()));
        for row in fetched.rows {
            let Some(slot) = slots.split(1) else { break };
            let share = self.shares.take(&row.args);
            match open(row, slot, share) {
                // Nobody receives any more only if the worker is gone; then the row is handed back at the end.
                Ok(run) => drop(feed.send(run)),
                Err(ended) => self.pass_on(ended),
            }
        }
        Ok(if found_all {
            pause(clock, fetched.next_in, self.config.poll)
        } else {
            Duration::ZERO
        })
    }

    /// Compares what the table says this worker holds with what it knows. A fetch can be lost half-way, and nobody would
    /// rescue the rows of a worker that lives.
    async fn audit(&self) -> sqlx::Result<()> {
        let known: Vec<RowClaim> = self.held().iter().cloned().collect();
        let Shared { pool, name, .. } = &*self.process;
        let found = rows::hand_back(pool, self.config.name, name, known.iter()).await?;
        if found > 0 {
            warn!(
                "{found} jobs of the queue {} were fetched but never arrived; they run again",
                self.config.name
            );
        }
        Ok(())
    }

    /// The end: what is still held goes back, no attempt the poorer.
    pub async fn hand_everything_back(&self) {
        let Shared { pool, name, .. } = &*self.process;
        let back = tokio::time::timeout(
            LAST_WRITES,
            rows::hand_back(pool, self.config.name, name, std::iter::empty()),
        );
        match back.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn!(
                "Jobs of the queue {} wait for the lease to end: {error}",
                self.config.name
            ),
            Err(_) => warn!(
                "Jobs of the queue {} wait for the lease to end: no answer in time",
                self.config.name
            ),
        }
    }

    pub fn pass_on(&self, ended: Ended) {
        // The receiver lives until the end of `run`; after that the row has been handed back already.
        drop(self.settle.send(ended));
    }

    fn held(&self) -> MutexGuard<'_, HashSet<RowClaim>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A row as a run, or its end if it cannot be read.
fn open(row: Row, slot: OwnedSemaphorePermit, share: Share) -> Result<Run, Ended> {
    let claim = Claim {
        row: row.claim,
        _slot: slot,
        _share: share,
    };
    match serde_json::from_slice(&row.args) {
        Ok(args) => {
            let job = JobRun {
                key: row.key,
                args,
                attempt: row.attempts.saturating_add(1),
                run_at: row.run_at,
                trace: row.traceparent.as_deref().and_then(TraceParent::parse),
            };
            Ok(Run { job, claim })
        }
        Err(error) => {
            error!(
                key = row.key,
                "A job is given up, its arguments are not JSON: {error}"
            );
            let outcome = Outcome::Discarded {
                error: format!("the arguments are not JSON: {error}"),
            };
            Err(Ended { claim, outcome })
        }
    }
}

/// How long to sleep when nothing is due for so long: until then exactly, but look again after `poll` at the latest.
fn pause(clock: &Clock, next_in: Option<TimeDelta>, poll: Duration) -> Duration {
    let Some(next_in) = next_in else { return poll };
    let wait = clock.real(next_in);
    // A manual clock says zero although nothing is due before somebody moves it.
    if wait.is_zero() && next_in > TimeDelta::zero() {
        poll
    } else {
        wait.min(poll)
    }
}

/// Writes outcomes, many at once when many have come, and insists until each is written.
pub(super) async fn settle_rows(
    worker: Arc<QueueWorker>,
    mut ended: mpsc::UnboundedReceiver<Ended>,
) {
    let Shared {
        pool,
        clock,
        name,
        links,
        ..
    } = &*worker.process;
    let mut delay = AWAY;
    let mut batch: Vec<Ended> = Vec::new();
    loop {
        if batch.is_empty() {
            if ended.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
        } else {
            while batch.len() < BATCH
                && let Ok(one) = ended.try_recv()
            {
                batch.push(one);
            }
        }
        let outcomes = batch.iter().map(|ended| (&ended.claim.row, &ended.outcome));
        match rows::settle(pool, name, clock.now(), outcomes).await {
            Ok(locked) => {
                links.up(Link::Settle);
                delay.reset();
                {
                    let mut held = worker.held();
                    batch.retain(|ended| {
                        let again = locked.contains(&ended.claim.row.id);
                        if !again {
                            held.remove(&ended.claim.row);
                        }
                        again
                    });
                }
                if !batch.is_empty() {
                    tokio::time::sleep(LOCKED_ROW_PAUSE).await;
                }
            }
            Err(error) => {
                links.down(Link::Settle, &error);
                tokio::time::sleep(delay.pause()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> chrono::DateTime<chrono::Utc> {
        "2026-01-05T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_pause_ends_when_the_next_row_is_due_and_at_the_poll_at_the_latest() {
        let poll = Duration::from_millis(500);
        let minute = Some(TimeDelta::minutes(1));
        for real in [Clock::System, Clock::of_database()] {
            assert_eq!(pause(&real, None, poll), poll);
            assert_eq!(pause(&real, minute, poll), poll);
            let soon = Some(TimeDelta::milliseconds(20));
            assert_eq!(pause(&real, soon, poll), Duration::from_millis(20));
        }
        let clock = Clock::manual(noon());
        assert_eq!(
            pause(&clock, minute, poll),
            poll,
            "a manual clock does not spin"
        );
    }
}
