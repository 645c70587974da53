//! The limit of an account's calls, as the statements in PostgreSQL keep it, by a clock of the test's own: a rate is a rate, and
//! re-checks go before everything else.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::PgPool;
use unread::db::limits;
use unread::jobs::rate_limiter::SharedRateLimiter;
use unread::liveperson::{Purpose, RateLimiter as _};
use unread::metrics::Metrics;

use crate::harness::{account, eventually, migrated, noon};
use crate::tables::is_left;

/// PostgreSQL keeps time to the microsecond.
const GRAIN: TimeDelta = TimeDelta::microseconds(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Reserves its turn.
    Recheck,
    /// Takes a turn that is free, else asks again when it is told to.
    Other,
}

/// When a call came, was made, and what stood before it.
#[derive(Debug)]
struct Call {
    kind: Kind,
    asked: DateTime<Utc>,
    made: DateTime<Utc>,
    /// Re-checks that had asked before and were not made yet.
    before: usize,
}

fn delta(wait: Duration) -> TimeDelta {
    TimeDelta::from_std(wait).unwrap()
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap())
}

/// Plays callers who come at these moments. Everybody who asks does so in the order of time, as in life.
async fn play(pool: &PgPool, key: &str, rate: f64, callers: &[(DateTime<Utc>, Kind)]) -> Vec<Call> {
    let mut asking: BinaryHeap<Reverse<(DateTime<Utc>, usize)>> = BinaryHeap::new();
    for (number, (at, _)) in callers.iter().enumerate() {
        asking.push(Reverse((*at, number)));
    }
    let mut calls: Vec<Call> = Vec::new();
    while let Some(Reverse((now, number))) = asking.pop() {
        let (asked, kind) = callers[number];
        let made = match kind {
            Kind::Recheck => {
                let wait = limits::reserve_at(pool, key, rate, Some(now)).await;
                now + delta(wait.unwrap())
            }
            Kind::Other => match limits::take_free_at(pool, key, rate, Some(now))
                .await
                .unwrap()
            {
                None => now,
                Some(wait) => {
                    asking.push(Reverse((now + delta(wait), number)));
                    continue;
                }
            },
        };
        let earlier = calls.iter().filter(|call| call.kind == Kind::Recheck);
        let before = earlier.filter(|call| call.made > asked).count();
        calls.push(Call {
            kind,
            asked,
            made,
            before,
        });
    }
    calls
}

/// Callers who come in crowds after long silences, and one after the other.
fn crowd(random: &mut StdRng, rate: f64) -> Vec<(DateTime<Utc>, Kind)> {
    let mut now = noon();
    let mut callers = Vec::new();
    for _ in 0..40 {
        let pause = match random.random_range(0..10) {
            0 => random.random_range(5.0..30.0),
            1..5 => 0.0,
            _ => random.random_range(0.0..2.0) / rate,
        };
        now += delta(Duration::from_secs_f64(pause));
        let kind = if random.random_bool(0.3) {
            Kind::Recheck
        } else {
            Kind::Other
        };
        callers.push((now, kind));
    }
    callers
}

#[tokio::test]
async fn no_second_has_more_than_one_call_above_the_rate_and_no_recheck_stands_behind_a_scan() {
    let db = migrated().await;
    for seed in 0..24 {
        let mut random = StdRng::seed_from_u64(seed);
        let rate = *[0.3, 1.0, 2.5, 5.0, 10.0, 33.0]
            .choose(&mut random)
            .unwrap();
        let turn = delta(Duration::from_secs_f64(1.0 / rate));
        let callers = crowd(&mut random, rate);
        let calls = play(&db.pool, &format!("k{seed}"), rate, &callers).await;
        assert_eq!(
            calls.len(),
            callers.len(),
            "everybody has a turn in the end"
        );

        let mut made: Vec<_> = calls.iter().map(|call| call.made).collect();
        made.sort();
        for from in &made {
            let to = *from + TimeDelta::seconds(1) - GRAIN;
            let within = made.iter().filter(|at| (*from..to).contains(at)).count();
            assert!(
                count(within) <= rate + 1.0,
                "{within} calls within a second at {rate} calls/s, seed {seed}"
            );
        }
        for call in calls.iter().filter(|call| call.kind == Kind::Recheck) {
            let turns = i32::try_from(call.before).unwrap() + 1;
            assert!(
                call.made - call.asked <= turn * turns + GRAIN * turns,
                "waits for more than the re-checks before it and one turn: {call:?} at {rate} calls/s, seed {seed}"
            );
        }
    }
}

#[tokio::test]
async fn callers_who_give_up_leave_no_turn_behind() {
    let db = migrated().await;
    let at = |tenths: i64| Some(noon() + TimeDelta::milliseconds(100 * tenths));
    // Two hundred people ask within two seconds and nobody waits for an answer.
    let mut taken = 0;
    for person in 0..200 {
        let turn = limits::take_free_at(&db.pool, "k", 5.0, at(person / 10)).await;
        taken += usize::from(turn.unwrap().is_none());
    }
    assert_eq!(taken, 10, "those of two seconds at five a second");
    let wait = limits::reserve_at(&db.pool, "k", 5.0, at(20))
        .await
        .unwrap();
    assert!(wait <= Duration::from_millis(200), "{wait:?}");
}

#[tokio::test]
async fn a_person_who_goes_away_before_a_call_is_made_gives_the_turn_back() {
    let db = migrated().await;
    // One turn of people in hours, so that none comes back by itself.
    let limit = SharedRateLimiter::new(db.pool.clone(), &account(), 0.001, Metrics::new());
    let (own, of_people) = ("liveperson:12345678", "people:liveperson:12345678");
    limits::hold(&db.pool, own, Duration::from_hours(1))
        .await
        .unwrap();
    let row = async |what: &'static str| -> bool {
        let found = sqlx::query_scalar(what).bind(of_people);
        found.fetch_one(&db.pool).await.unwrap()
    };
    let taken = eventually("a turn of people is taken", async || {
        row("select exists (select from limits where key = $1 and tat > now())").await
    });
    tokio::select! {
        passed = limit.pass(Purpose::Person) => panic!("{passed:?} though nobody may call"),
        () = taken => {}
    }
    eventually("it is given back", async || {
        row("select tat <= now() from limits where key = $1").await
    })
    .await;

    limits::remove_limit(&db.pool, own).await.unwrap();
    limit.pass(Purpose::Person).await.unwrap();
    assert!(
        row("select tat > now() from limits where key = $1").await,
        "one that was used is not"
    );
}

#[tokio::test]
async fn after_a_pause_that_liveperson_asked_for_turns_come_one_by_one() {
    let db = migrated().await;
    let asked = Instant::now();
    limits::hold(&db.pool, "k", Duration::from_mins(1))
        .await
        .unwrap();
    let free = limits::take_free(&db.pool, "k", 5.0).await.unwrap();
    assert!(
        free.is_some_and(|wait| is_left(wait, 60.0, asked)),
        "{free:?}"
    );
    let mut waits = Vec::new();
    for _ in 0..5 {
        waits.push(limits::reserve(&db.pool, "k", 0.1).await.unwrap());
    }
    for (turn, wait) in waits.iter().enumerate() {
        let due = 60.0 + 10.0 * count(turn);
        assert!(is_left(*wait, due, asked), "{waits:?}");
    }
}

#[tokio::test]
async fn a_full_pass_takes_a_turn_of_half_the_rate_and_one_of_the_account() {
    let db = migrated().await;
    let limiter = SharedRateLimiter::new(db.pool.clone(), &account(), 0.01, Metrics::new());
    let asked = Instant::now();
    limiter.pass(Purpose::FullPass).await.unwrap();
    for (key, per_second, left) in [
        ("full:liveperson:12345678", 0.005, 200.0),
        ("liveperson:12345678", 0.01, 100.0),
    ] {
        let wait = limits::take_free(&db.pool, key, per_second).await.unwrap();
        assert!(
            wait.is_some_and(|wait| is_left(wait, left, asked)),
            "{key}: {wait:?}"
        );
    }
}

/// This thread, on which all of them wait, does not run for as long as ten turns take: then they do not all go at once.
#[tokio::test]
async fn those_who_waited_while_the_process_stood_still_go_one_by_one() {
    let db = migrated().await;
    let limiter = SharedRateLimiter::new(db.pool.clone(), &account(), 10.0, Metrics::new());
    // More than ten turns of the next second, so that a slow machine, too, has so many reserved at one moment.
    let calls = (0..30).map(|_| async {
        limiter.pass(Purpose::Recheck).await.unwrap();
        Instant::now()
    });
    let stands_still = async {
        let reserved = async || {
            let sql = "select extract(epoch from tat - clock_timestamp())::float8 from limits";
            let tat = sqlx::query_scalar::<_, f64>(sql).fetch_optional(&db.pool);
            tat.await.unwrap().unwrap_or_default()
        };
        while reserved().await < 1.0 {
            tokio::task::yield_now().await;
        }
        std::thread::sleep(Duration::from_millis(1_500));
        Instant::now()
    };
    let (mut made, moves_on) = tokio::join!(join_all(calls), stands_still);
    made.sort();
    let half = moves_on + Duration::from_millis(500);
    let at_once = made.iter().filter(|at| (moves_on..half).contains(*at));
    // Five turns of half a second, and who was not late by enough to ask again. The fifteen whose turns came meanwhile would be more.
    assert!(at_once.count() < 13, "they go at once: {made:?}");
}
