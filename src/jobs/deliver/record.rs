//! Writes down what became of attempts, and what follows from it.

use std::sync::Arc;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};

use super::prepare::Dispatch;
use super::{BatchFailed, Line};
use crate::db;
use crate::db::decisions::Entry;
use crate::db::ledger::Recorded;
use crate::domain::decide::{Reason, Suppression};
use crate::domain::ids::{Channel, ReminderId};
use crate::domain::outcome::{Next, Obstacle, Outcome, next_state};
use crate::domain::reminder::ReminderState;
use crate::jobs::context::Context;
use crate::jobs::names;
use crate::jobs::queue::{self, When};

/// An attempt that has ended.
pub struct Done {
    pub dispatch: Box<Dispatch>,
    pub outcome: Outcome,
}

/// Records a batch in one transaction.
pub async fn record(ctx: Arc<Context>, done: Vec<Done>) -> Vec<Result<(), BatchFailed>> {
    let results = done.len();
    let written = match write(&ctx, &done).await {
        // An outcome is worth another try at once: an attempt whose record is lost becomes unknown.
        Err(error) => {
            tracing::warn!("Recording {results} attempts failed, trying again: {error:#}");
            write_again(&ctx, &done, error).await
        }
        ok => ok,
    };
    let shared = written.map_err(BatchFailed::from);
    (0..results).map(|_| shared.clone()).collect()
}

/// Tries for as long as the attempts' lease keeps the sweep away from them.
async fn write_again(ctx: &Context, done: &[Done], first: anyhow::Error) -> anyhow::Result<()> {
    let mut last = first;
    for pause in [1, 2, 4, 8, 15] {
        tokio::time::sleep(std::time::Duration::from_secs(pause)).await;
        match write(ctx, done).await {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn write(ctx: &Context, done: &[Done]) -> anyhow::Result<()> {
    let now = ctx.clock.now();
    let mut page = Consequences::default();
    for Done { dispatch, outcome } in done {
        page.add(ctx, dispatch, outcome, now);
    }
    let mut tx = ctx.pool.begin().await.context("opening a transaction for outcomes")?;
    let changed = db::ledger::record(&mut tx, &page.recorded, now).await.context("recording outcomes")?;
    page.log.retain(|entry| changed.contains(&entry.reminder));
    page.wake.retain(|(_, id, _)| changed.contains(id));
    db::decisions::log(&mut tx, "deliver", &page.log, now).await?;
    for (dispatch, suppression) in &page.suppress {
        // Numbers and mailboxes change hands; a person's wish does not expire.
        let expires = (*suppression == Suppression::BadAddress).then(|| now + TimeDelta::days(90));
        let owed = &dispatch.owed;
        let why = (*suppression, "provider");
        db::suppressions::add(&mut tx, &owed.account, owed.channel, &dispatch.recipient, why, expires, now).await?;
    }
    for (channel, sender) in &page.succeeded {
        db::circuits::succeeded(&mut tx, Context::provider(*channel), sender, now).await?;
    }
    for (channel, sender, code, probe_at) in &page.trouble {
        let provider = Context::provider(*channel);
        if db::circuits::open(&mut tx, provider, sender, code, *probe_at, now).await? {
            tracing::error!(provider, code, "The circuit opens: sending is paused until this is mended");
        }
    }
    for channel in Channel::ALL {
        let wakeups = page
            .wake
            .iter()
            .filter(|(dispatch, _, _)| dispatch.owed.channel == channel)
            .map(|(dispatch, id, at)| names::deliver(&dispatch.owed.account, *id, *at));
        queue::wake(&mut tx, &ctx.clock, names::deliver_queue(channel), When::At, wakeups).await?;
    }
    tx.commit().await.context("committing outcomes")?;
    for Done { dispatch, outcome } in done {
        if matches!(outcome, Outcome::Accepted { .. }) {
            ctx.metrics.sent(dispatch.owed.channel, now - dispatch.owed.due_at);
        }
    }
    Ok(())
}

/// What a batch of outcomes writes.
#[derive(Default)]
struct Consequences<'a> {
    recorded: Vec<Recorded>,
    log: Vec<Entry>,
    wake: Vec<(&'a Dispatch, ReminderId, DateTime<Utc>)>,
    suppress: Vec<(&'a Dispatch, Suppression)>,
    succeeded: std::collections::BTreeSet<(Channel, String)>,
    trouble: std::collections::BTreeSet<(Channel, String, String, DateTime<Utc>)>,
}
