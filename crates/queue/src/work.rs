//! One queue at work: apalis' `Worker` in the middle, between a task that fetches rows and one that settles them.
//!
//! ```text
//! fetch ──rows, each with a slot──▶ Feed (apalis Backend) ──▶ Worker ──▶ perform ──outcomes──▶ settle
//!   ▲                                                                                             │
//!   └──────────────────────────── free slots ─────────────────────────────────────────────────────┘
//! ```
//!
//! The Worker never sees a database error: one would end it, and with it all jobs in flight. It ends when the feed ends,
//! which is when the fetching stops.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use apalis::prelude::{Backend, Identity, Task, TaskId, WorkerBuilder, WorkerContext};
use apalis_core::backend::BackendConfig;
use apalis_core::backend::finalize::Ephemeral;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, warn};

use super::process::Shared;
use super::rows::Outcome;
use super::worker::{Ended, LAST_WRITES, QueueWorker, Run, fetch_rows, settle_rows};
use super::{JobRun, QueueConfig, attempt};

pub(super) async fn run<F, Fut>(
    process: Arc<Shared>,
    config: QueueConfig,
    handler: F,
    shutdown: CancellationToken,
) where
    F: Fn(JobRun) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let (feed, rows) = mpsc::unbounded_channel();
    let (settle, ended) = mpsc::unbounded_channel();
    let queue_worker = Arc::new(QueueWorker::new(process, config, settle, shutdown.clone()));
    let fetching = AbortOnDropHandle::new(tokio::spawn(fetch_rows(queue_worker.clone(), feed)));
    let mut settling =
        AbortOnDropHandle::new(tokio::spawn(settle_rows(queue_worker.clone(), ended)));

    let work = {
        let queue_worker = queue_worker.clone();
        move |run: Run| perform(queue_worker.clone(), handler.clone(), run)
    };
    let name = format!("{}/{}", queue_worker.process.name, queue_worker.config.name);
    let worker = WorkerBuilder::new(name).backend(Feed(rows)).build(work);
    let drained = async {
        shutdown.cancelled().await;
        tokio::time::sleep(queue_worker.config.drain).await;
    };
    {
        // Leaving this block drops the worker, and every handler that still runs is aborted.
        let working = pin!(worker.run());
        tokio::select! {
            ended = working => if let Err(error) = ended { error!("apalis' worker has ended: {error}") },
            () = drained => warn!("Jobs of the queue {} did not end in time and are handed back", queue_worker.config.name),
        }
    }
    if !shutdown.is_cancelled() {
        error!(
            "The queue {} is not worked on any more: its worker has ended without being asked to",
            queue_worker.config.name
        );
    }
    fetching.abort();
    let _ = tokio::time::timeout(LAST_WRITES, queue_worker.all_settled()).await;
    settling.abort();
    let _ = (&mut settling).await;
    queue_worker.hand_everything_back().await;
}

/// Runs one job, unless shutdown came first, and passes the outcome on.
async fn perform<F, Fut>(queue_worker: Arc<QueueWorker>, handler: F, Run { job, claim }: Run)
where
    F: Fn(JobRun) -> Fut + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let outcome = if queue_worker.shutdown.is_cancelled() {
        Outcome::HandedBack
    } else {
        attempt::run(
            handler,
            job,
            &queue_worker.config,
            &queue_worker.process.clock,
        )
        .await
    };
    queue_worker.pass_on(Ended { claim, outcome });
}

/// The stream of fetched rows, as apalis wants it. It has no state of its own to flush or to release.
struct Feed(mpsc::UnboundedReceiver<Run>);

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
        let run = std::task::ready!(self.0.poll_recv(cx));
        Poll::Ready(run.map(|run| Ok(Task::new(run))))
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
