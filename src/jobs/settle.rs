//! Finds out what became of attempts whose outcome is open.
//!
//! An attempt past its lease belongs to a worker that died, or lost the database: it may have been sent. An unknown e-mail
//! cannot be looked up and ends as `unknown` (or is sent once more if its rule says so); an unknown SMS is searched for in
//! Twilio's message list by its number and the unguessable word in its link, and only "looked twice, not there, still in time"
//! sends again.

use anyhow::Context as _;
use chrono::TimeDelta;
use tracing::{info, warn};

use super::context::Context;
use super::deliver::recorded;
use super::names;
use super::queue::{self, When};
use crate::db;
use crate::db::upkeep::InFlight;
use crate::domain::contact::Address;
use crate::domain::ids::{Channel, ReminderId};
use crate::domain::outcome::{Attempt, Next, Obstacle, Outcome, next_state};
use crate::domain::rule;

/// Attempts per run; the rest waits for the next.
const MOST: i64 = 200;

/// Looks at Twilio's list that must find nothing before an SMS counts as not sent.
const LOOKS: i16 = 2;

/// Time between two looks: how fast the list is consistent is not documented.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(90);

/// Attempts whose lease has run out without an outcome become unknown, with what follows from that.
pub async fn give_up_leases(ctx: &Context) -> anyhow::Result<()> {
    let overdue = db::upkeep::overdue_leases(&ctx.pool, MOST)
        .await
        .context("reading overdue leases")?;
    for attempt in overdue {
        let channel: Channel = attempt.channel.parse()?;
        let outcome = Outcome::Unknown {
            code: "lease".to_owned(),
        };
        warn!(
            reminder = attempt.reminder,
            "An attempt went silent; its outcome is unknown"
        );
        let now = ctx.clock.now();
        let next = next_state(&Attempt {
            channel,
            outcome: &outcome,
            earlier: u32::try_from(attempt.tries).unwrap_or_default(),
            soft_before: false,
            maybe_sent_before: attempt.maybe_sent_before,
            resend_unknown: resend_unknown(ctx, &attempt, channel).await?,
            deadline: attempt.deadline,
            now,
            jitter: rand::random(),
        });
        settle_as(ctx, &attempt, &outcome, &next).await?;
    }
    Ok(())
}

async fn resend_unknown(
    ctx: &Context,
    attempt: &InFlight,
    channel: Channel,
) -> anyhow::Result<bool> {
    let rules = db::rules::of_accounts(&ctx.pool, &[attempt.account.as_str()]).await?;
    Ok(rule::pick(&rules, attempt.skill(), channel)
        .is_some_and(|rule| rule.settings.resend_unknown))
}

/// Looks for unknown SMS in Twilio's list.
pub async fn settle(ctx: &Context) -> anyhow::Result<()> {
    let Some(twilio) = &ctx.sms else {
        return Ok(());
    };
    for attempt in db::upkeep::to_settle(&ctx.pool, MOST)
        .await
        .context("reading unknown attempts")?
    {
        let address = attempt
            .address
            .as_deref()
            .and_then(|raw| Address::phone(raw, None));
        let found = match &address {
            Some(address) => {
                twilio
                    .find(address, &attempt.token, attempt.started_at)
                    .await
            }
            None => Ok(None),
        };
        let now = ctx.clock.now();
        match found {
            Ok(Some(found)) => {
                info!(
                    reminder = attempt.reminder,
                    "An unknown SMS was found at the provider"
                );
                let outcome = Outcome::Accepted {
                    provider_id: Some(found.sid),
                };
                let next = Next::Sent { provider_id: None };
                settle_as(ctx, &attempt, &outcome, &next).await?;
            }
            Ok(None) if attempt.looks + 1 < LOOKS => {
                db::upkeep::look_again(&ctx.pool, attempt.attempt, LOOK_AGAIN, true).await?;
            }
            Ok(None) => {
                info!(
                    reminder = attempt.reminder,
                    "An unknown SMS is not at the provider: it was not sent"
                );
                let code = "not_at_provider".to_owned();
                let outcome = Outcome::NotAccepted {
                    class: Obstacle::Transient,
                    code,
                    retry_after: None,
                };
                let next = if now < attempt.deadline {
                    Next::Retry { at: now }
                } else {
                    Next::Expired
                };
                settle_as(ctx, &attempt, &outcome, &next).await?;
            }
            Err(error) => {
                warn!(
                    reminder = attempt.reminder,
                    "The provider's list cannot be read: {error}"
                );
                db::upkeep::look_again(&ctx.pool, attempt.attempt, LOOK_AGAIN, false).await?;
            }
        }
    }
    Ok(())
}

/// Records the settlement and wakes the reminder if it is to be tried again.
async fn settle_as(
    ctx: &Context,
    attempt: &InFlight,
    outcome: &Outcome,
    next: &Next,
) -> anyhow::Result<()> {
    let now = ctx.clock.now();
    let reminder = ReminderId(attempt.reminder);
    let row = recorded(
        reminder,
        attempt.attempt,
        outcome,
        next,
        None,
        attempt.maybe_sent_before,
        now,
    );
    let mut tx = ctx.pool.begin().await?;
    let changed = db::ledger::record(&mut tx, std::slice::from_ref(&row), now).await?;
    if let (Next::Retry { at }, false) = (next, changed.is_empty()) {
        let wakeup = names::deliver(&attempt.account.parse()?, reminder, *at);
        let queue = names::deliver_queue(attempt.channel.parse()?);
        queue::wake(&mut tx, &ctx.clock, queue, When::At, [wakeup]).await?;
    }
    tx.commit().await.context("settling an attempt")
}
