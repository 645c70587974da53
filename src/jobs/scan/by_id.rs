//! Asks LivePerson by id for conversations that paging does not tell enough of, and notes which cannot be read.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{debug, warn};

use super::Stopped;
use super::page::{Unchanged, store};
use crate::db;
use crate::domain::conversation::Record;
use crate::domain::rule::Rule;
use crate::jobs::context::{Account, Context};
use crate::liveperson::{MAX_IDS, Purpose, UnreadableRecord};

/// Vanished conversations asked for by id after each page of a pass; the rest waits for the next pass.
pub(super) const MISSING_PER_SCAN: u16 = 300;

/// An open conversation that no scan has met for this long is asked for by the deep scan.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::hours(1);

/// Asks by id for conversations that we hold as open and that no scan has met for an hour, whatever their skill: after a deep scan.
pub async fn look_for_forgotten(ctx: &Context, account: &Account) -> Result<(), Stopped> {
    let now = ctx.clock.now();
    let before = (now - FORGOTTEN_AFTER, now - ctx.window);
    let ids =
        db::conversations::forgotten(&ctx.pool, &account.id, before, MISSING_PER_SCAN).await?;
    let rules = ctx.rules(account).await?;
    let purpose = Purpose::FullPass;
    ask_by_id(ctx, account, purpose, &rules, &ids, Unchanged::Store).await?;
    Ok(())
}

/// Notes which conversations cannot be read, for the overview. Says it once of each, however often it is met.
pub(super) async fn note_unreadable(
    ctx: &Context,
    account: &Account,
    unreadable: &[UnreadableRecord],
    asked_at: DateTime<Utc>,
) -> Result<(), Stopped> {
    if unreadable.is_empty() {
        return Ok(());
    }
    // What cannot be read may say anything in place of its id.
    let name = |of: &UnreadableRecord| {
        let id = of
            .id
            .as_ref()
            .filter(|id| id.len() <= 100 && !id.contains('\0'));
        id.map_or(db::unreadable::NAMELESS, String::as_str)
            .to_owned()
    };
    let names: Vec<String> = unreadable.iter().map(name).collect();
    let met: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut conn = ctx.pool.acquire().await?;
    let new = db::unreadable::met(&mut conn, &account.id, &met, asked_at).await?;
    for unreadable in unreadable {
        let name = name(unreadable);
        if new.contains(&name) {
            warn!(account = %account.id, conversation = name, "Cannot read a conversation: {}", unreadable.why);
        } else {
            debug!(account = %account.id, conversation = name, "Still cannot read a conversation: {}", unreadable.why);
        }
    }
    Ok(())
}

/// Stores what LivePerson says of these conversations. Those that it does not know any more are closed. Returns how many were written.
pub async fn ask_by_id(
    ctx: &Context,
    account: &Account,
    purpose: Purpose,
    rules: &[Rule],
    ids: &[String],
    unchanged: Unchanged,
) -> Result<u32, Stopped> {
    let mut changed = 0;
    for ids in ids.chunks(MAX_IDS) {
        let asked_at = ctx.clock.now();
        let answer = account.by_ids_for(purpose, ids).await?;
        let records = &answer.records;
        let stored = store(ctx, account, rules, records, asked_at, unchanged).await?;
        changed += stored.changed;
        let unreadable: Vec<String> = answer
            .unreadable
            .iter()
            .filter_map(|u| u.id.clone())
            .collect();
        note_unreadable(ctx, account, &answer.unreadable, asked_at).await?;
        if !unreadable.is_empty() {
            let mut conn = ctx.pool.acquire().await?;
            db::conversations::mark_unreadable(&mut conn, &account.id, &unreadable, asked_at)
                .await?;
        }
        if !answer.incomplete {
            let known = |id: &String| {
                answer.records.iter().any(|r| r.id == *id)
                    || answer.unreadable.iter().any(|u| u.id.as_ref() == Some(id))
            };
            let gone: Vec<String> = ids.iter().filter(|id| !known(id)).cloned().collect();
            changed += u32::try_from(gone.len()).unwrap_or(u32::MAX);
            let mut conn = ctx.pool.acquire().await?;
            db::conversations::mark_gone(&mut conn, &account.id, &gone, asked_at).await?;
        }
    }
    Ok(changed)
}

/// Replaces partial records by what LivePerson tells when asked by id. If it does not answer, they stay undecided.
pub async fn complete(
    account: &Account,
    purpose: Purpose,
    mut records: Vec<Record>,
) -> Vec<Record> {
    let partial: Vec<String> = records
        .iter()
        .filter(|r| r.partial)
        .map(|r| r.id.clone())
        .collect();
    if partial.is_empty() {
        return records;
    }
    match account.by_ids_for(purpose, &partial).await {
        Ok(answer) => {
            let mut whole: HashMap<String, Record> = answer
                .records
                .into_iter()
                .map(|r| (r.id.clone(), r))
                .collect();
            for record in &mut records {
                if let Some(better) = whole.remove(&record.id) {
                    *record = better;
                }
            }
        }
        Err(error) => {
            warn!(account = %account.id, "Partial conversations stay undecided: {error}");
        }
    }
    records
}
