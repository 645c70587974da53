//! Sends what is due: prepare (load, re-check at LivePerson, decide, commit to an attempt), send, record.
//!
//! Each delivery is one straight line; its database work and its LivePerson calls are shared with whatever else is due at the
//! same moment (see `batch`). The order is promise 1 and 2: the re-check comes right before the decision, the attempt is
//! committed before the provider is called, and the provider is called with no transaction open.

mod prepare;
mod record;
mod refusals;
mod send;

use std::sync::Arc;

use anyhow::Context as _;

use super::context::Context;
use super::names::Deliver;
use crate::batch::Batcher;
use crate::domain::ids::{AccountId, ReminderId};

pub use prepare::Dispatch;
pub(in crate::jobs) use record::recorded;

/// Reminders prepared or recorded together at most: what LivePerson answers for in one call.
const BATCH: usize = crate::liveperson::MAX_IDS;

/// An error shared by all deliveries of a batch.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BatchFailed(Arc<str>);

impl From<anyhow::Error> for BatchFailed {
    fn from(error: anyhow::Error) -> Self {
        Self(format!("{error:#}").into())
    }
}

/// The delivery line of one process.
#[derive(Clone)]
pub struct Line {
    ctx: Arc<Context>,
    /// One lane per account: an account whose LivePerson hangs holds up its own reminders only.
    prepare: Arc<std::collections::HashMap<AccountId, Prepare>>,
    record: Record,
}

type Prepared = Result<Option<Box<Dispatch>>, BatchFailed>;
type Prepare = Batcher<ReminderId, Prepared>;
type Record = Batcher<record::Done, Result<(), BatchFailed>>;

/// An attempt that was committed for a job that has been aborted meanwhile was certainly not sent.
fn give_back(record: &Record, unsent: Prepared) {
    if let Ok(Some(dispatch)) = unsent {
        let record = record.clone();
        tokio::spawn(async move { record.ask(record::Done::unmade(dispatch)).await });
    }
}

impl Line {
    pub fn new(ctx: &Arc<Context>) -> Self {
        let recorder = ctx.clone();
        // One batch at a time: those that end meanwhile share the next one's statements and its commit.
        let record = Batcher::new(
            BATCH,
            1,
            move |done| record::record(recorder.clone(), done),
            drop,
        );
        let prepare = ctx
            .accounts
            .keys()
            .map(|id| {
                let (ctx, account) = (ctx.clone(), id.clone());
                let answer = move |ids| prepare::prepare(ctx.clone(), account.clone(), ids);
                let record = record.clone();
                (
                    id.clone(),
                    Batcher::new(BATCH, 2, answer, move |unsent| give_back(&record, unsent)),
                )
            })
            .collect();
        Self {
            ctx: ctx.clone(),
            prepare: Arc::new(prepare),
            record,
        }
    }

    /// Handles one delivery job: sends the reminder, unless it is no longer owed, or not yet.
    pub async fn deliver(&self, job: Deliver) -> anyhow::Result<()> {
        let Some(lane) = self.prepare.get(&job.account) else {
            // Left to its deadline: the account may come back with the next configuration.
            tracing::info!(reminder = %job.reminder, account = %job.account, "No such account is configured");
            return Ok(());
        };
        let Some(dispatch) = lane.ask(job.reminder).await?? else {
            return Ok(());
        };
        let outcome = send::send(&self.ctx, &dispatch).await;
        let done = record::Done { dispatch, outcome };
        let record = self.record.clone();
        // In a task of its own: what became of an attempt is written down even if this job is aborted meanwhile.
        let recorded = tokio::spawn(async move { record.ask(done).await });
        recorded
            .await
            .context("recording an attempt")??
            .context("recording an attempt")
    }
}
