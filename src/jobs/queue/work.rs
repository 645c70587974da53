//! One queue at work: apalis' `Worker` in the middle, between a task that fetches rows and one that settles them.
//!
//! ```text
//! fetch ──rows, each with a slot──▶ Feed (apalis Backend) ──▶ Worker ──▶ perform ──outcomes──▶ settle
//!   ▲                                                                                             │
//!   └──────────────────────────── free slots ─────────────────────────────────────────────────────┘
//! ```
//!
//! A slot is free again when the outcome is *written*, not when the handler returns: so a slow database slows the
//! fetching, outcomes are written in batches by themselves, and no slot in use means nothing left to write. The Worker never
//! sees a database error: one would end it, and with it all jobs in flight. It ends when the feed ends, which is
//! when the fetching stops.

use std::collections::HashSet;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::layers::Identity;
use apalis_core::task::Task;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::context::WorkerContext;
use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, error, info_span, warn};

use super::host::{Backoff, Link, Shared};
use super::rows::{self, BATCH, Hold, Outcome, Row};
use super::{Job, MAX_ATTEMPTS, Poison, QueueConfig};
use crate::clock::Clock;

/// How long the last outcomes may take to be written at shutdown, and the rest to be handed back. What is missing then is
/// rescued by others when the lease ends.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// How soon to ask again for a row that an open transaction is about to change.
const LOCKED_ROW_PAUSE: Duration = Duration::from_millis(20);

/// A fetched row on its way through the worker.
struct Run {
    job: Job,
    taken: Taken,
}

/// The claim to a row and the slot it occupies, from the fetch until the outcome is written.
struct Taken {
    hold: Hold,
    _slot: OwnedSemaphorePermit,
}

/// How a run ended, on its way to the database.
struct Ended {
    taken: Taken,
    outcome: Outcome,
}

/// What the tasks of one queue have in common.
struct Desk {
    host: Arc<Shared>,
    config: QueueConfig,
    slots: Arc<Semaphore>,
    /// Everything fetched and not yet settled.
    held: Mutex<HashSet<Hold>>,
    settle: mpsc::UnboundedSender<Ended>,
    shutdown: CancellationToken,
}

pub(super) async fn run<F, Fut>(
    host: Arc<Shared>,
    config: QueueConfig,
    handler: F,
    shutdown: CancellationToken,
) where
    F: Fn(Job) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let (feed, rows) = mpsc::unbounded_channel();
    let (settle, ended) = mpsc::unbounded_channel();
    let desk = Arc::new(Desk {
        slots: Arc::new(Semaphore::new(config.slots)),
        held: Mutex::default(),
        host,
        config,
        settle,
        shutdown: shutdown.clone(),
    });
    let fetching = AbortOnDropHandle::new(tokio::spawn(fetch_rows(desk.clone(), feed)));
    let mut settling = AbortOnDropHandle::new(tokio::spawn(settle_rows(desk.clone(), ended)));

    let work = {
        let desk = desk.clone();
        move |run: Run| perform(desk.clone(), handler.clone(), run)
    };
    let name = format!("{}/{}", desk.host.name, desk.config.name);
    let worker = WorkerBuilder::new(name).backend(Feed(rows)).build(work);
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(desk.config.drain).await;
    };
    {
        // Leaving this block drops the worker, and every handler that still runs is aborted.
        let working = pin!(worker.run());
        tokio::select! {
            ended = working => if let Err(error) = ended { error!("apalis' worker has ended: {error}") },
            () = drained => warn!("Jobs of the queue {} did not end in time and are handed back", desk.config.name),
        }
    }
    if !shutdown.is_cancelled() {
        error!(
            "The queue {} is not worked on any more: its worker has ended without being asked to",
            desk.config.name
        );
    }
    fetching.abort();
    let all_settled = async {
        // All slots free: every outcome is written, and nothing else is under way.
        let _ = desk
            .slots
            .acquire_many(u32::try_from(desk.config.slots).unwrap_or(u32::MAX))
            .await;
    };
    let _ = tokio::time::timeout(LAST_WRITES, all_settled).await;
    settling.abort();
    let _ = (&mut settling).await;
    desk.hand_everything_back().await;
}

/// The stream of fetched rows, as apalis wants it. It has no state of its own to flush or to release.
struct Feed(mpsc::UnboundedReceiver<Task<Run>>);

impl Backend for Feed {
    type Task = Task<Run>;
    type Error = Infallible;

    fn poll_ready(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<Run>, Infallible>>> {
        self.0.poll_recv(cx).map(|row| row.map(Ok))
    }

    fn poll_close(
        &mut self,
        _: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        // The feed has ended and all jobs are done, but apalis waits for somebody to say stop. The only error is that
        // the worker never started.
        let _ = worker.stop();
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Feed {
    type Args = Run;
    type Id = TaskId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

/// Runs one job to its end, whatever that is, and passes the outcome on.
async fn perform<F, Fut>(desk: Arc<Desk>, handler: F, Run { job, taken }: Run)
where
    F: Fn(Job) -> Fut + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let outcome = if desk.shutdown.is_cancelled() {
        Outcome::HandedBack
    } else {
        let queue = desk.config.name;
        let (key, attempt) = (job.key.clone(), job.attempt);
        let span = info_span!("job", queue, key, attempt);
        match supervise(handler, job, desk.config.deadline)
            .instrument(span)
            .await
        {
            Ok(()) => Outcome::Done,
            Err(error) => {
                let outcome = failure(&error, attempt, desk.host.clock.now());
                match &outcome {
                    Outcome::Failed { retry_at, .. } if attempt < MAX_ATTEMPTS => {
                        warn!(
                            queue,
                            key,
                            attempt,
                            "A {queue} job failed and is tried again after {retry_at}: {error:#}"
                        );
                    }
                    _ => error!(queue, key, attempt, "A {queue} job is given up: {error:#}"),
                }
                outcome
            }
        }
    };
    desk.pass_on(Ended { taken, outcome });
}

/// The handler in a task of its own: a panic is an error, the deadline is kept, and several jobs use several cores.
async fn supervise<F, Fut>(handler: F, job: Job, deadline: Duration) -> anyhow::Result<()>
where
    F: Fn(Job) -> Fut + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let handler = async move { handler(job).await };
    let mut task = AbortOnDropHandle::new(tokio::spawn(handler.in_current_span()));
    let joined = if let Ok(joined) = tokio::time::timeout(deadline, &mut task).await {
        joined
    } else {
        task.abort();
        // Only when it has really ended may the row go to another run.
        task.await
    };
    match joined {
        Ok(result) => result,
        // What it panicked with is in the log already, and might quote anything: it does not go into the table.
        Err(error) if error.is_panic() => Err(anyhow::anyhow!("the handler panicked")),
        Err(_) => Err(anyhow::anyhow!(
            "the handler did not end within {deadline:?}"
        )),
    }
}

/// What becomes of a job that has failed for the `attempt`th time.
fn failure(error: &anyhow::Error, attempt: i32, now: DateTime<Utc>) -> Outcome {
    // Bounded, and without the one character that PostgreSQL's JSON does not take.
    let text = format!("{error:#}")
        .chars()
        .filter(|c| *c != '\0')
        .take(500)
        .collect();
    if error.is::<Poison>() {
        return Outcome::Poisoned { error: text };
    }
    let jitter = rand::random_range(0.8..1.2);
    Outcome::Failed {
        error: text,
        retry_at: now + backoff(attempt).mul_f64(jitter),
    }
}

/// 5 s after the first failure, then twice as long each time, up to a quarter of an hour. Business time.
fn backoff(attempt: i32) -> Duration {
    let doublings = attempt.saturating_sub(1).clamp(0, 16).unsigned_abs();
    Duration::from_secs(5 * 2u64.pow(doublings)).min(Duration::from_mins(15))
}

/// Takes due rows whenever slots are free, until shutdown. Ending it closes the feed.
async fn fetch_rows(desk: Arc<Desk>, feed: mpsc::UnboundedSender<Task<Run>>) {
    let bell = desk.host.bell(desk.config.name);
    let mut delay = Backoff::default();
    let mut audit_at = Instant::now() + desk.host.lease / 3;
    loop {
        let slots = tokio::select! {
            biased;
            () = desk.shutdown.cancelled() => return,
            () = tokio::time::sleep_until(audit_at) => None,
            slots = desk.free_slots() => slots,
        };
        let step = match slots {
            None => desk.audit().await.map(|()| {
                audit_at = Instant::now() + desk.host.lease / 3;
                Duration::ZERO
            }),
            Some(slots) => desk.fetch(slots, &feed).await,
        };
        let pause = match step {
            Ok(pause) => {
                desk.host.links.up(Link::Fetch);
                delay = Backoff::default();
                pause
            }
            Err(error) => {
                desk.host.links.down(Link::Fetch, &error);
                // The fetch may have been committed although its answer never came: find out before the next one.
                audit_at = Instant::now();
                delay.next()
            }
        };
        if !pause.is_zero() {
            tokio::select! {
                () = desk.shutdown.cancelled() => return,
                () = bell.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

impl Desk {
    /// All free slots, up to a batch of them; waits for the first.
    async fn free_slots(&self) -> Option<OwnedSemaphorePermit> {
        let mut slots = self.slots.clone().acquire_owned().await.ok()?;
        let more = self.slots.available_permits().min(BATCH - 1);
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
        feed: &mpsc::UnboundedSender<Task<Run>>,
    ) -> sqlx::Result<Duration> {
        let Shared {
            pool, clock, name, ..
        } = &*self.host;
        let wanted = slots.num_permits();
        let fetched = rows::fetch(pool, self.config.name, name, clock.now(), wanted).await?;
        let found_all = fetched.rows.len() < wanted;
        self.held()
            .extend(fetched.rows.iter().map(|row| row.hold.clone()));
        for row in fetched.rows {
            let Some(slot) = slots.split(1) else { break };
            match open(row, slot) {
                // Nobody receives any more only if the worker is gone; then the row is handed back at the end.
                Ok(run) => drop(feed.send(Task::new(run))),
                Err(ended) => self.pass_on(ended),
            }
        }
        Ok(if found_all {
            pause(clock, fetched.next, self.config.poll)
        } else {
            Duration::ZERO
        })
    }

    /// Compares what the table says this worker holds with what it knows. A fetch can be lost half-way, and nobody would
    /// rescue the rows of a worker that lives.
    async fn audit(&self) -> sqlx::Result<()> {
        let known: Vec<Hold> = self.held().iter().cloned().collect();
        let Shared { pool, name, .. } = &*self.host;
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
    async fn hand_everything_back(&self) {
        let Shared { pool, name, .. } = &*self.host;
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

    fn pass_on(&self, ended: Ended) {
        // The receiver lives until the end of `run`; after that the row has been handed back already.
        drop(self.settle.send(ended));
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashSet<Hold>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A row as a run, or its end if it cannot be read.
fn open(row: Row, slot: OwnedSemaphorePermit) -> Result<Run, Ended> {
    let taken = Taken {
        hold: row.hold,
        _slot: slot,
    };
    match serde_json::from_slice(&row.args) {
        Ok(args) => {
            let job = Job {
                key: row.key,
                args,
                attempt: row.attempts.saturating_add(1),
                run_at: row.run_at,
            };
            Ok(Run { job, taken })
        }
        Err(error) => {
            error!(
                key = row.key,
                "A job is given up, its arguments are not JSON: {error}"
            );
            let outcome = Outcome::Poisoned {
                error: format!("the arguments are not JSON: {error}"),
            };
            Err(Ended { taken, outcome })
        }
    }
}

/// How long to sleep when nothing is due before `next`: until then exactly, but look again after `poll` at the latest.
fn pause(clock: &Clock, next: Option<DateTime<Utc>>, poll: Duration) -> Duration {
    let Some(next) = next else { return poll };
    let wait = clock.wait_until(next);
    // A manual clock says zero although nothing is due before somebody moves it.
    if wait.is_zero() && clock.now() < next {
        poll
    } else {
        wait.min(poll)
    }
}

/// Writes outcomes, many at once when many have come, and insists until each is written.
async fn settle_rows(desk: Arc<Desk>, mut ended: mpsc::UnboundedReceiver<Ended>) {
    let Shared {
        pool,
        clock,
        name,
        links,
        ..
    } = &*desk.host;
    let mut delay = Backoff::default();
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
        let outcomes = batch
            .iter()
            .map(|ended| (&ended.taken.hold, &ended.outcome));
        match rows::settle(pool, name, clock.now(), outcomes).await {
            Ok(locked) => {
                links.up(Link::Settle);
                delay = Backoff::default();
                {
                    let mut held = desk.held();
                    batch.retain(|ended| {
                        let again = locked.contains(&ended.taken.hold.id);
                        if !again {
                            held.remove(&ended.taken.hold);
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
                tokio::time::sleep(delay.next()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> DateTime<Utc> {
        "2026-01-05T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_back_off_doubles_up_to_a_quarter_of_an_hour() {
        let seconds = [1, 2, 3, 8, 9, 25, i32::MAX].map(|attempt| backoff(attempt).as_secs());
        assert_eq!(seconds, [5, 10, 20, 640, 900, 900, 900]);
    }

    #[test]
    fn the_pause_ends_when_the_next_row_is_due_and_at_the_poll_at_the_latest() {
        let poll = Duration::from_millis(500);
        let clock = Clock::manual(noon());
        assert_eq!(pause(&clock, None, poll), poll);
        assert_eq!(pause(&clock, Some(noon()), poll), Duration::ZERO);
        let in_a_minute = noon() + chrono::TimeDelta::minutes(1);
        assert_eq!(
            pause(&clock, Some(in_a_minute), poll),
            poll,
            "a manual clock does not spin"
        );

        let fast = Clock::scaled(noon(), std::time::Instant::now(), 600.0);
        let wait = pause(&fast, Some(in_a_minute), poll);
        assert!(
            wait <= Duration::from_millis(100),
            "a minute lasts a tenth of a second: {wait:?}"
        );
        assert_eq!(
            pause(&fast, Some(noon() + chrono::TimeDelta::days(1)), poll),
            poll
        );
    }

    #[test]
    fn poison_is_recognised_under_any_context_and_everything_else_is_tried_again() {
        let poison = anyhow::Error::from(Poison("no such thing".into())).context("delivering");
        let outcome = failure(&poison, 1, noon());
        assert!(
            matches!(outcome, Outcome::Poisoned { error } if error == "delivering: no such thing")
        );

        let error = anyhow::anyhow!("x\0{}", "y".repeat(1000));
        let Outcome::Failed { error, retry_at } = failure(&error, 2, noon()) else {
            panic!("tried again")
        };
        assert_eq!((error.len(), &error[..2]), (500, "xy"));
        let wait = retry_at - noon();
        assert!(wait >= chrono::TimeDelta::seconds(8) && wait <= chrono::TimeDelta::seconds(12));
    }
}
