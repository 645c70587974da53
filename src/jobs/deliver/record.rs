//! Writes down what became of attempts, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};

use super::prepare::Dispatch;
use super::{BatchFailed, refusals};
use crate::channel::{self, codes};
use crate::clock::Backoff;
use crate::db;
use crate::db::circuits::Proof;
use crate::db::decisions::NewDecision;
use crate::db::ledger::Recorded;
use crate::db::suppressions::Source;
use crate::domain::contact::Suppression;
use crate::domain::decide::{Cause, Reason, Stage, Verdict};
use crate::domain::ids::{Channel, ReminderId};
use crate::domain::outcome::{AfterAttempt, Attempt, Outcome, Retryable, next_state};
use crate::domain::reminder::ReminderState;
use crate::jobs::advance;
use crate::jobs::context::Context;
use crate::jobs::names::{self, DueDelivery};
use crate::jobs::queue::When;

/// How soon a reminder is decided about anew whose attempt was begun and not made.
pub const UNMADE_PAUSE: Duration = Duration::from_secs(5);

/// An attempt that has ended.
pub struct FinishedAttempt {
    pub dispatch: Box<Dispatch>,
    pub outcome: Outcome,
}

impl FinishedAttempt {
    /// An attempt that was begun and certainly not made.
    pub fn unmade(dispatch: Box<Dispatch>) -> Self {
        let outcome = Outcome::not_tried("stopped", UNMADE_PAUSE);
        Self { dispatch, outcome }
    }
}

/// Takes back attempts whose beginning may have been committed, or not, and which nobody makes. Without this they would end as
/// unknown, which for an e-mail is the end.
pub async fn take_back(ctx: Arc<Context>, unmade: Vec<Dispatch>, begun_at: DateTime<Utc>) {
    if unmade.is_empty() {
        return;
    }
    let begun: Vec<(i64, ReminderId)> = unmade.iter().map(|d| (d.attempt, d.owed.id)).collect();
    let found = until_database_returns(|| async {
        let found = db::ledger::begun(&ctx.pool, &begun, begun_at).await;
        found.context("looking for attempts that were begun")
    })
    .await;
    match found {
        Ok(open) => {
            let unmade = unmade.into_iter().filter(|d| open.contains(&d.attempt));
            let done: Vec<FinishedAttempt> = unmade
                .map(|d| FinishedAttempt::unmade(Box::new(d)))
                .collect();
            record(ctx, done).await;
        }
        Err(error) => tracing::warn!("Attempts that no process makes stay open: {error:#}"),
    }
}

/// Records a batch in one transaction.
pub async fn record(ctx: Arc<Context>, done: Vec<FinishedAttempt>) -> Vec<Result<(), BatchFailed>> {
    let results = done.len();
    let written = until_database_returns(|| write(&ctx, &done));
    let shared = written.await.map_err(BatchFailed::from);
    (0..results).map(|_| shared.clone()).collect()
}

/// Tries again and again: what became of an attempt is worth it, since an attempt whose record is lost becomes unknown. While the
/// database is away nothing else can be done anyway; any other error is one of this batch, and others wait behind it.
async fn until_database_returns<T, F>(write: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let began = tokio::time::Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    loop {
        let error = match write().await {
            Ok(written) => return Ok(written),
            Err(error) => error,
        };
        let patience = if db::is_away(&error) {
            Duration::from_mins(15)
        } else {
            Duration::from_secs(30)
        };
        let pause = backoff.pause();
        if began.elapsed() + pause > patience {
            return Err(error);
        }
        tracing::warn!("What became of attempts cannot be written, trying again: {error:#}");
        tokio::time::sleep(pause).await;
    }
}

async fn write(ctx: &Context, done: &[FinishedAttempt]) -> anyhow::Result<()> {
    let now = ctx.clock.now();
    let mut tx = ctx
        .pool
        .begin()
        .await
        .context("opening a transaction for outcomes")?;
    let reviewed = refusals::review(&mut tx, ctx, done, now)
        .await
        .context("reviewing refusals")?;
    let mut page = Consequences::default();
    for (place, FinishedAttempt { dispatch, outcome }) in done.iter().enumerate() {
        page.add(dispatch, &reviewed.outcome(place, outcome), now);
    }
    page.pause(reviewed.paused);
    let changed = db::ledger::record(&mut tx, &page.recorded, now)
        .await
        .context("recording outcomes")?;
    page.log.retain(|entry| changed.contains(&entry.reminder));
    page.schedule.retain(|(_, id, _)| changed.contains(id));
    db::decisions::log(&mut tx, Stage::Deliver, &page.log, now).await?;
    for (dispatch, suppression) in &page.suppress {
        let owed = &dispatch.owed;
        let why = (*suppression, Source::Provider);
        let accounts = std::slice::from_ref(&owed.account);
        db::suppressions::add(
            &mut tx,
            accounts,
            owed.channel,
            &dispatch.recipient,
            why,
            now,
        )
        .await?;
    }
    for (channel, sender) in &page.succeeded {
        let key = (channel.provider(), sender.as_str());
        db::circuits::succeeded(&mut tx, key, Proof::Answer, now).await?;
    }
    for (channel, sender, code, probe_at) in &page.trouble {
        let provider = channel.provider();
        let key = (provider, sender.as_str());
        if db::circuits::open(&mut tx, key, code, Proof::Answer, *probe_at, now).await? {
            let diagnosis = codes::explain(provider, code);
            tracing::error!(%provider, code, "Sending is paused: {diagnosis}");
        }
    }
    for FinishedAttempt { dispatch, outcome } in done {
        if let Some(pause) = outcome.throttled() {
            let (account, channel) = (&dispatch.owed.account, dispatch.owed.channel);
            tracing::warn!(
                provider = %channel.provider(),
                "The provider asks us to slow down: no process sends for {pause:?}"
            );
            let key = ctx.channels.pause_key(account, channel);
            db::limits::hold(&mut *tx, &key, pause).await?;
        }
    }
    let deliveries = page
        .schedule
        .iter()
        .map(|(dispatch, reminder, at)| DueDelivery {
            channel: dispatch.owed.channel,
            account: &dispatch.owed.account,
            reminder: *reminder,
            at: *at,
        });
    names::schedule_deliveries(&mut tx, &ctx.clock, When::At, deliveries).await?;
    // What is there for who was not reached need not wait for a scan.
    let ended = |row: &&Recorded| {
        matches!(
            row.state,
            ReminderState::Failed | ReminderState::Expired | ReminderState::Cancelled
        )
    };
    let not_reached: Vec<ReminderId> = page
        .recorded
        .iter()
        .filter(ended)
        .map(|row| row.reminder)
        .filter(|id| changed.contains(id))
        .collect();
    let owed = done.iter().map(|finished| &finished.dispatch.owed);
    let owed = owed.filter(|owed| not_reached.contains(&owed.id));
    advance::schedule(
        &mut tx,
        &ctx.clock,
        owed.map(|owed| (&owed.account, owed.conversation.as_str())),
    )
    .await?;
    tx.commit().await.context("committing outcomes")?;
    for FinishedAttempt { dispatch, outcome } in done {
        if matches!(outcome, Outcome::Accepted { .. }) {
            let owed = &dispatch.owed;
            ctx.metrics
                .sent(&owed.account, owed.channel, now - owed.due_at);
        }
    }
    Ok(())
}

/// What a batch of outcomes writes.
#[derive(Default)]
struct Consequences<'a> {
    recorded: Vec<Recorded>,
    log: Vec<NewDecision>,
    schedule: Vec<(&'a Dispatch, ReminderId, DateTime<Utc>)>,
    suppress: Vec<(&'a Dispatch, Suppression)>,
    succeeded: std::collections::BTreeSet<(Channel, String)>,
    trouble: std::collections::BTreeSet<(Channel, String, String, DateTime<Utc>)>,
}

impl<'a> Consequences<'a> {
    fn add(&mut self, dispatch: &'a Dispatch, outcome: &Outcome, now: DateTime<Utc>) {
        let owed = &dispatch.owed;
        let next = next_state(&Attempt {
            channel: owed.channel,
            outcome,
            earlier: owed.tries,
            soft_before: owed.soft_failed,
            maybe_sent_before: owed.maybe_sent,
            resend_unknown: dispatch.rule.settings.channels[owed.channel].resend_unknown,
            deadline: owed.deadline,
            now,
            jitter: rand::random(),
        });
        let channel_and_sender = || (owed.channel, dispatch.sender.clone());
        if matches!(outcome, Outcome::Accepted { .. }) {
            self.succeeded.insert(channel_and_sender());
        }
        if let Some(suppression) = outcome.suppression() {
            self.suppress.push((dispatch, suppression));
        }
        if let AfterAttempt::OpenCircuit { until } = next {
            let (channel, sender) = channel_and_sender();
            self.trouble
                .insert((channel, sender, outcome.code().to_owned(), until));
        }
        self.follow(dispatch, outcome, &next, now);
    }

    /// Pauses senders for what their refusals have in common.
    fn pause(&mut self, senders: Vec<(Channel, String, String, DateTime<Utc>)>) {
        self.trouble.extend(senders);
    }

    /// The reminder's own consequences.
    fn follow(
        &mut self,
        dispatch: &'a Dispatch,
        outcome: &Outcome,
        next: &AfterAttempt,
        now: DateTime<Utc>,
    ) {
        let owed = &dispatch.owed;
        let entry = |verdict, reason, until| NewDecision {
            reminder: owed.id,
            verdict,
            reason,
            until,
        };
        match *next {
            AfterAttempt::Retry { at } => {
                self.log
                    .push(entry(Verdict::Postpone, Reason::Retry, Some(at)));
                self.schedule.push((dispatch, owed.id, at));
            }
            AfterAttempt::OpenCircuit { until } => {
                // Past its deadline nothing is left to wait for.
                let at = (until + Context::spread(TimeDelta::seconds(5))).min(owed.deadline);
                self.log
                    .push(entry(Verdict::Postpone, Reason::CircuitOpen, Some(at)));
                self.schedule.push((dispatch, owed.id, at));
            }
            AfterAttempt::Expired => self.log.push(entry(Verdict::Expire, Reason::TooLate, None)),
            AfterAttempt::OptedOut => self
                .log
                .push(entry(Verdict::Cancel, Reason::OptedOut, None)),
            AfterAttempt::Sent { .. }
            | AfterAttempt::Settle { .. }
            | AfterAttempt::Failed { .. }
            | AfterAttempt::Unknown => {}
        }
        let at = self
            .schedule
            .last()
            .filter(|(_, id, _)| *id == owed.id)
            .map(|(_, _, at)| *at);
        self.recorded.push(recorded(
            (owed.id, dispatch.attempt, owed.channel),
            outcome,
            next,
            at,
            owed.maybe_sent,
            now,
        ));
    }
}

/// The row that an outcome and what follows from it leave in the ledger.
pub(in crate::jobs) fn recorded(
    (reminder, attempt, channel): (ReminderId, i64, Channel),
    outcome: &Outcome,
    next: &AfterAttempt,
    again_at: Option<DateTime<Utc>>,
    maybe_sent_before: bool,
    now: DateTime<Utc>,
) -> Recorded {
    let code = (!outcome.code().is_empty()).then(|| outcome.code().to_owned());
    let (state, reason, next_at) = match next {
        AfterAttempt::Sent { .. } => (ReminderState::Sent, None, None),
        AfterAttempt::Retry { at } => (
            ReminderState::Scheduled,
            Some(Reason::Retry.into()),
            Some(again_at.unwrap_or(*at)),
        ),
        AfterAttempt::OpenCircuit { until } => (
            ReminderState::Scheduled,
            Some(Reason::CircuitOpen.into()),
            Some(again_at.unwrap_or(*until)),
        ),
        AfterAttempt::Settle { at } => (
            ReminderState::Sending,
            Some(Cause::Code("settling".to_owned())),
            Some(*at),
        ),
        AfterAttempt::Expired => (ReminderState::Expired, Some(Reason::TooLate.into()), None),
        AfterAttempt::Failed { code } => (ReminderState::Failed, Some(Cause::parse(code)), None),
        AfterAttempt::Unknown => (
            ReminderState::Unknown,
            code.as_deref().map(Cause::parse),
            None,
        ),
        AfterAttempt::OptedOut => (
            ReminderState::Cancelled,
            Some(Reason::OptedOut.into()),
            None,
        ),
    };
    let may_have_been_sent = matches!(outcome, Outcome::Accepted { .. } | Outcome::Unknown { .. });
    let free = matches!(
        outcome,
        Outcome::NotAccepted {
            class: Retryable::Config | Retryable::Quota | Retryable::NotTried,
            ..
        }
    );
    let provider_id = match outcome {
        Outcome::Accepted { provider_id } => provider_id.clone(),
        _ => None,
    };
    Recorded {
        reminder,
        attempt,
        outcome: outcome.kind(),
        reason,
        code,
        reported_as: provider_id
            .clone()
            .filter(|_| channel::profile(channel.provider()).reports),
        provider_id,
        state,
        next_at,
        counts: !free,
        may_have_been_sent: may_have_been_sent || maybe_sent_before,
        soft: matches!(
            outcome,
            Outcome::NotAccepted {
                class: Retryable::RecipientSoft,
                ..
            }
        ),
        settle_in: match next {
            AfterAttempt::Settle { at } => Some(*at - now),
            _ => None,
        },
    }
}
