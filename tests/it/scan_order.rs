//! Which skills are scanned next, for how many at once, and that nobody's trouble is anybody else's.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};
use unread::db::scans::{self, ScanClaim, Summary};
use unread::domain::ids::SkillId;
use unread::jobs::names::LANES;
use unread::jobs::queue::{self, Job};
use unread::sandbox::ACCOUNT;
use unread::sandbox::faults::{Endpoint, Fault, FaultRule, FaultSpan};
use unread::sandbox::world::{CUSTOMER_CARE, ORDERS, Quirks};

use crate::harness::{
    Setup, TestApp, account, eventually, migrated, noon, run_test, run_test_with,
};

/// An account with so many skills beside "Unassigned", all of which are scanned.
async fn skills(pool: &PgPool, count: i64) {
    for setup in [
        "insert into accounts (id, created_at) values ('12345678', now())".to_owned(),
        format!(
            "insert into skills (account, id, name) select '12345678', n, n::text from generate_series(1, {count}) as n"
        ),
        "insert into rules (account, skill, enabled, settings, updated_at) values ('12345678', null, true, '{}', now())"
            .to_owned(),
    ] {
        sqlx::query(AssertSqlSafe(setup))
            .execute(pool)
            .await
            .unwrap();
    }
}

/// One lane's claim of `most` skills.
async fn claim(
    pool: &PgPool,
    lane: i16,
    most: usize,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Vec<SkillId> {
    let account = account();
    let claim = ScanClaim {
        account: &account,
        lane,
        lanes: LANES,
        before,
        only: None,
        deep: false,
        most,
        now,
    };
    scans::claim(pool, &claim).await.unwrap()
}

async fn finish(pool: &PgPool, skills: &[SkillId], summary: &Summary, now: DateTime<Utc>) {
    let found: Vec<_> = skills
        .iter()
        .map(|skill| (*skill, summary.clone()))
        .collect();
    let took = std::time::Duration::from_secs(1);
    scans::finished(pool, &account(), &found, took, now)
        .await
        .unwrap();
}

#[tokio::test]
async fn every_skill_of_a_thousand_is_scanned_before_any_is_scanned_twice() {
    for most in [1, 7, 100] {
        let db = migrated().await;
        skills(&db.pool, 999).await;
        let mut now = noon();
        let mut begun: BTreeMap<SkillId, u32> = BTreeMap::new();
        let mut under_way: Vec<(i16, Vec<SkillId>)> = Vec::new();
        // Two rounds of a thousand, each of which may take many slots of a minute. Lanes do not end in the order in which they began.
        for step in 0.. {
            now += TimeDelta::seconds(1);
            let slot = noon() + TimeDelta::minutes((now - noon()).num_minutes());
            for lane in 0..LANES {
                if under_way.iter().any(|(busy, _)| *busy == lane) {
                    continue;
                }
                let skills = claim(&db.pool, lane, most, slot, now).await;
                let held: BTreeSet<_> = under_way.iter().flat_map(|(_, skills)| skills).collect();
                assert!(
                    skills.iter().all(|skill| !held.contains(skill)),
                    "two at work on one"
                );
                assert!(skills.len() <= most);
                for skill in &skills {
                    *begun.entry(*skill).or_default() += 1;
                }
                if !skills.is_empty() {
                    under_way.push((lane, skills));
                }
                let most_often = begun.values().max().copied().unwrap_or_default();
                let least_often = begun.values().min().copied().unwrap_or_default();
                if begun.len() < 1_000 {
                    assert!(most_often <= 1, "{most} at once: twice, and others never");
                } else {
                    // The set that ends a round may be filled up with the first ones of the next.
                    let apart = most_often - least_often;
                    assert!(
                        apart <= 2,
                        "{most} at once: {most_often} times and {least_often}"
                    );
                }
            }
            if !under_way.is_empty() {
                let place = if step % 3 == 0 {
                    under_way.len() - 1
                } else {
                    0
                };
                let (_, skills) = under_way.remove(place);
                finish(&db.pool, &skills, &Summary::default(), now).await;
            }
            if begun.len() == 1_000 && begun.values().all(|times| *times >= 2) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn what_was_scanned_in_this_slot_is_not_due_whatever_the_worker_s_clock_says() {
    let db = migrated().await;
    skills(&db.pool, 3).await;
    let slot = noon();
    for clock_off in [-40, 0, 40] {
        let slot = slot + TimeDelta::minutes(clock_off + 60);
        let now = slot + TimeDelta::seconds(clock_off);
        let first = claim(&db.pool, 0, 100, slot, now).await;
        assert_eq!(first.len(), 4, "{clock_off}");
        finish(&db.pool, &first, &Summary::default(), now).await;
        assert_eq!(claim(&db.pool, 0, 100, slot, now).await, [], "{clock_off}");
    }
}

#[tokio::test]
async fn a_set_holds_what_fits_and_large_and_odd_skills_go_by_themselves() {
    let db = migrated().await;
    skills(&db.pool, 9).await;
    let all = claim(&db.pool, 0, 100, noon(), noon()).await;
    assert_eq!(all.len(), 10, "-1 is always there: {all:?}");
    let with = |conversations, alone| Summary {
        conversations,
        alone,
        ..Summary::default()
    };
    let (large, odd) = ([SkillId(2), SkillId(3)], [SkillId(5)]);
    let small: Vec<SkillId> = all
        .iter()
        .copied()
        .filter(|s| !large.contains(s) && !odd.contains(s))
        .collect();
    let odd_found = Summary {
        error: Some("refused".to_owned()),
        ..with(0, true)
    };
    for (skills, found) in [
        (&large[..], with(40_000, false)),
        (&odd[..], odd_found),
        (&small[..], with(10, false)),
    ] {
        finish(&db.pool, skills, &found, noon()).await;
    }
    let next = noon() + TimeDelta::minutes(1);
    let mut sets = Vec::new();
    for lane in 0..LANES {
        sets.push(claim(&db.pool, lane, 100, next, next).await);
    }
    let many: Vec<&Vec<SkillId>> = sets.iter().filter(|set| !set.is_empty()).collect();
    assert!(many.contains(&&odd.to_vec()), "{sets:?}");
    let together = many
        .iter()
        .filter(|set| large.iter().all(|skill| set.contains(skill)))
        .count();
    assert_eq!(together, 0, "two large ones in one set: {sets:?}");
    let mut each: Vec<SkillId> = sets.concat();
    each.sort_unstable();
    assert_eq!(each, all);
    // It stays by itself while it is refused, also for another reason, and comes back when it is answered.
    let alone = || async {
        let sql = "select alone from scans where skill = 5";
        sqlx::query_scalar::<_, bool>(sql)
            .fetch_one(&db.pool)
            .await
            .unwrap()
    };
    let refused = Summary {
        error: Some("hangs".to_owned()),
        ..Summary::default()
    };
    finish(&db.pool, &odd, &refused, next).await;
    assert!(alone().await);
    // A scan that ended early has not seen everything: what the one before it found stays.
    finish(&db.pool, &large, &refused, next).await;
    let kept = "select sum(conversations) from scans where skill in (2, 3)";
    let kept: i64 = sqlx::query_scalar(kept).fetch_one(&db.pool).await.unwrap();
    assert_eq!(kept, 80_000);
    finish(&db.pool, &odd, &Summary::default(), next).await;
    assert!(!alone().await);
}

#[tokio::test]
async fn what_a_crashed_lane_held_is_scanned_in_the_next_slot() {
    let db = migrated().await;
    skills(&db.pool, 1).await;
    let later = |minutes| noon() + TimeDelta::minutes(minutes);
    assert_eq!(claim(&db.pool, 0, 100, noon(), noon()).await.len(), 2);
    // It is not finished: another lane leaves it alone, the same one knows that nobody is at work on it.
    assert_eq!(claim(&db.pool, 1, 100, later(1), later(1)).await, []);
    assert_eq!(claim(&db.pool, 0, 100, later(1), later(1)).await.len(), 2);
}

#[tokio::test]
async fn a_round_counts_what_the_scans_cost_and_only_the_skills_of_the_settings() {
    let db = migrated().await;
    skills(&db.pool, 999).await;
    let round =
        async |only: Option<&[SkillId]>| scans::round(&db.pool, &account(), only).await.unwrap();
    let before = round(None).await;
    assert_eq!((before.skills, before.never_scanned), (1_000, 1_000));
    let set = claim(&db.pool, 0, 100, noon(), noon()).await;
    let each = Summary {
        calls: 0.5,
        ..Summary::default()
    };
    finish(&db.pool, &set, &each, noon()).await;
    let after = round(None).await;
    assert_eq!((after.skills, after.never_scanned), (1_000, 900));
    assert!((after.calls - 50.0).abs() < 1e-6);
    assert!((after.seconds(5.0) - 100.0).abs() < 1e-6);
    let some = round(Some(&set[..3])).await;
    assert_eq!((some.skills, some.never_scanned), (3, 0));
}

/// What the last scan of each of the sandbox's skills says: the error and whether it is asked for alone.
async fn errors(t: &TestApp) -> Vec<(i64, bool, bool)> {
    sqlx::query_as(
        "select skill, error is not null, alone from scans where account = $1 order by skill",
    )
    .bind(ACCOUNT)
    .fetch_all(t.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn a_skill_that_liveperson_chokes_on_is_found_and_then_left_out_of_the_others_question() {
    for fault in [Fault::BadRequest, Fault::Forbidden] {
        run_test(async |t| {
            t.sandbox.faults().add(FaultRule {
                endpoint: Some(Endpoint::Search),
                account: None,
                skill: Some(ORDERS),
                fault,
                when: FaultSpan::UntilCleared,
            });
            let requests = || t.sandbox.faults().requests(Endpoint::Search);
            t.tick().await;
            for (skill, failed, alone) in errors(t).await {
                assert_eq!(
                    (failed, alone),
                    (skill == ORDERS, skill == ORDERS),
                    "{fault:?}: {skill}"
                );
            }
            let before = requests();
            t.tick().await;
            assert_eq!(
                requests() - before,
                2,
                "{fault:?}: the odd one, and the others together"
            );
            t.sandbox.faults().clear_all();
            t.tick().await;
            assert!(
                errors(t)
                    .await
                    .iter()
                    .all(|(_, failed, alone)| !failed && !alone)
            );
            let before = requests();
            t.tick().await;
            assert_eq!(requests() - before, 1, "{fault:?}: all together again");
        })
        .await;
    }
}

#[tokio::test]
async fn an_account_that_takes_fewer_skills_at_once_is_asked_for_fewer() {
    run_test(async |t| {
        t.world().set_quirks(Quirks {
            most_skills: 1,
            ..Quirks::default()
        });
        let requests = || t.sandbox.faults().requests(Endpoint::Search);
        let before = requests();
        t.tick().await;
        // Four skills in one set, in halves, one by one.
        assert_eq!(requests() - before, 7);
        assert!(
            errors(t)
                .await
                .iter()
                .all(|(_, failed, alone)| !failed && !alone)
        );
        let before = requests();
        t.tick().await;
        assert_eq!(requests() - before, 4, "it is not asked for more again");
    })
    .await;
}

#[tokio::test]
async fn results_are_those_of_each_skill_though_they_were_asked_for_together() {
    run_test(async |t| {
        for (skill, unread) in [(CUSTOMER_CARE, 3), (ORDERS, 2)] {
            for n in 0..unread {
                t.answered_in(ACCOUNT, skill, &format!("visitor{n}@example.net"));
            }
        }
        let read = t.answered_in(ACCOUNT, ORDERS, "reader@example.net");
        t.world().consumer_reads(&read);
        let odd = t.answered_in(ACCOUNT, ORDERS, "odd@example.net");
        t.world().garble(&odd);
        t.sandbox.faults().reset_traffic();
        t.tick().await;
        assert_eq!(t.sandbox.faults().requests(Endpoint::Search), 1);
        let found: Vec<(i64, i32, i32, i32)> = sqlx::query_as(
            "select skill, conversations, unread, unreadable from scans where conversations > 0 order by conversations",
        )
        .fetch_all(t.pool())
        .await
        .unwrap();
        let expected = [(CUSTOMER_CARE, 3, 3, 0), (ORDERS, 3, 2, 1)];
        assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from(expected));
        let calls: f64 = sqlx::query_scalar("select sum(calls) from scans").fetch_one(t.pool()).await.unwrap();
        assert!((calls - 1.0).abs() < 1e-6, "one call, shared: {calls}");
    })
    .await;
}

const HANGS: &str = "87654321";

#[tokio::test]
async fn an_account_that_hangs_does_not_delay_the_scans_of_another() {
    let setup = Setup {
        accounts: vec![HANGS],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        t.sandbox.faults().add(FaultRule {
            endpoint: Some(Endpoint::Search),
            account: Some(HANGS.to_owned()),
            skill: None,
            fault: Fault::Delay { ms: 8_000 },
            when: FaultSpan::UntilCleared,
        });
        let under_way = async || {
            sqlx::query_scalar::<_, bool>("select exists (select from scans where account = $1 and lane is not null)")
                .bind(HANGS)
                .fetch_one(t.pool())
                .await
                .unwrap()
        };
        t.tick_only().await;
        eventually("a scan hangs", under_way).await;
        // Every interval of the other account has its scan, at once, while that one hangs.
        for round in 0..10 {
            t.tick_only().await;
            let now = t.now();
            eventually("the other account was scanned in this slot", async || {
                sqlx::query_scalar(
                    "select count(*) = 4 and bool_and(started_at = $2 and finished_at >= $2 and error is null)
                     from scans where account = $1",
                )
                .bind(ACCOUNT)
                .bind(now)
                .fetch_one(t.pool())
                .await
                .unwrap()
            })
            .await;
            assert!(round > 0 || under_way().await, "it hung meanwhile");
        }
        t.sandbox.faults().clear_all();
    })
    .await;
}

#[tokio::test]
async fn scan_jobs_of_the_version_before_do_their_work_and_leave_nothing_behind() {
    run_test(async |t| {
        let chat = t.answered("ann@example.net");
        t.advance_by(TimeDelta::seconds(1)).await;
        let old = |kind: &str, skill: i64| {
            let args = json!({ "account": ACCOUNT, "skill": skill, "deep": kind == "deep" });
            Job::new(format!("{kind}:{ACCOUNT}:{skill}"), t.now()).with_args(args)
        };
        let jobs = [CUSTOMER_CARE, ORDERS].map(|skill| [old("scan", skill), old("deep", skill)]);
        let mut conn = t.pool().acquire().await.unwrap();
        let when = queue::When::At;
        queue::schedule(
            &mut conn,
            &t.clock,
            "scan",
            when,
            jobs.into_iter().flatten(),
        )
        .await
        .unwrap();
        t.advance(0).await;
        assert_eq!(t.story(&chat).await, ["scheduled"]);
        let left: i64 =
            sqlx::query_scalar("select count(*) from apalis.jobs where job_type = 'scan'")
                .fetch_one(t.pool())
                .await
                .unwrap();
        assert_eq!(left, 0);
    })
    .await;
}

#[tokio::test]
async fn a_round_that_takes_too_long_is_told_by_the_api_the_page_and_the_metrics() {
    run_test(async |t| {
        // What a thousand searches cost.
        sqlx::query("update scans set calls = 300000 where account = $1")
            .bind(ACCOUNT)
            .execute(t.pool())
            .await
            .unwrap();
        let program = t.program(&[unread::domain::access::Permission::View]).await;
        let overview = program.get("/overview").await.json();
        let round = &overview["scan_rounds"][0];
        assert_eq!(round["account"], ACCOUNT);
        assert_eq!(round["skills"], 4);
        assert_eq!(round["never_scanned"], 0);
        assert_eq!(round["keeps_up"], false);
        // 1,200,000 calls at the 10,000 calls a second of this stage.
        assert!(
            (round["seconds"].as_f64().unwrap() - 120.0).abs() < 1e-6,
            "{round}"
        );
        let told = "scanning 4 skills takes 2 min at 10000 calls/s";
        assert!(
            overview["attention"].to_string().contains(told),
            "{overview}"
        );
        let person = t.person(unread::domain::access::Role::Viewer).await;
        assert!(person.get("/").await.text.contains(told));
        let metrics = t
            .http
            .get(&t.metrics)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(
            metrics.contains("unread_scan_round_seconds{account=\"12345678\"} 120"),
            "{metrics}"
        );
    })
    .await;
}
