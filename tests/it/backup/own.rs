//! The commands on the PostgreSQL that `run` keeps, while it runs and while it does not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;

use unread::backup;
use unread::demo;
use unread::postgres::{Durability, Options, Server, serve_alone};
use unread::sandbox::Sandbox;

use super::{dated, done, on, path, refused};
use crate::database::database;
use crate::harness::{eventually, free_port};
use crate::process::{Folder, Process, Settings, run, settings, text};
use crate::roles::sandbox;

/// An installation with a PostgreSQL of its own in a folder of the test's.
struct Own {
    folder: Folder,
    sandbox: Sandbox,
    port: String,
}

impl Own {
    async fn new() -> Self {
        Self {
            folder: Folder::new(),
            sandbox: sandbox().await,
            port: free_port().to_string(),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn settings(&self) -> Settings {
        let mut all: Settings = demo::environment(self.sandbox.endpoints())
            .into_iter()
            .collect();
        let data = self.data();
        all.extend(settings(&[
            ("UNREAD_DATA_DIR", path(&data)),
            ("PORT", &self.port),
            ("UNREAD_METRICS_PORT", "0"),
            ("UNREAD_BIND", "127.0.0.1"),
            ("UNREAD_SCAN_INTERVAL_SECONDS", "1"),
            ("UNREAD_LIVEPERSON_RATE_PER_SECOND", "1000"),
        ]));
        all
    }

    fn options(&self) -> Options {
        Options {
            root: self.data().join("postgres"),
            bin_dir: None,
            durability: Durability::Durable,
        }
    }

    async fn serve(&self) -> Process {
        let service = Process::start(&["run"], &self.settings());
        self.ready().await;
        service
    }

    async fn ready(&self) {
        let ready = format!("http://127.0.0.1:{}/readyz", self.port);
        eventually("it is ready", async || {
            let answer = reqwest::get(&ready).await;
            answer.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        run(arguments, &self.settings()).await
    }
}

/// All that an installation's commands tell of it.
async fn told(own: &Own) -> [String; 3] {
    let mut all = Vec::new();
    for arguments in [
        &["users", "list"][..],
        &["rules", "export"],
        &["suppressions", "export", "-"],
    ] {
        all.push(done(&own.run(arguments).await));
    }
    all.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_work_on_the_database_that_run_keeps_while_it_runs_and_while_it_does_not() {
    let own = Own::new().await;
    let mut service = own.serve().await;
    done(&own.run(&["users", "add", "ann", "--role", "editor"]).await);
    done(&own.run(&["suppressions", "add", "ben@example.net"]).await);
    done(&own.run(&["erase", "--email", "eve@example.net"]).await);
    done(&own.run(&["live", "status"]).await);
    done(&own.run(&["migrate"]).await);
    let dry = done(&own.run(&["scan", "--dry-run"]).await);
    assert!(dry.contains("open conversations"), "{dry}");
    let unknown = refused(&own.run(&["reminders", "cancel", "1"]).await);
    assert!(!unknown.contains("DATABASE_URL"), "{unknown}");
    let doctor = own.run(&["doctor", "--json"]).await;
    let lines: Vec<serde_json::Value> = serde_json::from_slice(&doctor.stdout).unwrap();
    for (check, words) in [
        ("connection", "`unread run`"),
        ("migrations", "up to date"),
        ("permissions", "every table"),
        ("data folder", path(&own.data())),
        ("free space", "are free"),
        ("backup", "none yet"),
    ] {
        let line = lines.iter().find(|line| line["check"] == check);
        let line = line.unwrap_or_else(|| panic!("{check} in {lines:#?}"));
        assert_eq!(line["part"], "database", "{line}");
        assert_ne!(line["state"], "failed", "{line}");
        assert!(line["found"].as_str().unwrap().contains(words), "{line}");
    }
    let backup = own.folder.path().join("unread.dump");
    done(&own.run(&["backup", path(&backup)]).await);
    let busy = refused(&own.run(&["restore", path(&backup), "--replace"]).await);
    assert!(busy.contains("`unread run` is at work"), "{busy}");
    let while_it_runs = told(&own).await;
    assert!(while_it_runs[0].contains("ann"), "{while_it_runs:?}");
    assert_eq!(while_it_runs[2].lines().count(), 2, "{while_it_runs:?}");
    assert_eq!(service.terminate().await.code(), Some(0));

    assert_eq!(told(&own).await, while_it_runs);
    // Two at once: the second waits until the first one's server is gone.
    let (list, export) = (&["users", "list"], &["rules", "export"]);
    let (one, two) = tokio::join!(own.run(list), own.run(export));
    assert_eq!(
        [done(&one), done(&two)],
        [while_it_runs[0].clone(), while_it_runs[1].clone()]
    );
    done(&own.run(&["users", "remove", "ann"]).await);
    assert!(!own.data().join("postgres/data/postmaster.pid").exists());

    // Back to what was saved, and the service goes on with it.
    let full = refused(&own.run(&["restore", path(&backup)]).await);
    assert!(full.contains("--replace"), "{full}");
    done(&own.run(&["restore", path(&backup), "--replace"]).await);
    assert_eq!(told(&own).await, while_it_runs);
    let mut service = own.serve().await;
    assert_eq!(told(&own).await, while_it_runs);
    assert_eq!(service.terminate().await.code(), Some(0));

    // Another machine, on which nothing has run yet.
    let elsewhere = Own {
        folder: Folder::new(),
        ..own
    };
    done(&elsewhere.run(&["restore", path(&backup)]).await);
    assert_eq!(told(&elsewhere).await, while_it_runs);
    elsewhere.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_waits_for_a_command_and_moves_to_a_database_server_and_back() {
    let own = Own::new().await;
    let options = own.options();
    let command = tokio::task::spawn_blocking(move || serve_alone(&options));
    let command = command.await.unwrap().unwrap();
    let mut service = Process::start(&["run"], &own.settings());
    eventually("it waits", async || {
        service.log().contains("in use by a command")
    })
    .await;
    tokio::task::spawn_blocking(move || command.stop().unwrap())
        .await
        .unwrap();
    own.ready().await;
    done(&own.run(&["suppressions", "add", "ben@example.net"]).await);
    assert_eq!(service.terminate().await.code(), Some(0));

    let backup = own.folder.path().join("unread.dump");
    done(&own.run(&["backup", path(&backup)]).await);
    let server = database(b"empty", async |_| Ok(())).await;
    let mut on_server = own.settings();
    on_server.extend(on(&server.url));
    let told = done(&run(&["restore", path(&backup)], &on_server).await);
    assert!(told.contains("unread moved"), "{told}");
    let exported = done(&run(&["suppressions", "export", "-"], &on_server).await);
    assert_eq!(exported.lines().count(), 2, "{exported}");
    assert_eq!(
        done(&own.run(&["suppressions", "export", "-"]).await),
        exported
    );
    own.sandbox.stop().await;
}

#[tokio::test]
async fn without_a_database_a_command_names_both_ways_to_one() {
    let folder = Folder::new();
    let settings = settings(&[("UNREAD_DATA_DIR", path(folder.path()))]);
    for arguments in [
        &["users", "list"][..],
        &["rules", "export"],
        &["suppressions", "review"],
        &["migrate"],
        &["backup", "unread.dump"],
    ] {
        let output = run(arguments, &settings).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = text(&output.stderr);
        for name in ["DATABASE_URL", "UNREAD_DATA_DIR", path(folder.path())] {
            assert!(told.contains(name), "{arguments:?}: {told}");
        }
    }
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is made"
    );
}

#[tokio::test]
async fn data_of_a_version_that_is_not_here_lead_to_it_and_to_the_newest_backup() {
    let own = Own::new().await;
    let data = own.data().join("postgres/data");
    let options = own.options();
    tokio::task::spawn_blocking(move || {
        let server = Server::start(&options).unwrap();
        server.stop().unwrap();
    })
    .await
    .unwrap();
    done(&own.run(&["migrate"]).await);
    done(&own.run(&["users", "add", "ann"]).await);
    let users = done(&own.run(&["users", "list"]).await);
    fs::create_dir(own.data().join("backups")).unwrap();
    let backup = own.data().join("backups/unread-2026-11-29.dump");
    done(&own.run(&["backup", path(&backup)]).await);

    fs::write(data.join("PG_VERSION"), "12\n").unwrap();
    for arguments in [&["users", "list"][..], &["run"]] {
        let output = own.run(arguments).await;
        let told = refused(&output);
        let way_back = format!("unread restore --replace {}", path(&backup));
        for part in ["made by PostgreSQL 12", "Install PostgreSQL 12", &way_back] {
            assert!(told.contains(part), "{part} is not in: {told}");
        }
    }
    let doctor = text(&own.run(&["doctor"]).await.stdout);
    assert!(doctor.contains("made by PostgreSQL 12"), "{doctor}");

    let kept = refused(&own.run(&["restore", path(&backup)]).await);
    assert!(kept.contains("made by PostgreSQL 12"), "{kept}");
    done(&own.run(&["restore", "--replace", path(&backup)]).await);
    assert_eq!(done(&own.run(&["users", "list"]).await), users);
    let aside = own.data().join("postgres/data-12/PG_VERSION");
    assert_eq!(fs::read_to_string(aside).unwrap(), "12\n");
    own.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_backs_its_own_database_up_into_the_folder_of_its_data() {
    let own = Own::new().await;
    let mut service = own.serve().await;
    assert_eq!(service.terminate().await.code(), Some(0));
    // As if it had been made long ago.
    dated(
        &own.data().join("postgres/data/PG_VERSION"),
        "2020-01-01T00:00:00Z".parse().unwrap(),
    );
    let backups = own.data().join(backup::FOLDER);
    let mut off = own.settings();
    off.extend(settings(&[("UNREAD_BACKUPS_KEPT", "0")]));
    let mut service = Process::start(&["run"], &off);
    own.ready().await;
    assert_eq!(service.terminate().await.code(), Some(0));
    assert!(!backups.exists());

    let mut service = own.serve().await;
    eventually("there is a backup", async || {
        backup::newest(&backups).is_some()
    })
    .await;
    let mode = fs::metadata(&backups).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let doctor = text(&own.run(&["doctor"]).await.stdout);
    assert!(doctor.contains("the newest is 0 hours old"), "{doctor}");
    assert_eq!(service.terminate().await.code(), Some(0));
    own.sandbox.stop().await;
}
