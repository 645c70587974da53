//! Sends what is due: turn, connection, look, decision, attempt, record.
//!
//! Each delivery is one straight line; its database work and its LivePerson calls are shared with whatever else is due at the
//! same moment (see `batch`). The order is promise 1 and 2: everything that may take long comes first, the turn under the provider's
//! limit and the connection; then LivePerson is asked, decided, and the attempt committed before the provider is called, with no
//! transaction open. Right before the message leaves, what has grown old meanwhile is looked at again.

mod answers;
mod prepare;
mod recheck;
mod record;
mod refusals;
mod send;
mod sender;
mod turns;

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;

use super::context::Context;
use super::names::DeliverJob;
use crate::batch::Batcher;
use crate::clock::Moment;
use crate::domain::ids::AccountId;
use crate::standstill;

use prepare::Prepared;
use recheck::{Clearance, Recheck, RecheckBatcher};
use send::TurnSource;
use sender::{Sender, SenderRegistry, TurnBatcher};
use turns::{Admitted, TurnAdmission, TurnRequest};

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
pub struct Pipeline {
    ctx: Arc<Context>,
    /// One lane per account: an account whose LivePerson hangs holds up its own reminders only.
    lanes: Arc<HashMap<AccountId, AccountBatchers>>,
    turns: TurnBatcher,
    clearance: Clearance,
    standstill: standstill::Watch,
    record: RecordBatcher,
}

/// The batches of one account.
struct AccountBatchers {
    turns: Batcher<TurnRequest, TurnAdmission>,
    prepare: Batcher<Admitted, Result<Prepared, BatchFailed>>,
    again: RecheckBatcher,
}

type RecordBatcher = Batcher<record::FinishedAttempt, Result<(), BatchFailed>>;

/// How often a reminder may turn out to come from another sender than the one whose turn it has: the rules may change meanwhile.
const SENDERS: usize = 3;

impl AccountBatchers {
    fn new(
        ctx: &Arc<Context>,
        senders: &Arc<SenderRegistry>,
        id: &AccountId,
        record: &RecordBatcher,
    ) -> Self {
        let (context, senders, account) = (ctx.clone(), senders.clone(), id.clone());
        let admit =
            move |asks| turns::admit(context.clone(), senders.clone(), account.clone(), asks);
        let (context, account) = (ctx.clone(), id.clone());
        let prepare = move |admitted| prepare::prepare(context.clone(), account.clone(), admitted);
        let record = record.clone();
        Self {
            // One at a time: they would wait for each other's turns.
            turns: Batcher::new(BATCH, 1, admit, drop),
            prepare: Batcher::new(BATCH, 2, prepare, move |unsent| give_back(&record, unsent)),
            again: recheck::again(ctx, id),
        }
    }
}

/// An attempt that was committed for a job that has been aborted meanwhile was certainly not sent.
fn give_back(record: &RecordBatcher, unsent: Result<Prepared, BatchFailed>) {
    if let Ok(Prepared::Begun(dispatch)) = unsent {
        let record = record.clone();
        tokio::spawn(async move { record.ask(record::FinishedAttempt::unmade(dispatch)).await });
    }
}

impl Pipeline {
    pub fn new(ctx: &Arc<Context>) -> Self {
        let recorder = ctx.clone();
        // One batch at a time: those that end meanwhile share the next one's statements and its commit.
        let record = Batcher::new(
            BATCH,
            1,
            move |done| record::record(recorder.clone(), done),
            drop,
        );
        let senders = Arc::new(SenderRegistry::default());
        let accounts = ctx.accounts.keys();
        let lanes =
            accounts.map(|id| (id.clone(), AccountBatchers::new(ctx, &senders, id, &record)));
        Self {
            ctx: ctx.clone(),
            lanes: Arc::new(lanes.collect()),
            turns: sender::turns(ctx),
            clearance: recheck::clearance(ctx),
            standstill: standstill::Watch::start(),
            record,
        }
    }

    /// Handles one delivery job: sends the reminder, unless it is no longer owed, or not yet.
    pub async fn deliver(&self, job: DeliverJob) -> anyhow::Result<()> {
        let Some(lane) = self.lanes.get(&job.account) else {
            // Left to its deadline: the account may come back with the next configuration.
            tracing::info!(reminder = %job.reminder, account = %job.account, "No such account is configured");
            return Ok(());
        };
        let mut sender = None;
        for _ in 0..SENDERS {
            let ask = TurnRequest::Turn {
                reminder: job.reminder,
                sender: sender.take(),
            };
            let Some(admitted) = lane.turns.ask(ask).await?? else {
                return Ok(());
            };
            let turn_at = Moment::now();
            let (channel, of) = (admitted.owed.channel, admitted.turn.clone());
            let name = admitted.sender.clone();
            let way = match &of {
                Some(of) => Some((of, send::open(&self.ctx, &job.account, channel).await)),
                None => None,
            };
            let prepared = lane.prepare.ask(*admitted).await?;
            let begun = matches!(prepared, Ok(Prepared::Begun(_)));
            let done = match (prepared, way) {
                (Ok(Prepared::Begun(dispatch)), Some((of, way))) => {
                    let look = Recheck::new(
                        (&self.ctx, &dispatch),
                        (&lane.again, &self.clearance),
                        (&self.standstill, turn_at),
                    );
                    let (sender, turns) = (of, &self.turns);
                    let of = TurnSource { sender, turns };
                    let outcome = send::send(&self.ctx, &dispatch, of, way, &look).await;
                    Some(
                        self.written(record::FinishedAttempt { dispatch, outcome })
                            .await,
                    )
                }
                (Ok(Prepared::Begun(dispatch)), None) => Some(
                    self.written(record::FinishedAttempt::unmade(dispatch))
                        .await,
                ),
                (Ok(Prepared::WithoutTurn { sender: other }), _) => {
                    sender = Some(other);
                    None
                }
                (Ok(Prepared::Nothing), _) => Some(Ok(())),
                (Err(error), _) => Some(Err(error.into())),
            };
            if let Some(of) = of {
                self.call_up(&job.account, &of, name, !begun);
            }
            if let Some(done) = done {
                return done;
            }
        }
        anyhow::bail!("its sender changes faster than turns are given")
    }

    /// In a task of its own: what became of an attempt is written down even if this job is aborted meanwhile.
    async fn written(&self, done: record::FinishedAttempt) -> anyhow::Result<()> {
        let record = self.record.clone();
        let recorded = tokio::spawn(async move { record.ask(done).await });
        recorded
            .await
            .context("recording an attempt")??
            .context("recording an attempt")
    }

    /// A turn has been used, or is free for somebody else.
    fn call_up(&self, account: &AccountId, of: &Sender, sender: String, given_back: bool) {
        let limited = of.per_second.is_some();
        if !(of.has_a_line() || limited && given_back) {
            return;
        }
        let (lanes, account, channel) = (self.lanes.clone(), account.clone(), of.channel);
        tokio::spawn(async move {
            let Some(lane) = lanes.get(&account) else {
                return;
            };
            let call_up = TurnRequest::CallUp {
                channel,
                sender,
                given_back,
            };
            // What is missed is made up for when those who are lined up come back by themselves.
            let _ = lane.turns.ask(call_up).await;
        });
    }
}
