//! `unread restored`: what a database that was restored from a backup must learn before it sends again.
//!
//! What fell due in the lost time counts as perhaps sent; text messages of it are looked up at the provider. Opt-outs, complaints and
//! erasures of it come back from the journal. All of that, and the end of the hold, is one transaction.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::hold::{HoldDecision, decide};
use super::rules::ChangeAuthor;
use super::{ControlError, Fault};
use crate::db;
use crate::db::restored::{LookUp, LostPeriod, PerhapsSent};
use crate::db::suppressions::{HashKey as Stored, Source, SuppressionRow};
use crate::domain::contact::{self, Suppression};
use crate::domain::heartbeat::{RememberedHeartbeat, judge};
use crate::domain::hold::{Hold, HoldKind};
use crate::domain::ids::{AccountId, Channel};
use crate::jobs::context::Context;
use crate::jobs::heartbeat;
use crate::journal::{self, JournalEntry};
use crate::liveperson::MAX_IDS;

/// Who knew the database last was heard of at most so long before it sent last.
const LAST_BEAT: TimeDelta = TimeDelta::minutes(1);

/// Entries are dated when they were made, which may be shortly before they were committed.
const LATE_COMMIT: TimeDelta = TimeDelta::minutes(10);

/// Conversations compared with erased ones at a time.
const PAGE: i64 = 5_000;

/// What a person says about the restore.
#[derive(Clone, Debug)]
pub struct RestoredRequest {
    /// When the backup was made.
    pub lost_from: DateTime<Utc>,
    /// When the last message was sent before the restore; left out: when somebody last knew the database.
    pub lost_until: Option<DateTime<Utc>>,
    /// What was noted outside; `None`: go on without.
    pub journal: Option<Vec<JournalEntry>>,
    /// The heartbeat that is remembered beside the journal, if one is.
    pub remembered: Option<RememberedHeartbeat>,
    /// A backup was restored, although nobody has found it out.
    pub unnoticed: bool,
}

/// Where all is well, what is due by now and has not been sent would never be.
const NOTHING_HELD: &str = "Nothing is held, and no journal here remembers more than this database has: there is nothing to do. If a backup \
     was restored and nobody could find it out, because no process lives on that knew the database and no journal's file was kept, add \
     --unnoticed.";

const AT_WORK: &str = "Somebody else is taking up this database at this moment (`unread restored`). Look at what it says first.";

const DECIDED: &str = "Somebody else has ended the hold meanwhile (`unread restored --nothing-lost`, or the dashboard). Nothing was changed.";

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreResult {
    /// Reminders that may have been sent, by channel.
    pub unknown: Vec<(Channel, i64)>,
    /// Of these, text messages that are being looked up.
    pub looked_up: u64,
    /// Addresses that must not be written to, from the journal.
    pub suppressed: usize,
    pub lifted: usize,
    /// Conversations erased again.
    pub erased: usize,
    /// The time that was lost.
    pub lost: Option<LostPeriod>,
}

/// The time that is lost, by what the person says and what the hold and the journal know: the longest of all. Refuses where nothing says
/// that any is.
pub async fn lost_time(
    ctx: &Context,
    wish: &RestoredRequest,
    now: DateTime<Utc>,
) -> Result<LostPeriod, ControlError> {
    let holds = db::holds::active(&ctx.pool).await?;
    if holds.is_empty() && !wish.unnoticed && !would_hold(ctx, wish).await? {
        return Err(ControlError::Conflict(NOTHING_HELD.to_owned()));
    }
    checked(&holds, wish, now)
}

/// Whether the first process that comes would hold sending: none has come yet that could have found it out.
async fn would_hold(ctx: &Context, wish: &RestoredRequest) -> Result<bool, ControlError> {
    let mut tx = ctx.pool.begin().await?;
    let beat = heartbeat::read_beat(&mut tx, &ctx.clock).await?;
    let journal = heartbeat::recall(&mut tx, wish.remembered.clone()).await?;
    let verdict = judge(None, journal.as_ref(), &beat);
    Ok(Hold::of(&verdict, beat.after.beat_at).is_some())
}

fn checked(
    holds: &[Hold],
    wish: &RestoredRequest,
    now: DateTime<Utc>,
) -> Result<LostPeriod, ControlError> {
    let fault = |field: &str, detail: String| {
        Err(ControlError::Invalid(vec![Fault {
            field: field.to_owned(),
            detail,
        }]))
    };
    if let Some(until) = wish.lost_until.filter(|until| *until > now) {
        return fault(
            "until",
            format!(
                "{until} is still to come: what falls due until then would never be sent; name the moment of the last message, or leave \
                 it out"
            ),
        );
    }
    let lost = lost(holds, wish, now);
    if lost.from > lost.until {
        return fault(
            "lost_from",
            format!(
                "{} is after {}, the end of the lost time; name the moment at which the backup was made",
                lost.from, lost.until
            ),
        );
    }
    Ok(lost)
}

fn lost(holds: &[Hold], wish: &RestoredRequest, now: DateTime<Utc>) -> LostPeriod {
    let from = holds.iter().filter_map(|hold| hold.lost_from).min();
    let found = holds.iter().map(|hold| hold.found_at).min();
    let from = from.map_or(wish.lost_from, |from| from.min(wish.lost_from));
    // A journal that nobody has kept since before the backup knows nothing of that time.
    let remembered = wish.remembered.as_ref().map(|seen| seen.at);
    let last = holds.iter().filter_map(|hold| hold.lost_until);
    let last = last.chain(remembered.filter(|at| *at > from)).max();
    let until = last.map_or(now, |last| {
        (last + LAST_BEAT).min(found.unwrap_or(now).max(last))
    });
    LostPeriod {
        from,
        until: wish.lost_until.map_or(until, |wished| wished.max(until)),
    }
}

/// Ends a hold after a restore. One at a time: a second one begins to work when nothing is held any more, and says so.
pub async fn restored(
    ctx: &Context,
    wish: &RestoredRequest,
    by: ChangeAuthor<'_>,
) -> Result<RestoreResult, ControlError> {
    let Some(alone) = db::restored::alone(&ctx.pool).await? else {
        return Err(ControlError::Conflict(AT_WORK.to_owned()));
    };
    let done = alone_restored(ctx, wish, by).await;
    // The end of the connection lets the next one begin, too.
    let _ = alone.close().await;
    done
}

async fn alone_restored(
    ctx: &Context,
    wish: &RestoredRequest,
    by: ChangeAuthor<'_>,
) -> Result<RestoreResult, ControlError> {
    let lost = lost_time(ctx, wish, by.now).await?;
    hold(ctx, lost, by.now).await?;
    let lookups = lookups(ctx, lost).await?;
    let mut tx = ctx.pool.begin().await?;
    db::heartbeat::lock(&mut tx).await?;
    let holds = db::holds::active(&mut *tx).await?;
    if holds.is_empty() {
        return Err(ControlError::Conflict(DECIDED.to_owned()));
    }
    // Meanwhile another process may have remembered more.
    let lost = checked(&holds, wish, by.now)?;
    let mut done = RestoreResult {
        unknown: db::restored::make_unknown(&mut tx, lost, by.now).await?,
        looked_up: db::restored::look_up(&mut tx, &lookups, lost, by.now).await?,
        lost: Some(lost),
        ..RestoreResult::default()
    };
    db::restored::note(&mut tx, lost).await?;
    if let Some(entries) = &wish.journal {
        replay(ctx, &mut tx, entries, (lost, by.now), &mut done).await?;
    }
    // What they have is not what this database has by now.
    db::journal::begin_anew(&mut tx).await?;
    let decision = HoldDecision::Restored {
        lost_until: lost.until,
        journal: wish.remembered.as_ref(),
    };
    decide(&mut tx, &ctx.clock, decision, by).await?;
    let entry = db::audit::NewAuditEntry {
        by: by.name,
        action: "hold.restored",
        account: None,
        subject: "database",
        detail: json!({
            "lost_from": lost.from, "lost_until": lost.until, "journal": wish.journal.is_some(),
            "unknown": done.unknown.iter().map(|(_, count)| count).sum::<i64>(), "looked_up": done.looked_up,
            "suppressed": done.suppressed, "lifted": done.lifted, "erased": done.erased,
        }),
    };
    db::audit::record(&mut tx, &entry, by.now).await?;
    tx.commit().await?;
    Ok(done)
}

/// Nothing is sent while this works, even if nobody has found out by himself that the database was restored.
async fn hold(ctx: &Context, lost: LostPeriod, now: DateTime<Utc>) -> Result<(), ControlError> {
    let mut tx = ctx.pool.begin().await?;
    db::heartbeat::lock(&mut tx).await?;
    let hold = Hold {
        kind: HoldKind::Restored,
        found_at: now,
        lost_from: Some(lost.from),
        lost_until: Some(lost.until),
        due_before: None,
        counter: 0,
        installation: None,
    };
    db::holds::begin(&mut tx, &hold).await?;
    Ok(tx.commit().await?)
}

/// The addresses to which messages of the lost time went that providers can be asked about, as LivePerson tells them by now. Whose address it
/// does not tell stays unknown.
async fn lookups(ctx: &Context, lost: LostPeriod) -> Result<Vec<LookUp>, ControlError> {
    let mut found = Vec::new();
    for channel in Channel::ALL {
        let adapter = ctx.channels.get(channel);
        if adapter.is_some_and(|adapter| adapter.finder().is_some()) {
            found.extend(lookups_on(ctx, channel, lost).await?);
        }
    }
    Ok(found)
}

async fn lookups_on(
    ctx: &Context,
    channel: Channel,
    lost: LostPeriod,
) -> Result<Vec<LookUp>, ControlError> {
    let all = db::restored::perhaps_sent(&ctx.pool, channel, lost).await?;
    let mut by_account: BTreeMap<AccountId, Vec<PerhapsSent>> = BTreeMap::new();
    for reminder in all {
        let of_account = by_account.entry(reminder.account.clone());
        of_account.or_default().push(reminder);
    }
    let mut lookups = Vec::new();
    for (account, reminders) in by_account {
        let Some(account) = ctx.accounts.get(&account) else {
            continue;
        };
        for part in reminders.chunks(MAX_IDS) {
            let ids: HashSet<String> = part.iter().map(|r| r.conversation.clone()).collect();
            let ids: Vec<String> = ids.into_iter().collect();
            let records = match account.by_ids(&ids).await {
                Ok(answer) => answer.records,
                Err(error) => {
                    tracing::warn!(account = %account.id, "Messages of {} conversations are not looked up: {error}", ids.len());
                    continue;
                }
            };
            for reminder in part {
                let record = records.iter().find(|r| r.id == reminder.conversation);
                let contact = record.and_then(|record| {
                    contact::choose(&record.contact, channel, &account.contact_policy)
                });
                lookups.extend(contact.map(|contact| LookUp {
                    reminder: reminder.id,
                    address: contact.address.expose().to_owned(),
                }));
            }
        }
    }
    Ok(lookups)
}

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

async fn replay(
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
    fn the_lost_time_is_the_longer_of_what_a_person_says_and_what_is_known() {
        let hold = |kind, from, until, found: &str| Hold {
            kind,
            found_at: at(found),
            lost_from: Some(at(from)),
            lost_until: Some(at(until)),
            due_before: None,
            counter: 7,
            installation: None,
        };
        let restored = hold(HoldKind::Restored, "12:00", "13:00", "15:00");
        let at_once = hold(HoldKind::Restored, "12:00", "13:00", "13:00");
        // As `unread restore` leaves it.
        let filled = Hold {
            lost_until: None,
            ..hold(HoldKind::Copied, "12:00", "12:00", "15:00")
        };
        let (none, one) = (&[][..], std::slice::from_ref(&restored));
        let (at_once, filled) = (
            std::slice::from_ref(&at_once),
            std::slice::from_ref(&filled),
        );
        #[rustfmt::skip]
        let cases = [
            // What, holds, the journal's last beat, --lost-from, --until, lost time.
            ("as it is known", one, None, "12:00", None, ("12:00", "13:01")),
            ("the backup is older", one, None, "11:50", None, ("11:50", "13:01")),
            ("it cannot be newer", one, None, "12:30", None, ("12:00", "13:01")),
            ("a person knows a later end", one, None, "12:00", Some("14:00"), ("12:00", "14:00")),
            ("somebody knew the database later than that", one, None, "12:00", Some("12:10"), ("12:00", "13:01")),
            ("found at once", at_once, None, "12:00", None, ("12:00", "13:00")),
            ("nobody has found out", none, None, "12:00", None, ("12:00", "16:00")),
            ("but a journal knows", none, Some("13:00"), "12:00", None, ("12:00", "13:01")),
            ("restored by our command, with a journal", filled, Some("13:00"), "12:00", None, ("12:00", "13:01")),
            ("restored by our command, without", filled, None, "12:00", None, ("12:00", "16:00")),
            ("restored by our command, with a journal from before", filled, Some("11:00"), "12:00", None, ("12:00", "16:00")),
        ];
        for (what, holds, remembered, from, until, expected) in cases {
            let wish = RestoredRequest {
                lost_from: at(from),
                lost_until: until.map(at),
                journal: None,
                remembered: remembered.map(|time| RememberedHeartbeat {
                    installation: "ours".to_owned(),
                    counter: 7,
                    at: at(time),
                    server: None,
                    process: None,
                    decided_at: None,
                }),
                unnoticed: false,
            };
            let lost = lost(holds, &wish, at("16:00"));
            assert_eq!(
                (lost.from, lost.until),
                (at(expected.0), at(expected.1)),
                "{what}"
            );
        }
    }

    #[test]
    fn a_lost_time_that_ends_in_the_future_or_before_it_begins_is_refused() {
        for (from, until, field) in [
            ("12:00", Some("15:59"), None),
            ("12:00", Some("16:01"), Some("until")),
            ("16:01", None, Some("lost_from")),
        ] {
            let wish = RestoredRequest {
                lost_from: at(from),
                lost_until: until.map(at),
                journal: None,
                remembered: None,
                unnoticed: true,
            };
            let refused = match checked(&[], &wish, at("16:00")) {
                Err(ControlError::Invalid(faults)) => Some(faults[0].field.clone()),
                Ok(_) => None,
                Err(error) => panic!("{error:?}"),
            };
            assert_eq!(refused.as_deref(), field, "{from} {until:?}");
        }
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
