//! How long the steps of a version to come take on a ledger of a million reminders, and whom they keep waiting.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;
use unread::db;

use super::{run, to_come};
use crate::database::database;
use crate::process::{Folder, run as run_command, settings, text};

/// What a version may do, and, to compare, what it must not.
const STEPS: [(&str, &str); 12] = [
    ("a column that may be null", "alter table reminders add column future_1 text"),
    ("a column with a default", "alter table reminders add column future_2 int not null default 7"),
    ("a check of what is written from now on", "alter table reminders add constraint future_3 check (step < 1000) not valid"),
    ("… of what was written before, too", "alter table reminders validate constraint future_3"),
    ("a word more for a domain", "alter domain channel drop constraint channel_known;
         alter domain channel add constraint channel_known check (value in ('email', 'sms', 'fax')) not valid"),
    ("a new table that refers to it", "create table future_4 (reminder bigint primary key references reminders on delete cascade)"),
    ("a trigger", "create function future_5() returns trigger language plpgsql as $$ begin return new; end $$;
         create trigger future_5 before insert on reminders for each row execute function future_5()"),
    ("an index, concurrently", "-- no-transaction\ncreate index concurrently if not exists future_6 on reminders (due_at, channel)"),
    ("refused: an index", "create index future_7 on reminders (due_at, channel)"),
    ("refused: a check of all rows", "alter table reminders add constraint future_8 check (step < 1001)"),
    ("refused: a word more, checked in all rows", "alter domain channel drop constraint channel_known;
         alter domain channel add constraint channel_known check (value in ('email', 'sms', 'fax', 'telex'))"),
    ("refused: a column that is computed", "alter table reminders add column future_9 text generated always as (lower(account)) stored"),
];

/// Sent reminders of the last 90 days, each with its conversation, attempt and decision.
const FILL: &str = "
    set session_replication_role = replica;
    insert into conversations (account, id, skill, started_at, open, read_state, closed_at, seen_at, changed_at)
        select '1', 'c' || n, 7, now() - interval '90 days', false, 'read', now(), now(), now() from generate_series(1, 1000000) n;
    insert into reminders (account, conversation, episode, channel, step, skill, state, episode_since, due_at, deadline, token,
            recipient_hash, counted_at, provider_id, sent_at, final_at, first_of_episode, created_at, tries)
        select '1', 'c' || n, 'e' || n, 'email', 1, 7, 'sent', at, at, at, md5(n::text), decode(md5(n::text), 'hex'), at, 'p' || n,
            at, at, true, at, 1
        from (select n, now() - make_interval(secs => n * 7.776) as at from generate_series(1, 1000000) n) as old;
    insert into attempts (reminder, number, sender, started_at, lease_until, ended_at, outcome, provider_id)
        select id, 1, 'hello@shop.example', sent_at, sent_at, sent_at, 'accepted', provider_id from reminders;
    insert into decisions (at, account, conversation, channel, step, reminder, stage, verdict, reason)
        select sent_at, account, conversation, channel, step, id, 'deliver', 'send', 'due' from reminders;
    reset session_replication_role;
    analyze";

/// The longest that somebody waited who reads one reminder, and who changes one.
struct Waits {
    read: Duration,
    write: Duration,
}

async fn wait_beside(pool: PgPool, enough: CancellationToken) -> Waits {
    let mut longest = Waits {
        read: Duration::ZERO,
        write: Duration::ZERO,
    };
    while !enough.is_cancelled() {
        let begun = Instant::now();
        run(&pool, "select state from reminders where id = 500000").await;
        longest.read = longest.read.max(begun.elapsed());
        let begun = Instant::now();
        run(
            &pool,
            "update reminders set clicked_at = now() where id = 500000",
        )
        .await;
        longest.write = longest.write.max(begun.elapsed());
    }
    longest
}

/// How long a step took, and who waited meanwhile.
async fn timed(pool: &PgPool, step: impl Future<Output = ()>) -> (Duration, Waits) {
    let enough = CancellationToken::new();
    let beside = tokio::spawn(wait_beside(pool.clone(), enough.clone()));
    let begun = Instant::now();
    step.await;
    let took = begun.elapsed();
    enough.cancel();
    (took, beside.await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes and gigabytes, and asserts nothing: it prints the table of docs/results"]
async fn a_million_rows() {
    let db = database(b"empty", async |_| Ok(())).await;
    let on = |url: &str| settings(&[("DATABASE_URL", url)]);
    let begun = Instant::now();
    assert!(
        run_command(&["migrate"], &on(&db.url))
            .await
            .status
            .success()
    );
    println!(
        "the baseline, on an empty database: {:.1?}",
        begun.elapsed()
    );
    run(&db.pool, FILL).await;

    let folder = Folder::new();
    let file = folder.path().join("million.dump").display().to_string();
    let backup = async || {
        let output = run_command(&["backup", &file], &on(&db.url)).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    let (took, waits) = timed(&db.pool, backup()).await;
    println!(
        "backup: {took:.1?}; a read waited {:.2?} at most, a write {:.2?}",
        waits.read, waits.write
    );
    let other = database(b"empty", async |_| Ok(())).await;
    let begun = Instant::now();
    let output = run_command(&["restore", &file], &on(&other.url)).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    println!(
        "restore, the baseline's indexes built on a million rows: {:.1?}",
        begun.elapsed()
    );

    for (what, sql) in STEPS {
        let connections = db::pool_for_migrations((*db.pool.connect_options()).clone());
        let step = Migrator::with_migrations(vec![to_come(sql)]);
        let apply = async {
            let mut step = step;
            step.set_ignore_missing(true);
            db::migrations::apply(&connections, &step).await.unwrap();
        };
        let (took, waits) = timed(&db.pool, apply).await;
        println!(
            "| {what} | {took:.2?} | {:.2?} | {:.2?} |",
            waits.read, waits.write
        );
        run(
            &db.pool,
            "delete from _sqlx_migrations where version = 99991231000000",
        )
        .await;
        connections.close().await;
    }
}
