//! `unread scan --dry-run` against the sandbox's people: it tells who would be reminded, and leaves no trace.

use std::collections::BTreeMap;

use unread::channel::render::Texts;
use unread::clock::Clock;
use unread::config::{Config, ProcessRole, Sources};
use unread::domain::ids::Channel;
use unread::dry_run::{self, DatabaseUnusable, DryRunOptions};
use unread::sandbox::{Options, Sandbox, Script};
use unread::{app, control, db, demo};

use crate::database::database;

async fn sandbox() -> Sandbox {
    let options = Options {
        script: Script::Cases,
        ..Options::default()
    };
    Sandbox::start(options).await.unwrap()
}

fn config(environment: BTreeMap<String, String>) -> Config {
    let sources = Sources {
        environment,
        file: None,
        read_secret: |path| std::fs::read_to_string(path),
    };
    Config::read(&sources, ProcessRole::Scan).unwrap()
}

async fn told(config: &Config, wanted: &DryRunOptions) -> (usize, String) {
    let mut out = Vec::new();
    let reminders = dry_run::run(config, wanted, &Clock::System, &mut out, &|_| ()).await;
    (reminders.unwrap(), String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn without_a_database_the_defaults_say_who_would_be_reminded_and_who_not() {
    let sandbox = sandbox().await;
    let mut environment = demo::environment(sandbox.endpoints());
    environment.insert("UNREAD_LIVEPERSON_RATE_PER_SECOND".into(), "1000".into());
    // Not the installation of the machine, if it has one.
    environment.insert("UNREAD_DATA_DIR".into(), "/nonexistent".into());
    let (reminders, text) = told(&config(environment), &DryRunOptions::default()).await;
    assert!(reminders > 0, "{text}");
    let lines = text.lines();
    assert_eq!(
        lines.filter(|line| line.contains(" remind  ")).count(),
        reminders
    );
    assert!(text.contains(" not     "), "{text}");
    let (summary, _) = text.trim_end().rsplit_once(" open conversations").unwrap();
    assert!(summary.contains("account 12345678: "), "{text}");
    // Masked: `a…@example.com`, `+12…43`.
    for line in text.lines().filter(|line| line.contains(" remind  ")) {
        let (_, to) = line.rsplit_once(" to ").unwrap();
        assert!(to.contains('…'), "{line}");
    }
    assert!(sandbox.outbox().mails().is_empty() && sandbox.outbox().texts().is_empty());
}

#[tokio::test]
async fn rules_of_a_file_and_rules_of_the_database_are_tried_and_nothing_is_stored() {
    let sandbox = sandbox().await;
    let database = database(b"ledger and queue", app::migrate).await;
    let mut environment = demo::environment(sandbox.endpoints());
    environment.insert("UNREAD_LIVEPERSON_RATE_PER_SECOND".into(), "1000".into());
    environment.insert("DATABASE_URL".into(), database.url.clone());
    let config = config(environment);

    let off = "version = 2\n[[rule]]\naccount = \"12345678\"\nenabled = false\nsteps = [{ channel = \"email\", after_minutes = 10 }]\n";
    let file = std::env::temp_dir().join(format!("rules-{:08x}.toml", rand::random::<u32>()));
    std::fs::write(&file, off).unwrap();
    let wanted = DryRunOptions {
        rules: Some(file.clone()),
        ..DryRunOptions::default()
    };
    let (reminders, text) = told(&config, &wanted).await;
    assert_eq!(reminders, 0, "{text}");
    assert!(text.contains(" not     rule_off"), "{text}");
    assert!(
        !text.contains("sms: "),
        "a channel that no step uses is not spoken of: {text}"
    );

    let by = control::rules::ChangeAuthor {
        name: "test",
        now: Clock::System.now(),
    };
    let around = |account: &_| control::rules::around(&config, Some(account));
    control::rules::import(
        (&database.pool, &Texts::new(), &Channel::ALL),
        around,
        off,
        by,
    )
    .await
    .unwrap();
    let (_, from_database) = told(&config, &DryRunOptions::default()).await;
    assert!(
        from_database.contains(" not     rule_off"),
        "{from_database}"
    );
    std::fs::remove_file(file).unwrap();

    assert_eq!(db::reports::sent_in_all(&database.pool).await.unwrap(), 0);
    assert_eq!(db::reports::not_final(&database.pool).await.unwrap(), 0);
    let held: i64 = sqlx::query_scalar("select count(*) from conversations")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(held, 0);
}

#[tokio::test]
async fn a_database_that_cannot_be_used_ends_the_run_and_one_without_tables_counts_as_none() {
    let sandbox = sandbox().await;
    let empty = database(b"nothing", async |_| Ok(())).await;
    let mut environment = demo::environment(sandbox.endpoints());
    environment.insert("UNREAD_LIVEPERSON_RATE_PER_SECOND".into(), "1000".into());
    let mut on = |url: &str| {
        environment.insert("DATABASE_URL".into(), url.to_owned());
        config(environment.clone())
    };
    let (reminders, _) = told(&on(&empty.url), &DryRunOptions::default()).await;
    assert!(reminders > 0);

    let nobody_listens = on("postgres://unread@127.0.0.1:1/unread");
    let mut out = Vec::new();
    let options = DryRunOptions::default();
    let done = dry_run::run(&nobody_listens, &options, &Clock::System, &mut out, &|_| ()).await;
    let error = done.unwrap_err();
    assert!(error.is::<DatabaseUnusable>(), "{error:#}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(out.is_empty(), "nothing was read");
}
