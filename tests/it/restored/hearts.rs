//! Processes that come and go on one database, as their hearts find it.

use std::sync::Arc;

use chrono::TimeDelta;
use sqlx::PgPool;
use unread::clock::Clock;
use unread::control::hold::{self, HoldDecision};
use unread::control::rules::ChangeAuthor;
use unread::db::holds;
use unread::domain::heartbeat::{HeartbeatVerdict, SETTLED_IN};
use unread::domain::hold::HoldKind;
use unread::jobs::heartbeat::{HeartbeatStatus, HeartbeatTask};
use unread::journal::HeartbeatFile;
use unread::metrics::Metrics;

use super::backup;
use crate::harness::{migrated, noon};
use crate::process::Folder;

/// A process with a memory of its own; `head`: on the machine with the journal.
fn process(
    pool: &PgPool,
    clock: &Clock,
    head: Option<&HeartbeatFile>,
) -> (HeartbeatTask, Arc<HeartbeatStatus>) {
    let heartbeat_status = Arc::new(HeartbeatStatus::default());
    let heart = HeartbeatTask::new(
        pool.clone(),
        clock.clone(),
        Arc::clone(&heartbeat_status),
        head.cloned(),
        &Metrics::new(),
    );
    (heart.unwrap(), heartbeat_status)
}

async fn held(pool: &PgPool) -> Vec<HoldKind> {
    let holds = holds::active(pool).await.unwrap();
    holds.into_iter().map(|hold| hold.kind).collect()
}

fn by(clock: &Clock) -> ChangeAuthor<'static> {
    ChangeAuthor {
        name: "ann",
        now: clock.now(),
    }
}

/// Where the database is, as it was noted last.
async fn was_elsewhere(pool: &PgPool) {
    sqlx::query("update heartbeat set server = '7/5'")
        .execute(pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_restart_of_everything_after_a_restore_is_found_out_by_the_journal_whoever_starts_first()
{
    let (db, folder) = (migrated().await, Folder::new());
    let head = HeartbeatFile::beside(&folder.path().join("journal.jsonl"));
    let clock = Clock::manual(noon());
    let (first, _) = process(&db.pool, &clock, Some(&head));
    assert_eq!(first.beat().await.unwrap(), HeartbeatVerdict::Same);
    backup::make(&db.pool).await;
    for _ in 0..18 {
        clock.advance(TimeDelta::seconds(10));
        first.beat().await.unwrap();
    }
    backup::restore(&db.pool).await;
    clock.advance(TimeDelta::minutes(5));
    // Without the journal one cannot know. It waits for who can; when nobody comes for long it goes on, and counts past what the journal
    // remembers.
    let (other, heartbeat_status) = process(&db.pool, &clock, None);
    for beat in 1..=30 {
        assert_eq!(other.beat().await.unwrap(), HeartbeatVerdict::Same);
        assert_eq!(
            heartbeat_status.counter() == i64::MAX,
            beat < 30,
            "beat {beat}"
        );
        clock.advance(TimeDelta::seconds(10));
    }
    assert!(heartbeat_status.counter() > 19);
    let (again, heartbeat_status) = process(&db.pool, &clock, Some(&head));
    let verdict = again.beat().await.unwrap();
    let HeartbeatVerdict::Restored {
        lost_from,
        lost_until,
        counter,
    } = verdict
    else {
        panic!("{verdict:?}");
    };
    assert_eq!(
        (lost_from, lost_until, counter),
        (noon(), noon() + TimeDelta::minutes(3), 19)
    );
    assert_eq!(held(&db.pool).await, [HoldKind::Restored]);
    assert_eq!(heartbeat_status.counter(), i64::MAX, "it sends nothing");
    // The evidence stays until a person has decided, however often everything is started anew.
    clock.advance(TimeDelta::seconds(10));
    again.beat().await.unwrap();
    assert_eq!(head.read().unwrap().unwrap().counter, 19);
    let refused = hold::moved(&db.pool, &clock, None, by(&clock)).await;
    assert!(refused.is_err(), "it is not merely moved");
    let refused = hold::nothing_lost(&db.pool, &clock, by(&clock)).await;
    assert!(refused.is_err(), "something is");
}

#[tokio::test]
async fn an_outage_holds_nothing_where_somebody_remembers_whoever_starts_first() {
    let (db, folder) = (migrated().await, Folder::new());
    let head = HeartbeatFile::beside(&folder.path().join("journal.jsonl"));
    let clock = Clock::manual(noon());
    let (before, _) = process(&db.pool, &clock, Some(&head));
    before.beat().await.unwrap();
    clock.advance(TimeDelta::hours(60));
    let (without, _) = process(&db.pool, &clock, None);
    let verdict = without.beat().await.unwrap();
    assert!(
        matches!(verdict, HeartbeatVerdict::Silence { .. }),
        "{verdict:?}"
    );
    assert_eq!(held(&db.pool).await, [HoldKind::Silence]);
    let (with, heartbeat_status) = process(&db.pool, &clock, Some(&head));
    assert_eq!(with.beat().await.unwrap(), HeartbeatVerdict::Whole);
    assert_eq!(held(&db.pool).await, []);
    assert_eq!(with.beat().await.unwrap(), HeartbeatVerdict::Same);
    assert_eq!(
        head.read().unwrap().unwrap().counter,
        heartbeat_status.counter()
    );
}

#[tokio::test]
async fn a_copy_is_held_until_it_takes_over_and_a_journal_vouches_for_a_move() {
    let (db, folder) = (migrated().await, Folder::new());
    let head = HeartbeatFile::beside(&folder.path().join("journal.jsonl"));
    let clock = Clock::manual(noon());
    let (before, _) = process(&db.pool, &clock, None);
    before.beat().await.unwrap();
    was_elsewhere(&db.pool).await;
    let (copy, _) = process(&db.pool, &clock, None);
    for _ in 0..3 {
        assert_eq!(copy.beat().await.unwrap(), HeartbeatVerdict::Copied);
        clock.advance(TimeDelta::seconds(10));
    }
    assert_eq!(held(&db.pool).await, [HoldKind::Copied]);
    hold::moved(&db.pool, &clock, None, by(&clock))
        .await
        .unwrap();
    assert_eq!(held(&db.pool).await, []);
    assert_eq!(copy.beat().await.unwrap(), HeartbeatVerdict::Same);
    let refused = hold::moved(&db.pool, &clock, None, by(&clock)).await;
    assert!(refused.is_err(), "nothing asks, and somebody works on it");

    // Moved while nothing ran, before anybody could find out.
    clock.advance(TimeDelta::hours(3));
    was_elsewhere(&db.pool).await;
    hold::moved(&db.pool, &clock, None, by(&clock))
        .await
        .unwrap();
    let (started, _) = process(&db.pool, &clock, Some(&head));
    assert_eq!(started.beat().await.unwrap(), HeartbeatVerdict::Same);

    // The same without the command, on the machine with the journal. What it remembers is from the old server.
    let mut seen = head.read().unwrap().unwrap();
    seen.server = Some("7/5".to_owned());
    head.write(&seen).unwrap();
    was_elsewhere(&db.pool).await;
    clock.advance(TimeDelta::hours(3));
    let (started, _) = process(&db.pool, &clock, Some(&head));
    assert_eq!(started.beat().await.unwrap(), HeartbeatVerdict::Whole);
    assert_eq!(held(&db.pool).await, []);
    assert_eq!(started.beat().await.unwrap(), HeartbeatVerdict::Same);
}

#[tokio::test]
async fn a_fresh_database_where_another_one_sent_is_held_and_can_take_over() {
    let (old, fresh, folder) = (migrated().await, migrated().await, Folder::new());
    let head = HeartbeatFile::beside(&folder.path().join("journal.jsonl"));
    let clock = Clock::manual(noon());
    let (before, _) = process(&old.pool, &clock, Some(&head));
    for _ in 0..5 {
        before.beat().await.unwrap();
        clock.advance(TimeDelta::seconds(10));
    }
    let (after, heartbeat_status) = process(&fresh.pool, &clock, Some(&head));
    for _ in 0..3 {
        let verdict = after.beat().await.unwrap();
        assert!(
            matches!(verdict, HeartbeatVerdict::Other { .. }),
            "{verdict:?}"
        );
    }
    assert_eq!(held(&fresh.pool).await, [HoldKind::Other]);
    assert_eq!(heartbeat_status.counter(), i64::MAX);
    // One that remembers nothing but the fresh database.
    let (beside, beside_witness) = process(&fresh.pool, &clock, None);
    assert_eq!(beside.beat().await.unwrap(), HeartbeatVerdict::Same);
    clock.advance(TimeDelta::minutes(5));
    // That nothing is missing since then says nothing about what the other one has sent.
    assert_eq!(beside.beat().await.unwrap(), HeartbeatVerdict::Whole);
    assert_eq!(held(&fresh.pool).await, [HoldKind::Other]);
    let known = head.read().unwrap();
    hold::moved(&fresh.pool, &clock, known.as_ref(), by(&clock))
        .await
        .unwrap_err();
    let mut tx = fresh.pool.begin().await.unwrap();
    let decision = HoldDecision::Restored {
        lost_until: noon() + TimeDelta::seconds(50),
        journal: known.as_ref(),
    };
    hold::decide(&mut tx, &clock, decision, by(&clock))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    // Whichever name it has known: nobody needs to be started anew.
    for _ in 0..2 {
        assert_eq!(beside.beat().await.unwrap(), HeartbeatVerdict::Same);
        assert_eq!(after.beat().await.unwrap(), HeartbeatVerdict::Same);
    }
    assert_eq!(held(&fresh.pool).await, []);
    assert!(beside_witness.counter() < i64::MAX && heartbeat_status.counter() < i64::MAX);
    let (again, _) = process(&fresh.pool, &clock, Some(&head));
    assert_eq!(again.beat().await.unwrap(), HeartbeatVerdict::Same);
    // From now on it is the other one that is not the one that sends.
    let (back, _) = process(&old.pool, &clock, Some(&head));
    let verdict = back.beat().await.unwrap();
    assert!(
        matches!(verdict, HeartbeatVerdict::Restored { .. }),
        "{verdict:?}"
    );
}

#[tokio::test]
async fn a_backup_of_a_few_seconds_is_found_out_however_long_others_have_counted_on() {
    let (db, folder) = (migrated().await, Folder::new());
    let head = HeartbeatFile::beside(&folder.path().join("journal.jsonl"));
    let clock = Clock::manual(noon());
    let (first, heartbeat_status) = process(&db.pool, &clock, Some(&head));
    let (second, other) = process(&db.pool, &clock, None);
    first.beat().await.unwrap();
    second.beat().await.unwrap();
    backup::make(&db.pool).await;
    clock.advance(TimeDelta::seconds(5));
    first.beat().await.unwrap();
    backup::restore(&db.pool).await;
    // It has beaten last before the backup, so it finds nothing missing, and there is no silence.
    for _ in 0..5 {
        assert_eq!(second.beat().await.unwrap(), HeartbeatVerdict::Same);
        clock.advance(TimeDelta::seconds(1));
    }
    assert!(other.counter() > heartbeat_status.counter());
    let restored = |verdict| matches!(verdict, HeartbeatVerdict::Restored { lost_from, .. } if lost_from == noon());
    assert!(restored(first.beat().await.unwrap()));
    let (again, _) = process(&db.pool, &clock, Some(&head));
    assert!(restored(again.beat().await.unwrap()));
    assert_eq!(held(&db.pool).await, [HoldKind::Restored]);
}

#[tokio::test]
async fn one_more_process_waits_until_the_others_have_beaten_and_a_single_one_for_nobody() {
    let (db, folder) = (migrated().await, Folder::new());
    let head = HeartbeatFile::beside(&folder.path().join("journal.jsonl"));
    let clock = Clock::manual(noon());
    let (first, founder) = process(&db.pool, &clock, Some(&head));
    first.beat().await.unwrap();
    assert_eq!(
        founder.counter(),
        1,
        "a fresh database has nothing to forget"
    );
    // The same service, started again.
    let (first, single) = process(&db.pool, &clock, Some(&head));
    first.beat().await.unwrap();
    assert_eq!(single.counter(), 2, "nobody else has beaten since");
    let (second, newcomer) = process(&db.pool, &clock, None);
    second.beat().await.unwrap();
    assert_eq!(newcomer.counter(), i64::MAX);
    first.beat().await.unwrap();
    second.beat().await.unwrap();
    assert_eq!(newcomer.counter(), 5);

    // Everything is started again: who remembers nothing waits for who keeps the journal.
    let (second, newcomer) = process(&db.pool, &clock, None);
    for _ in 0..4 {
        second.beat().await.unwrap();
        assert_eq!(newcomer.counter(), i64::MAX);
    }
    let (first, _) = process(&db.pool, &clock, Some(&head));
    first.beat().await.unwrap();
    second.beat().await.unwrap();
    assert_eq!(newcomer.counter(), 11);
}

#[tokio::test]
async fn a_stranger_holds_nobody_where_an_installation_is_at_home() {
    let (ours, theirs, folder) = (migrated().await, migrated().await, Folder::new());
    let head = HeartbeatFile::beside(&folder.path().join("journal.jsonl"));
    let clock = Clock::manual(noon());
    let (own, _) = process(&theirs.pool, &clock, Some(&head));
    own.beat().await.unwrap();
    let (first, heartbeat_status) = process(&ours.pool, &clock, None);
    for _ in 0..SETTLED_IN {
        first.beat().await.unwrap();
    }
    let (stranger, unsent) = process(&ours.pool, &clock, Some(&head));
    assert_eq!(stranger.beat().await.unwrap(), HeartbeatVerdict::Stranger);
    assert_eq!(unsent.counter(), i64::MAX);
    assert_eq!(held(&ours.pool).await, []);
    assert_eq!(first.beat().await.unwrap(), HeartbeatVerdict::Same);
    assert_eq!(
        heartbeat_status.counter(),
        SETTLED_IN + 1,
        "it has left no trace"
    );

    // Where nobody is at work it cannot be told; then a person tells it.
    clock.advance(TimeDelta::minutes(5));
    assert!(stranger.beat().await.unwrap().contradicts());
    assert_eq!(held(&ours.pool).await, [HoldKind::Other]);
    hold::nothing_lost(&ours.pool, &clock, by(&clock))
        .await
        .unwrap();
    assert_eq!(held(&ours.pool).await, []);
    assert_eq!(first.beat().await.unwrap(), HeartbeatVerdict::Same);
    clock.advance(TimeDelta::minutes(5));
    assert_eq!(stranger.beat().await.unwrap(), HeartbeatVerdict::Stranger);
}

#[tokio::test]
async fn data_that_are_carried_over_to_another_server_are_judged_as_before() {
    let (db, folder) = (migrated().await, Folder::new());
    let head = HeartbeatFile::beside(&folder.path().join("journal.jsonl"));
    let clock = Clock::manual(noon());
    let (first, _) = process(&db.pool, &clock, Some(&head));
    first.beat().await.unwrap();
    backup::make(&db.pool).await;
    let carry_over = async || {
        was_elsewhere(&db.pool).await;
        let mut tx = db.pool.begin().await.unwrap();
        hold::carried_over(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
    };
    carry_over().await;
    clock.advance(TimeDelta::hours(3));
    let (second, heartbeat_status) = process(&db.pool, &clock, Some(&head));
    assert_eq!(
        second.beat().await.unwrap(),
        HeartbeatVerdict::Whole,
        "only down"
    );
    assert_eq!(held(&db.pool).await, []);
    assert_eq!(heartbeat_status.counter(), 2);

    // An older copy of the data, and one that `unread restore` has filled.
    for filled in [false, true] {
        backup::restore(&db.pool).await;
        if filled {
            let made_at = Some(noon());
            hold::after_restore(&db.pool, made_at, by(&clock))
                .await
                .unwrap();
        }
        carry_over().await;
        let (again, _) = process(&db.pool, &clock, Some(&head));
        let verdict = again.beat().await.unwrap();
        assert!(
            matches!(verdict, HeartbeatVerdict::Restored { .. }),
            "{verdict:?}"
        );
        let kinds = [HoldKind::Restored, HoldKind::Copied];
        assert_eq!(held(&db.pool).await, kinds[..=usize::from(filled)]);
    }
}

#[tokio::test]
async fn a_decision_before_the_first_start_is_not_asked_for_again() {
    let (db, folder) = (migrated().await, Folder::new());
    let head = HeartbeatFile::beside(&folder.path().join("journal.jsonl"));
    let clock = Clock::manual(noon());
    let (first, _) = process(&db.pool, &clock, Some(&head));
    first.beat().await.unwrap();
    backup::make(&db.pool).await;
    clock.advance(TimeDelta::days(3));
    // As after many days of several processes.
    sqlx::query("update heartbeat set counter = 10000000")
        .execute(&db.pool)
        .await
        .unwrap();
    first.beat().await.unwrap();
    backup::restore(&db.pool).await;
    hold::after_restore(&db.pool, Some(noon()), by(&clock))
        .await
        .unwrap();
    let mut tx = db.pool.begin().await.unwrap();
    // On a machine that remembers nothing.
    let decision = HoldDecision::Restored {
        lost_until: clock.now(),
        journal: None,
    };
    hold::decide(&mut tx, &clock, decision, by(&clock))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(first.beat().await.unwrap(), HeartbeatVerdict::Same);
    let (started, _) = process(&db.pool, &clock, Some(&head));
    assert_eq!(started.beat().await.unwrap(), HeartbeatVerdict::Same);
    assert_eq!(held(&db.pool).await, []);
    // What is restored after that is found out as ever.
    backup::restore(&db.pool).await;
    let verdict = started.beat().await.unwrap();
    assert!(
        matches!(verdict, HeartbeatVerdict::Restored { .. }),
        "{verdict:?}"
    );
}

#[tokio::test]
async fn a_heartbeat_that_cannot_be_written_beside_the_journal_is_told_and_stops_nobody() {
    let (db, folder) = (migrated().await, Folder::new());
    let (clock, metrics) = (Clock::manual(noon()), Metrics::new());
    let away = folder.path().join("away");
    let head = HeartbeatFile::beside(&away.join("journal.jsonl"));
    let heartbeat_status = Arc::new(HeartbeatStatus::default());
    let heart = HeartbeatTask::new(
        db.pool.clone(),
        clock.clone(),
        Arc::clone(&heartbeat_status),
        Some(head.clone()),
        &metrics,
    )
    .unwrap();
    let lag = || {
        let families = metrics.registry().gather();
        let family = families
            .iter()
            .find(|family| family.name() == "unread_heartbeat_lag_seconds")
            .unwrap();
        family.get_metric()[0].get_gauge().get_value()
    };
    assert_eq!(heart.beat().await.unwrap(), HeartbeatVerdict::Same);
    assert!(lag() >= 1.0);
    assert_eq!(heartbeat_status.counter(), 1);
    std::fs::create_dir(&away).unwrap();
    heart.beat().await.unwrap();
    assert!(lag() <= 0.0);
    assert_eq!(head.read().unwrap().unwrap().counter, 2);
}
