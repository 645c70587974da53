//! Counts of reminders: always what a recount of the ledger would give, whoever folds them; who is held out; searching.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use unread::control;
use unread::control::overview::Numbers;
use unread::db;
use unread::db::reminders::{ReminderFilter, ReminderOwner};
use unread::domain::access::Role;
use unread::domain::decide::Reason;
use unread::domain::ids::Channel;
use unread::domain::reminder::ReminderState;

use crate::harness::{TestApp, account, everything, migrated, noon, run_test};

const ANN: &str = "ann@example.net";

/// What the counts say, and what they should.
async fn both(pool: &PgPool) -> [Vec<(DateTime<Utc>, String, i64)>; 2] {
    let said = sqlx::query_as(
        "select hour, measure, sum(n)::bigint from reminder_counts_now group by 1, 2 having sum(n) <> 0 order by 1, 2",
    );
    let recount = sqlx::query_as(
        "select t.hour, t.measure, count(*) from reminders r,
             reminder_measures(r.state, r.reason, r.created_at, r.sent_at, r.final_at, r.returned_at,
                 r.first_of_episode, r.credited) t
         group by 1, 2 order by 1, 2",
    );
    [
        said.fetch_all(pool).await.unwrap(),
        recount.fetch_all(pool).await.unwrap(),
    ]
}

async fn assert_counted(pool: &PgPool) {
    let [said, recount] = both(pool).await;
    assert_eq!(said, recount);
    // The sums that pages read are those of the rows that they sum up.
    for (sum, rows) in [
        (
            "select hour as at, account, null::bigint as skill, channel, null::smallint as step, measure, n from reminder_counts_by_hour",
            "select hour as at, account, null::bigint as skill, channel, null::smallint as step, measure, sum(n) as n from reminder_counts
             group by 1, 2, 3, 4, 5, 6",
        ),
        (
            "select day as at, account, skill, channel, step, measure, n from reminder_counts_by_day",
            "select date_bin('1 day', hour, '2000-01-01Z') as at, account, skill, channel, step, measure, sum(n) as n from reminder_counts
             group by 1, 2, 3, 4, 5, 6",
        ),
    ] {
        assert_same(pool, sum, rows).await;
    }
    assert_followed(pool).await;
}

/// What follows the ledger is as it says.
async fn assert_followed(pool: &PgPool) {
    for (follows, ledger) in [
        (
            "select reminder, account, conversation, next_at, created_at, 1 as n from pending",
            "select id, account, conversation, next_at, created_at, 1 as n from reminders where next_at is not null",
        ),
        (
            "select reminder, state, created_at, 1 as n from unsuccessful",
            "select id, state, created_at, 1 as n from reminders where state in ('failed', 'expired', 'undelivered', 'unknown')",
        ),
    ] {
        assert_same(pool, follows, ledger).await;
    }
}

/// But for rows of which there are none.
async fn assert_same(pool: &PgPool, one: &str, other: &str) {
    let differ = format!(
        "select count(*) from (
             (select * from ({one}) s where n <> 0 except all select * from ({other}) r where n <> 0)
             union all
             (select * from ({other}) r where n <> 0 except all select * from ({one}) s where n <> 0)) d"
    );
    let differ: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(differ))
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(differ, 0, "{one}");
}

async fn sums(t: &TestApp) -> Numbers {
    let overview =
        control::overview::overview(t.context(), &everything(), None, (chrono_tz::UTC, t.now()))
            .await;
    overview.unwrap().today
}

#[tokio::test]
async fn counts_follow_whatever_happens_to_reminders() {
    run_test(async |t| {
        let (read, silent, back) = (
            t.answered("a@example.net"),
            t.answered("b@example.net"),
            t.answered("c@example.net"),
        );
        t.tick().await;
        assert_counted(t.pool()).await;
        t.world().consumer_reads(&read);
        t.advance(10).await;
        assert_eq!(t.mails().len(), 2);
        assert_counted(t.pool()).await;
        t.advance(5).await;
        t.world().consumer_says(&back, "Thank you!");
        t.tick().await;
        assert_counted(t.pool()).await;
        db::reminder_counts::roll_up(t.pool()).await.unwrap();
        assert_counted(t.pool()).await;
        let told = sums(t).await;
        // The second step of who has not come back is owed by now.
        assert_eq!(
            (told.owed, told.sent, told.cancelled_because_read),
            (4, 2, 1)
        );
        assert_eq!((told.back_1h, told.back_24h), (1, 1));
        let id = t
            .reminders()
            .await
            .iter()
            .find(|r| r.conversation == silent)
            .unwrap()
            .id;
        sqlx::query("update reminders set state = 'undelivered' where id = $1")
            .bind(id)
            .execute(t.pool())
            .await
            .unwrap();
        assert_counted(t.pool()).await;
        assert_eq!(sums(t).await.failed, 1);
        sqlx::query("delete from reminders")
            .execute(t.pool())
            .await
            .unwrap();
        assert_eq!(sums(t).await.sent, 2, "what has happened stays counted");
        let left: i64 = sqlx::query_scalar(
            "select (select count(*) from pending) + (select count(*) from unsuccessful) + (select count(*) from attempts)",
        )
        .fetch_one(t.pool())
        .await
        .unwrap();
        assert_eq!(left, 0, "what belongs to a reminder goes with it");
    })
    .await;
}

/// Whatever statement it is: each changes some rows of many.
#[tokio::test]
async fn what_waits_and_what_ended_badly_follow_the_ledger() {
    let db = migrated().await;
    for statement in [
        "insert into reminders (account, conversation, episode, channel, step, skill, episode_since, due_at, deadline, token,
             created_at, next_at)
         select '1', 'c' || n, 'e', 'email', 1, 7, now(), now(), now(), 't' || n, now(), now() from generate_series(1, 40) n",
        "insert into reminders (account, conversation, episode, channel, step, skill, state, episode_since, due_at, deadline, token,
             created_at)
         select '1', 'd' || n, 'e', 'email', 1, 7, case when n % 2 = 0 then 'failed' else 'sent' end, now(), now(), now(),
             'u' || n, now() from generate_series(1, 10) n",
        "update reminders set next_at = next_at + interval '1 hour' where id % 3 = 0 and next_at is not null",
        "update reminders set state = 'sending' where id % 4 = 0 and state = 'scheduled'",
        "update reminders set conversation = 'erased:' || id where id % 5 = 0",
        "update reminders set next_at = null, state = case id % 3 when 0 then 'sent' when 1 then 'unknown' else 'cancelled' end
         where id % 2 = 0 and next_at is not null",
        "update reminders set state = case state when 'unknown' then 'delivered' when 'sent' then 'undelivered' else 'expired' end
         where id % 4 = 0 and next_at is null",
        "update reminders set state = 'scheduled', next_at = now() where id % 8 = 0 and next_at is null",
        "delete from reminders where id % 7 = 0",
    ] {
        sqlx::query(statement).execute(&db.pool).await.unwrap();
        assert_followed(&db.pool).await;
    }
    let second = "insert into reminders (account, conversation, episode, channel, step, skill, episode_since, due_at, deadline, token,
            created_at, next_at)
        select account, conversation, episode, 'email', 2, 7, now(), now(), now(), 'second', now(), now() from reminders
        where next_at is not null limit 1";
    let refused = sqlx::query(second).execute(&db.pool).await.unwrap_err();
    assert!(refused.to_string().contains("pending_pkey"), "{refused}");
    assert_followed(&db.pool).await;
}

#[tokio::test]
async fn counts_are_added_up_once_however_many_fold() {
    let db = migrated().await;
    let insert = "insert into reminders (account, conversation, episode, channel, step, skill, state, episode_since, due_at, deadline,
            token, created_at, next_at)
        select '1', 'c' || n, 'e', 'email', 1, 7, 'scheduled', $1, $1, $1, 't' || n, $1, $1 from generate_series(1, 50) n";
    sqlx::query(insert)
        .bind(noon())
        .execute(&db.pool)
        .await
        .unwrap();
    let folds = (0..4).map(|_| db::reminder_counts::roll_up(&db.pool));
    for done in futures_util::future::join_all(folds).await {
        done.unwrap();
    }
    assert_counted(&db.pool).await;
    sqlx::query(
        "update reminders set state = 'cancelled', reason = 'read', next_at = null, final_at = $1",
    )
    .bind(noon() + TimeDelta::hours(2))
    .execute(&db.pool)
    .await
    .unwrap();
    db::reminder_counts::roll_up(&db.pool).await.unwrap();
    assert_counted(&db.pool).await;
    assert_eq!(
        db::reminder_counts::waiting(&db.pool, &["1".parse().unwrap()])
            .await
            .unwrap(),
        0
    );
    for table in [
        "reminder_counts",
        "reminder_counts_by_hour",
        "reminder_counts_by_day",
    ] {
        let sql = format!("select count(*) from {table} where n = 0");
        let empty: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&db.pool)
            .await
            .unwrap();
        assert_eq!(empty, 0, "{table}");
    }
}

#[tokio::test]
async fn the_effect_over_any_span_counts_its_hours_once_folded_or_not() {
    let db = migrated().await;
    // A reminder an hour, for four days from seven in the morning on; the last ones are not folded.
    let insert = "insert into reminders (account, conversation, episode, channel, step, skill, state, episode_since, due_at, deadline,
            token, created_at, sent_at, final_at)
        select '1', 'c' || n, 'e', 'email', 1, 7, 'sent', at, at, at, 't' || n, at, at, at
        from generate_series($2::int, $3::int) n, lateral (select $1 + make_interval(hours => n) as at) t";
    let begin = noon() - TimeDelta::hours(5);
    for (from, to) in [(0, 80), (81, 95)] {
        if from > 0 {
            db::reminder_counts::roll_up(&db.pool).await.unwrap();
        }
        let insert = sqlx::query(insert).bind(begin).bind(from).bind(to);
        insert.execute(&db.pool).await.unwrap();
    }
    for (from, until) in [
        (0, 96),
        (0, 10),
        (3, 5),
        (17, 41),
        (17, 65),
        (16, 66),
        (18, 64),
        (30, 95),
        (90, 96),
    ] {
        let span = (
            begin + TimeDelta::hours(from),
            begin + TimeDelta::hours(until),
        );
        let told = db::reminder_counts::by_skill(&db.pool, &["1".parse().unwrap()], span)
            .await
            .unwrap();
        let sent: i64 = told.iter().map(|of| of.sums.sent).sum();
        assert_eq!(sent, until - from, "{from} to {until}");
    }
}

#[tokio::test]
async fn an_invented_month_has_counts_an_effect_and_stories_and_is_written_once() {
    run_test(async |t| {
        let past = unread::demo::past::invent(t.now());
        let write = async || {
            let mut conn = t.pool().acquire().await.unwrap();
            db::past::write(&mut conn, &account(), &past).await.unwrap()
        };
        assert_eq!(usize::try_from(write().await).unwrap(), past.len());
        assert_eq!(write().await, 0);
        assert_counted(t.pool()).await;
        let until = t.now() + TimeDelta::hours(1);
        let effect = control::effect::effect(t.pool(), &everything(), 30, until)
            .await
            .unwrap();
        let lifts = effect.rules.iter().filter_map(|of| of.outcome.lift);
        assert_eq!(lifts.count(), 1, "of those who may be held out");
        let chosen = |p: &&unread::db::past::Past| {
            p.returned_at.is_some() && p.step == 1 && p.sent_at.is_some()
        };
        let came_back = past.iter().find(chosen).unwrap();
        let story = t.story(&came_back.conversation).await;
        assert_eq!(story[0], came_back.state.as_str());
        let id: i64 = sqlx::query_scalar("select min(id) from reminders where conversation = $1")
            .bind(&came_back.conversation)
            .fetch_one(t.pool())
            .await
            .unwrap();
        let page = t
            .person(Role::Viewer)
            .await
            .get(&format!("/reminders/{id}"))
            .await;
        for part in ["An agent wrote", "The customer came back"] {
            assert!(page.text.contains(part), "{}", page.text);
        }
        assert!(
            !page.text.contains("Example data"),
            "nothing here is a demonstration"
        );
    })
    .await;
}

#[tokio::test]
async fn who_is_held_out_gets_nothing_and_is_watched_like_the_others() {
    run_test(async |t| {
        t.rule(Channel::Email, |rule| rule.holdout_percent = 50)
            .await;
        let hasher = t.hasher().await;
        let mut chats = BTreeMap::new();
        for n in 0..12 {
            let chat = t.answered(&format!("p{n}@example.net"));
            chats.insert(chat.clone(), hasher.holdout_bucket(&chat) < 50);
        }
        t.tick().await;
        t.advance(10).await;
        let held: Vec<&String> = chats
            .iter()
            .filter(|(_, held)| **held)
            .map(|(chat, _)| chat)
            .collect();
        assert!(
            !held.is_empty() && held.len() < 12,
            "a chance of 1 in 2,000: run it again"
        );
        assert_eq!(t.mails().len(), 12 - held.len());
        for (chat, held) in &chats {
            let expected = if *held {
                "cancelled (held_out)"
            } else {
                "sent"
            };
            assert_eq!(t.story(chat).await, [expected]);
        }
        t.advance(5).await;
        t.world().consumer_reads(held[0]);
        t.tick().await;
        t.advance(25 * 60).await;
        t.mails();
        let effect =
            control::effect::effect(t.pool(), &everything(), 7, t.now() + TimeDelta::hours(2))
                .await
                .unwrap();
        let rule = &effect.rules[0];
        assert!(rule.outcome.lift.unwrap().value < 0.0);
        let span = (effect.from, effect.until);
        let counts = db::reminder_counts::by_skill(t.pool(), &[account()], span).await;
        let counts = counts.unwrap();
        let first = counts
            .iter()
            .filter(|of| of.channel == Channel::Email && of.step == 1);
        let (of, hits) = first.fold((0, 0), |(of, hits), first| {
            (of + first.sums.held_out, hits + first.sums.held_back_24h)
        });
        assert_eq!((usize::try_from(of).unwrap(), hits), (held.len(), 1));
    })
    .await;
}

#[tokio::test]
async fn reminders_are_found_by_whatever_is_known_of_them() {
    run_test(async |t| {
        let (ann, ben) = (t.answered(ANN), t.answered("ben@example.net"));
        t.tick().await;
        t.world().consumer_reads(&ben);
        t.advance(10).await;
        t.mails();
        let find = async |change: &dyn Fn(&mut ReminderFilter)| {
            let mut filter = ReminderFilter::default();
            change(&mut filter);
            let found = control::reminders::search(t.pool(), &everything(), filter, None, 10)
                .await
                .unwrap();
            found
                .reminders
                .into_iter()
                .map(|r| r.conversation)
                .collect::<Vec<_>>()
        };
        assert_eq!(find(&|_| {}).await.len(), 2);
        assert_eq!(
            find(&|f| f.state = Some(ReminderState::Cancelled)).await,
            std::slice::from_ref(&ben)
        );
        assert_eq!(
            find(&|f| f.reason = Some(Reason::Read.into())).await,
            std::slice::from_ref(&ben)
        );
        assert_eq!(
            find(&|f| f.whose = Some(ReminderOwner::Conversation(ann.clone()))).await,
            std::slice::from_ref(&ann)
        );
        let consumer = t.world().consumer_ids(&ann).pop().unwrap();
        assert_eq!(
            find(&|f| f.whose = Some(ReminderOwner::Consumer(consumer.clone()))).await,
            std::slice::from_ref(&ann)
        );
        let both = vec![ann.clone(), ben.clone()];
        let found = find(&|f| f.whose = Some(ReminderOwner::Conversations(both.clone()))).await;
        assert_eq!(found.len(), 2);
        let of_none = everything().narrowed(Some("other"));
        let found =
            control::reminders::search(t.pool(), &of_none, ReminderFilter::default(), None, 10)
                .await;
        assert!(found.unwrap().reminders.is_empty(), "of no account");
        assert!(find(&|f| f.until = Some(noon())).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_search_for_the_rare_goes_on_where_it_stopped_looking() {
    let db = migrated().await;
    let insert = "insert into reminders (account, conversation, episode, channel, step, skill, state, episode_since, due_at, deadline,
            token, created_at, final_at)
        select '12345678', 'c' || n, 'e', case n when 1 then 'sms' else 'email' end, 1, 7, 'sent', $1, $1, $1, 't' || n,
            $1::timestamptz + make_interval(secs => n / 10), $1 from generate_series(1, 20500) n";
    sqlx::query(insert)
        .bind(noon())
        .execute(&db.pool)
        .await
        .unwrap();
    let filter = ReminderFilter {
        accounts: vec![account()],
        channel: Some(Channel::Sms),
        ..ReminderFilter::default()
    };
    let first = db::reminders::search(&db.pool, &filter, None, 50)
        .await
        .unwrap();
    assert!(first.reminders.is_empty());
    let second = db::reminders::search(&db.pool, &filter, first.next, 50)
        .await
        .unwrap();
    assert_eq!(second.reminders.len(), 1);
    assert!(first.next.is_some() && second.next.is_none());
    let all = ReminderFilter {
        channel: None,
        ..filter
    };
    let (mut seen, mut place) = (0, None);
    loop {
        let page = db::reminders::search(&db.pool, &all, place, 2_000)
            .await
            .unwrap();
        seen += page.reminders.len();
        place = page.next;
        if place.is_none() {
            break;
        }
    }
    assert_eq!(seen, 20_500, "none is left out and none is told twice");
}
