//! The command line of the real binary: what it prints, and the codes it ends with.

use std::time::Instant;

use serde_json::{Value, json};
use unread::demo;

use crate::database::database;
use crate::harness::{PATIENCE, eventually, free_port, migrated};
use crate::process::{Folder, Process, run, run_into, settings, text};

#[tokio::test]
async fn a_wrong_configuration_ends_with_2_and_tells_every_problem_at_once() {
    let settings = settings(&[
        ("PORT", "three thousand"),
        ("UNREAD_WORKER_SLOTS", "0"),
        ("UNREAD_WRKER_SLOTS", "5"),
        ("SMTP_PASS", "hunter2"),
    ]);
    let output = run(&["run"], &settings).await;
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    for key in [
        "PORT",
        "UNREAD_WORKER_SLOTS",
        "UNREAD_WRKER_SLOTS",
        "LE_ACCOUNT",
    ] {
        assert!(told.contains(key), "{key} is not in:\n{told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
    assert!(output.stdout.is_empty());
}

/// A process that keeps a log ends with a line of it, whatever is wrong, and a command with plain words.
#[tokio::test]
async fn last_words_are_a_line_of_the_log() {
    let wrong = settings(&[("PORT", "three thousand")]);
    let nowhere = settings(&[
        ("DATABASE_URL", "postgres://127.0.0.1:1/unread"),
        ("LE_ACCOUNT", "12345678"),
        ("UNREAD_METRICS_PORT", "1"),
        ("UNREAD_METRICS_BIND", "192.0.2.1"),
    ]);
    for (settings, code, word) in [(wrong, 2, "PORT"), (nowhere, 1, "UNREAD_METRICS_PORT")] {
        let output = run(&["scheduler"], &settings).await;
        assert_eq!(output.status.code(), Some(code));
        let told = text(&output.stderr);
        let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert_eq!(last["level"], "ERROR", "{told}");
        assert!(last["message"].as_str().unwrap().contains(word), "{told}");
        assert!(last["timestamp"].is_string(), "{told}");
    }
    let plain = settings(&[("PORT", "three thousand"), ("UNREAD_LOG_FORMAT", "text")]);
    let told = text(&run(&["scheduler"], &plain).await.stderr);
    assert!(told.starts_with("unread: "), "{told}");
    let told = text(&run(&["migrate"], &plain).await.stderr);
    assert!(serde_json::from_str::<Value>(&told).is_err(), "{told}");
}

#[tokio::test]
async fn the_version_names_revision_and_schema() {
    let output = run(&["--version"], &Vec::new()).await;
    let told = text(&output.stdout);
    let newest = unread::db::newest_migration();
    assert!(
        told.starts_with(concat!("unread ", env!("CARGO_PKG_VERSION"), " (revision ")),
        "{told}"
    );
    assert!(
        told.trim_end().ends_with(&format!("schema {newest})")),
        "{told}"
    );
    assert!(newest > 20_261_130_000_000, "{newest}");
}

#[tokio::test]
async fn a_separate_role_without_a_database_is_told_what_to_set() {
    for role in ["web", "worker", "scheduler"] {
        let output = run(&[role], &Vec::new()).await;
        assert_eq!(output.status.code(), Some(2), "{role}");
        assert!(text(&output.stderr).contains("DATABASE_URL"), "{role}");
    }
}

#[tokio::test]
async fn a_database_that_is_not_migrated_is_refused_in_one_line_and_migrate_mends_it() {
    let empty = database(b"empty", async |_| Ok(())).await;
    let settings = settings(&[("DATABASE_URL", &empty.url)]);
    let refused = run(&["rules", "export"], &settings).await;
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("run `unread migrate`"), "{told}");

    let fixed = run(&["migrate"], &settings).await;
    assert!(fixed.status.success(), "{}", text(&fixed.stderr));
    assert!(run(&["migrate"], &settings).await.status.success(), "again");
    assert!(run(&["rules", "export"], &settings).await.status.success());
}

const RULES: &str = r#"
version = 2

[[rule]]
account = "12345678"
steps = [{ channel = "email", after_minutes = 5 }, { channel = "email", after_minutes = 60 }]

[[rule]]
account = "12345678"
skill = 42
enabled = false
steps = [{ channel = "sms", after_minutes = 10 }]
"#;

#[tokio::test]
async fn rules_go_in_and_come_out_the_same() {
    let db = migrated().await;
    let settings = settings(&[("DATABASE_URL", &db.url)]);
    let folder = Folder::new();
    let file = folder.path().join("rules.toml");
    let import = async |rules: &str| {
        std::fs::write(&file, rules).unwrap();
        let output = run(&["rules", "import", file.to_str().unwrap()], &settings).await;
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let export = async || text(&run(&["rules", "export"], &settings).await.stdout);

    let (code, told, _) = import(RULES).await;
    assert_eq!(
        (code, told.as_str()),
        (
            Some(0),
            "12345678/default: new\n12345678/42: new\nRules read: 2; changed: 2.\n"
        )
    );
    let exported = export().await;
    let (code, told, _) = import(&exported).await;
    assert_eq!(
        (code, told.as_str()),
        (
            Some(0),
            "12345678/default: unchanged\n12345678/42: unchanged\nRules read: 2; changed: 0.\n"
        )
    );
    assert_eq!(export().await, exported);

    // What changed is in the audit trail, rule by rule, and only that.
    let off = exported.replacen("enabled = true", "enabled = false", 1);
    assert_eq!(
        import(&off).await.1,
        "12345678/default: changed: enabled (true, now false)\n12345678/42: unchanged\nRules read: 2; changed: 1.\n"
    );
    let told: Vec<(String, String, Value)> = sqlx::query_as(
        "select by, subject, detail from audit where action = 'rule.import' order by id",
    )
    .fetch_all(&db.pool)
    .await
    .unwrap();
    let all = |version| json!({ "version": version, "changes": ["all"] });
    let by = || "command line".to_owned();
    assert_eq!(
        told,
        [
            (by(), "12345678/default".to_owned(), all(1)),
            (by(), "12345678/42".to_owned(), all(1)),
            (
                by(),
                "12345678/default".to_owned(),
                json!({ "version": 2, "changes": ["enabled"] })
            ),
        ]
    );
    let exported = export().await;

    // One bad rule, and none is stored.
    let bad = RULES.replace("after_minutes = 5 ", "after_minutes = -5 ");
    let (code, _, told) = import(&bad.replace("42", "43")).await;
    assert_eq!(code, Some(1));
    assert!(told.contains("rule 1"), "{told}");
    assert_eq!(export().await, exported);
}

#[tokio::test]
async fn a_command_that_nobody_reads_any_more_does_its_work_and_ends_well() {
    let db = migrated().await;
    let settings = settings(&[("DATABASE_URL", &db.url), ("LE_ACCOUNT", "12345678")]);
    for arguments in [
        &["migrate"][..],
        &["users", "add", "ann"],
        &["users", "list"],
        &["suppressions", "add", "ben@example.net"],
        &["suppressions", "export", "-"],
        &["rules", "export"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = run_into(writer, arguments, &settings).await;
        assert_eq!(ended.code(), Some(0), "{arguments:?}");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let refused = ["users", "remove", "nobody"];
    assert_eq!(run_into(writer, &refused, &settings).await.code(), Some(1));
    let users = run(&["users", "list"], &settings).await;
    assert!(text(&users.stdout).contains("ann"));
    let export = run(&["suppressions", "export", "-"], &settings).await;
    assert_eq!(text(&export.stdout).lines().count(), 2);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_a_full_disk_cannot_take_is_a_failure() {
    let db = migrated().await;
    let settings = settings(&[("DATABASE_URL", &db.url)]);
    for arguments in [&["migrate"][..], &["suppressions", "export", "-"]] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let ended = run_into(full.unwrap(), arguments, &settings).await;
        assert_eq!(ended.code(), Some(1), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_sandbox_prints_where_it_is_and_stops_when_asked_to() {
    let mut sandbox = Process::start(&["sandbox", "--empty"], &Vec::new());
    let mut endpoints = Value::Null;
    eventually("the sandbox has said where it is", async || {
        endpoints = serde_json::from_str(&sandbox.printed()).unwrap_or_default();
        endpoints.is_object()
    })
    .await;
    let mailbox = endpoints["mailbox_url"].as_str().unwrap();
    let page = reqwest::get(format!("{mailbox}/api/messages"))
        .await
        .unwrap();
    assert_eq!(page.status(), 200);
    assert!(endpoints["liveperson"]["credentials"]["client_id"].is_string());
    assert!(sandbox.terminate().await.success());
}

#[tokio::test]
async fn every_role_starts_before_its_database_is_there_and_stops_without_it() {
    let nobody = format!("postgres://unread@127.0.0.1:{}/unread", free_port());
    let settings = settings(&[
        ("DATABASE_URL", &nobody),
        ("LE_ACCOUNT", "12345678"),
        ("UNREAD_METRICS_PORT", "0"),
    ]);
    let mut scheduler = Process::start(&["scheduler"], &settings);
    eventually("it waits for the database", async || {
        scheduler.log().contains("cannot be reached")
    })
    .await;
    assert!(scheduler.log().contains("UNREAD_SECRET is not set"));
    // The database never comes: who waited for it would never end.
    scheduler.terminate().await;
}

#[tokio::test]
async fn a_running_service_stops_with_0_on_a_termination_signal_and_is_not_cut_off() {
    let db = migrated().await;
    let sandbox = unread::sandbox::Sandbox::start(unread::sandbox::Options::default());
    let sandbox = sandbox.await.unwrap();
    let port = free_port().to_string();
    let mut settings: Vec<_> = demo::environment(sandbox.endpoints()).into_iter().collect();
    settings.retain(|(key, _)| key != "SMTP_USER" && key != "SMTP_PASS");
    for (key, value) in [
        ("DATABASE_URL", db.url.as_str()),
        ("PORT", &port),
        ("UNREAD_METRICS_PORT", "0"),
    ] {
        settings.push((key.to_owned(), value.to_owned()));
    }
    let mut service = Process::start(&["run"], &settings);
    let ready = format!("http://127.0.0.1:{port}/readyz");
    eventually("it is ready", async || {
        reqwest::get(&ready)
            .await
            .is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    let asked = Instant::now();
    assert_eq!(service.terminate().await.code(), Some(0));
    println!("ended after {:.1?}", asked.elapsed());
    // What does not end by itself is cut off when its time is over, with a warning.
    let log = service.log();
    for cut_off in ["did not end in time", "wait for the lease to end"] {
        assert!(!log.contains(cut_off), "{log}");
    }
    // It signed off: nobody has to wait for its lease.
    let workers: i64 = sqlx::query_scalar("select count(*) from apalis.workers")
        .fetch_one(&db.pool)
        .await
        .unwrap();
    assert_eq!(workers, 0);
    sandbox.stop().await;
}

#[tokio::test]
async fn the_demonstration_agrees_with_its_script() {
    let settings = settings(&[("UNREAD_LOG_LEVEL", "warn")]);
    let mut demo = Process::start(&["demo", "--once", "--json"], &settings);
    let mut status = None;
    // A day of the scripted people's lives takes most of a minute, and longer on a busy machine: it gives up by itself after twenty.
    for _ in 0..15 {
        let ended = tokio::time::timeout(PATIENCE * 3 / 4, demo.ended());
        if let Ok(ended) = ended.await {
            status = Some(ended);
            break;
        }
    }
    let rows: Vec<Value> = serde_json::from_str(&demo.printed()).unwrap();
    let differ: Vec<&Value> = rows.iter().filter(|row| row["agree"] != true).collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert!(rows.len() > 30);
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}
