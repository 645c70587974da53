//! Re-derives from the ledger what somebody must look at. Level-triggered: it relies on no event having arrived.

use anyhow::Context as _;
use chrono::TimeDelta;

use super::context::Context;
use super::names;
use super::queue::{self, When};
use crate::db;
use crate::domain::decide::{Reason, Verdict};
use crate::domain::ids::Channel;

/// Rows of each kind per sweep: short transactions; the rest waits for the next sweep.
const MOST: i64 = 1_000;

/// A reminder that should have been looked at this long ago and has no wake-up is stranded.
const STRANDED_AFTER: TimeDelta = TimeDelta::seconds(10);

pub async fn sweep(ctx: &Context) -> anyhow::Result<()> {
    // One step that fails must not keep the others from running.
    let expired = expire(ctx).await;
    let given_up = super::settle::give_up_leases(ctx).await;
    let rescued = rescue(ctx).await;
    let folded = db::tallies::fold(&ctx.pool)
        .await
        .context("adding up counts");
    expired.and(given_up).and(rescued).and(folded)
}

/// What is past its deadline and was not even looked at expires; what has a live job is left to it.
async fn expire(ctx: &Context) -> anyhow::Result<()> {
    let mut tx = ctx.pool.begin().await?;
    let expired = db::upkeep::expire_overdue(&mut tx, ctx.clock.now(), MOST)
        .await
        .context("expiring")?;
    tx.commit().await?;
    for channel in &expired {
        ctx.metrics
            .decided(*channel, Verdict::Expire, Reason::TooLate);
    }
    if !expired.is_empty() {
        tracing::warn!(
            "{} reminders expired before they could be sent",
            expired.len()
        );
    }
    Ok(())
}

/// Wakes reminders whose job was lost.
async fn rescue(ctx: &Context) -> anyhow::Result<()> {
    let now = ctx.clock.now();
    let stranded = db::upkeep::stranded(&ctx.pool, now - STRANDED_AFTER, MOST)
        .await
        .context("looking for the stranded")?;
    if stranded.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        "{} reminders had lost their wake-up and are woken again",
        stranded.len()
    );
    let mut tx = ctx.pool.begin().await?;
    for channel in Channel::ALL {
        let wakeups = stranded
            .iter()
            .filter(|(_, _, c)| *c == channel)
            .map(|(id, account, _)| names::deliver(account, *id, now));
        queue::wake(
            &mut tx,
            &ctx.clock,
            names::deliver_queue(channel),
            When::NoLaterThan,
            wakeups,
        )
        .await?;
    }
    tx.commit().await.context("waking the stranded")
}
