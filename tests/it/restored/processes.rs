//! Real processes before a database that was copied, and the commands that decide for it.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use url::Url;

use crate::database::TestDatabase;
use crate::harness::{eventually, free_port, migrated};
use crate::process::{Folder, Process, Settings, run, text};
use crate::roles::{sandbox, settings_for};

/// A logical copy of a database that nobody uses, on the same server: its address.
async fn copy(of: &TestDatabase, name: &str) -> String {
    of.pool.close().await;
    let mut url = Url::parse(&of.url).unwrap();
    let original = url.path().trim_start_matches('/').to_owned();
    url.set_path("postgres");
    let admin: PgConnectOptions = url.as_str().parse().unwrap();
    let mut admin = admin.connect().await.unwrap();
    let name = format!("{original}_{name}");
    let make = format!("create database {name} template {original}");
    eventually("nobody uses the original", async || {
        admin.execute(AssertSqlSafe(make.clone())).await.is_ok()
    })
    .await;
    admin.close().await.unwrap();
    url.set_path(&name);
    url.into()
}

/// A worker, and what it says about being ready.
struct Worker {
    process: Process,
    probe: String,
}

impl Worker {
    async fn start(settings: &Settings, port: u16) -> Self {
        let worker = Self {
            process: Process::start(&["worker"], settings),
            probe: format!("http://127.0.0.1:{port}/readyz"),
        };
        eventually("the worker is ready", async || {
            worker.says().await.is_some()
        })
        .await;
        worker
    }

    async fn says(&self) -> Option<String> {
        let http = unread::liveperson::http_client();
        let answer = http.get(&self.probe).send().await.ok()?;
        let ready = answer.status().is_success();
        answer.text().await.ok().filter(|_| ready)
    }

    async fn stop(mut self) {
        assert!(self.process.terminate().await.success());
    }
}

#[tokio::test]
async fn a_logical_copy_is_held_until_somebody_says_moved_or_restored_and_a_journal_vouches_for_it()
{
    let (sandbox, db, folder) = (sandbox().await, migrated().await, Folder::new());
    let port = free_port();
    let ports = port.to_string();
    let journal = folder.path().join("journal.jsonl");
    let on = |database: &str, with_journal: bool| {
        let mut more = vec![
            ("UNREAD_METRICS_PORT", ports.as_str()),
            ("UNREAD_METRICS_BIND", "127.0.0.1"),
            ("UNREAD_SECRET", "a-key-that-outlives-the-database-0123"),
        ];
        if with_journal {
            more.push(("UNREAD_JOURNAL_FILE", journal.to_str().unwrap()));
        }
        settings_for(&sandbox, database, &more)
    };
    Worker::start(&on(&db.url, true), port).await.stop().await;
    let (alone, vouched) = (copy(&db, "alone").await, copy(&db, "vouched").await);

    let settings = on(&alone, false);
    let worker = Worker::start(&settings, port).await;
    let said = worker.says().await.unwrap();
    assert!(said.starts_with("ready\nAll sending is on hold"), "{said}");
    assert!(
        worker.process.log().contains("unread moved"),
        "{}",
        worker.process.log()
    );
    let doctor = run(&["doctor"], &settings).await;
    assert!(
        text(&doctor.stdout).contains("hold: copied"),
        "{}",
        text(&doctor.stdout)
    );
    let moved = run(&["moved"], &settings).await;
    assert!(moved.status.success(), "{}", text(&moved.stderr));
    assert_eq!(worker.says().await.as_deref(), Some("ready\n"));

    // Where all is well there is nothing to do.
    let restored = ["restored", "--lost-from", "2026-01-05T12:00:00Z"];
    let refused = run(&[&restored[..], &["--no-journal"]].concat(), &settings).await;
    assert_eq!(refused.status.code(), Some(4));
    let said = text(&refused.stderr);
    assert!(said.contains("there is nothing to do"), "{said}");
    assert_eq!(worker.says().await.as_deref(), Some("ready\n"));

    // Somebody says that it was restored, though nobody has found out.
    let restored = [&restored[..], &["--unnoticed"]].concat();
    let refused = run(&restored, &settings).await;
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(
        said.contains("hours") && said.contains("--no-journal"),
        "{said}"
    );
    let done = run(&[&restored[..], &["--no-journal"]].concat(), &settings).await;
    assert!(done.status.success(), "{}", text(&done.stderr));
    let nothing = run(&["restored", "--nothing-lost"], &settings).await;
    assert_eq!(nothing.status.code(), Some(4));
    assert!(
        text(&nothing.stderr).contains("Nothing is on hold"),
        "{}",
        text(&nothing.stderr)
    );
    worker.stop().await;

    let worker = Worker::start(&on(&vouched, true), port).await;
    assert_eq!(worker.says().await.as_deref(), Some("ready\n"));
    worker.stop().await;
    // The journal has gone on with that one: the original is behind it now.
    let worker = Worker::start(&on(&db.url, true), port).await;
    let said = worker.says().await.unwrap();
    assert!(said.contains("restored from a backup"), "{said}");
    worker.stop().await;
    sandbox.stop().await;
}
