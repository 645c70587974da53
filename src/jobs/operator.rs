//! What a person may do to single reminders and consumers, beside the rules: cancel, send again, erase. Each leaves a decision of
//! stage `operator` in the log.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::names;
use super::queue::{self, When};
use crate::clock::Clock;
use crate::db;
use crate::db::decisions::Entry;
use crate::db::erase::Erased;
use crate::db::suppressions::AddressHash;
use crate::domain::decide::Reason;
use crate::domain::ids::{AccountId, Channel, ReminderId};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    NoSuchReminder,
    /// Its state does not allow it.
    Not(String),
}

/// Starts a reminder anew whose end satisfies nobody: `unknown`, `undelivered`, `failed`, `expired`, or cancelled by a person. It
/// goes the ordinary way: read state, opt-outs, caps and quiet hours are checked again, and the deadline is as far away as it
/// was at first.
pub async fn send_again(pool: &PgPool, clock: &Clock, id: ReminderId) -> anyhow::Result<Answer> {
    let now = clock.now();
    let mut tx = pool.begin().await?;
    let Some((account, channel)) = db::ledger::restart(&mut tx, id, now).await? else {
        return refused(pool, id).await;
    };
    db::decisions::log(&mut tx, "operator", &[entry(id, "schedule", now)], now).await?;
    let (account, channel): (AccountId, Channel) = (account.parse()?, channel.parse()?);
    let wakeup = names::deliver(&account, id, now);
    queue::wake(
        &mut tx,
        clock,
        names::deliver_queue(channel),
        When::At,
        [wakeup],
    )
    .await?;
    tx.commit().await?;
    Ok(Answer::Done)
}

/// Cancels a reminder that waits. One that is being sent cannot be called back.
pub async fn cancel(pool: &PgPool, clock: &Clock, id: ReminderId) -> anyhow::Result<Answer> {
    let now = clock.now();
    let mut tx = pool.begin().await?;
    if !db::ledger::cancel(&mut tx, id, Reason::ByOperator.as_str(), now).await? {
        return refused(pool, id).await;
    }
    db::decisions::log(&mut tx, "operator", &[entry(id, "cancel", now)], now).await?;
    tx.commit().await?;
    Ok(Answer::Done)
}

fn entry(reminder: ReminderId, verdict: &'static str, now: DateTime<Utc>) -> Entry {
    Entry {
        reminder,
        verdict,
        reason: Reason::ByOperator,
        until: (verdict == "schedule").then_some(now),
    }
}

async fn refused(pool: &PgPool, id: ReminderId) -> anyhow::Result<Answer> {
    Ok(match db::ledger::state(pool, id).await? {
        Some(state) => Answer::Not(state),
        None => Answer::NoSuchReminder,
    })
}

/// Whom to erase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// LivePerson's consumer id or the brand's own.
    Consumer(String),
    Address(AddressHash),
}

/// Erases a consumer from one account, in one transaction. What stays: counts without a person, and suppressions, which are
/// keyed hashes; without them a person who said no would be written to again.
pub async fn erase(
    pool: &PgPool,
    clock: &Clock,
    account: &AccountId,
    who: &Who,
) -> sqlx::Result<Erased> {
    let mut tx = pool.begin().await?;
    let conversations = match who {
        Who::Consumer(id) => db::erase::conversations_of_consumer(&mut tx, account, id).await?,
        Who::Address(hash) => db::erase::conversations_of_address(&mut tx, account, hash).await?,
    };
    let erased = db::erase::conversations(&mut tx, account, &conversations, clock.now()).await?;
    tx.commit().await?;
    tracing::info!(%account, conversations = erased.conversations, reminders = erased.reminders, "A consumer was erased");
    Ok(erased)
}
