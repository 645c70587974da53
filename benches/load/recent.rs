//! How soon what an agent writes is known where many conversations are open and few change: from the moment at which LivePerson shows a
//! message until its reminder is scheduled and its badge is known, and how many calls recent passes take; then the same by full passes
//! alone. The usual limit of calls, a scheduler, a worker and a web process; the sandbox in the driver.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;
use sqlx::PgPool;
use tokio::time::Instant;
use unread::clock::Clock;
use unread::demo;
use unread::postgres::{Durability, Options, Server};
use unread::sandbox::world::{CUSTOMER_CARE, ORDERS, Shape, Visibility, World};
use unread::sandbox::{ACCOUNT, Options as SandboxOptions, Sandbox};

use crate::free_port;
use crate::stage::{Process, go_live, until};

/// Of the open conversations one in so many is active within the last twenty minutes.
const ACTIVE: usize = 50;
const ACTIVE_WITHIN: TimeDelta = TimeDelta::minutes(20);
/// LivePerson shows what happens a while later.
const SHOWN_AFTER: TimeDelta = TimeDelta::seconds(30);
/// Messages that are followed while there are full passes only.
const BY_FULL_PASSES: usize = 100;
/// LivePerson rounds the moment since which updates are asked for down to ten minutes; a pass asks since the one before it, less a minute.
const MARK_MS: i64 = 600_000;
const OVERLAP: TimeDelta = TimeDelta::minutes(1);

/// Of the slowest but one in a hundred.
const GOAL: f64 = 90.0;
/// Calls of a recent pass, against those that would just hold what has changed.
const CALLS_GOAL: f64 = 1.5;

pub async fn run(durability: Durability, open: usize, seconds: usize) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("unread-recent-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let server = Server::start(&Options {
        root: folder.join("pg"),
        bin_dir: None,
        durability,
    })?;
    let sandbox = Sandbox::start(SandboxOptions {
        smtp: demo::smtp_options(),
        ..SandboxOptions::default()
    });
    let sandbox = sandbox.await?;
    let port = free_port()?;
    let stage = RecentStage {
        folder: folder.clone(),
        environment: environment(&sandbox, &server, port),
        pool: unread::db::pool(server.connect_options("postgres"), 8),
        badge: SocketAddr::from(([127, 0, 0, 1], port)),
        world: sandbox.world().clone(),
    };
    let measured = stage.measure(open, seconds).await;
    stage.pool.close().await;
    sandbox.stop().await;
    server.stop()?;
    let _ = std::fs::remove_dir_all(&folder);
    measured
}

struct RecentStage {
    folder: PathBuf,
    environment: BTreeMap<String, String>,
    pool: PgPool,
    badge: SocketAddr,
    world: World,
}

/// A message that is followed.
struct Followed {
    conversation: String,
    consumer: String,
    visible_at: DateTime<Utc>,
    badge_at: Option<DateTime<Utc>>,
}

/// A recent pass: when it began, its calls, the conversations that were listed and those that had changed.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
struct Pass {
    started_at: DateTime<Utc>,
    calls: i32,
    met: i32,
    changed: i32,
}

/// Conversations in a random order, and when which of them was last active.
struct Conversations {
    ids: Vec<String>,
    next: usize,
    active_at: HashMap<String, DateTime<Utc>>,
}

impl Conversations {
    /// One that was not active before.
    fn next(&mut self) -> Result<String> {
        let id = self.ids.get(self.next).context("too few conversations")?;
        self.next += 1;
        Ok(id.clone())
    }

    /// Those with an update since then.
    fn active_since(&self, since: DateTime<Utc>) -> usize {
        self.active_at.values().filter(|at| **at >= since).count()
    }
}

impl RecentStage {
    async fn measure(&self, open: usize, seconds: usize) -> Result<()> {
        let active = open / ACTIVE;
        let every = ACTIVE_WITHIN / i32::try_from(active)?;
        let followed = usize::try_from(
            TimeDelta::seconds(i64::try_from(seconds)?).num_milliseconds()
                / every.num_milliseconds(),
        )?;
        let mut conversations = self.populate(open, active, every, followed + BY_FULL_PASSES)?;
        std::fs::write(self.folder.join("rules.toml"), rules())?;
        let run = |arguments: &[&str]| Process::finish(arguments, &self.folder, &self.environment);
        run(&["migrate"])?;
        run(&["rules", "import", "rules.toml"])?;
        go_live(&self.pool).await?;
        self.first_full_pass(open).await?;

        let role = |role| Process::spawn(&[role], &self.folder, &self.environment);
        let _roles = [role("web")?, role("worker")?, role("scheduler")?];
        let start = self.pass_after(None).await?;
        println!(
            "{open} open conversations, {active} of them active within 20 minutes, 5 calls/s; a message each {} ms",
            every.num_milliseconds()
        );
        let mut passes = vec![start];
        let recent = self
            .follow(&mut conversations, followed, every, &mut passes)
            .await?;
        recent.print("recent passes");
        let calls = judge_calls(&passes, &conversations)?;

        sqlx::query("update recent_passes set distrusted_at = now()")
            .execute(&self.pool)
            .await?;
        let full = self
            .follow(&mut conversations, BY_FULL_PASSES, every, &mut passes)
            .await?;
        full.print("full passes alone");
        recent.judge()?;
        ensure!(
            calls <= CALLS_GOAL,
            "a recent pass took {calls:.2} times the calls that would hold what had changed"
        );
        Ok(())
    }

    /// Conversations of two skills that began over two days and were answered, those of the last twenty minutes' activity, and some whose
    /// consumers have read everything.
    fn populate(
        &self,
        open: usize,
        active: usize,
        every: TimeDelta,
        followed: usize,
    ) -> Result<Conversations> {
        let now = Clock::System.now();
        let length = TimeDelta::days(2);
        let half = u32::try_from(open / 2)?;
        let shape = Shape {
            // Too long ago for reminders: these would be sent beside.
            started_at: (now - length - TimeDelta::days(3)).timestamp_millis(),
            every_ms: length.num_milliseconds() / i64::from(half),
            answered_after_ms: 60_000,
            email: true,
            phone: false,
        };
        let mut all = self.world.populate(ACCOUNT, CUSTOMER_CARE, half, shape)?;
        all.extend(self.world.populate(ACCOUNT, ORDERS, half, shape)?);
        // Spread over all start times: the step has no divisor in common with how many there are.
        let step = (open / 3..open).find(|step| gcd(*step, all.len()) == 1);
        let step = step.context("there is a step")?;
        let place = |n: usize| n * step % all.len();
        let ids: Vec<String> = (0..active + followed)
            .map(|n| all[place(n)].clone())
            .collect();
        let mut active_at = HashMap::new();
        for (n, id) in ids[..active].iter().enumerate() {
            let at = now - ACTIVE_WITHIN + every * i32::try_from(n)?;
            let world = self.world.at(at.timestamp_millis());
            world.consumer_says(id, "Is it there yet?");
            world.agent_says(id, "It is.");
            active_at.insert(id.clone(), at);
        }
        let yesterday = self.world.at((now - TimeDelta::days(1)).timestamp_millis());
        for id in &ids[active..] {
            yesterday.consumer_reads(id);
        }
        self.world.set_visibility(Visibility {
            events_ms: SHOWN_AFTER.num_milliseconds(),
            receipts_ms: SHOWN_AFTER.num_milliseconds(),
        });
        Ok(Conversations {
            ids,
            next: active,
            active_at,
        })
    }

    /// The first full pass is as fast as the sandbox: it is not what is measured.
    async fn first_full_pass(&self, open: usize) -> Result<()> {
        let mut hasty = self.environment.clone();
        hasty.insert(
            "UNREAD_LIVEPERSON_RATE_PER_SECOND".to_owned(),
            "100000".to_owned(),
        );
        let role = |role| Process::spawn(&[role], &self.folder, &hasty);
        let began = Instant::now();
        let worker = role("worker")?;
        let scheduler = role("scheduler")?;
        until("the first full pass", Duration::from_mins(10), async || {
            let known: bool = sqlx::query_scalar(
                "select coalesce(bool_and(full_at is not null), false) and coalesce(sum(conversations), 0) >= $1 from scans",
            )
            .bind(i64::try_from(open)?)
            .fetch_one(&self.pool)
            .await?;
            Ok(known.then_some(()))
        })
        .await?;
        println!(
            "the first full pass, without a limit of calls: {:.0} s",
            began.elapsed().as_secs_f64()
        );
        drop((worker, scheduler));
        // The scans that they had begun since are nobody's.
        for sql in [
            "delete from apalis.jobs where job_type = 'scan'",
            "update scans set lane = null",
        ] {
            sqlx::query(sql).execute(&self.pool).await?;
        }
        Ok(())
    }

    /// The recent pass that comes after this one.
    async fn pass_after(&self, before: Option<DateTime<Utc>>) -> Result<Pass> {
        let patience = Duration::from_mins(3);
        until("a recent pass", patience, async || {
            self.latest(before).await
        })
        .await
    }

    async fn latest(&self, before: Option<DateTime<Utc>>) -> Result<Option<Pass>> {
        let sql = "select started_at, calls, met, changed from recent_passes
             where started_at > coalesce($1, '-infinity'::timestamptz)";
        Ok(sqlx::query_as(sql)
            .bind(before)
            .fetch_optional(&self.pool)
            .await?)
    }

    /// Agents write so many messages, one after the other; waits until all of them are known. Notes the recent passes meanwhile.
    async fn follow(
        &self,
        conversations: &mut Conversations,
        messages: usize,
        every: TimeDelta,
        passes: &mut Vec<Pass>,
    ) -> Result<Delays> {
        let mut followed: Vec<Followed> = Vec::with_capacity(messages);
        let began = Clock::System.now();
        let http = unread::liveperson::http_client();
        let patience = Instant::now() + Duration::from_mins(25);
        let mut looked_at = Instant::now();
        loop {
            let due = usize::try_from(
                (Clock::System.now() - began).num_milliseconds() / every.num_milliseconds(),
            )?;
            while followed.len() < due.min(messages) {
                followed.push(self.message(conversations)?);
            }
            if looked_at.elapsed() > Duration::from_secs(1) {
                looked_at = Instant::now();
                let last = passes.last().map(|pass| pass.started_at);
                passes.extend(self.latest(last).await?);
                self.ask_badges(&http, &mut followed).await?;
                let all_known =
                    followed.len() == messages && followed.iter().all(|of| of.badge_at.is_some());
                if all_known && let Some(delays) = self.delays(&followed).await? {
                    return Ok(delays);
                }
            }
            ensure!(Instant::now() < patience, "not everything is known in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// An agent writes in a conversation whose consumer has read everything.
    fn message(&self, conversations: &mut Conversations) -> Result<Followed> {
        let conversation = conversations.next()?;
        let now = Clock::System.now();
        self.world
            .at(now.timestamp_millis())
            .agent_says(&conversation, "It has arrived.");
        conversations.active_at.insert(conversation.clone(), now);
        let ids = self.world.consumer_ids(&conversation);
        Ok(Followed {
            consumer: ids.first().context("a consumer has an id")?.clone(),
            conversation,
            visible_at: now + SHOWN_AFTER,
            badge_at: None,
        })
    }

    /// Asks for each badge that does not show the message yet, as a page does; a message that LivePerson does not show cannot be known.
    async fn ask_badges(&self, http: &reqwest::Client, followed: &mut [Followed]) -> Result<()> {
        let now = Clock::System.now();
        let waiting = followed
            .iter_mut()
            .filter(|of| of.badge_at.is_none() && of.visible_at <= now);
        let asked = waiting.map(|of| async move {
            let url = format!(
                "http://{}/helpers/msghist/{ACCOUNT}/{}/unreadByConsumer",
                self.badge, of.consumer
            );
            let answer = http.get(url).send().await?.error_for_status()?;
            let answer: serde_json::Value = answer.json().await?;
            if answer["unreadByConsumer"] == true {
                of.badge_at = Some(Clock::System.now());
            }
            anyhow::Ok(())
        });
        try_join_all(asked).await?;
        Ok(())
    }

    /// How long it took until each was known; `None`: a reminder is not scheduled yet.
    async fn delays(&self, followed: &[Followed]) -> Result<Option<Delays>> {
        let ids: Vec<&str> = followed.iter().map(|of| of.conversation.as_str()).collect();
        let scheduled: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
            "select conversation, min(created_at) from reminders where conversation = any ($1) group by 1",
        )
        .bind(ids)
        .fetch_all(&self.pool)
        .await?;
        let scheduled: HashMap<String, DateTime<Utc>> = scheduled.into_iter().collect();
        if scheduled.len() < followed.len() {
            return Ok(None);
        }
        let seconds =
            |of: &Followed, at: DateTime<Utc>| (at - of.visible_at).as_seconds_f64().max(0.0);
        let of_reminder = followed
            .iter()
            .filter_map(|of| Some(seconds(of, *scheduled.get(&of.conversation)?)));
        let of_badge = followed
            .iter()
            .filter_map(|of| Some(seconds(of, of.badge_at?)));
        Ok(Some(Delays {
            reminders: sorted(of_reminder.collect()),
            badges: sorted(of_badge.collect()),
        }))
    }
}

/// Seconds from a message's being visible, in order.
struct Delays {
    reminders: Vec<f64>,
    badges: Vec<f64>,
}

impl Delays {
    fn print(&self, by: &str) {
        for (what, of) in [
            ("reminder scheduled", &self.reminders),
            ("badge known", &self.badges),
        ] {
            println!(
                "{by}: {what} after p50 {:.0} s, p99 {:.0} s, at most {:.0} s ({} messages)",
                share(of, 50),
                share(of, 99),
                share(of, 100),
                of.len()
            );
        }
    }

    fn judge(&self) -> Result<()> {
        for (what, of) in [
            ("a reminder is scheduled", &self.reminders),
            ("a badge is known", &self.badges),
        ] {
            let p99 = share(of, 99);
            ensure!(
                p99 < GOAL,
                "{what} after {p99:.0} s (p99); the goal is {GOAL} s"
            );
        }
        Ok(())
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn share(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at.min(last)).copied().unwrap_or(f64::NAN)
}

/// The most calls that a recent pass took, in calls that would just hold what had changed since the moment that LivePerson rounds down to.
fn judge_calls(passes: &[Pass], conversations: &Conversations) -> Result<f64> {
    let mut most: f64 = 0.0;
    let (mut calls, mut met, mut changed) = (0, 0, 0);
    for pair in passes.windows(2) {
        let [before, pass] = pair else { continue };
        let since = (before.started_at - OVERLAP).timestamp_millis();
        let since = DateTime::from_timestamp_millis(since - since.rem_euclid(MARK_MS));
        let listed = conversations.active_since(since.context("a time")?);
        most = most.max(f64::from(pass.calls) / listed.div_ceil(100).max(1) as f64);
        calls += pass.calls;
        met += pass.met;
        changed += pass.changed;
    }
    let many = passes.len().saturating_sub(1);
    ensure!(many > 0, "there was one recent pass only");
    println!(
        "{many} recent passes: {:.1} calls each, {:.0} conversations listed, {:.0} of them new; at most {most:.2} times the calls that hold what has \
         changed",
        f64::from(calls) / many as f64,
        f64::from(met) / many as f64,
        f64::from(changed) / many as f64,
    );
    Ok(most)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// By e-mail after ten minutes, at all hours.
fn rules() -> String {
    format!(
        "version = 2\n[[rule]]\naccount = '{ACCOUNT}'\nsteps = [{{ channel = 'email', after_minutes = 10 }}]\n\
         channels.email = {{ quiet_hours = {{ allowed = [] }} }}\n"
    )
}

fn environment(sandbox: &Sandbox, server: &Server, port: u16) -> BTreeMap<String, String> {
    let mut environment = demo::environment(sandbox.endpoints());
    for (key, value) in [
        ("DATABASE_URL", &*server.url("postgres")),
        ("PORT", &*port.to_string()),
        ("UNREAD_BIND", "127.0.0.1"),
        ("UNREAD_PUBLIC_URL", "https://unread.shop.example"),
        ("UNREAD_PAGE_URL", "https://shop.example/help"),
        ("UNREAD_METRICS_BIND", "127.0.0.1"),
        ("UNREAD_METRICS_PORT", "0"),
        ("UNREAD_LIVEPERSON_RATE_PER_SECOND", "5"),
        ("UNREAD_BADGE_REQUESTS_PER_SECOND", "100000"),
        ("UNREAD_LOG_LEVEL", "error"),
    ] {
        environment.insert(key.to_owned(), value.to_owned());
    }
    environment
}
