//! Plans that outlive the emptiness for which they were made.

use chrono::TimeDelta;
use sqlx::{PgPool, Row as _};
use unread::db;
use unread::db::ledger::{self, NewAttempt, Recorded, Transition};
use unread::domain::decide::{Reason, Stage, Verdict};
use unread::domain::heartbeat::trust::SendingMark;
use unread::domain::ids::{AccountId, Channel, ReminderId};
use unread::domain::outcome::OutcomeKind;
use unread::domain::reminder::ReminderState;

use crate::harness::{account, migrated, noon};

/// Tables that grow with what is sent, or with what is to be sent.
const GROWING: [&str; 7] = [
    "reminders",
    "pending",
    "attempts",
    "decisions",
    "conversations",
    "consumers",
    "jobs",
];

/// What a delivery and a sweep ask for, whatever comes of it.
async fn ask_everything(pool: &PgPool) {
    let (account, now): (AccountId, _) = (account(), noon());
    let id = ReminderId(1);
    let mut conn = pool.acquire().await.unwrap();
    let conn = &mut *conn;
    ledger::owed(&mut *conn, &[id], None).await.unwrap();
    ledger::lock_owed(&mut *conn, &[id], None).await.unwrap();
    ledger::existing(&mut *conn, &account, &["c"], now)
        .await
        .unwrap();
    ledger::others(&mut *conn, &account, &["c"], &[[1; 16]], &["x"], now)
        .await
        .unwrap();
    let attempt = NewAttempt {
        reminder: id,
        rule_skill: None,
        sender: "s".to_owned(),
        address: None,
        recipient: [1; 16],
        others: vec![[2; 16]],
        first: true,
        language: "en".to_owned(),
        lease: TimeDelta::minutes(1),
    };
    let seen = SendingMark {
        process: "p".to_owned(),
        counter: 0,
    };
    ledger::begin(conn, &[attempt], &seen, now).await.unwrap();
    let recorded = Recorded {
        reminder: id,
        attempt: 1,
        outcome: OutcomeKind::Accepted,
        code: None,
        provider_id: None,
        reported_as: None,
        state: ReminderState::Sent,
        reason: None,
        next_at: None,
        counts: true,
        may_have_been_sent: true,
        soft: false,
        settle_in: None,
    };
    ledger::record(conn, &[recorded], now).await.unwrap();
    let answer = Transition {
        reminder: id,
        state: ReminderState::Cancelled,
        reason: Reason::Read,
        next_at: None,
    };
    ledger::apply(conn, &[answer], now).await.unwrap();
    let entry = db::decisions::NewDecision {
        reminder: id,
        verdict: Verdict::Cancel,
        reason: Reason::Read,
        until: None,
    };
    db::decisions::log(conn, Stage::Deliver, &[entry], now)
        .await
        .unwrap();
    ledger::call_up(conn, (&account, Channel::Email), (now, now), 10)
        .await
        .unwrap();
    db::upkeep::expire_overdue(conn, now, 10).await.unwrap();
    db::upkeep::overdue(&mut *conn, now, 10).await.unwrap();
    db::upkeep::overdue_leases(&mut *conn, 10).await.unwrap();
    db::circuits::held(conn, Channel::Email, now, 10)
        .await
        .unwrap();
}

/// So many rows in each, as after a scan of so many conversations.
async fn fill(pool: &PgPool) {
    for statement in [
        "insert into conversations (account, id, skill, started_at, open, read_state, seen_at, changed_at)
         select '12345678', 'c' || n, 1, now(), true, 'read', now(), now() from generate_series(1, 30000) n",
        "insert into consumers (account, kind, consumer, conversation)
         select '12345678', 'liveperson', 'x' || n, 'c' || n from generate_series(1, 30000) n",
        "insert into reminders (account, conversation, episode, channel, step, skill, episode_since, due_at, deadline, next_at,
             token, recipient_hash, created_at)
         select '12345678', 'c' || n, 'e', 'email', 1, 1, now(), now(), now() + interval '1 day', now() + n * interval '1 second',
             't' || n, sha256(n::text::bytea), now() from generate_series(1, 30000) n",
        "insert into attempts (reminder, number, sender, started_at, lease_until, ended_at, outcome)
         select id, 1, 's', now(), now(), now(), 'not_accepted' from reminders",
        "insert into decisions (at, account, conversation, reminder, stage, verdict, reason)
         select now(), account, conversation, id, 'scan', 'schedule', 'scheduled' from reminders",
    ] {
        sqlx::query(statement).execute(pool).await.unwrap();
    }
}

/// How the server would run what this connection has prepared, as long as nothing has it plan anew: by statement.
async fn plans(pool: &PgPool) -> Vec<(String, String)> {
    let prepared: Vec<(String, String, i32)> = sqlx::query_as(
        "select name, statement, coalesce(array_length(parameter_types, 1), 0) from pg_prepared_statements order by prepare_time",
    )
    .persistent(false)
    .fetch_all(pool)
    .await
    .unwrap();
    let mut plans = Vec::new();
    for (name, statement, parameters) in prepared {
        let nulls = vec!["null"; usize::try_from(parameters).unwrap()].join(", ");
        let explain = format!("explain execute \"{name}\"({nulls})");
        let explain = explain.replace("()", "");
        let Ok(lines) = sqlx::raw_sql(sqlx::AssertSqlSafe(explain))
            .fetch_all(pool)
            .await
        else {
            continue;
        };
        let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
        plans.push((statement, plan.join("\n")));
    }
    plans
}

fn read_whole(plans: &[(String, String)]) -> Vec<&str> {
    let whole = |(_, plan): &&(String, String)| {
        GROWING
            .iter()
            .any(|table| plan.contains(&format!("Seq Scan on {table} ")))
    };
    plans
        .iter()
        .filter(whole)
        .map(|(_, plan)| plan.as_str())
        .collect()
}

#[tokio::test]
async fn a_plan_for_empty_tables_is_made_anew_when_the_sweep_has_found_them_grown() {
    let db = migrated().await;
    // As at an installation that has been idle: vacuumed, and known to be empty.
    sqlx::raw_sql("vacuum analyze")
        .execute(&db.pool)
        .await
        .unwrap();
    let asking = db::pool((*db.pool.connect_options()).clone(), 1);
    sqlx::raw_sql("set plan_cache_mode = force_generic_plan")
        .execute(&asking)
        .await
        .unwrap();
    ask_everything(&asking).await;
    fill(&db.pool).await;
    let early = plans(&asking).await;
    assert!(early.len() > 10, "{early:#?}");
    assert!(!read_whole(&early).is_empty(), "the test shows nothing");

    let grown = db::statistics::refresh(&db.pool).await.unwrap();
    for table in ["reminders", "pending", "attempts"] {
        assert!(grown.contains(&table.to_owned()), "{grown:?}");
    }
    let late = plans(&asking).await;
    assert_eq!(read_whole(&late), Vec::<&str>::new());
    let again = db::statistics::refresh(&db.pool).await.unwrap();
    assert!(again.is_empty(), "{again:?}");
}
