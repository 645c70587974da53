//! Stores a page of records with what they mean: one transaction.

use std::collections::{HashMap, HashSet};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::record::{ReadRecord, read};
use crate::db;
use crate::db::conversations::ConversationSnapshot;
use crate::db::ledger::{EndedEpisode, ExistingReminder, NewReminder};
use crate::domain::conversation::Record;
use crate::domain::decide::{Reason, Verdict};
use crate::domain::rule::Rule;
use crate::jobs::context::{Account, Context};
use crate::jobs::names::{self, DueDelivery};
use crate::jobs::queue::When;

/// LivePerson shows an update within a minute. So long after it, a pass that asks for updates must find it, whatever the clocks.
const SHOWN_WITHIN: TimeDelta = TimeDelta::minutes(2);

/// What to do with a record that says what is stored already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unchanged {
    /// Nothing: neither a lock nor a write.
    Skip,
    /// It is written down that it was met.
    Store,
}

/// What became of a page of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredPage {
    /// Records that were written.
    pub changed: u32,
    /// Agent messages among them that the last recent pass should have shown.
    pub missed: u32,
}

/// Stores records asked for at `asked_at`, schedules what they owe, cancels what they end, notes who came back: one transaction,
/// a constant number of statements. A page on which nothing is new costs two look-ups and no transaction.
pub async fn store(
    ctx: &Context,
    account: &Account,
    rules: &[Rule],
    records: &[Record],
    asked_at: DateTime<Utc>,
    unchanged: Unchanged,
) -> anyhow::Result<StoredPage> {
    if unchanged == Unchanged::Store {
        let all: Vec<&Record> = records.iter().collect();
        let changed = write(ctx, account, rules, &all, asked_at).await?;
        return Ok(StoredPage { changed, missed: 0 });
    }
    let (new, missed) = with_news(ctx, account, rules, records, asked_at).await?;
    let changed = if new.is_empty() {
        0
    } else {
        write(ctx, account, rules, &new, asked_at).await?
    };
    Ok(StoredPage { changed, missed })
}

/// The records that something is to be written for, and how many of them tell of an agent message that a recent pass should have shown.
async fn with_news<'r>(
    ctx: &Context,
    account: &Account,
    rules: &[Rule],
    records: &'r [Record],
    asked_at: DateTime<Utc>,
) -> anyhow::Result<(Vec<&'r Record>, u32)> {
    let now = ctx.clock.now();
    let all: Vec<&Record> = records.iter().collect();
    let mut conn = ctx.pool.acquire().await.context("comparing a page")?;
    let existing = existing(&mut conn, account, &all, now).await?;
    let readings = readings(ctx, account, rules, &all, &existing, now);
    let snapshots: Vec<ConversationSnapshot> =
        readings.iter().map(|r| r.snapshot(&ctx.hasher)).collect();
    let news =
        db::conversations::news(&mut conn, &account.id, &snapshots, asked_at, SHOWN_WITHIN).await?;
    let missed = news.iter().filter(|news| news.missed).count();
    let new: HashSet<&str> = news.iter().map(|news| news.id.as_str()).collect();
    let due = |reading: &ReadRecord| {
        let id = &reading.snapshot.id;
        let known = existing.get(id).map_or(&[][..], Vec::as_slice);
        new.contains(id.as_str()) || reading.owed.is_some() || has_more(reading, known)
    };
    let with_news = records.iter().zip(&readings);
    let with_news = with_news.filter(|(_, reading)| due(reading));
    let missed = u32::try_from(missed).unwrap_or(u32::MAX);
    Ok((with_news.map(|(record, _)| record).collect(), missed))
}

/// Whether what a record says of the reminders of its conversation is not written down, though it says nothing new of the conversation.
fn has_more(reading: &ReadRecord, existing: &[ExistingReminder]) -> bool {
    let ended = |reminder: &ExistingReminder| {
        reminder.is_pending() && reading.ended.present.as_ref() != Some(&reminder.episode)
    };
    let returned = |reminder: &ExistingReminder| {
        reading
            .active_at
            .is_some_and(|at| reminder.is_unnoted_return(at))
    };
    existing
        .iter()
        .any(|reminder| ended(reminder) || returned(reminder))
}

/// The reminders of the conversations of these records.
async fn existing(
    conn: &mut PgConnection,
    account: &Account,
    records: &[&Record],
    now: DateTime<Utc>,
) -> sqlx::Result<HashMap<String, Vec<ExistingReminder>>> {
    let ids: Vec<&str> = records.iter().map(|r| r.id.as_str()).collect();
    let mut existing: HashMap<String, Vec<ExistingReminder>> = HashMap::new();
    for reminder in db::ledger::existing(conn, &account.id, &ids, now).await? {
        existing
            .entry(reminder.conversation.clone())
            .or_default()
            .push(reminder);
    }
    Ok(existing)
}

fn readings(
    ctx: &Context,
    account: &Account,
    rules: &[Rule],
    records: &[&Record],
    existing: &HashMap<String, Vec<ExistingReminder>>,
    now: DateTime<Utc>,
) -> Vec<ReadRecord> {
    let installation = ctx.installation_of(&account.id);
    let read = |record: &&Record| {
        let existing = existing.get(&record.id).map_or(&[][..], Vec::as_slice);
        read(account, installation, rules, record, existing, now)
    };
    records.iter().map(read).collect()
}

/// Stores records, whether or not they say anything new. Returns how many were not older than what is stored.
async fn write(
    ctx: &Context,
    account: &Account,
    rules: &[Rule],
    records: &[&Record],
    asked_at: DateTime<Utc>,
) -> anyhow::Result<u32> {
    let now = ctx.clock.now();
    let mut tx = ctx
        .pool
        .begin()
        .await
        .context("opening a transaction for a page")?;
    let records = without_erased(ctx, &mut tx, account, records, now).await?;
    if records.is_empty() {
        tx.commit().await.context("committing a page")?;
        return Ok(0);
    }
    let ids: Vec<&str> = records.iter().map(|r| r.id.as_str()).collect();
    // What is read from here on stays as it is: of two looks at a conversation the second decides by what the first has written.
    db::conversations::lock(&mut tx, &account.id, &ids).await?;
    let existing = existing(&mut tx, account, &records, now).await?;
    let mut readings = readings(ctx, account, rules, &records, &existing, now);
    let snapshots: Vec<ConversationSnapshot> =
        readings.iter().map(|r| r.snapshot(&ctx.hasher)).collect();
    let stored = db::conversations::store(&mut tx, &account.id, &snapshots, asked_at).await?;
    // A record that is older than what we hold says nothing any more: neither what has ended nor what is owed.
    readings.retain(|r| stored.contains(&r.snapshot.id));
    let written = u32::try_from(readings.len()).unwrap_or(u32::MAX);

    let with_reminders = || {
        readings
            .iter()
            .filter(|r| existing.contains_key(&r.snapshot.id))
    };
    let ended: Vec<EndedEpisode> = with_reminders()
        .map(|r| r.ended.clone())
        .filter(|ended| ended.reason != Reason::Undecided)
        .collect();
    if !ended.is_empty() {
        for (channel, reason) in db::ledger::cancel_ended(&mut tx, &account.id, &ended, now).await?
        {
            ctx.metrics
                .decided(&account.id, channel, Verdict::Cancel, reason);
        }
        let active: Vec<(&str, DateTime<Utc>)> = with_reminders()
            .filter_map(|r| Some((r.snapshot.id.as_str(), r.active_at?)))
            .collect();
        db::ledger::mark_returns(&mut tx, &account.id, &active).await?;
    }

    let owing = readings.into_iter().filter_map(|r| r.owed);
    let owed: Vec<NewReminder> = owing
        .map(|owing| NewReminder {
            recipient: owing.to.map(|address| ctx.hasher.address(&address)),
            ..owing.reminder
        })
        .collect();
    if !owed.is_empty() {
        let scheduled = db::ledger::schedule(&mut tx, &account.id, &owed, now).await?;
        let deliveries = scheduled
            .iter()
            .map(|(reminder, channel, due)| DueDelivery {
                channel: *channel,
                account: &account.id,
                reminder: *reminder,
                at: *due,
            });
        names::schedule_deliveries(&mut tx, &ctx.clock, When::At, deliveries).await?;
    }
    tx.commit().await.context("committing a page")?;
    Ok(written)
}

/// Those of these records whose conversation was not erased in a time that the database has lost. Of the others a husk is left, as of
/// any that is erased.
async fn without_erased<'r>(
    ctx: &Context,
    tx: &mut PgConnection,
    account: &Account,
    records: &[&'r Record],
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<&'r Record>> {
    let erased = db::journal::erased_in_lost_time(&mut *tx, &account.id).await?;
    if erased.is_empty() {
        return Ok(records.to_vec());
    }
    let (gone, kept): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| {
        let mut names = ctx.hasher.erased_under_any_key(&record.id);
        names.any(|name| erased.contains(&name))
    });
    let ids: Vec<String> = gone.iter().map(|record| record.id.clone()).collect();
    if !ids.is_empty() {
        db::erase::conversations(tx, &account.id, &ids, now).await?;
        db::erase::never_store(tx, &account.id, &ids, now).await?;
    }
    Ok(kept)
}
