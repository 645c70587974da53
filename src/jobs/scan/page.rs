//! Stores a page of records with what they mean: one transaction.

use std::collections::HashMap;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
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

/// Stores records asked for at `asked_at`, schedules what they owe, cancels what they end, notes who came back: one transaction,
/// a constant number of statements.
pub async fn store(
    ctx: &Context,
    account: &Account,
    rules: &[Rule],
    records: &[Record],
    asked_at: DateTime<Utc>,
) -> anyhow::Result<()> {
    let now = ctx.clock.now();
    let mut tx = ctx
        .pool
        .begin()
        .await
        .context("opening a transaction for a page")?;
    let records = without_erased(ctx, &mut tx, account, records, now).await?;
    if records.is_empty() {
        return tx.commit().await.context("committing a page");
    }
    let ids: Vec<&str> = records.iter().map(|r| r.id.as_str()).collect();
    // What is read from here on stays as it is: of two looks at a conversation the second decides by what the first has written.
    db::conversations::lock(&mut tx, &account.id, &ids).await?;
    let mut existing: HashMap<String, Vec<ExistingReminder>> = HashMap::new();
    for reminder in db::ledger::existing(&mut *tx, &account.id, &ids, now).await? {
        existing
            .entry(reminder.conversation.clone())
            .or_default()
            .push(reminder);
    }
    let none = Vec::new();
    let mut readings: Vec<ReadRecord> = records
        .iter()
        .map(|record| {
            read(
                account,
                &ctx.installation,
                rules,
                record,
                existing.get(&record.id).unwrap_or(&none),
                now,
            )
        })
        .collect();

    let snapshots: Vec<ConversationSnapshot> =
        readings.iter().map(|r| r.snapshot(&ctx.hasher)).collect();
    let stored = db::conversations::store(&mut tx, &account.id, &snapshots, asked_at).await?;
    // A record that is older than what we hold says nothing any more: neither what has ended nor what is owed.
    readings.retain(|r| stored.contains(&r.snapshot.id));

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
    tx.commit().await.context("committing a page")
}

/// Those of these records whose conversation was not erased in a time that the database has lost. Of the others a husk is left, as of
/// any that is erased.
async fn without_erased<'r>(
    ctx: &Context,
    tx: &mut PgConnection,
    account: &Account,
    records: &'r [Record],
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<&'r Record>> {
    let erased = db::journal::erased_in_lost_time(&mut *tx, &account.id).await?;
    if erased.is_empty() {
        return Ok(records.iter().collect());
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
