//! Re-derives from the ledger what somebody must look at. Level-triggered: it relies on no event having arrived.

use std::collections::HashSet;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};

use super::advance;
use super::context::Context;
use super::names::{self, DueDelivery};
use super::queue::{self, When};
use crate::db;
use crate::domain::decide::{Reason, Verdict};
use crate::domain::ids::{AccountId, Channel, ReminderId};

/// Rows of each kind per sweep: short transactions; the rest waits for the next sweep.
const MOST: i64 = 1_000;

/// A reminder that should have been looked at this long ago and has no job is stranded.
const STRANDED_AFTER: TimeDelta = TimeDelta::seconds(10);

pub async fn sweep(ctx: &Context) -> anyhow::Result<()> {
    // One step that fails must not keep the others from running.
    let expired = expire(ctx).await;
    let given_up = super::settle::give_up_leases(ctx).await;
    let rescued = rescue(ctx).await;
    let folded = db::reminder_counts::roll_up(&ctx.pool)
        .await
        .context("adding up counts");
    let measured = db::statistics::refresh(&ctx.pool)
        .await
        .context("analysing tables that have grown");
    expired
        .and(given_up)
        .and(rescued)
        .and(folded)
        .and(measured.map(drop))
}

/// What is past its deadline and was not even looked at expires; what has a live job is left to it.
async fn expire(ctx: &Context) -> anyhow::Result<()> {
    let mut tx = ctx.pool.begin().await?;
    let expired = db::upkeep::expire_overdue(&mut tx, ctx.clock.now(), MOST)
        .await
        .context("expiring")?;
    let not_reached = expired
        .iter()
        .map(|(account, conversation, _)| (account, conversation.as_str()));
    advance::schedule(&mut tx, &ctx.clock, not_reached).await?;
    tx.commit().await?;
    for (account, _, channel) in &expired {
        ctx.metrics
            .decided(account, *channel, Verdict::Expire, Reason::TooLate);
    }
    if !expired.is_empty() {
        tracing::warn!(
            "{} reminders expired before they could be sent",
            expired.len()
        );
    }
    Ok(())
}

/// Schedules reminders whose job was lost.
async fn rescue(ctx: &Context) -> anyhow::Result<()> {
    let now = ctx.clock.now();
    let stranded = stranded(ctx, now - STRANDED_AFTER)
        .await
        .context("looking for the stranded")?;
    if stranded.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        "{} reminders had lost their job and have a new one",
        stranded.len()
    );
    let mut tx = ctx.pool.begin().await?;
    let deliveries = stranded
        .iter()
        .map(|(reminder, account, channel)| DueDelivery {
            channel: *channel,
            account,
            reminder: *reminder,
            at: now,
        });
    names::schedule_deliveries(&mut tx, &ctx.clock, When::NoLaterThan, deliveries).await?;
    tx.commit().await.context("scheduling the stranded")
}

/// Overdue reminders without a job. Ledger and queue are read as of one moment: a job that ends in between is not a lost one.
async fn stranded(
    ctx: &Context,
    before: DateTime<Utc>,
) -> sqlx::Result<Vec<(ReminderId, AccountId, Channel)>> {
    let mut tx = db::one_moment(&ctx.pool).await?;
    let mut overdue = db::upkeep::overdue(&mut *tx, before, MOST).await?;
    let mut lost = HashSet::new();
    for channel in Channel::ALL {
        let of_channel = overdue.iter().filter(|(_, _, c)| *c == channel);
        let keys: Vec<String> = of_channel.map(|(id, ..)| id.to_string()).collect();
        if !keys.is_empty() {
            lost.extend(queue::missing(&mut tx, names::deliver_queue(channel), &keys).await?);
        }
    }
    tx.commit().await?;
    overdue.retain(|(id, ..)| lost.contains(&id.to_string()));
    Ok(overdue)
}
