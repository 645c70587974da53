//! Processes that keep a journal: it begins with what is in force, goes on without a hole, and begins anew whenever something may be missing.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use unread::clock::Clock;
use unread::db;
use unread::db::journal::Sink;
use unread::db::suppressions::Source;
use unread::domain::contact::Suppression;
use unread::domain::ids::Channel;
use unread::jobs::journal::{JournalKeeper, JournalSink};
use unread::journal::{Begins, EntryKind, JournalEnd, JournalFile, JournalLine, entries, missing};

use super::backup;
use crate::harness::{account, migrated};
use crate::process::Folder;

fn journal(folder: &Folder) -> JournalFile {
    JournalFile::at(folder.path().join("journal.jsonl"))
}

async fn keeper(pool: &PgPool, file: &JournalFile) -> JournalKeeper {
    let place = JournalSink::File(file.clone(), TimeDelta::days(35));
    let key = Some("5f0c11ab".to_owned());
    JournalKeeper::start(pool.clone(), Clock::System, place, key)
        .await
        .unwrap()
}

async fn opt_out(pool: &PgPool, n: u8) {
    let mut conn = pool.acquire().await.unwrap();
    let why = (Suppression::OptedOut, Source::UnsubscribeLink);
    let now = Clock::System.now();
    db::suppressions::add(&mut conn, &[account()], Channel::Email, &[n; 16], why, now)
        .await
        .unwrap();
}

/// What the file says: `b3` begins the journal with number 3, `s` is in force at its beginning, `e` ends that, `+` and `x` are opt-outs and
/// erasures.
fn said(file: &JournalFile) -> Vec<String> {
    let lines = file.read().unwrap();
    let said = lines.iter().map(|line| match line {
        JournalLine::Begins(begins) => format!("b{}", begins.number),
        JournalLine::SnapshotEnds { .. } => "e".to_owned(),
        JournalLine::Forgotten { .. } => "forgotten".to_owned(),
        JournalLine::Entry(entry) => {
            let sign = match (entry.kind, entry.snapshot) {
                (EntryKind::OptOut, None) => "+",
                (EntryKind::Erasure, None) => "x",
                (EntryKind::OptOut, Some(_)) => "s+",
                (EntryKind::Erasure, Some(_)) => "sx",
                _ => "?",
            };
            format!("{sign}{}", entry.hash[0])
        }
    });
    said.collect()
}

fn begins(file: &JournalFile) -> Vec<Begins> {
    let lines = file.read().unwrap();
    let begins = lines.into_iter().filter_map(|line| match line {
        JournalLine::Begins(begins) => Some(begins),
        _ => None,
    });
    begins.collect()
}

async fn now(pool: &PgPool) -> DateTime<Utc> {
    db::server::now(pool).await.unwrap()
}

#[tokio::test]
async fn a_journal_begins_with_all_that_is_in_force_and_goes_on_with_the_next_number() {
    let (db, folder) = (migrated().await, Folder::new());
    let pool = &db.pool;
    let before = now(pool).await;
    opt_out(pool, 1).await;
    let mut conn = pool.acquire().await.unwrap();
    db::journal::erased(&mut conn, &account(), &[[2; 16]])
        .await
        .unwrap();
    drop(conn);
    let file = journal(&folder);
    let mut first = keeper(pool, &file).await;
    first.turn().await.unwrap();
    assert_eq!(said(&file), ["b1", "s+1", "sx2", "e"]);
    opt_out(pool, 3).await;
    first.turn().await.unwrap();
    // Of the same file, as when one process takes over from another.
    let mut second = keeper(pool, &file).await;
    opt_out(pool, 4).await;
    second.turn().await.unwrap();
    assert_eq!(said(&file).last().unwrap(), "+3", "it stands by");
    first.end().await;
    second.turn().await.unwrap();
    assert_eq!(said(&file), ["b1", "s+1", "sx2", "e", "+3", "+4"]);
    let lines = file.read().unwrap();
    let numbers: Vec<i64> = lines.iter().map(JournalLine::number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    assert_eq!(begins(&file)[0].key.as_deref(), Some("5f0c11ab"));
    let end = JournalEnd::Told(file.mark().unwrap());
    assert_eq!(missing(&lines, &end, (before, now(pool).await)), []);
}

#[tokio::test]
async fn what_a_restored_database_notes_does_not_hide_what_was_noted_in_the_lost_time() {
    let (db, folder) = (migrated().await, Folder::new());
    let (pool, file) = (&db.pool, journal(&folder));
    let mut keeper = keeper(pool, &file).await;
    keeper.turn().await.unwrap();
    let lost_from = now(pool).await;
    backup::make(pool).await;
    opt_out(pool, 1).await;
    keeper.turn().await.unwrap();
    let lost_until = now(pool).await;
    backup::restore(pool).await;
    opt_out(pool, 2).await;
    keeper.turn().await.unwrap();
    assert_eq!(said(&file), ["b1", "e", "+1", "b4", "s+2", "e", "+2"]);
    let name = &begins(&file)[0].journal;
    assert!(begins(&file)[1].behind);
    let before = begins(&file)[1].before.clone().unwrap();
    assert_eq!(&before.journal, name);
    let lines = file.read().unwrap();
    let end = JournalEnd::Told(file.mark().unwrap());
    assert_eq!(missing(&lines, &end, (lost_from, lost_until)), []);
}

#[tokio::test]
async fn one_process_keeps_the_journal_and_whoever_takes_over_in_another_file_begins_there() {
    let (db, here, there) = (migrated().await, Folder::new(), Folder::new());
    let pool = &db.pool;
    let (here, there) = (journal(&here), journal(&there));
    let mut first = keeper(pool, &here).await;
    let mut second = keeper(pool, &there).await;
    first.turn().await.unwrap();
    opt_out(pool, 1).await;
    second.turn().await.unwrap();
    assert_eq!(said(&there), [""; 0], "it stands by");
    first.turn().await.unwrap();
    assert_eq!(said(&here), ["b1", "e", "+1"]);

    // The first one stands still for longer than it may.
    sqlx::query("update journal_sinks set lease_until = now() - interval '1 second'")
        .execute(pool)
        .await
        .unwrap();
    second.turn().await.unwrap();
    opt_out(pool, 2).await;
    first.turn().await.unwrap();
    assert_eq!(said(&here), ["b1", "e", "+1"], "it has lost the journal");
    second.turn().await.unwrap();
    let theirs = said(&there);
    assert_eq!(theirs[1..], ["s+1", "e", "+2"], "{theirs:?}");
    assert_ne!(begins(&here)[0].journal, begins(&there)[0].journal);
    first.end().await;
    let taken = db::journal::take(pool, Sink::File, "somebody", TimeDelta::seconds(60)).await;
    assert!(!taken.unwrap(), "nobody gives back what is another's");

    second.end().await;
    let mut third = keeper(pool, &here).await;
    third.turn().await.unwrap();
    let ours = said(&here);
    assert_eq!(ours[4..], ["s+1", "s+2", "e"], "{ours:?}");
    assert_eq!(begins(&here)[0].journal, begins(&here)[1].journal);
}

#[tokio::test]
async fn a_file_that_is_gone_or_was_not_kept_for_long_is_begun_anew() {
    let (db, folder) = (migrated().await, Folder::new());
    let (pool, file) = (&db.pool, journal(&folder));
    let mut first = keeper(pool, &file).await;
    first.turn().await.unwrap();
    let before = now(pool).await;
    let away = JournalFile::at(folder.path().join("away"));
    std::fs::rename(file.path(), away.path()).unwrap();
    opt_out(pool, 1).await;
    first.turn().await.unwrap();
    assert_eq!(said(&file), ["b3", "s+1", "e", "+1"]);
    assert_eq!(begins(&file)[0].journal, begins(&away)[0].journal);
    let both = [away.read().unwrap(), file.read().unwrap()].concat();
    let end = JournalEnd::Told(file.mark().unwrap());
    assert_eq!(missing(&both, &end, (before, before)), []);
    assert_ne!(missing(&file.read().unwrap(), &end, (before, before)), []);

    // Its process was away for so long that it is not waited for.
    first.end().await;
    sqlx::query("update journal_sinks set seen_at = now() - interval '8 days'")
        .execute(pool)
        .await
        .unwrap();
    let mut conn = pool.acquire().await.unwrap();
    db::journal::prune(&mut conn).await.unwrap();
    drop(conn);
    opt_out(pool, 2).await;
    let mut second = keeper(pool, &file).await;
    second.turn().await.unwrap();
    let said = said(&file);
    assert_eq!(said[4..], ["b7", "s+1", "s+2", "e"], "{said:?}");
    assert_eq!(entries(file.read().unwrap()).len(), 4);
}

#[tokio::test]
async fn a_no_that_was_said_after_somebody_lifted_one_stays() {
    let db = migrated().await;
    opt_out(&db.pool, 1).await;
    let mut conn = db.pool.acquire().await.unwrap();
    let minute = TimeDelta::minutes(1);
    let now = Clock::System.now();
    for (lifted_at, is_lifted) in [(now - minute, false), (now + minute, true)] {
        let (ours, email) = (account(), Channel::Email);
        let lifted = db::suppressions::lift_whatever(&mut conn, &ours, email, &[1; 16], lifted_at);
        assert_eq!(lifted.await.unwrap(), is_lifted);
    }
}
