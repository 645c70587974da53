//! `unread doctor` against the sandbox: quiet when all is well; with each thing broken in turn, the right line and its mend.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use sqlx::Executor as _;
use tokio::net::TcpListener;
use unread::clock::Clock;
use unread::config::{Config, ConfigError, Role, Sources};
use unread::doctor::{self, Line, State};
use unread::sandbox::faults::{Endpoint, Fault, When};
use unread::sandbox::{Options, Sandbox};
use unread::{app, demo};

use crate::database::{TestDatabase, database};

/// Everything the service needs, well.
struct World {
    sandbox: Sandbox,
    database: TestDatabase,
    settings: BTreeMap<String, String>,
}

impl World {
    async fn new() -> Self {
        let sandbox = Sandbox::start(Options {
            smtp: demo::smtp_options(),
            ..Options::default()
        });
        let sandbox = sandbox.await.unwrap();
        let database = database(b"ledger and queue", app::migrate).await;
        let mut settings = demo::environment(sandbox.endpoints());
        settings.insert("DATABASE_URL".into(), database.url.clone());
        settings.insert("UNREAD_PAGE_URL".into(), "https://shop.example/help".into());
        settings.insert("UNREAD_PUBLIC_URL".into(), page_that_says("ok\n").await);
        Self {
            sandbox,
            database,
            settings,
        }
    }

    fn set(&mut self, key: &str, value: impl Into<String>) {
        self.settings.insert(key.to_owned(), value.into());
    }

    fn config(&self) -> Result<Config, ConfigError> {
        let sources = Sources {
            environment: self.settings.clone(),
            file: None,
            read_secret: |path| std::fs::read_to_string(path),
        };
        Config::read(&sources, Role::Doctor)
    }

    async fn examined(&self) -> Vec<Line> {
        self.examined_at(&Clock::System).await
    }

    async fn examined_at(&self, clock: &Clock) -> Vec<Line> {
        doctor::examine(&self.config().unwrap(), clock, &|_| ()).await
    }
}

/// A web server that answers `/healthz` with these words.
async fn page_that_says(words: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let page =
        axum::Router::new().route("/healthz", axum::routing::get(move || async move { words }));
    tokio::spawn(async move { axum::serve(listener, page).await });
    format!("http://{address}")
}

/// A port at which nobody listens.
fn dead_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn failed(lines: &[Line]) -> Vec<&Line> {
    lines
        .iter()
        .filter(|line| line.state == State::Failed)
        .collect()
}

/// Exactly this check of this part failed, and its mend has these words.
fn assert_only_failure(lines: &[Line], part: &str, check: &str, mend: &str) {
    let failed = failed(lines);
    assert!(!failed.is_empty(), "nothing failed: {lines:#?}");
    for line in failed {
        assert_eq!(
            (line.part.as_str(), line.check.as_str()),
            (part, check),
            "{line:?}"
        );
        let told = line.mend.as_deref().unwrap_or_default();
        assert!(told.contains(mend), "the mend is: {told}");
    }
    assert!(!doctor::healthy(lines));
}

/// What was broken has been mended as told.
async fn assert_well(world: &World) {
    let lines = world.examined().await;
    assert!(doctor::healthy(&lines), "{lines:#?}");
}

/// The part of the table that the account fills.
const PART: &str = "LivePerson 12345678";

#[tokio::test]
async fn everything_in_order_fails_nowhere() {
    let world = World::new().await;
    let lines = world.examined().await;
    assert!(failed(&lines).is_empty(), "{lines:#?}");
    assert!(doctor::healthy(&lines));
    let ok = |part: &str, check: &str| {
        let found = lines.iter().find(|l| l.part == part && l.check == check);
        assert_eq!(found.map(|l| l.state), Some(State::Ok), "{part}, {check}");
    };
    for check in [
        "connection",
        "version",
        "extension hstore",
        "extension pgcrypto",
        "migrations",
        "permissions",
        "pooling",
    ] {
        ok("database", check);
    }
    for check in [
        "access token",
        "conversations: search",
        "conversations: by id",
        "conversations: by consumer",
        "skills",
        "clocks",
    ] {
        ok("LivePerson 12345678", check);
    }
    ok("e-mail", "mail server");
    ok("SMS", "credentials");
    ok("SMS", "sender");
    ok("public URL", "reachable");
}

#[tokio::test]
async fn no_secret_is_ever_printed() {
    let mut world = World::new().await;
    world.set("SMTP_PASS", "hunter2-hunter2");
    world.set("LE_CLIENT_SECRET", "hunter3-hunter3");
    world.set("TWILIO_AUTH_TOKEN", "hunter4-hunter4");
    world.set(
        "DATABASE_URL",
        format!("postgres://me:hunter5@127.0.0.1:{}/x", dead_port()),
    );
    let lines = world.examined().await;
    assert_eq!(failed(&lines).len(), 8, "{lines:#?}");
    let shown = doctor::table(&lines) + &serde_json::to_string(&lines).unwrap();
    assert!(!shown.contains("hunter"), "{shown}");
}

#[tokio::test]
async fn a_broken_database_is_told_with_its_mend() {
    let mut world = World::new().await;
    let url = world.database.url.clone();

    world.set(
        "DATABASE_URL",
        format!("postgres://me@127.0.0.1:{}/x", dead_port()),
    );
    assert_only_failure(
        &world.examined().await,
        "database",
        "connection",
        "Check that PostgreSQL runs",
    );

    let mut other = url::Url::parse(&url).unwrap();
    other.set_path("/no_such_database");
    world.set("DATABASE_URL", other.as_str());
    assert_only_failure(
        &world.examined().await,
        "database",
        "connection",
        "createdb",
    );

    let role = format!("limited_{:08x}", rand::random::<u32>());
    world
        .database
        .pool
        .execute(sqlx::AssertSqlSafe(format!("create role {role}")))
        .await
        .unwrap();
    let grants = format!(
        "grant usage on schema public, apalis to {role}; grant select on all tables in schema public, apalis to {role}"
    );
    world
        .database
        .pool
        .execute(sqlx::AssertSqlSafe(grants))
        .await
        .unwrap();
    let mut limited = url::Url::parse(&url).unwrap();
    limited
        .query_pairs_mut()
        .append_pair("options[role]", &role);
    world.set("DATABASE_URL", limited.as_str());
    let lines = world.examined().await;
    let mend = format!(
        "grant select, insert, update, delete on all tables in schema public, apalis to {role};
         grant usage on all sequences in schema public, apalis to {role}"
    );
    world
        .database
        .pool
        .execute(sqlx::AssertSqlSafe(mend))
        .await
        .unwrap();
    assert_well(&world).await;
    let drop_role = format!("drop owned by {role}; drop role {role}");
    world
        .database
        .pool
        .execute(sqlx::AssertSqlSafe(drop_role))
        .await
        .unwrap();
    assert_only_failure(&lines, "database", "permissions", "grant select, insert");

    let empty = database(b"nothing", async |_| Ok(())).await;
    world.set("DATABASE_URL", empty.url.clone());
    assert_only_failure(
        &world.examined().await,
        "database",
        "migrations",
        "unread migrate",
    );
    app::migrate(&empty.pool).await.unwrap();
    assert_well(&world).await;

    empty
        .pool
        .execute(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (9999, 'of the future', true, '', 0);
             update instance set value = '9999' where key = 'schema_compatible_from'",
        )
        .await
        .unwrap();
    assert_only_failure(
        &world.examined().await,
        "database",
        "migrations",
        "a newer one",
    );
    world.set("DATABASE_URL", url);
    assert_well(&world).await;
}

#[tokio::test]
async fn a_broken_liveperson_account_is_told_with_its_mend() {
    let mut world = World::new().await;

    let secret = world.settings["LE_CLIENT_SECRET"].clone();
    world.set("LE_CLIENT_SECRET", "wrong");
    let lines = world.examined().await;
    let first = failed(&lines)[0];
    assert_eq!(
        (first.part.as_str(), first.check.as_str()),
        (PART, "access token")
    );
    assert!(first.mend.as_deref().unwrap().contains("LE_CLIENT_SECRET"));
    world.set("LE_CLIENT_SECRET", secret);
    assert_well(&world).await;

    let faults = [
        (Endpoint::Skills, "skills", "skills API"),
        (Endpoint::Search, "conversations: search", "msghist"),
        (Endpoint::ById, "conversations: by id", "msghist"),
        (
            Endpoint::ByConsumer,
            "conversations: by consumer",
            "msghist",
        ),
    ];
    for (endpoint, check, mend) in faults {
        let number = world
            .sandbox
            .faults()
            .set(endpoint, Fault::Forbidden, When::UntilCleared);
        assert_only_failure(&world.examined().await, PART, check, mend);
        world.sandbox.faults().clear(number);
        assert_well(&world).await;
    }

    let clock = Clock::manual(Clock::System.now() - TimeDelta::minutes(5));
    assert_only_failure(
        &world.examined_at(&clock).await,
        PART,
        "clocks",
        "timedatectl",
    );
    assert_well(&world).await;

    world.set("LE_ACCOUNT", "99999999");
    let lines = world.examined().await;
    let first = failed(&lines)[0];
    assert_eq!(first.check, "domain lookup: msgHist");
    assert!(
        first.mend.as_deref().unwrap().contains("LE_ACCOUNT"),
        "{first:?}"
    );
}

#[tokio::test]
async fn a_broken_channel_is_told_with_its_mend() {
    let mut world = World::new().await;
    let well = world.settings.clone();
    let broken = [
        (
            "SMTP_PASS",
            "wrong".to_owned(),
            "e-mail",
            "mail server",
            "SMTP_PASS",
        ),
        (
            "SMTP_PORT",
            dead_port().to_string(),
            "e-mail",
            "mail server",
            "SMTP_HOST",
        ),
        (
            "SMTP_TLS",
            "starttls".to_owned(),
            "e-mail",
            "mail server",
            "no STARTTLS",
        ),
        (
            "TWILIO_AUTH_TOKEN",
            "f".repeat(32),
            "SMS",
            "credentials",
            "TWILIO_AUTH_TOKEN",
        ),
        (
            "TWILIO_FROM",
            "+15005550999".to_owned(),
            "SMS",
            "sender",
            "TWILIO_FROM",
        ),
        (
            "TWILIO_BASE_URL",
            format!("http://127.0.0.1:{}", dead_port()),
            "SMS",
            "credentials",
            "TWILIO_BASE_URL",
        ),
    ];
    for (key, value, part, check, mend) in broken {
        world.set(key, value);
        assert_only_failure(&world.examined().await, part, check, mend);
        world.settings.clone_from(&well);
        assert_well(&world).await;
    }
}

#[tokio::test]
async fn a_public_url_that_leads_elsewhere_is_told_and_one_that_leads_nowhere_is_unchecked() {
    let mut world = World::new().await;
    world.set("UNREAD_PUBLIC_URL", page_that_says("somebody else").await);
    assert_only_failure(&world.examined().await, "public URL", "reachable", "proxy");
    world.set("UNREAD_PUBLIC_URL", page_that_says("ok\n").await);
    assert_well(&world).await;

    world.set(
        "UNREAD_PUBLIC_URL",
        format!("http://127.0.0.1:{}", dead_port()),
    );
    world.set("PORT", dead_port().to_string());
    let lines = world.examined().await;
    assert!(failed(&lines).is_empty(), "{lines:#?}");
    let reachable = lines.iter().find(|line| line.check == "reachable").unwrap();
    assert_eq!(reachable.state, State::Unchecked);
    assert!(reachable.mend.as_deref().unwrap().contains("unread run"));
}

#[tokio::test]
async fn nothing_set_at_all_is_told_with_what_to_set() {
    let mut world = World::new().await;
    let url = world.settings.remove("DATABASE_URL").unwrap();
    world.settings.clear();
    world.set("DATABASE_URL", url);
    let lines = world.examined().await;
    let failed: Vec<&str> = failed(&lines)
        .iter()
        .map(|line| line.check.as_str())
        .collect();
    assert_eq!(failed, ["accounts", "channels"]);

    world.set("PORT", "x");
    let lines = doctor::of_settings(&world.config().unwrap_err());
    assert_only_failure(&lines, "settings", "PORT", "");
}
