//! Finds out what became of attempts whose outcome is open.
//!
//! An attempt past its lease belongs to a worker that died, or lost the database: it may have been sent. An unknown e-mail
//! cannot be looked up and ends as `unknown` (or is sent once more if its rule says so); an unknown SMS is searched for in
//! Twilio's message list by its number and the unguessable word in its link, and only "looked twice, not there, still in time"
//! sends again.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use tracing::{info, warn};

use super::context::Context;
use super::deliver::recorded;
use super::names;
use super::queue::{self, When};
use super::report::{self, SmsReport};
use crate::db;
use crate::db::upkeep::InFlight;
use crate::domain::contact::Address;
use crate::domain::ids::Channel;
use crate::domain::outcome::{Attempt, Next, Obstacle, Outcome, next_state};
use crate::domain::rule;

/// Attempts per run; the rest waits for the next.
const MOST: i64 = 200;

/// Looks at Twilio's list that must find nothing before an SMS counts as not sent.
const LOOKS: i16 = 2;

/// So many failed look-ups in one run, and the rest waits for a later one.
const FAILURES: u32 = 3;

/// Time between two looks: how fast the list is consistent is not documented.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(90);

/// Attempts whose lease has run out without an outcome become unknown, with what follows from that.
pub async fn give_up_leases(ctx: &Context) -> anyhow::Result<()> {
    let overdue = db::upkeep::overdue_leases(&ctx.pool, MOST)
        .await
        .context("reading overdue leases")?;
    for attempt in overdue {
        let outcome = Outcome::Unknown {
            code: "lease".to_owned(),
        };
        warn!(
            reminder = attempt.reminder.0,
            "An attempt went silent; its outcome is unknown"
        );
        let now = ctx.clock.now();
        let next = next_state(&Attempt {
            channel: attempt.channel,
            outcome: &outcome,
            earlier: u32::try_from(attempt.tries).unwrap_or_default(),
            soft_before: false,
            maybe_sent_before: attempt.maybe_sent_before,
            resend_unknown: resend_unknown(ctx, &attempt).await?,
            deadline: attempt.deadline,
            now,
            jitter: rand::random(),
        });
        settle_as(ctx, &attempt, &outcome, &next).await?;
    }
    Ok(())
}

async fn resend_unknown(ctx: &Context, attempt: &InFlight) -> anyhow::Result<bool> {
    let rules = db::rules::of_accounts(&ctx.pool, std::slice::from_ref(&attempt.account)).await?;
    Ok(rule::pick(&rules, attempt.skill, attempt.channel)
        .is_some_and(|rule| rule.settings.resend_unknown))
}

/// Looks for unknown SMS in Twilio's list.
pub async fn settle(ctx: &Context) -> anyhow::Result<()> {
    let Some(twilio) = &ctx.sms else {
        return Ok(());
    };
    let mut failures = 0;
    for attempt in db::upkeep::to_settle(&ctx.pool, MOST)
        .await
        .context("reading unknown attempts")?
    {
        let now = ctx.clock.now();
        let address = attempt
            .address
            .as_deref()
            .and_then(|raw| Address::phone(raw, None));
        let Some(address) = address else {
            // Its consumer was erased meanwhile: nothing is left to look for.
            settle_as(ctx, &attempt, &unknown("no address"), &Next::Unknown).await?;
            continue;
        };
        // Twilio is away or turns us down: the others can wait, too.
        if failures >= FAILURES {
            look_later(ctx, &attempt, false).await?;
            continue;
        }
        let since = attempt.started_at;
        match twilio
            .find(&address, &attempt.token, since, &attempt.other_ids)
            .await
        {
            Ok(Some(found)) => {
                info!(
                    reminder = attempt.reminder.0,
                    "An unknown SMS was found at the provider"
                );
                let report = SmsReport {
                    attempt: Some(&report::attempt_name(attempt.attempt, &attempt.token)),
                    sid: &found.sid,
                    status: found.status,
                    error_code: found.error_code,
                };
                report::sms(&ctx.pool, report, now).await?;
            }
            Ok(None) if attempt.looks + 1 < LOOKS => look_later(ctx, &attempt, true).await?,
            Ok(None) => {
                info!(
                    reminder = attempt.reminder.0,
                    "An unknown SMS is not at the provider: it was not sent"
                );
                settle_as(
                    ctx,
                    &attempt,
                    &not_at_provider(),
                    &after_absence(&attempt, now),
                )
                .await?;
            }
            Err(error) => {
                failures += 1;
                warn!(
                    reminder = attempt.reminder.0,
                    "The provider's list cannot be read: {error}"
                );
                // A callback may still come; but a day after the deadline nobody waits for an answer any more.
                if now > attempt.deadline + TimeDelta::days(1) {
                    settle_as(ctx, &attempt, &unknown("list unreadable"), &Next::Unknown).await?;
                } else {
                    look_later(ctx, &attempt, false).await?;
                }
            }
        }
    }
    Ok(())
}

async fn look_later(ctx: &Context, attempt: &InFlight, looked: bool) -> sqlx::Result<()> {
    db::upkeep::look_again(&ctx.pool, attempt, LOOK_AGAIN, looked).await
}

fn unknown(code: &str) -> Outcome {
    Outcome::Unknown {
        code: code.to_owned(),
    }
}

fn not_at_provider() -> Outcome {
    Outcome::NotAccepted {
        class: Obstacle::Transient,
        code: "not_at_provider".to_owned(),
        retry_after: None,
    }
}

/// It was not sent: the retry policy goes on where the lost answer had interrupted it.
fn after_absence(attempt: &InFlight, now: DateTime<Utc>) -> Next {
    next_state(&Attempt {
        channel: Channel::Sms,
        outcome: &not_at_provider(),
        // The unknown outcome has been counted when it was recorded.
        earlier: u32::try_from(attempt.tries - 1).unwrap_or_default(),
        soft_before: false,
        maybe_sent_before: attempt.maybe_sent_before,
        resend_unknown: false,
        deadline: attempt.deadline,
        now,
        jitter: rand::random(),
    })
}

/// Records the settlement and wakes the reminder if it is to be tried again.
async fn settle_as(
    ctx: &Context,
    attempt: &InFlight,
    outcome: &Outcome,
    next: &Next,
) -> anyhow::Result<()> {
    let now = ctx.clock.now();
    let reminder = attempt.reminder;
    let mut row = recorded(
        reminder,
        attempt.attempt,
        outcome,
        next,
        None,
        attempt.maybe_sent_before,
        now,
    );
    // Settling is not another try.
    row.counts = row.counts && !attempt.settling;
    let mut tx = ctx.pool.begin().await?;
    let changed = db::ledger::record(&mut tx, std::slice::from_ref(&row), now).await?;
    if let (Next::Retry { at }, false) = (next, changed.is_empty()) {
        let wakeup = names::deliver(&attempt.account, reminder, *at);
        let queue = names::deliver_queue(attempt.channel);
        queue::wake(&mut tx, &ctx.clock, queue, When::At, [wakeup]).await?;
    }
    tx.commit().await.context("settling an attempt")
}
