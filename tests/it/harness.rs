//! The service on a stage: its real parts in this process, before a sandbox, on a database of the test's own.
//!
//! The clocks stand still until the test moves them, so that a day passes in a moment and nothing is a matter of luck. The
//! scheduler's loop does not run: a test ticks it. Whatever people received must have been looked at when the test ends, and no job
//! of the queue may have failed: what a test does not expect is a failure, not noise.

use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgPool};
use tokio_util::sync::CancellationToken;
use unread::app::{self, Database, RoleSet, Start};
use unread::channel::render::Texts;
use unread::clock::Clock;
use unread::config::{self, Config, Sources};
use unread::control::accounts::Accounts;
use unread::db;
use unread::domain::access::{Permission, Rights};
use unread::domain::ids::{AccountId, Channel};
use unread::domain::rule::{RuleKey, RuleSettings, Step, When};
use unread::hashing::Hasher;
use unread::jobs::context::Context;
use unread::postgres::Durability;
use unread::sandbox::clock::WorldClock;
use unread::sandbox::outbox::{Mail, OutboxMessage, Text};
use unread::sandbox::smtp::SmtpOptions;
use unread::sandbox::world::{CUSTOMER_CARE, World};
use unread::sandbox::{ACCOUNT, Options, Sandbox};
use unread::scheduler::Scheduler;
use unread::web::access::Route;
use unread::{demo, jobs, web};

use crate::database::{OwnServer, TestDatabase, database, database_on};
use crate::person::{Person, Program};
use crate::wire::Wire;

/// Far above what anything here takes on a machine that is ten times as slow and busy with other tests: who waits this long waits for what
/// does not come. No test has a patience of its own.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A Monday, inside everybody's default hours.
pub fn noon() -> DateTime<Utc> {
    "2026-01-05T12:00:00Z".parse().unwrap()
}

pub fn account() -> AccountId {
    ACCOUNT.parse().unwrap()
}

/// The account's default rule.
pub fn default_rule() -> RuleKey {
    RuleKey {
        account: account(),
        skill: None,
    }
}

/// A step that is always sent; its rule gives it an id.
pub fn step(channel: Channel, minutes: i64) -> Step {
    Step {
        id: 0,
        channel,
        after: TimeDelta::minutes(minutes),
        when: When::Always,
    }
}

/// The same for who was not reached by the steps before it.
pub fn fallback(channel: Channel, minutes: i64) -> Step {
    Step {
        when: When::IfNotReached,
        ..step(channel, minutes)
    }
}

/// The tables, with every account live on every channel from the moment it is known: most tests are about what is sent. Those about
/// going live call [`not_live`] first.
pub async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    app::migrate(pool).await?;
    #[cfg(feature = "test-channel")]
    sqlx::raw_sql(PROBE_IS_A_WORD).execute(pool).await?;
    live_at_once(pool).await?;
    Ok(())
}

/// What the migration of a new channel does.
#[cfg(feature = "test-channel")]
const PROBE_IS_A_WORD: &str = "
    alter domain channel drop constraint channel_known;
    alter domain channel add constraint channel_known check (value in ('email', 'sms', 'probe'));
    alter domain provider drop constraint provider_known;
    alter domain provider add constraint provider_known check (value in ('smtp', 'twilio', 'probe'));";

/// From here on an account is live on every channel from the moment it is known.
pub async fn live_at_once(pool: &PgPool) -> sqlx::Result<()> {
    let channels = Channel::ALL
        .map(|channel| format!("'{channel}'"))
        .join(", ");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "create function live_at_once() returns trigger language plpgsql as $$ begin
             insert into live (account, channel, since, by_whom, at)
             select new.id, c, 'epoch', 'test', now() from unnest(array[{channels}]) c;
             return new;
         end $$;
         create trigger live_at_once after insert on accounts for each row execute function live_at_once();",
    )))
    .execute(pool)
    .await?;
    Ok(())
}

/// From here on no account is live by itself, and none that is known.
pub async fn not_live(pool: &PgPool) {
    sqlx::raw_sql("drop trigger live_at_once on accounts; delete from live")
        .execute(pool)
        .await
        .unwrap();
}

/// What the command line sees: the whole installation.
pub fn everything() -> Accounts {
    Accounts::of_installation(vec![account()])
}

/// A database with all tables.
pub async fn migrated() -> TestDatabase {
    database(&fingerprint(), migrate).await
}

/// The same on a server of the test's own.
pub async fn migrated_on(server: &OwnServer) -> TestDatabase {
    let url = server.server().url("postgres").parse().unwrap();
    database_on(url, &fingerprint(), migrate).await
}

fn fingerprint() -> Vec<u8> {
    let ours = sqlx::migrate!();
    let queues = sqlx::migrate!("crates/queue/migrations");
    let sums = ours.iter().chain(queues.iter()).map(|m| m.checksum.clone());
    // apalis' own migrations come with its version.
    let mut fingerprint: Vec<u8> = sums.flat_map(std::borrow::Cow::into_owned).collect();
    fingerprint.extend(include_bytes!("../../Cargo.lock"));
    fingerprint.extend(Channel::ALL.map(Channel::as_str).concat().into_bytes());
    fingerprint
}

/// A port of loopback that nobody listens on. Not one that the system would give to an outgoing connection of another test.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 100).unwrap() * 100;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::SeqCst)) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// What a test needs is not installed, so nothing is tested. A failure where everything is to be tested.
pub fn skipped(why: &str) {
    let must_be_complete = std::env::var_os("UNREAD_TESTS_COMPLETE").is_some_and(|set| set == "1");
    assert!(!must_be_complete, "UNREAD_TESTS_COMPLETE is set, and {why}");
    eprintln!("SKIPPED: {why}");
}

/// Looks again until it is so; fails when that takes too long.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let came_true = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, came_true).await;
    assert!(in_time.is_ok(), "it never came true that {what}");
}

/// How a stage differs from the usual one.
#[derive(Default)]
pub struct Setup {
    /// Settings over those of the demonstration.
    pub settings: Vec<(&'static str, &'static str)>,
    /// LivePerson accounts beside the sandbox's own.
    pub accounts: Vec<&'static str>,
    /// What an account has of its own, as lines below its `[[account]]`.
    pub own: Vec<(&'static str, String)>,
    /// The sandbox's clock, where servers of the test share it.
    pub world_clock: Option<WorldClock>,
    /// When it is, if not [`noon`].
    pub now: Option<DateTime<Utc>>,
    /// The service reaches its database over a [`Wire`].
    pub lossy_wire: bool,
    /// Real time, on a machine whose clock is wrong by so much; nothing moves it.
    pub real_time: Option<TimeDelta>,
    /// A database that is there already, if not on the server that all tests share.
    pub database: Option<TestDatabase>,
    /// The sandbox's mail server, if not the demonstration's.
    pub smtp: Option<SmtpOptions>,
    /// The test channel is configured, too.
    #[cfg(feature = "test-channel")]
    pub probe: bool,
}

/// Runs a test on a stage of its own.
pub async fn run_test(test: impl AsyncFnOnce(&TestApp)) {
    run_test_with(Setup::default(), test).await;
}

pub async fn run_test_with(setup: Setup, test: impl AsyncFnOnce(&TestApp)) {
    let stage = Box::pin(TestApp::start(setup)).await;
    test(&stage).await;
    stage.strike().await;
}

/// The service, its surroundings and what a test can do with them.
pub struct TestApp {
    pub database: TestDatabase,
    pub sandbox: Sandbox,
    pub clock: Clock,
    pub http: reqwest::Client,
    pub web: String,
    pub metrics: String,
    scheduler: Scheduler,
    running: app::Running,
    shutdown: CancellationToken,
    looked: Mutex<HashSet<u64>>,
    wire: Option<Wire>,
}

/// A row of the ledger.
#[derive(Clone, Debug, FromRow)]
pub struct Reminder {
    pub id: i64,
    pub conversation: String,
    pub step: i16,
    pub state: String,
    pub reason: Option<String>,
    pub tries: i32,
    pub due_at: DateTime<Utc>,
    pub next_at: Option<DateTime<Utc>>,
    pub sent_at: Option<DateTime<Utc>>,
    pub returned_at: Option<DateTime<Utc>>,
    pub clicked_at: Option<DateTime<Utc>>,
    pub token: String,
}

impl Reminder {
    /// State and reason, as one reads them: `cancelled (read)`.
    pub fn told(&self) -> String {
        match (self.state.as_str(), &self.reason) {
            ("sent" | "delivered" | "sending", _) | (_, None) => self.state.clone(),
            (state, Some(reason)) => format!("{state} ({reason})"),
        }
    }
}

impl TestApp {
    async fn start(mut setup: Setup) -> Self {
        let database = match setup.database.take() {
            Some(database) => database,
            None => migrated().await,
        };
        let now = setup.now.unwrap_or_else(noon);
        let (clock, world_clock) = match setup.real_time {
            None => {
                let world = setup.world_clock.clone();
                let world = world.unwrap_or_else(|| WorldClock::manual(now));
                (Clock::manual(now), world)
            }
            Some(error) => (
                Clock::of_database_on_a_wrong_machine(error),
                WorldClock::real(),
            ),
        };
        let sandbox = Sandbox::start(Options {
            smtp: setup.smtp.clone().unwrap_or_else(demo::smtp_options),
            clock: world_clock,
            ..Options::default()
        });
        let sandbox = sandbox.await.expect("a sandbox");
        for account in &setup.accounts {
            sandbox.world().add_account(account);
        }
        let (port, metrics_port) = (free_port(), free_port());
        let wire = if setup.lossy_wire {
            Some(Wire::to(&database.url).await)
        } else {
            None
        };
        let url = wire.as_ref().map_or(database.url.clone(), Wire::url);
        let config = config(&setup, &sandbox, &url, port, metrics_port);

        let inbound = format!("http://127.0.0.1:{port}/twilio/inbound");
        sandbox.twilio().account().set_inbound_url(&inbound);
        let shutdown = CancellationToken::new();
        let start = Start {
            parts: RoleSet {
                scheduler: false,
                ..RoleSet::ALL
            },
            clock: clock.clone(),
            migrate: false,
            demo: None,
            examine: unread::doctor::find_broken,
            shutdown: shutdown.clone(),
        };
        let server = Database::open(&config, Durability::Throwaway)
            .await
            .unwrap();
        let running = app::start(&config, &server, start).await.unwrap();
        let scheduler = app::scheduler(&config, &running.pool, &clock).unwrap();
        let stage = Self {
            database,
            sandbox,
            clock,
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .user_agent("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
                .build()
                .unwrap(),
            web: format!("http://127.0.0.1:{port}"),
            metrics: format!("http://127.0.0.1:{metrics_port}/metrics"),
            scheduler,
            running,
            shutdown,
            looked: Mutex::default(),
            wire,
        };
        // From here on the skills are known and were scanned, and the hour's deep scans are done.
        for _ in 0..3 {
            stage.tick().await;
        }
        stage
    }

    pub fn pool(&self) -> &PgPool {
        &self.database.pool
    }

    pub fn wire(&self) -> &Wire {
        self.wire.as_ref().expect("a stage with a lossy wire")
    }

    /// The installation's own: the same hashes as in its tables.
    pub async fn hasher(&self) -> Hasher {
        let key: String =
            sqlx::query_scalar("select value from instance where key = 'address_hash_key'")
                .fetch_one(self.pool())
                .await
                .unwrap();
        Hasher::new(key.as_bytes())
    }

    /// What happens in LivePerson, dated by the stage's clock.
    pub fn world(&self) -> &World {
        self.sandbox.world()
    }

    /// A visitor with this address (an e-mail address, or a phone number that begins with `+`) has asked, and an agent has
    /// answered just now.
    pub fn answered(&self, address: &str) -> String {
        self.answered_in(ACCOUNT, CUSTOMER_CARE, address)
    }

    pub fn answered_in(&self, account: &str, skill: i64, address: &str) -> String {
        let world = self.world();
        // By the clock of the tests: numbers would say where they are from, and what the time is there.
        let opening = world
            .conversation(account, skill)
            .consumer("Ann", "Other")
            .time_zone("UTC");
        let opening = if address.starts_with('+') {
            opening.phone(address)
        } else {
            opening.email(address)
        };
        let conversation = opening.start();
        world.consumer_says(&conversation, "Do you have it in green?");
        world.agent_says(&conversation, "Yes, we do.");
        conversation
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// So much time passes, and what is due meanwhile happens. No scheduler ticks.
    pub async fn advance_by(&self, by: TimeDelta) {
        // Real time goes by itself.
        if let Clock::Manual(_) = self.clock {
            self.clock.advance(by);
            self.world().clock().advance(by);
        }
        self.settle().await;
    }

    /// As [`TestApp::advance_by`], in minutes.
    pub async fn advance(&self, minutes: i64) {
        self.advance_by(TimeDelta::minutes(minutes)).await;
    }

    /// A second passes, the scheduler ticks, and what is due happens: every tick scans.
    pub async fn tick(&self) {
        self.advance_by(TimeDelta::seconds(1)).await;
        self.scheduler.tick().await.expect("a tick");
        self.settle().await;
    }

    /// As [`TestApp::tick`], without waiting for what happens then.
    pub async fn tick_only(&self) {
        if let Clock::Manual(_) = self.clock {
            self.clock.advance(TimeDelta::seconds(1));
            self.world().clock().advance(TimeDelta::seconds(1));
        }
        self.scheduler.tick().await.expect("a tick");
    }

    /// What takes lists of opt-outs one at a time.
    pub fn imports(&self) -> &unread::control::suppressions::Imports {
        &self.running.state.imports
    }

    /// The settings that the service was started with.
    pub fn config(&self) -> &Config {
        &self.running.state.config
    }

    /// What the service's jobs and pages work with.
    pub fn context(&self) -> &Context {
        &self.running.state.context
    }

    /// Ticks until it is so.
    pub async fn tick_until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        eventually(what, async || {
            self.tick().await;
            holds().await
        })
        .await;
    }

    /// Advances, a second at a time, until it is so: on a busy machine what a try was based on may grow old, and it is made again.
    pub async fn advance_until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        eventually(what, async || {
            let so = holds().await;
            if !so {
                self.advance_by(TimeDelta::seconds(1)).await;
            }
            so
        })
        .await;
    }

    /// Waits until nothing that is due is left in the queue.
    pub async fn settle(&self) {
        // The workers cannot know that the clock was moved by hand.
        sqlx::query("select pg_notify('unread_queue', queue) from unnest($1::text[]) as queue")
            .bind(
                [
                    jobs::names::SCAN,
                    jobs::names::ADVANCE,
                    jobs::names::HINT,
                    jobs::names::UPKEEP,
                ]
                .into_iter()
                .chain(Channel::ALL.map(jobs::names::deliver_queue))
                .collect::<Vec<_>>(),
            )
            .execute(self.pool())
            .await
            .unwrap();
        eventually("the queue has nothing due", async || {
            sqlx::query_scalar(
                "select not exists (select from apalis.jobs where lock_by is not null)
                    and not exists (select from apalis.jobs where status = 'Pending' and run_at <= $1)",
            )
            .bind(self.now())
            .fetch_one(self.pool())
            .await
            .unwrap()
        })
        .await;
    }

    fn new_messages(&self) -> Vec<OutboxMessage> {
        let looked = self.looked.lock().unwrap();
        let mut messages = self.sandbox.outbox().messages();
        messages.retain(|message| !looked.contains(&message.id()));
        messages
    }

    /// The e-mails that arrived since the test last looked.
    pub fn mails(&self) -> Vec<Arc<Mail>> {
        let mails: Vec<Arc<Mail>> = self
            .new_messages()
            .into_iter()
            .filter_map(|message| match message {
                OutboxMessage::Mail(mail) => Some(mail),
                OutboxMessage::Text(_) => None,
            })
            .collect();
        self.looked
            .lock()
            .unwrap()
            .extend(mails.iter().map(|mail| mail.id));
        mails
    }

    /// The text messages that arrived since the test last looked.
    pub fn texts(&self) -> Vec<Arc<Text>> {
        let texts: Vec<Arc<Text>> = self
            .new_messages()
            .into_iter()
            .filter_map(|message| match message {
                OutboxMessage::Text(text) => Some(text),
                OutboxMessage::Mail(_) => None,
            })
            .collect();
        self.looked
            .lock()
            .unwrap()
            .extend(texts.iter().map(|text| text.id));
        texts
    }

    /// The ledger, oldest first.
    pub async fn reminders(&self) -> Vec<Reminder> {
        sqlx::query_as("select * from reminders order by id")
            .fetch_all(self.pool())
            .await
            .unwrap()
    }

    /// What became of each reminder of a conversation, oldest first: `sent`, `cancelled (read)`.
    pub async fn story(&self, conversation: &str) -> Vec<String> {
        let reminders = self.reminders().await.into_iter();
        reminders
            .filter(|reminder| reminder.conversation == conversation)
            .map(|reminder| reminder.told())
            .collect()
    }

    /// The decision log of a conversation: `stage verdict reason`.
    pub async fn decisions(&self, conversation: &str) -> Vec<String> {
        sqlx::query_scalar(
            "select stage || ' ' || verdict || ' ' || reason from decision_log where conversation = $1 order by id",
        )
        .bind(conversation)
        .fetch_all(self.pool())
        .await
        .unwrap()
    }

    /// Why there is, or is not, a reminder for a conversation, as its row has it now.
    pub async fn reason(&self, conversation: &str) -> Option<String> {
        sqlx::query_scalar("select reason from conversations where id = $1")
            .bind(conversation)
            .fetch_optional(self.pool())
            .await
            .unwrap()
            .flatten()
    }

    /// Why the steps of a channel are passed over for a conversation, as its row has it now.
    pub async fn passed_over(&self, conversation: &str, channel: Channel) -> Option<String> {
        sqlx::query_scalar("select passed_over ->> $2 from conversations where id = $1")
            .bind(conversation)
            .bind(channel.as_str())
            .fetch_optional(self.pool())
            .await
            .unwrap()
            .flatten()
    }

    /// Makes the account's default rule one over this channel alone, the usual one but for what is changed.
    pub async fn rule(&self, channel: Channel, change: impl FnOnce(&mut RuleSettings)) {
        self.rule_over(&[channel], change).await;
    }

    /// The same over several channels.
    pub async fn rule_over(&self, channels: &[Channel], change: impl FnOnce(&mut RuleSettings)) {
        self.rule_for(&default_rule(), channels, change).await;
    }

    /// The same for any key. As in a file that names no ids: a step that the rule has already keeps its id.
    pub async fn rule_for(
        &self,
        key: &RuleKey,
        channels: &[Channel],
        change: impl FnOnce(&mut RuleSettings),
    ) {
        let mut settings = RuleSettings::default_for(channels);
        for step in &mut settings.steps {
            step.id = 0;
        }
        change(&mut settings);
        let mut conn = self.pool().acquire().await.unwrap();
        settings.number_steps(&db::rules::known_steps(&mut conn, key).await.unwrap());
        db::rules::put(&mut conn, key, true, &settings, "test", self.now())
            .await
            .unwrap();
    }

    /// Changes the account's default rule as it stands; steps keep their ids.
    pub async fn edit_rule(&self, change: impl FnOnce(&mut RuleSettings)) {
        let key = default_rule();
        let mut conn = self.pool().acquire().await.unwrap();
        let rule = db::rules::find(&mut *conn, &key).await.unwrap();
        let mut settings = rule.expect("a rule").settings;
        change(&mut settings);
        settings.number_steps(&db::rules::known_steps(&mut conn, &key).await.unwrap());
        db::rules::put(&mut conn, &key, true, &settings, "test", self.now())
            .await
            .unwrap();
    }

    /// What the service answers to a GET: status and body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.http.get(format!("{}{path}", self.web)).send().await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Every route of the dashboard and the config API.
    pub fn routes(&self) -> Vec<Route> {
        web::guarded(&self.running.state).1
    }

    /// What reads and fills in the texts of reminders.
    pub fn wording(&self) -> &Texts {
        &self.running.state.context.texts
    }

    /// Somebody of this role who is logged in.
    pub async fn person(&self, rights: impl Into<Rights>) -> Person {
        let rights = rights.into();
        Person::new(self.pool(), &self.clock, &self.http, &self.web, &rights).await
    }

    /// A program with a token of these scopes.
    pub async fn program(&self, scopes: &[Permission]) -> Program {
        Program::new(self.pool(), &self.clock, &self.http, &self.web, scopes).await
    }

    async fn strike(self) {
        self.settle().await;
        let unseen = self.new_messages();
        assert!(unseen.is_empty(), "messages nobody expected: {unseen:#?}");
        let failed: Vec<(String, Option<serde_json::Value>)> = sqlx::query_as(
            "select job_type, last_result from apalis.jobs where attempts > 0 or status = 'Killed'",
        )
        .fetch_all(self.pool())
        .await
        .unwrap();
        assert!(failed.is_empty(), "jobs failed: {failed:?}");
        self.shutdown.cancel();
        self.running.finish().await.expect("an orderly end");
        self.sandbox.stop().await;
    }
}

fn config(setup: &Setup, sandbox: &Sandbox, url: &str, port: u16, metrics_port: u16) -> Config {
    let endpoints = sandbox.endpoints();
    let mut environment = demo::environment(endpoints);
    #[cfg(feature = "test-channel")]
    if setup.probe {
        environment.insert("PROBE_URL".to_owned(), sandbox.probe().url());
        let secret = unread::sandbox::probe::SECRET.to_owned();
        environment.insert("PROBE_SECRET".to_owned(), secret);
        environment.insert("PROBE_RATE_PER_SECOND".to_owned(), "10000".to_owned());
    }
    let port = port.to_string();
    let metrics_port = metrics_port.to_string();
    let public = format!("http://127.0.0.1:{port}");
    for (key, value) in [
        ("DATABASE_URL", url),
        ("UNREAD_DATABASE_CONNECTIONS", "8"),
        ("UNREAD_BIND", "127.0.0.1"),
        ("PORT", &port),
        ("UNREAD_METRICS_BIND", "127.0.0.1"),
        ("UNREAD_METRICS_PORT", &metrics_port),
        ("UNREAD_PUBLIC_URL", &public),
        ("TWILIO_FROM", "+15005550006"),
        // Every tick scans, and nobody waits for a turn.
        ("UNREAD_SCAN_INTERVAL_SECONDS", "1"),
        ("UNREAD_LIVEPERSON_RATE_PER_SECOND", "10000"),
        ("SMTP_RATE_PER_SECOND", "10000"),
        ("TWILIO_RATE_PER_SECOND", "10000"),
    ]
    .into_iter()
    .chain(setup.settings.iter().copied())
    {
        environment.insert(key.to_owned(), value.to_owned());
    }
    let mut file = None;
    if !setup.accounts.is_empty() {
        file = Some((
            "test.toml".to_owned(),
            accounts(setup, sandbox, &mut environment),
        ));
    }
    let sources = Sources {
        environment,
        file,
        read_secret: |path: &Path| std::fs::read_to_string(path),
    };
    Config::read(&sources, config::ProcessRole::Run).expect("settings")
}

/// Several accounts are named in a file, not in the environment.
fn accounts(
    setup: &Setup,
    sandbox: &Sandbox,
    environment: &mut BTreeMap<String, String>,
) -> String {
    for key in [
        "LE_ACCOUNT",
        "LE_CLIENT_ID",
        "LE_CLIENT_SECRET",
        "UNREAD_BRAND",
        "UNREAD_DEFAULT_REGION",
    ] {
        environment.remove(key);
    }
    let entry = |id: &str| {
        let credentials = sandbox.world().credentials(id).unwrap();
        let own = setup.own.iter().find(|(of, _)| *of == id);
        format!(
            "[[account]]\nid = \"{id}\"\nbrand = \"Brand {id}\"\nclient_id = \"{}\"\nclient_secret = \"{}\"\n{}\n",
            credentials.client_id,
            credentials.client_secret,
            own.map_or("", |(_, lines)| lines)
        )
    };
    std::iter::once(ACCOUNT)
        .chain(setup.accounts.iter().copied())
        .map(entry)
        .collect()
}
