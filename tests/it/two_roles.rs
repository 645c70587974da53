//! A role that owns the tables and one that works, made by the statements of docs/database-server.md as they stand there.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::database::own_server;
use crate::harness::{eventually, live_at_once};
use crate::manifests::read;
use crate::process::{Process, run, settings, text};
use crate::roles::{answered, sandbox, settings_for};

/// The blocks of SQL of a section.
fn statements(section: &str) -> Vec<String> {
    let page = read("docs/database-server.md");
    let (_, section) = page.split_once(section).expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```sql\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

async fn execute(url: &str, sql: &str) -> sqlx::Result<()> {
    let mut conn = PgConnection::connect(url).await?;
    let lines = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or(line));
    let sql = lines.collect::<Vec<_>>().join("\n");
    // A database is made outside of any transaction, so one statement at a time.
    for statement in sql
        .split(';')
        .filter(|statement| !statement.trim().is_empty())
    {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut conn)
            .await?;
    }
    conn.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_works_with_a_role_that_cannot_change_the_tables() {
    let (server, sandbox) = (own_server().await, sandbox().await);
    let blocks = statements("## Two roles");
    let [roles, grants] = &blocks[..] else {
        panic!("{blocks:#?}");
    };
    execute(&server.server().url("postgres"), roles)
        .await
        .unwrap();
    let of = |role: &str| {
        server
            .server()
            .url("unread")
            .replace("postgres@", &format!("{role}@"))
    };
    let (owner, app) = (of("unread_owner"), of("unread_app"));
    execute(&owner, grants).await.unwrap();
    let migrated = run(&["migrate"], &settings(&[("DATABASE_URL", &owner)])).await;
    assert!(migrated.status.success(), "{}", text(&migrated.stderr));
    let pool = unread::db::pool(owner.parse().unwrap(), 1);
    live_at_once(&pool).await.unwrap();
    // What is made later is the application's to read and write, too.
    execute(&owner, "create table of_the_future (id int)")
        .await
        .unwrap();
    execute(&app, "insert into of_the_future values (1)")
        .await
        .unwrap();

    for sql in [
        "alter table reminders add column more text",
        "drop table reminders",
        "truncate reminders",
        "create table another (id int)",
        "create table apalis.another (id int)",
        "alter table apalis.jobs add column more text",
        "create function f() returns int language sql as 'select 1'",
    ] {
        let refused = execute(&app, sql).await.unwrap_err();
        let code = refused
            .as_database_error()
            .and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {refused}");
    }
    let settings = settings_for(&sandbox, &app, &[]);
    let doctor = run(&["doctor"], &settings).await;
    let told = text(&doctor.stdout);
    assert!(told.contains("may read and write every table"), "{told}");

    let mut service: Vec<Process> = ["scheduler", "worker", "web"]
        .iter()
        .map(|role| Process::start(&[role], &settings))
        .collect();
    answered(&sandbox, "ann@example.net", 0);
    eventually("the reminder arrives", async || {
        sandbox.outbox().mails_to("ann@example.net").len() == 1
    })
    .await;
    for process in &mut service {
        assert_eq!(process.terminate().await.code(), Some(0));
        assert!(
            !process.log().contains("permission denied"),
            "{}",
            process.log()
        );
    }
    pool.close().await;
    sandbox.stop().await;
}
