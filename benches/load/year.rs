//! A year in minutes: the real parts of the service in this process, before a sandbox, on a clock that is moved from one moment at which
//! something is due to the next. What grows without bound shows in the sizes of the tables.
//!
//! The number of open conversations stays the same; each is open for two days. One consumer in two reads at once, one in five a day later, the
//! others never. Every table's size is in proportion to that number, so a few hundred stand for a million.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use unread::app::{self, Database, RoleSet, Start};
use unread::clock::Clock;
use unread::config::{Config, ProcessRole, Sources};
use unread::demo;
use unread::domain::ids::Channel;
use unread::jobs::names;
use unread::jobs::queue;
use unread::postgres::Durability;
use unread::sandbox::clock::WorldClock;
use unread::sandbox::world::CUSTOMER_CARE;
use unread::sandbox::{Options, Sandbox};
use unread::scheduler::Scheduler;

use crate::stage::go_live;

/// How long a conversation is open.
const OPEN: TimeDelta = TimeDelta::days(2);

/// How often people come, and scans begin.
const STEP: TimeDelta = TimeDelta::hours(6);

/// Retention, so that within the year each table has reached the size that it keeps.
const KEPT: &[(&str, &str)] = &[
    ("UNREAD_RETENTION_REMINDERS_DAYS", "90"),
    ("UNREAD_RETENTION_CONVERSATIONS_DAYS", "30"),
    ("UNREAD_RETENTION_DECISIONS_DAYS", "30"),
    ("UNREAD_RETENTION_AUDIT_DAYS", "90"),
];

/// Kept for 400 days, a row for each hour, skill, step and measure that anything happened in: they still grow at the end of a year.
const KEPT_LONGER: [&str; 3] = [
    "public.reminder_counts",
    "public.reminder_counts_by_hour",
    "public.reminder_counts_by_day",
];

/// So much more than two thirds of the run before, and at least so much, is growth without bound.
const GROWTH: f64 = 1.15;
const LEAST_GROWTH: i64 = 500;

/// Real time that one moment may take.
const PATIENCE: Duration = Duration::from_mins(2);

pub struct YearOptions {
    pub days: usize,
    pub open: usize,
    pub accounts: usize,
}

pub async fn run(options: &YearOptions) -> Result<()> {
    let began = Instant::now();
    let year = Year::begin(options).await?;
    println!(
        "{} days, {} open conversations in {} accounts; every table's size is in proportion to the conversations",
        options.days, options.open, options.accounts
    );
    let mut rows_then = BTreeMap::new();
    let steps = i64::try_from(options.days)? * 24 / STEP.num_hours();
    let mut people = People::of(options);
    for step in 0..steps {
        let until = year.clock.now() + STEP;
        people.act(&year);
        year.scheduler.tick().await?;
        year.settle().await?;
        year.deliver_until(until).await?;
        let month = 30 * 24 / STEP.num_hours();
        if (step + 1) % month == 0 {
            year.tell((step + 1) / month, began).await?;
        }
        if step == steps * 2 / 3 {
            rows_then = year.rows().await?;
        }
    }
    let rows_now = year.rows().await?;
    year.sizes().await?;
    year.end().await?;
    for table in KEPT_LONGER {
        let rows = rows_now.get(table).copied().unwrap_or_default();
        println!(
            "{table}: {:.1} rows a day, for 400 days",
            rows as f64 / options.days as f64
        );
    }
    let growing: Vec<String> = rows_now
        .iter()
        .filter(|(table, _)| !KEPT_LONGER.contains(&table.as_str()))
        .filter_map(|(table, now)| {
            let then = rows_then.get(table).copied().unwrap_or_default();
            let grows = *now as f64 > then as f64 * GROWTH && now - then > LEAST_GROWTH;
            grows.then(|| {
                format!("{table}: {then} rows after two thirds of the time, {now} at the end")
            })
        })
        .collect();
    ensure!(
        options.days < 180 || growing.is_empty(),
        "grows without bound: {}",
        growing.join("; ")
    );
    println!(
        "{:.0} s; nothing grows without bound",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

struct Year {
    sandbox: Sandbox,
    clock: Clock,
    scheduler: Scheduler,
    running: app::Running,
    shutdown: CancellationToken,
    accounts: Vec<String>,
    _database: Database,
}

impl Year {
    async fn begin(options: &YearOptions) -> Result<Self> {
        let now: DateTime<Utc> = "2026-01-05T12:00:00Z".parse()?;
        let (clock, world_clock) = (Clock::manual(now), WorldClock::manual(now));
        let sandbox = Sandbox::start(Options {
            smtp: demo::smtp_options(),
            clock: world_clock,
            ..Options::default()
        })
        .await?;
        let accounts: Vec<String> = (0..options.accounts.max(1))
            .map(|n| (20_000_000 + n).to_string())
            .collect();
        for account in &accounts {
            sandbox.world().add_account(account);
        }
        let config = config(&sandbox, &accounts)?;
        let database = Database::open(&config, Durability::Throwaway).await?;
        let shutdown = CancellationToken::new();
        let start = Start {
            parts: RoleSet {
                scheduler: false,
                ..RoleSet::ALL
            },
            clock: clock.clone(),
            migrate: true,
            demo: None,
            examine: unread::doctor::find_broken,
            shutdown: shutdown.clone(),
        };
        let running = app::start(&config, &database, start).await?;
        let scheduler = app::scheduler(&config, &running.pool, &clock)?;
        let year = Self {
            sandbox,
            clock,
            scheduler,
            running,
            shutdown,
            accounts,
            _database: database,
        };
        year.scheduler.tick().await?;
        year.settle().await?;
        go_live(year.pool()).await?;
        Ok(year)
    }

    fn pool(&self) -> &PgPool {
        &self.running.pool
    }

    fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
        self.sandbox.world().clock().advance(by);
    }

    /// Goes from one moment at which a reminder is due to the next.
    async fn deliver_until(&self, until: DateTime<Utc>) -> Result<()> {
        loop {
            let next: Option<DateTime<Utc>> =
                sqlx::query_scalar("select min(next_at) from pending where next_at > $1")
                    .bind(self.clock.now())
                    .fetch_one(self.pool())
                    .await?;
            let moment = next.filter(|next| *next < until);
            self.advance(moment.unwrap_or(until) - self.clock.now());
            if moment.is_none() {
                return Ok(());
            }
            self.settle().await?;
        }
    }

    /// Waits until nothing that is due is left in the queue.
    async fn settle(&self) -> Result<()> {
        // The workers cannot know that the clock was moved by hand.
        let queues: Vec<&str> = [names::SCAN, names::ADVANCE, names::UPKEEP]
            .into_iter()
            .chain(Channel::ALL.map(names::deliver_queue))
            .collect();
        sqlx::query("select pg_notify('unread_queue', queue) from unnest($1::text[]) as queue")
            .bind(queues)
            .execute(self.pool())
            .await?;
        let started = Instant::now();
        loop {
            let depths = queue::depth(self.pool(), self.clock.now()).await?;
            let busy: i64 = depths.iter().map(|d| d.ready + d.held).sum();
            if busy == 0 {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "{busy} jobs do not finish");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What the last month was like.
    async fn tell(&self, month: i64, began: Instant) -> Result<()> {
        let since = self.clock.now() - TimeDelta::days(30);
        let (sent, late_p50, late_p99): (i64, Option<f64>, Option<f64>) = sqlx::query_as(
            "select count(*), percentile_disc(0.5) within group (order by extract(epoch from sent_at - due_at)::float8),
                    percentile_disc(0.99) within group (order by extract(epoch from sent_at - due_at)::float8)
             from reminders where sent_at >= $1",
        )
        .bind(since)
        .fetch_one(self.pool())
        .await?;
        let calls: f64 = sqlx::query_scalar("select coalesce(sum(calls), 0) from scans")
            .fetch_one(self.pool())
            .await?;
        let bytes: i64 = sqlx::query_scalar("select pg_database_size(current_database())")
            .fetch_one(self.pool())
            .await?;
        println!(
            "month {month:2}: {sent} sent, late p50 {:.0} s, p99 {:.0} s by the simulated clock; a full scan of all accounts is {calls:.0} calls; \
             the database has {:.1} MB; {:.0} s",
            late_p50.unwrap_or_default(),
            late_p99.unwrap_or_default(),
            bytes as f64 / 1e6,
            began.elapsed().as_secs_f64(),
        );
        Ok(())
    }

    /// Rows by table, counted.
    async fn rows(&self) -> Result<BTreeMap<String, i64>> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select schemaname || '.' || tablename from pg_tables where schemaname in ('public', 'apalis') order by 1",
        )
        .fetch_all(self.pool())
        .await?;
        let mut rows = BTreeMap::new();
        for table in tables {
            let count = format!("select count(*) from {table}");
            let count = sqlx::query_scalar(sqlx::AssertSqlSafe(count))
                .fetch_one(self.pool())
                .await?;
            rows.insert(table, count);
        }
        Ok(rows)
    }

    /// The largest tables.
    async fn sizes(&self) -> Result<()> {
        let rows = self.rows().await?;
        let sizes: Vec<(String, i64, i64)> = sqlx::query_as(
            "select schemaname || '.' || relname, pg_table_size(relid), pg_indexes_size(relid) from pg_stat_user_tables
             order by pg_total_relation_size(relid) desc limit 15",
        )
        .fetch_all(self.pool())
        .await?;
        println!("  rows  table, MB  indexes, MB");
        for (table, own, indexes) in sizes {
            println!(
                "  {:8}  {:7.2}  {:7.2}  {table}",
                rows.get(&table).copied().unwrap_or_default(),
                own as f64 / 1e6,
                indexes as f64 / 1e6
            );
        }
        Ok(())
    }

    async fn end(self) -> Result<()> {
        self.shutdown.cancel();
        self.running.finish().await?;
        self.sandbox.stop().await;
        Ok(())
    }
}

fn config(sandbox: &Sandbox, accounts: &[String]) -> Result<Config> {
    let mut environment = demo::environment(sandbox.endpoints());
    for key in [
        "LE_ACCOUNT",
        "LE_CLIENT_ID",
        "LE_CLIENT_SECRET",
        "UNREAD_BRAND",
        "UNREAD_DEFAULT_REGION",
    ] {
        environment.remove(key);
    }
    let (port, metrics_port) = (free_port()?, free_port()?);
    for (key, value) in [
        ("UNREAD_BIND", "127.0.0.1"),
        ("PORT", port.as_str()),
        ("UNREAD_METRICS_BIND", "127.0.0.1"),
        ("UNREAD_METRICS_PORT", metrics_port.as_str()),
        ("TWILIO_FROM", "+15005550006"),
        // Each tick, which come hours after each other, scans.
        ("UNREAD_SCAN_INTERVAL_SECONDS", "60"),
        ("UNREAD_LIVEPERSON_RATE_PER_SECOND", "10000"),
        ("SMTP_RATE_PER_SECOND", "10000"),
        ("TWILIO_RATE_PER_SECOND", "10000"),
    ]
    .iter()
    .chain(KEPT)
    {
        environment.insert((*key).to_owned(), (*value).to_owned());
    }
    let entry = |id: &String| {
        let known = sandbox.world().credentials(id);
        let known = known.map_err(|_| anyhow::anyhow!("the sandbox has no account {id}"))?;
        Ok(format!(
            "[[account]]\nid = \"{id}\"\nbrand = \"Brand {id}\"\nclient_id = \"{}\"\nclient_secret = \"{}\"\n",
            known.client_id, known.client_secret
        ))
    };
    let file = accounts.iter().map(entry).collect::<Result<String>>()?;
    let sources = Sources {
        environment,
        file: Some(("year.toml".to_owned(), file)),
        read_secret: |path| std::fs::read_to_string(path),
    };
    Config::read(&sources, ProcessRole::Run).context("the settings of a year")
}

fn free_port() -> Result<String> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port().to_string())
}

/// Those who write, read and leave.
struct People {
    /// Conversations that begin in each step.
    each_step: f64,
    owed: f64,
    began: usize,
    /// What they do later.
    reads: BTreeMap<DateTime<Utc>, Vec<String>>,
    closes: BTreeMap<DateTime<Utc>, Vec<String>>,
}

impl People {
    fn of(options: &YearOptions) -> Self {
        Self {
            each_step: options.open as f64 * STEP.num_hours() as f64 / OPEN.num_hours() as f64,
            owed: 0.0,
            began: 0,
            reads: BTreeMap::new(),
            closes: BTreeMap::new(),
        }
    }

    /// What people do at this moment.
    fn act(&mut self, year: &Year) {
        let (world, now) = (year.sandbox.world(), year.clock.now());
        let later = self.reads.split_off(&(now + TimeDelta::milliseconds(1)));
        for chat in std::mem::replace(&mut self.reads, later)
            .into_values()
            .flatten()
        {
            world.consumer_reads(&chat);
        }
        let later = self.closes.split_off(&(now + TimeDelta::milliseconds(1)));
        for chat in std::mem::replace(&mut self.closes, later)
            .into_values()
            .flatten()
        {
            world.close(&chat);
        }
        self.owed += self.each_step;
        while self.owed >= 1.0 {
            self.owed -= 1.0;
            self.began += 1;
            let n = self.began;
            let account = &year.accounts[n % year.accounts.len()];
            let opening = world.conversation(account, CUSTOMER_CARE);
            let opening = opening
                .consumer("Ann", "Other")
                .time_zone("UTC")
                .email(&format!("ann{}@example.net", n % 20_000));
            let chat = opening.start();
            world.consumer_says(&chat, "Do you have it in green?");
            world.agent_says(&chat, "Yes, we do.");
            match n % 10 {
                0..5 => world.consumer_reads(&chat),
                5..7 => self
                    .reads
                    .entry(now + TimeDelta::days(1))
                    .or_default()
                    .push(chat.clone()),
                _ => {}
            }
            self.closes.entry(now + OPEN).or_default().push(chat);
        }
    }
}
