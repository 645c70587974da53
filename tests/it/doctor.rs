//! `unread doctor` against the sandbox: quiet when all is well; with each thing broken in turn, the right line and its fix.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use sqlx::Executor as _;
use tokio::net::{TcpListener, UdpSocket};
use unread::clock::Clock;
use unread::config::{Config, ConfigError, ProcessRole, Sources};
use unread::doctor::{self, CheckState, DoctorFinding};
use unread::sandbox::faults::{Endpoint, Fault, FaultSpan};
use unread::sandbox::{Options, Sandbox};
use unread::{app, demo};

use crate::database::{TestDatabase, database};
use crate::process::{Settings, run, text};

/// Everything the service needs, well.
pub struct World {
    pub sandbox: Sandbox,
    pub database: TestDatabase,
    pub settings: BTreeMap<String, String>,
}

impl World {
    pub async fn new() -> Self {
        let sandbox = Sandbox::start(Options {
            smtp: demo::smtp_options(),
            ..Options::default()
        });
        let sandbox = sandbox.await.unwrap();
        let database = database(b"ledger and queue", app::migrate).await;
        let mut settings = demo::environment(sandbox.endpoints());
        let public_url = page_that_says("ok\n").await;
        let inbound = format!("{public_url}/twilio/inbound");
        sandbox.twilio().account().set_inbound_url(&inbound);
        settings.insert("DATABASE_URL".into(), database.url.clone());
        settings.insert("UNREAD_PAGE_URL".into(), "https://shop.example/help".into());
        settings.insert("UNREAD_PUBLIC_URL".into(), public_url);
        settings.insert("UNREAD_TIME_ZONE".into(), "Europe/Berlin".into());
        settings.insert(
            "UNREAD_SECRET".into(),
            "a key that is kept elsewhere, 0123456789".into(),
        );
        Self {
            sandbox,
            database,
            settings,
        }
    }

    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.settings.insert(key.to_owned(), value.into());
    }

    fn config(&self) -> Result<Config, ConfigError> {
        let sources = Sources {
            environment: self.settings.clone(),
            file: None,
            read_secret: |path| std::fs::read_to_string(path),
        };
        Config::read(&sources, ProcessRole::Doctor)
    }

    pub async fn examined(&self) -> Vec<DoctorFinding> {
        self.examined_at(&Clock::System).await
    }

    async fn examined_at(&self, clock: &Clock) -> Vec<DoctorFinding> {
        doctor::examine(&self.config().unwrap(), clock, &|_| ()).await
    }
}

/// A web server that answers `/healthz` with these words, and takes webhooks.
async fn page_that_says(words: &'static str) -> String {
    let webhooks = axum::routing::post(|| async {});
    served(page_without_webhooks(words).route("/twilio/status", webhooks)).await
}

fn page_without_webhooks(words: &'static str) -> axum::Router {
    axum::Router::new().route("/healthz", axum::routing::get(move || async move { words }))
}

async fn served(page: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, page).await });
    format!("http://{address}")
}

/// A port at which nobody listens.
pub fn dead_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub fn failed(lines: &[DoctorFinding]) -> Vec<&DoctorFinding> {
    lines
        .iter()
        .filter(|line| line.state == CheckState::Failed)
        .collect()
}

/// Exactly this check of this part failed, and its fix has these words.
fn assert_only_failure(lines: &[DoctorFinding], part: &str, check: &str, fix: &str) {
    let failed = failed(lines);
    assert!(!failed.is_empty(), "nothing failed: {lines:#?}");
    for line in failed {
        assert_eq!(
            (line.part.as_str(), line.check.as_str()),
            (part, check),
            "{line:?}"
        );
        let told = line.fix.as_deref().unwrap_or_default();
        assert!(told.contains(fix), "the fix is: {told}");
    }
    assert!(!doctor::healthy(lines));
}

/// What was broken has been fixed as told.
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
        assert_eq!(
            found.map(|l| l.state),
            Some(CheckState::Ok),
            "{part}, {check}"
        );
    };
    for check in [
        "connection",
        "version",
        "clocks",
        "extension hstore",
        "extension pgcrypto",
        "migrations",
        "permissions",
        "pooling",
        "address key",
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
    ok("SMS", "incoming messages");
    ok("public URL", "reachable");
    ok("public URL", "webhooks");
    let other = lines.iter().filter(|line| line.state != CheckState::Ok);
    let other: Vec<_> = other.map(|l| (l.check.as_str(), l.state)).collect();
    // The sandbox's sender has no domain, and links lead to this machine only.
    let wanted = [
        ("contradiction", CheckState::Warning),
        ("SPF", CheckState::Unchecked),
        ("DKIM", CheckState::Unchecked),
        ("DMARC", CheckState::Unchecked),
    ];
    assert_eq!(other, wanted);
}

#[tokio::test]
async fn a_key_beside_the_hashes_and_hashes_of_an_older_key_are_told() {
    let mut world = World::new().await;
    let said = async |world: &World| {
        let lines = world.examined().await;
        let line = lines.into_iter().find(|line| line.check == "address key");
        let line = line.unwrap();
        (line.state, line.found)
    };
    sqlx::query(
        "with own as (insert into accounts (id, created_at) values ('12345678', now()) on conflict do nothing)
         insert into suppressions (account, channel, address_hash, reason, source, created_at)
         values ('12345678', 'email', '\\x00', 'opted_out', 'operator', now())",
    )
    .execute(&world.database.pool)
    .await
    .unwrap();
    let (state, found) = said(&world).await;
    assert_eq!(state, CheckState::Ok);
    assert!(
        found.starts_with("1 suppressions are known under an older key"),
        "{found}"
    );
    world.settings.remove("UNREAD_SECRET");
    let (state, found) = said(&world).await;
    assert_eq!(state, CheckState::Warning);
    assert!(found.contains("in the database beside them"), "{found}");
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
    // Database, token, password of the mail server, token of Twilio.
    assert_eq!(failed(&lines).len(), 4, "{lines:#?}");
    let shown = doctor::table(&lines) + &serde_json::to_string(&lines).unwrap();
    assert!(!shown.contains("hunter"), "{shown}");
}

#[tokio::test]
async fn a_broken_database_is_told_with_its_fix() {
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
        "start PostgreSQL",
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
    let fix = format!(
        "grant select, insert, update, delete on all tables in schema public, apalis to {role};
         grant usage on all sequences in schema public, apalis to {role}"
    );
    world
        .database
        .pool
        .execute(sqlx::AssertSqlSafe(fix))
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
             values (99991231000000, 'of the future', true, '', 0);
             update instance set value = '99991231000000' where key = 'schema_compatible_from'",
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
async fn a_database_of_another_baseline_is_told_with_the_way_to_carry_it_over() {
    let mut world = World::new().await;
    let url = world.database.url.clone();
    let edited = database(b"ledger and queue", app::migrate).await;
    edited
        .pool
        .execute("update _sqlx_migrations set checksum = 'edited'")
        .await
        .unwrap();
    world.set("DATABASE_URL", edited.url.clone());
    assert_only_failure(
        &world.examined().await,
        "database",
        "migrations",
        "unread rules export",
    );
    world.set("DATABASE_URL", url);
    assert_well(&world).await;
}

#[tokio::test]
async fn hours_that_would_be_read_in_utc_are_warned_of() {
    let mut world = World::new().await;
    let about_hours = |lines: Vec<DoctorFinding>| -> Vec<(String, CheckState, String)> {
        let of_part = lines.into_iter().filter(|line| line.part == "hours");
        of_part
            .map(|line| (line.check, line.state, line.found))
            .collect()
    };
    let lines = about_hours(world.examined().await);
    let (check, state, found) = &lines[0];
    assert_eq!(
        (check.as_str(), *state),
        ("account 12345678", CheckState::Ok)
    );
    assert!(found.starts_with("Europe/Berlin"), "{found}");
    // Ten hours lie between Russia's ends, of eleven in which texts may be sent.
    let (_, _, numbers) = &lines[1];
    assert!(
        numbers.contains("toll-free") && numbers.contains("RU"),
        "{numbers}"
    );
    assert!(!numbers.contains("US"), "{numbers}");

    world.settings.remove("UNREAD_TIME_ZONE");
    let lines = about_hours(world.examined().await);
    assert_eq!(lines[0].1, CheckState::Warning);
    assert!(lines[0].2.contains("UTC"), "{lines:?}");

    // A rule that names a zone, and one without hours, need none of the account's.
    for (settings, state) in [
        ("{\"time_zone\": \"Asia/Tokyo\"}", CheckState::Ok),
        (
            "{\"channels\": {\"sms\": {\"quiet_hours\": {\"allowed\": [], \"by_country\": {}}}}}",
            CheckState::Ok,
        ),
        ("{}", CheckState::Warning),
    ] {
        let given = serde_json::from_str(settings).unwrap();
        let over = [unread::domain::ids::Channel::Sms];
        let settings = unread::domain::rule::RuleSettings::parse(&over, given).unwrap();
        let key = unread::domain::rule::RuleKey {
            account: "12345678".parse().unwrap(),
            skill: None,
        };
        let now = Clock::System.now();
        let mut conn = world.database.pool.acquire().await.unwrap();
        unread::db::accounts::ensure(
            &world.database.pool,
            std::slice::from_ref(&key.account),
            now,
        )
        .await
        .unwrap();
        unread::db::rules::put(&mut conn, &key, true, &settings, "test", now)
            .await
            .unwrap();
        drop(conn);
        let lines = about_hours(world.examined().await);
        assert_eq!(lines[0].1, state, "{lines:?}");
    }
}

#[tokio::test]
async fn a_broken_liveperson_account_is_told_with_its_fix() {
    let mut world = World::new().await;

    let secret = world.settings["LE_CLIENT_SECRET"].clone();
    world.set("LE_CLIENT_SECRET", "wrong");
    let lines = world.examined().await;
    let first = failed(&lines)[0];
    assert_eq!(
        (first.part.as_str(), first.check.as_str()),
        (PART, "access token")
    );
    assert!(first.fix.as_deref().unwrap().contains("LE_CLIENT_SECRET"));
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
    for (endpoint, check, fix) in faults {
        let number =
            world
                .sandbox
                .faults()
                .set(endpoint, Fault::Forbidden, FaultSpan::UntilCleared);
        assert_only_failure(&world.examined().await, PART, check, fix);
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
        first.fix.as_deref().unwrap().contains("LE_ACCOUNT"),
        "{first:?}"
    );
}

#[tokio::test]
async fn a_broken_channel_is_told_with_its_fix() {
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
    for (key, value, part, check, fix) in broken {
        world.set(key, value);
        assert_only_failure(&world.examined().await, part, check, fix);
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
    assert_eq!(reachable.state, CheckState::Unchecked);
    assert!(reachable.fix.as_deref().unwrap().contains("unread run"));
}

/// A DNS server that knows these texts; a name exists if it or something below it has one.
async fn dns(texts: &'static [(&'static str, &'static str)]) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut asked = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut asked).await.unwrap();
            let question = &asked[12..length];
            let mut labels = Vec::new();
            let mut rest = question;
            while rest[0] > 0 {
                let (label, following) = rest[1..].split_at(usize::from(rest[0]));
                labels.push(std::str::from_utf8(label).unwrap());
                rest = following;
            }
            let name = labels.join(".");
            let below = format!(".{name}");
            let exists = |known: &str| known == name || known.ends_with(&below);
            let code = u8::from(!texts.iter().any(|(known, _)| exists(known))) * 3;
            let found = texts.iter().filter(|(known, _)| *known == name);
            let found: Vec<&str> = found.map(|(_, text)| *text).collect();
            let mut told = [&asked[..2], &[0x81, 0x80 | code, 0, 1, 0][..]].concat();
            told.push(u8::try_from(found.len()).unwrap());
            told.extend([0; 4]);
            told.extend(question);
            for text in found {
                let length = u8::try_from(text.len()).unwrap();
                told.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 9, 0, length + 1, length]);
                told.extend(text.bytes());
            }
            socket.send_to(&told, from).await.unwrap();
        }
    });
    address.to_string()
}

/// State and fix of the three checks of the sender's domain.
async fn of_the_domain(world: &World) -> [(CheckState, String); 3] {
    let lines = world.examined().await;
    ["SPF", "DKIM", "DMARC"].map(|check| {
        let line = lines.iter().find(|line| line.check == check).unwrap();
        (line.state, line.fix.clone().unwrap_or_default())
    })
}

#[tokio::test]
async fn a_sender_s_domain_that_receivers_distrust_is_told_with_its_fix() {
    let mut world = World::new().await;
    world.set("SMTP_FROM", "hello@news.shop.com");
    let well: &[(&str, &str)] = &[
        ("news.shop.com", "v=spf1 include:mail.com -all"),
        ("s1._domainkey.news.shop.com", "v=DKIM1; p=MIGf"),
        ("_dmarc.shop.com", "v=DMARC1; p=quarantine"),
    ];
    let server = dns(well).await;
    world.set("UNREAD_DNS_SERVER", server.clone());
    world.set("SMTP_DKIM_SELECTOR", "s1");
    let told = of_the_domain(&world).await;
    assert_eq!(told, [(); 3].map(|()| (CheckState::Ok, String::new())));

    world.settings.remove("SMTP_DKIM_SELECTOR");
    let [_, (state, fix), _] = of_the_domain(&world).await;
    assert_eq!(state, CheckState::Unchecked);
    assert!(fix.contains("SMTP_DKIM_SELECTOR"), "{fix}");

    world.set("SMTP_DKIM_SELECTOR", "s2");
    let lines = world.examined().await;
    assert_only_failure(&lines, "e-mail", "DKIM", "SMTP_DKIM_SELECTOR");

    world.settings.remove("SMTP_DKIM_SELECTOR");
    let bare: &[(&str, &str)] = &[("news.shop.com", "v=spf1 -all")];
    world.set("UNREAD_DNS_SERVER", dns(bare).await);
    let lines = world.examined().await;
    assert_only_failure(&lines, "e-mail", "SPF", "SMTP_FROM");
    let [_, (dkim, _), (dmarc, fix)] = of_the_domain(&world).await;
    assert_eq!([dkim, dmarc], [CheckState::Warning; 2]);
    assert!(fix.contains("_dmarc.news.shop.com"), "{fix}");

    world.set("UNREAD_DNS_SERVER", dns(&[("shop.com", "")]).await);
    let lines = world.examined().await;
    assert_only_failure(&lines, "e-mail", "SPF", "SMTP_FROM");

    // Nobody to ask: not known, and neither good nor bad.
    world.set("UNREAD_DNS_SERVER", format!("127.0.0.1:{}", dead_port()));
    for (state, fix) in of_the_domain(&world).await {
        assert_eq!(state, CheckState::Unchecked);
        assert!(fix.contains("UNREAD_DNS_SERVER"), "{fix}");
    }
    world.set("UNREAD_DNS_SERVER", server);
    assert_well(&world).await;
}

#[tokio::test]
async fn twilio_s_way_back_to_us_is_told_when_it_is_blocked() {
    let mut world = World::new().await;
    let public_url = world.settings["UNREAD_PUBLIC_URL"].clone();
    let deaf = served(page_without_webhooks("ok\n")).await;
    world.set("UNREAD_PUBLIC_URL", deaf);
    let lines = world.examined().await;
    assert_only_failure(&lines, "public URL", "webhooks", "/twilio/");
    world.set("UNREAD_PUBLIC_URL", public_url.clone());
    assert_well(&world).await;

    let account = world.sandbox.twilio().account();
    account.set_inbound_url("https://me:hunter2@somewhere.test/sms");
    let lines = world.examined().await;
    let line = lines.iter().find(|l| l.check == "incoming messages");
    let line = line.unwrap();
    assert_eq!(line.state, CheckState::Warning);
    assert!(!format!("{line:?}").contains("hunter2"), "{line:?}");
    let fix = line.fix.as_deref().unwrap();
    let inbound = format!("{public_url}/twilio/inbound");
    assert!(fix.contains(&inbound), "{fix}");
}

#[tokio::test]
async fn a_database_whose_clock_is_wrong_is_told() {
    let mut world = World::new().await;
    let late = "create schema late;
         create function late.clock_timestamp() returns timestamptz language sql
         as $$select pg_catalog.clock_timestamp() - interval '5 minutes'$$";
    world.database.pool.execute(late).await.unwrap();
    let mut url = url::Url::parse(&world.database.url).unwrap();
    url.query_pairs_mut()
        .append_pair("options[search_path]", "public,late,pg_catalog");
    world.set("DATABASE_URL", url.as_str());
    assert_only_failure(&world.examined().await, "database", "clocks", "NTP");
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

/// The one line of the database that failed, and its fix.
async fn database_failure(world: &World) -> (String, String) {
    let lines = world.examined().await;
    let of_database: Vec<&DoctorFinding> = failed(&lines)
        .into_iter()
        .filter(|line| line.part == "database")
        .collect();
    let [line] = of_database[..] else {
        panic!("{of_database:#?}");
    };
    (line.found.clone(), line.fix.clone().unwrap_or_default())
}

#[tokio::test]
async fn why_the_database_is_not_reached_is_told_apart() {
    let mut world = World::new().await;
    let port = dead_port();
    let (silent, _kept) = silent_port();
    let cases = [
        (
            format!("postgres://127.0.0.1:{port}/unread"),
            "refused",
            "Nothing listens there",
        ),
        (
            "postgres://database.invalid/unread".to_owned(),
            "lookup",
            "The host name is unknown",
        ),
        (
            format!("postgres://127.0.0.1:{silent}/unread"),
            "five seconds",
            "swallows",
        ),
        (
            "postgres:///unread?host=/nonexistent".to_owned(),
            "not reached",
            "no such socket",
        ),
    ];
    for (url, found, fix) in cases {
        world.set("DATABASE_URL", url.clone());
        let (said, help) = database_failure(&world).await;
        assert!(said.contains(found), "{url}: {said}");
        assert!(help.contains(fix), "{url}: {help}");
        assert!(!said.contains("pool"), "{said}");
    }
    world.sandbox.stop().await;
}

/// A port that takes connections and says nothing.
pub fn silent_port() -> (u16, std::net::TcpListener) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap().port(), listener)
}

#[tokio::test]
async fn a_database_that_takes_no_changes_is_red_and_so_are_too_few_connections() {
    let mut world = World::new().await;
    let name: String = sqlx::query_scalar("select current_database()")
        .fetch_one(&world.database.pool)
        .await
        .unwrap();
    let set = async |what: &str| {
        let sql = format!("alter database {name} set default_transaction_read_only = {what}");
        world.database.pool.execute(sqlx::AssertSqlSafe(sql)).await
    };
    set("on").await.unwrap();
    let (said, fix) = database_failure(&world).await;
    assert!(
        said.contains("takes no changes") && fix.contains("disk is full"),
        "{said} {fix}"
    );
    // What a session may do all the same it may undo.
    let sql = format!(
        "set default_transaction_read_only = off; alter database {name} reset default_transaction_read_only"
    );
    world
        .database
        .pool
        .execute(sqlx::AssertSqlSafe(sql))
        .await
        .unwrap();

    world.set("UNREAD_DATABASE_CONNECTIONS_IN_ALL", "5000");
    let (said, fix) = database_failure(&world).await;
    assert!(said.contains("all processes may want 5000"), "{said}");
    assert!(fix.contains("max_connections"), "{fix}");
    world.sandbox.stop().await;
}

#[tokio::test]
async fn a_wrong_secret_is_one_red_line_and_what_needs_the_token_is_not_tried() {
    let mut world = World::new().await;
    world.set("LE_CLIENT_SECRET", "a secret of somebody else");
    let lines = world.examined().await;
    let red = failed(&lines);
    let [line] = red[..] else {
        panic!("{red:#?}");
    };
    assert_eq!(line.check, "access token");
    let untried: Vec<&str> = lines
        .iter()
        .filter(|line| line.found.starts_with("not tried"))
        .map(|line| line.check.as_str())
        .collect();
    assert!(untried.contains(&"skills"), "{lines:#?}");
    world.sandbox.stop().await;
}

#[tokio::test]
async fn diagnostics_have_the_build_and_the_findings_and_no_value_of_a_setting() {
    let world = World::new().await;
    let settings: Settings = world.settings.clone().into_iter().collect();
    let output = run(&["diagnostics"], &settings).await;
    assert!(output.status.success());
    let told = text(&output.stdout);
    for word in [
        "schema",
        "UNREAD_SECRET",
        "SMTP_PASS",
        "database",
        "migrations",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    for name in [
        "DATABASE_URL",
        "UNREAD_SECRET",
        "SMTP_PASS",
        "LE_CLIENT_SECRET",
        "TWILIO_AUTH_TOKEN",
    ] {
        let value = &world.settings[name];
        assert!(!told.contains(value.as_str()), "{name}: {told}");
    }
    world.sandbox.stop().await;
}
