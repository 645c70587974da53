//! Brings back from the journal what was said in the lost time: opt-outs, complaints, blocks and erasures.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::RestoreResult;
use crate::control::ControlError;
use crate::db;
use crate::db::restored::LostPeriod;
use crate::db::suppressions::{HashKey as Stored, Source, SuppressionRow};
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel};
use crate::jobs::context::Context;
use crate::journal::{self, JournalEntry};

/// Entries are dated when they were made, which may be shortly before they were committed.
const LATE_COMMIT: TimeDelta = TimeDelta::minutes(10);

/// Conversations compared with erased ones at a time.
const PAGE: i64 = 5_000;

/// One address in one account.
type AccountAddress = ([u8; 16], Channel, AccountId);

type ErasedConsumers = HashMap<AccountId, HashSet<[u8; 16]>>;

/// What the journal says of the time from `from` on: of each address the last word, and which conversations were erased. The time of an
/// entry counts and not its place: it is dated under the lock of its address, and may be noted late or once more.
fn last_words(
    entries: &[JournalEntry],
    from: DateTime<Utc>,
) -> (HashMap<AccountAddress, &JournalEntry>, ErasedConsumers) {
    let mut words: HashMap<AccountAddress, &JournalEntry> = HashMap::new();
    let mut erased = ErasedConsumers::new();
    for entry in entries.iter().filter(|entry| entry.noted_at() >= from) {
        let Ok(account) = entry.account.parse::<AccountId>() else {
            continue;
        };
        if entry.kind == journal::EntryKind::Erasure {
            erased.entry(account).or_default().insert(entry.hash);
        } else if let Some(Ok(channel)) = entry.channel.as_deref().map(str::parse) {
            let last = words.entry((entry.hash, channel, account)).or_insert(entry);
            if entry.at >= last.at {
                *last = entry;
            }
        }
    }
    (words, erased)
}

pub(super) async fn replay(
    ctx: &Context,
    tx: &mut PgConnection,
    entries: &[JournalEntry],
    (lost, now): (LostPeriod, DateTime<Utc>),
    done: &mut RestoreResult,
) -> Result<(), ControlError> {
    let (words, erased) = last_words(entries, lost.from - LATE_COMMIT);
    // Hashes are of the key that was in use then.
    let mut rows: HashMap<Option<&str>, Vec<SuppressionRow>> = HashMap::new();
    for ((hash, channel, account), entry) in words {
        let Some(reason) = suppression(entry.kind) else {
            // What was said later, after the restore, stays.
            let until = entry.at;
            let lifted =
                db::suppressions::lift_whatever(tx, &account, channel, &hash, until).await?;
            done.lifted += usize::from(lifted);
            continue;
        };
        let source = entry.source.as_deref().and_then(Source::parse);
        rows.entry(entry.key.as_deref())
            .or_default()
            .push(SuppressionRow {
                account,
                channel,
                hash,
                reason,
                source: source.unwrap_or(Source::Operator),
                created_at: entry.at.min(now),
                expires_at: entry.until,
            });
    }
    for (key, rows) in &rows {
        done.suppressed += rows.len();
        db::suppressions::store_under(tx, Stored::Named(*key), rows, now).await?;
    }
    for (account, hashes) in &erased {
        let hashes: Vec<[u8; 16]> = hashes.iter().copied().collect();
        db::journal::remember_erased(tx, account, &hashes, now).await?;
    }
    if !erased.is_empty() {
        done.erased = erase_again(ctx, tx, &erased, now).await?;
    }
    Ok(())
}

fn suppression(kind: journal::EntryKind) -> Option<Suppression> {
    match kind {
        journal::EntryKind::OptOut => Some(Suppression::OptedOut),
        journal::EntryKind::Complaint => Some(Suppression::Complaint),
        journal::EntryKind::Block => Some(Suppression::Blocked),
        journal::EntryKind::Lifted | journal::EntryKind::Erasure => None,
    }
}

/// Erases the conversations that the journal says were erased, as far as this database knows them.
async fn erase_again(
    ctx: &Context,
    tx: &mut PgConnection,
    erased: &HashMap<AccountId, HashSet<[u8; 16]>>,
    now: DateTime<Utc>,
) -> Result<usize, ControlError> {
    let mut found: HashMap<AccountId, Vec<String>> = HashMap::new();
    let mut after = None;
    loop {
        let page = db::restored::conversations(&mut *tx, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        for (account, conversation) in page {
            let Ok(account) = account.parse::<AccountId>() else {
                continue;
            };
            let is_erased = erased.get(&account).is_some_and(|hashes| {
                let mut names = ctx.hasher.erased_under_any_key(&conversation);
                names.any(|name| hashes.contains(&name))
            });
            if is_erased {
                found.entry(account).or_default().push(conversation);
            }
        }
    }
    let mut count = 0;
    for (account, conversations) in found {
        db::erase::conversations(tx, &account, &conversations, now).await?;
        count += conversations.len();
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> DateTime<Utc> {
        format!("2026-01-05T{time}:00Z").parse().unwrap()
    }

    #[test]
    fn of_each_address_the_last_word_counts_and_nothing_from_before() {
        use journal::EntryKind::{Complaint, Erasure, Lifted, OptOut};
        let entry = |kind, n: u8, time: &str| JournalEntry {
            number: 0,
            at: at(time),
            kind,
            account: "12345678".to_owned(),
            channel: (kind != journal::EntryKind::Erasure).then(|| "sms".to_owned()),
            hash: [n; 16],
            key: None,
            source: None,
            until: None,
            snapshot: None,
        };
        let in_force = |kind, n, time| JournalEntry {
            snapshot: Some(at("12:05")),
            ..entry(kind, n, time)
        };
        let entries = [
            entry(OptOut, 1, "11:00"),
            entry(OptOut, 2, "12:00"),
            entry(Lifted, 2, "12:01"),
            // Noted once more after a restore: its time counts, and not its place.
            entry(OptOut, 3, "12:02"),
            entry(Lifted, 3, "12:01"),
            // Imported or said before, and only the beginning of a journal within the lost time tells.
            in_force(Complaint, 6, "09:00"),
            in_force(OptOut, 7, "09:00"),
            entry(Lifted, 7, "12:07"),
            entry(Erasure, 4, "12:03"),
            entry(Erasure, 5, "11:00"),
        ];
        let (words, erased) = last_words(&entries, at("12:00"));
        let account: AccountId = "12345678".parse().unwrap();
        let word = |n: u8| {
            let entry = words.get(&([n; 16], Channel::Sms, account.clone()));
            entry.map(|entry| entry.kind)
        };
        assert_eq!(
            [word(1), word(2), word(3), word(6), word(7)],
            [
                None,
                Some(Lifted),
                Some(OptOut),
                Some(Complaint),
                Some(Lifted)
            ]
        );
        assert_eq!(words.len(), 4);
        assert_eq!(erased[&account], HashSet::from([[4; 16]]));
    }
}
