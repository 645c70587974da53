//! Starts, stops and migrations while the database is away or busy: real processes.

use rustix::process::Signal;
use sqlx::Connection as _;
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};

use crate::database::{database, own_server, signal};
use crate::harness::{eventually, free_port, migrated, migrated_on};
use crate::process::{Process, settings};
use crate::roles::{answered, sandbox, settings_for};

/// The status and the text of a page; `None`: nobody answers.
async fn page(port: u16, path: &str) -> Option<(u16, String)> {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}/{path}")).await;
    let answer = answer.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

#[tokio::test]
async fn a_process_that_waits_for_its_database_answers_probes_and_works_when_it_comes() {
    let (mut server, sandbox) = (own_server().await, sandbox().await);
    let db = migrated_on(&server).await;
    server.kill().await;
    for role in ["web", "worker", "scheduler"] {
        let port = free_port();
        let number = port.to_string();
        let more = [("UNREAD_METRICS_PORT", number.as_str())];
        let mut process = Process::start(&[role], &settings_for(&sandbox, &db.url, &more));
        eventually("it is alive", async || {
            page(port, "healthz")
                .await
                .is_some_and(|(status, _)| status == 200)
        })
        .await;
        eventually("it says what it waits for", async || {
            let (status, text) = page(port, "readyz").await.unwrap();
            status == 503 && text.starts_with("starting: ") && text.contains("no connection: ")
        })
        .await;
        let (status, metrics) = page(port, "metrics").await.unwrap();
        assert_eq!(status, 200);
        let down = format!("unread_database_up{{role=\"{role}\"}} 0");
        assert!(metrics.lines().any(|line| line == down), "{metrics}");

        server.start().await;
        eventually("it is ready", async || {
            page(port, "readyz")
                .await
                .is_some_and(|(status, _)| status == 200)
        })
        .await;
        server.kill().await;
        // Without a database, too.
        assert_eq!(process.terminate().await.code(), Some(0), "{role}");
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn a_hang_up_drains_like_any_other_request_to_stop() {
    let (db, sandbox) = (migrated().await, sandbox().await);
    let port = free_port();
    let number = port.to_string();
    let more = [
        ("UNREAD_METRICS_PORT", number.as_str()),
        ("UNREAD_LOG_LEVEL", "info"),
    ];
    let mut process = Process::start(&["worker"], &settings_for(&sandbox, &db.url, &more));
    eventually("it is ready", async || {
        page(port, "readyz")
            .await
            .is_some_and(|(status, _)| status == 200)
    })
    .await;
    signal(process.id(), Signal::HUP);
    assert_eq!(process.ended().await.code(), Some(0));
    assert!(
        process.log().contains("Stopping on SIGHUP"),
        "{}",
        process.log()
    );
    let left: i64 = sqlx::query_scalar("select count(*) from apalis.workers")
        .fetch_one(&db.pool)
        .await
        .unwrap();
    assert_eq!(left, 0, "it has signed off");
    sandbox.stop().await;
}

/// What is in hand would take ten minutes, and nothing of it can be written down.
#[tokio::test]
async fn a_busy_worker_without_its_database_does_not_wait_for_what_cannot_be_finished() {
    let (mut server, sandbox) = (own_server().await, sandbox().await);
    let db = migrated_on(&server).await;
    let more = [
        ("UNREAD_DRAIN_SECONDS", "600"),
        ("UNREAD_LOG_LEVEL", "info"),
    ];
    let fault = SmtpFault::silence(Phase::Mail, When::always(), false);
    sandbox.smtp().faults().add(fault);
    answered(&sandbox, "ann@example.net", 0);
    let mut process = Process::start(&["run"], &settings_for(&sandbox, &db.url, &more));
    eventually("an attempt is under way", async || {
        let begun: sqlx::Result<i64> = sqlx::query_scalar("select count(*) from attempts")
            .fetch_one(&db.pool)
            .await;
        begun.is_ok_and(|begun| begun == 1)
    })
    .await;
    server.kill().await;
    assert_eq!(process.terminate().await.code(), Some(0));
    let log = process.log();
    assert!(log.contains("Stopping without the database"), "{log}");
    sandbox.stop().await;
}

#[tokio::test]
async fn a_migration_waits_for_a_lock_in_short_turns_and_others_wait_for_the_migration() {
    let empty = database(b"a table of migrations alone", async |pool| {
        sqlx::raw_sql(
            "create table _sqlx_migrations (version bigint primary key, description text not null,
                 installed_on timestamptz not null default now(), success boolean not null, checksum bytea not null,
                 execution_time bigint not null)",
        )
        .execute(pool)
        .await?;
        Ok(())
    })
    .await;
    let settings = settings(&[("DATABASE_URL", &empty.url), ("UNREAD_LOG_LEVEL", "info")]);
    let mut holder = sqlx::PgConnection::connect(&empty.url).await.unwrap();
    sqlx::raw_sql("begin; lock table _sqlx_migrations in exclusive mode")
        .execute(&mut holder)
        .await
        .unwrap();
    let mut waiting = Process::start(&["migrate", "--wait"], &settings);
    let mut migrating = Process::start(&["migrate"], &settings);
    eventually("both say what they wait for", async || {
        migrating
            .log()
            .contains("A migration waits for a lock; transactions of others: ")
            && waiting
                .log()
                .contains("Waiting until the database is migrated")
    })
    .await;
    // Nobody stands behind it in the pauses, and what it had begun is undone.
    let begun: Option<String> = sqlx::query_scalar("select to_regclass('reminders')::text")
        .fetch_one(&empty.pool)
        .await
        .unwrap();
    assert_eq!(begun, None);
    sqlx::raw_sql("commit").execute(&mut holder).await.unwrap();
    for process in [&mut migrating, &mut waiting] {
        assert_eq!(process.ended().await.code(), Some(0), "{}", process.log());
    }
    assert!(!migrating.log().contains("slow statement"));
}
