//! Statements that several processes race for, against a real server: limits, slots, circuits.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join_all;
use unread::db::circuits::{self, Proof};
use unread::db::{limits, schedule_ticks};
use unread::domain::ids::Channel::Email;
use unread::domain::ids::Provider::Smtp;
use unread::domain::ids::ReminderId;

use crate::harness::{account, migrated, noon};

/// The server and this machine measure time each for itself.
const GRAIN: f64 = 0.01;

/// Whether a wait that the server tells is what was asked for after `asked`, less the time since then, however long that is.
pub fn is_left(wait: Duration, seconds: f64, asked: Instant) -> bool {
    let since = asked.elapsed().as_secs_f64();
    (seconds - since - GRAIN..=seconds + GRAIN).contains(&wait.as_secs_f64())
}

#[tokio::test]
async fn many_callers_at_once_get_turns_one_after_the_other() {
    let db = migrated().await;
    let started = Instant::now();
    let turns = join_all((0..20).map(|_| limits::reserve(&db.pool, "k", 0.1))).await;
    // Each asks at a moment of its own.
    let apart = started.elapsed().as_secs_f64();
    let mut waits: Vec<Duration> = turns.into_iter().map(Result::unwrap).collect();
    waits.sort();
    for (turn, wait) in waits.iter().enumerate() {
        let due = f64::from(u32::try_from(turn).unwrap()) * 10.0;
        assert!(
            (wait.as_secs_f64() - due).abs() <= apart,
            "{turn}: {wait:?}, asked within {apart} s"
        );
    }
}

/// However long nobody came, and however many come together: one by one, never a second's worth at once.
#[tokio::test]
async fn turns_of_messages_follow_one_by_one_after_idling_too() {
    let db = migrated().await;
    for (key, idle) in [("p:new", None), ("p:idle", Some("1 hour"))] {
        if let Some(idle) = idle {
            sqlx::query("insert into limits (key, tat) values ($1, now() - $2::interval)")
                .bind(key)
                .bind(idle)
                .execute(&db.pool)
                .await
                .unwrap();
        }
        let started = Instant::now();
        let asked =
            join_all((0..10).map(|_| limits::use_turns(&db.pool, ("p", key), 2, 0.1))).await;
        let apart = started.elapsed().as_secs_f64();
        let mut waits: Vec<f64> = Vec::new();
        for turns in asked {
            let turns = turns.unwrap();
            assert_eq!(turns.interval, Duration::from_secs(10));
            assert_eq!(turns.held, Duration::ZERO);
            let first = turns.first.as_secs_f64();
            waits.extend([first, first + 10.0]);
        }
        waits.sort_by(f64::total_cmp);
        for (turn, wait) in (0u32..).zip(waits) {
            let due = f64::from(turn) * 10.0;
            assert!((wait - due).abs() <= apart, "{key}, {turn}: {wait} s");
        }
        let asked = Instant::now();
        limits::hold(&db.pool, "p", Duration::from_mins(1))
            .await
            .unwrap();
        let held = limits::use_turns(&db.pool, ("p", key), 1, 0.1).await;
        assert!(is_left(held.unwrap().held, 60.0, asked), "{key}");
        limits::remove_limit(&db.pool, "p").await.unwrap();
    }
}

#[tokio::test]
async fn what_is_given_back_is_given_to_the_next() {
    let db = migrated().await;
    let mut conn = db.pool.acquire().await.unwrap();
    let within = (Duration::ZERO, Duration::from_secs(30));
    let asked = Instant::now();
    let taken = limits::take(&mut conn, "k", 10, 0.1, within).await.unwrap();
    assert_eq!(taken.waits.len(), 4, "0, 10, 20 and 30 s");
    limits::give_back(&mut conn, "k", 2, 0.1).await.unwrap();
    let again = limits::take(&mut conn, "k", 10, 0.1, within).await.unwrap();
    assert_eq!(again.waits.len(), 2);
    assert!(is_left(again.waits[0], 20.0, asked), "{again:?}");
}

#[tokio::test]
async fn nobody_has_a_turn_while_the_other_side_asked_to_be_left_alone() {
    let db = migrated().await;
    assert_eq!(
        limits::held(&db.pool, &["k"]).await.unwrap(),
        Duration::ZERO
    );
    let asked = Instant::now();
    limits::hold(&db.pool, "k", Duration::from_mins(1))
        .await
        .unwrap();
    limits::hold(&db.pool, "k", Duration::from_secs(5))
        .await
        .unwrap();
    assert!(
        is_left(limits::held(&db.pool, &["k"]).await.unwrap(), 60.0, asked),
        "a shorter hold does not end a longer one"
    );
    let wait = limits::reserve(&db.pool, "k", 100.0).await.unwrap();
    assert!(is_left(wait, 60.0, asked), "{wait:?}");
}

#[tokio::test]
async fn a_slot_has_one_winner_however_many_schedulers_ask() {
    let db = migrated().await;
    let claim = |now| {
        let pool = db.pool.clone();
        async move {
            let minutes = TimeDelta::seconds(60);
            schedule_ticks::claim(&pool, &[("sweep", minutes), ("settle", minutes)], now)
                .await
                .unwrap()
                .len()
        }
    };
    for slot in 0..5 {
        let now = noon() + TimeDelta::seconds(60 * slot);
        let won: usize = join_all((0..8).map(|_| claim(now))).await.into_iter().sum();
        assert_eq!(won, 2, "each schedule once in slot {slot}");
        assert_eq!(
            claim(now + TimeDelta::seconds(59)).await,
            0,
            "the same slot"
        );
    }
    assert_eq!(
        claim(noon()).await,
        0,
        "a clock that was set back wins nothing"
    );
}

#[tokio::test]
async fn an_account_s_scans_begin_once_in_each_slot() {
    let db = migrated().await;
    let every = TimeDelta::seconds(60);
    let claim = |now| {
        let pool = db.pool.clone();
        async move {
            let claimed = schedule_ticks::claim_scan(&pool, &account(), every, now).await;
            claimed.unwrap()
        }
    };
    let mut began = Vec::new();
    for second in 0..180 {
        let now = noon() + TimeDelta::seconds(second);
        let won = join_all((0..4).map(|_| claim(now))).await;
        let won: Vec<_> = won.into_iter().flatten().collect();
        assert!(won.len() <= 1, "{won:?}");
        for slot in won {
            assert!(slot <= now && now < slot + every, "{slot} at {now}");
            began.push(slot);
        }
    }
    assert!(matches!(began.len(), 3 | 4), "{began:?}");
    assert!(
        began.windows(2).all(|pair| pair[1] - pair[0] == every),
        "{began:?}"
    );
}

#[tokio::test]
async fn an_open_circuit_has_one_probe_per_interval_and_closes_after_two_successes() {
    let db = migrated().await;
    let mut conn = db.pool.acquire().await.unwrap();
    let now = noon();
    let later = |seconds| now + TimeDelta::seconds(seconds);
    let opened = circuits::open(
        &mut conn,
        (Smtp, "a"),
        "auth 535",
        Proof::Answer,
        later(60),
        now,
    )
    .await;
    assert!(opened.unwrap(), "it was closed");
    let again = circuits::open(
        &mut conn,
        (Smtp, "a"),
        "auth 535",
        Proof::Answer,
        later(60),
        now,
    )
    .await;
    assert!(!again.unwrap());
    assert!(
        !circuits::take_probe(&mut conn, (Smtp, "a"), (Email, ReminderId(1)), later(59))
            .await
            .unwrap()
    );
    let probes = join_all((0..8).map(|_| async {
        let mut conn = db.pool.acquire().await.unwrap();
        circuits::take_probe(&mut conn, (Smtp, "a"), (Email, ReminderId(1)), later(60))
            .await
            .unwrap()
    }));
    assert_eq!(probes.await.into_iter().filter(|won| *won).count(), 1);

    circuits::succeeded(&mut conn, (Smtp, "a"), Proof::Answer, later(61))
        .await
        .unwrap();
    assert_eq!(circuits::open_ones(&db.pool).await.unwrap().len(), 1);
    // A failure in between begins the count anew.
    circuits::open(
        &mut conn,
        (Smtp, "a"),
        "auth 535",
        Proof::Answer,
        later(120),
        later(62),
    )
    .await
    .unwrap();
    circuits::succeeded(&mut conn, (Smtp, "a"), Proof::Answer, later(121))
        .await
        .unwrap();
    assert_eq!(circuits::open_ones(&db.pool).await.unwrap().len(), 1);
    circuits::succeeded(&mut conn, (Smtp, "a"), Proof::Answer, later(122))
        .await
        .unwrap();
    assert!(circuits::open_ones(&db.pool).await.unwrap().is_empty());
}

/// Reminders that are due; those of `tried` have met trouble through the sender `a`.
async fn due_reminders(pool: &sqlx::PgPool, all: &[i64], tried: &[i64]) {
    sqlx::query(
        "insert into reminders (id, account, conversation, episode, channel, step, skill, episode_since, due_at, next_at, deadline,
             token, created_at)
         overriding system value
         select id, 'a', 'c' || id, 'e', 'email', 1, -1, $2, $2, $2, $2 + interval '1 day', 't' || id, $2 from unnest($1) as id",
    )
    .bind(all)
    .bind(noon())
    .execute(pool)
    .await
    .unwrap();
    sqlx::query(
        "insert into attempts (reminder, number, sender, started_at, lease_until, ended_at, outcome)
         select id, 1, 'a', $2, $2, $2, 'not_accepted' from unnest($1) as id",
    )
    .bind(tried)
    .bind(noon())
    .execute(pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_reminder_that_has_met_the_trouble_leaves_the_probe_to_others() {
    let later = |minutes| noon() + TimeDelta::minutes(minutes);
    // Reminders that are due, those of them that have been tried, who asks, after how many minutes; and whether it probes.
    for (due, tried, asks, minutes, probes, why) in [
        (&[1, 2][..], &[1][..], 1, 2, false, "another one waits"),
        (&[1, 2], &[1], 2, 2, true, "it has not been tried"),
        (&[1], &[1], 1, 2, true, "nobody else waits"),
        (&[1, 2], &[1, 2], 1, 2, true, "all have been tried"),
        (&[1, 2], &[1], 1, 10, false, "a little longer"),
        (&[1, 2], &[1], 1, 11, true, "whoever waits does not come"),
        (&[1, 2], &[], 1, 0, false, "not time yet"),
    ] {
        let db = migrated().await;
        due_reminders(&db.pool, due, tried).await;
        let mut conn = db.pool.acquire().await.unwrap();
        let key = (Smtp, "a");
        circuits::open(&mut conn, key, "x", Proof::Answer, later(1), noon())
            .await
            .unwrap();
        let probe = (Email, ReminderId(asks));
        let took = circuits::take_probe(&mut conn, key, probe, later(minutes)).await;
        assert_eq!(took.unwrap(), probes, "{why}");
    }
}

/// By whatever plan, also one that was made for any number of reminders: what is not begun is not looked at.
#[tokio::test]
async fn beginning_attempts_reads_the_reminders_that_are_begun() {
    let db = migrated().await;
    let mut conn = db.pool.acquire().await.unwrap();
    for statement in [
        // Which makes it live, too, in tests.
        "insert into accounts (id, created_at) values ('12345678', now())",
        "insert into reminders (account, conversation, episode, channel, step, skill, episode_since, due_at, deadline, next_at,
             token, recipient_hash, created_at, latest_at)
         select '12345678', n::text, n::text, 'email', 1, 1, now(), now(), now() + interval '1 day', now(),
             n::text, sha256(n::text::bytea), now(), now()
         from generate_series(1, 20000) n",
        "analyze",
        "set plan_cache_mode = force_generic_plan",
    ] {
        sqlx::raw_sql(statement).execute(&mut *conn).await.unwrap();
    }
    let prepare = format!(
        "prepare begin_attempts(bigint[], text[], text[], bytea[], float8[], timestamptz, bigint[], bigint, text, boolean[],
             bigint[], bytea[], text[]) as {}",
        unread::db::ledger::BEGIN
    );
    let explain = "explain (analyze, format text) execute begin_attempts(
        (array[1, 2, 3])::bigint[], array['a', 'a', 'a'], array[null, null, null]::text[],
        array['\\x01', '\\x02', '\\x03']::bytea[], array[60, 60, 60]::float8[], now(), array[1, 1, 1]::bigint[], 0, 'nobody',
        array[true, true, true], array[1, 2]::bigint[], array['\\x04', '\\x05']::bytea[], array['en', 'en', 'en'])";
    sqlx::raw_sql(sqlx::AssertSqlSafe(prepare))
        .execute(&mut *conn)
        .await
        .unwrap();
    let lines = sqlx::raw_sql(explain).fetch_all(&mut *conn).await.unwrap();
    let plan: Vec<String> = lines.iter().map(|line| sqlx::Row::get(line, 0)).collect();
    let plan = plan.join("\n");
    let begun: i64 = sqlx::query_scalar("select count(*) from attempts")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    assert_eq!(begun, 3, "{plan}");
    let actual = plan.split("(actual ").skip(1);
    let rows =
        actual.filter_map(|node| node.split("rows=").nth(1)?.split(' ').next()?.parse().ok());
    let most: Option<u32> = rows.max();
    assert_eq!(most, Some(3), "{plan}");
    assert!(!plan.contains("Rows Removed"), "{plan}");
}
