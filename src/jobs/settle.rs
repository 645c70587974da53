//! Finds out what became of attempts whose outcome is open.
//!
//! An attempt past its lease belongs to a worker that died, or lost the database: it may have been sent. What cannot be looked up, an
//! e-mail, ends as `unknown` (or is sent once more if its rule says so). An unknown SMS is searched for at the provider, by its number and
//! the unguessable word in its link, and only "looked twice, not there, still in time" sends again.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use tracing::{info, warn};

use super::advance;
use super::context::Context;
use super::deliver::recorded;
use super::names::{self, DueDelivery};
use super::queue::When;
use super::report;
use crate::channel::adapter::{Adapter, Finder, UnsettledAttempt};
use crate::db;
use crate::db::upkeep::InFlight;
use crate::domain::contact::Address;
use crate::domain::ids::Channel;
use crate::domain::outcome::{AfterAttempt, Attempt, Outcome, Retryable, next_state};
use crate::domain::reminder::ReminderState;
use crate::domain::rule;

/// Attempts per run; the rest waits for the next.
const MOST: i64 = 200;

/// Looks at the provider's list that must find nothing before a message counts as not sent.
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
    Ok(rule::pick(&rules, attempt.skill)
        .is_some_and(|rule| rule.settings.channels[attempt.channel].resend_unknown))
}

/// Asks providers for the messages whose outcome is unknown.
pub async fn settle(ctx: &Context) -> anyhow::Result<()> {
    let can_be_asked = |channel: &Channel| {
        let mut adapters = ctx.channels.all(*channel);
        adapters.any(|adapter| adapter.finder().is_some())
    };
    let asked: Vec<Channel> = Channel::ALL.into_iter().filter(can_be_asked).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let mut failures = BTreeMap::<(Channel, String), u32>::new();
    for attempt in db::upkeep::to_settle(&ctx.pool, &asked, MOST)
        .await
        .context("reading unknown attempts")?
    {
        let (account, channel) = (&attempt.account, attempt.channel);
        let adapter = ctx.channels.of_key(account, channel, &attempt.sender);
        let connection = adapter.map(Adapter::connection).unwrap_or_default();
        let failed = failures.entry((channel, connection)).or_default();
        // The provider is away or turns us down: its other messages can wait, too.
        if *failed >= FAILURES {
            look_later(ctx, &attempt, false).await?;
        } else if !settle_one(ctx, adapter.and_then(Adapter::finder), &attempt).await? {
            *failed += 1;
        }
    }
    Ok(())
}

/// False if the provider did not answer.
async fn settle_one(
    ctx: &Context,
    finder: Option<&dyn Finder>,
    attempt: &InFlight,
) -> anyhow::Result<bool> {
    let now = ctx.clock.now();
    let reminder = attempt.reminder.0;
    let address = attempt.address.as_deref();
    let address = address.and_then(|raw| Address::of(attempt.channel, raw, None));
    let Some(address) = address else {
        // Its consumer was erased meanwhile: nothing is left to look for.
        settle_as(ctx, attempt, &unknown("no address"), &AfterAttempt::Unknown).await?;
        return Ok(true);
    };
    let lost = UnsettledAttempt {
        to: &address,
        token: &attempt.token,
        since: attempt.started_at,
        except: &attempt.other_ids,
    };
    let found = match finder {
        Some(finder) => finder.find(lost).await,
        None => Err("the settings do not know its provider any more".to_owned()),
    };
    match found {
        Ok(Some(found)) => {
            info!(reminder, "An unknown message was found at the provider");
            let name = report::attempt_name(attempt.attempt, &attempt.token);
            report::apply(
                (&ctx.pool, &ctx.clock),
                attempt.channel,
                Some(&name),
                &found,
                &|_, sender| sender == attempt.sender,
            )
            .await?;
        }
        Ok(None) if attempt.looks + 1 < LOOKS => look_later(ctx, attempt, true).await?,
        Ok(None) => {
            info!(
                reminder,
                "An unknown message is not at the provider: it was not sent"
            );
            let next = after_absence(attempt, now);
            settle_as(ctx, attempt, &not_at_provider(), &next).await?;
        }
        Err(error) => {
            warn!(reminder, "The provider's list cannot be read: {error}");
            // A callback may still come; but a day after the deadline nobody waits for an answer any more.
            if now > attempt.deadline + TimeDelta::days(1) {
                settle_as(
                    ctx,
                    attempt,
                    &unknown("list unreadable"),
                    &AfterAttempt::Unknown,
                )
                .await?;
            } else {
                look_later(ctx, attempt, false).await?;
            }
            return Ok(false);
        }
    }
    Ok(true)
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
        class: Retryable::Transient,
        code: "not_at_provider".to_owned(),
        retry_after: None,
    }
}

/// It was not sent: the retry policy goes on where the lost answer had interrupted it.
fn after_absence(attempt: &InFlight, now: DateTime<Utc>) -> AfterAttempt {
    next_state(&Attempt {
        channel: attempt.channel,
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

/// Records the settlement and schedules the reminder if it is to be tried again.
async fn settle_as(
    ctx: &Context,
    attempt: &InFlight,
    outcome: &Outcome,
    next: &AfterAttempt,
) -> anyhow::Result<()> {
    let now = ctx.clock.now();
    let reminder = attempt.reminder;
    let mut row = recorded(
        (reminder, attempt.attempt, attempt.channel),
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
    if let (AfterAttempt::Retry { at }, false) = (next, changed.is_empty()) {
        let wake = DueDelivery {
            channel: attempt.channel,
            account: &attempt.account,
            reminder,
            at: *at,
        };
        names::schedule_deliveries(&mut tx, &ctx.clock, When::At, [wake]).await?;
    }
    if row.next_at.is_none() && row.state != ReminderState::Unknown && !changed.is_empty() {
        let of = (&attempt.account, attempt.conversation.as_str());
        advance::schedule(&mut tx, &ctx.clock, [of]).await?;
    }
    tx.commit().await.context("settling an attempt")
}
