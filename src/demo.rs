//! The demonstration: a PostgreSQL that keeps nothing, the sandbox, and every role of the service, which is configured by the
//! same settings as for a real account and cannot tell the difference.
//!
//! With `once` the scripted people live their hours on a clock that runs as fast as the service keeps up: it moves on a few
//! seconds whenever nothing is left to do, so that a slow machine gives the same results as a fast one. Then what the service did
//! to each is compared with what the script says should happen.

pub mod past;
mod terminal;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::app::{self, Database, RoleSet, Running, Start};
use crate::clock::Clock;
use crate::config::{Config, ProcessRole, Sources};
use crate::control;
use crate::db;
use crate::domain::access;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::reminder::ReminderState;
use crate::domain::rule::{RuleKey, RuleSettings, Step};
use crate::jobs::queue;
use crate::postgres::Durability;
use crate::sandbox::clock::WorldClock;
use crate::sandbox::people::{self, Expected};
use crate::sandbox::smtp::SmtpOptions;
use crate::sandbox::{Endpoints, Options, Sandbox, Script, shop};
use crate::say;
use crate::scheduler::Scheduler;
use crate::secret::Secret;
use crate::web;

use self::terminal::Places;

/// How far the clock of `--once` moves at a time.
const STEP: TimeDelta = TimeDelta::seconds(10);

/// Who can log in: everybody who can reach this machine, which is loopback only.
pub const LOGIN: (&str, &str) = ("demo", "look around and try it");

/// The longest that `--once` runs, most of a minute on a machine that does nothing else, and that the service may be busy with one step, in
/// real time.
const PATIENCE: Duration = Duration::from_mins(20);
const STEP_PATIENCE: Duration = Duration::from_mins(2);

/// A mail server that wants a login, so that the demonstration takes the whole way.
pub fn smtp_options() -> SmtpOptions {
    SmtpOptions {
        credentials: Some((
            "hello@shop.example".to_owned(),
            "sandbox-password".to_owned(),
        )),
        ..SmtpOptions::default()
    }
}

/// The settings that point the service at a sandbox: what a person would write into `.env`.
pub fn environment(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let Endpoints {
        liveperson,
        smtp,
        twilio,
        ..
    } = endpoints;
    let mut settings = BTreeMap::new();
    let mut set = |key: &str, value: &str| settings.insert(key.to_owned(), value.to_owned());
    set("LE_ACCOUNT", &endpoints.account);
    set("LE_CLIENT_ID", &liveperson.credentials.client_id);
    set("LE_CLIENT_SECRET", &liveperson.credentials.client_secret);
    set("UNREAD_LIVEPERSON_URL", &liveperson.domain_url);
    set("UNREAD_BRAND", "The Example Shop");
    set("UNREAD_DEFAULT_REGION", "US");
    set("SMTP_HOST", &smtp.host);
    set("SMTP_PORT", &smtp.port.to_string());
    set("SMTP_TLS", "none");
    set("SMTP_USER", smtp.user.as_deref().unwrap_or_default());
    set("SMTP_PASS", smtp.password.as_deref().unwrap_or_default());
    set("SMTP_FROM", "hello@shop.example");
    set("SMTP_FROM_NAME", "The Example Shop");
    set("TWILIO_BASE_URL", &twilio.base_url);
    set("TWILIO_ACCOUNT_SID", &twilio.account_sid);
    set("TWILIO_AUTH_TOKEN", &twilio.auth_token);
    settings
}

/// A demonstration under way.
struct DemoRun {
    sandbox: Sandbox,
    database: Database,
    running: Running,
    /// Only for `once`, which ticks by itself.
    scheduler: Scheduler,
    clock: Clock,
    world_clock: WorldClock,
    start: DateTime<Utc>,
}

/// Whose time it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DemoPace {
    Real,
    /// The clock moves when [`DemoRun::step`] moves it.
    Stepped,
}

/// `base` are the settings of this process, of which the demonstration respects the ports and the database.
async fn start_demo(
    base: &Config,
    script: Script,
    pace: DemoPace,
    shutdown: &CancellationToken,
) -> anyhow::Result<DemoRun> {
    let database = Database::open(base, Durability::Throwaway).await?;
    let pool = db::pool(database.options.clone(), 2);
    app::migrate_when_up(&pool).await?;
    // The script starts when everything else is ready: setting up takes real seconds.
    let start = Clock::System.now();
    let (clock, world_clock) = match pace {
        DemoPace::Real => (Clock::System, WorldClock::real()),
        DemoPace::Stepped => (Clock::manual(start), WorldClock::manual(start)),
    };
    let sandbox = Sandbox::start(Options {
        mailbox_port: mailbox_port(base.web.port, base.web.metrics_port),
        smtp: smtp_options(),
        clock: world_clock.clone(),
        script,
        shop_of: Some(format!("http://localhost:{}", base.web.port)),
        ..Options::default()
    })
    .await?;
    let config = settings(base, &sandbox, pace)?;
    let inbound = config
        .web
        .public_url
        .join("twilio/inbound")
        .context("extending the public URL")?;
    sandbox.twilio().account().set_inbound_url(inbound.as_str());
    presumed_rules(&pool, &config, pace, clock.now()).await?;
    let password = Secret::new(LOGIN.1);
    let role = access::Role::Administrator;
    let (by, now) = ("demonstration", clock.now());
    match control::users::add_with_password(&pool, LOGIN.0, role, &password, by, now).await {
        // A database that has seen a demonstration before.
        Ok(_) | Err(control::ControlError::Conflict(_)) => {}
        Err(error) => return Err(error.into()),
    }
    pool.close().await;
    let example_until = match pace {
        DemoPace::Real => invent_the_past(&database, start).await?,
        DemoPace::Stepped => None,
    };
    let demo = web::Demo {
        example_until,
        mailbox_url: sandbox.endpoints().mailbox_url.clone(),
        login: (LOGIN.0.to_owned(), LOGIN.1.to_owned()),
    };
    let start_options = Start {
        parts: RoleSet {
            scheduler: pace == DemoPace::Real,
            ..RoleSet::ALL
        },
        clock: clock.clone(),
        migrate: false,
        demo: Some(demo),
        examine: crate::doctor::find_broken,
        shutdown: shutdown.clone(),
    };
    let running = app::start(&config, &database, start_options).await?;
    let scheduler = app::scheduler(&config, &running.pool, &clock)?;
    Ok(DemoRun {
        sandbox,
        database,
        running,
        scheduler,
        clock,
        world_clock,
        start,
    })
}

/// An address of this machine as it is printed, and as people type it: to a browser these are two origins.
fn by_both_names(url: &str) -> String {
    format!("{url},{}", url.replace("127.0.0.1", "localhost"))
}

fn settings(base: &Config, sandbox: &Sandbox, pace: DemoPace) -> anyhow::Result<Config> {
    let mut environment = environment(sandbox.endpoints());
    let web = &base.web;
    for (key, value) in [
        ("PORT", web.port.to_string()),
        ("UNREAD_METRICS_PORT", web.metrics_port.to_string()),
        ("UNREAD_BIND", Ipv4Addr::LOCALHOST.to_string()),
        ("UNREAD_METRICS_BIND", Ipv4Addr::LOCALHOST.to_string()),
        (
            "UNREAD_PAGE_URL",
            format!("{}/shop", sandbox.endpoints().mailbox_url),
        ),
        ("UNREAD_BADGE_SECRET", shop::SECRET.to_owned()),
        (
            "UNREAD_BADGE_ORIGINS",
            by_both_names(&sandbox.endpoints().mailbox_url),
        ),
        (
            "UNREAD_PUBLIC_URL",
            format!("http://localhost:{}", web.port),
        ),
        // The sandbox tires of nobody; when the clock is moved by hand, a minute's calls come in a moment.
        (
            "UNREAD_LIVEPERSON_RATE_PER_SECOND",
            if pace == DemoPace::Real { "5" } else { "1000" }.to_owned(),
        ),
        (
            "UNREAD_SCAN_INTERVAL_SECONDS",
            if pace == DemoPace::Real { "10" } else { "60" }.to_owned(),
        ),
    ] {
        environment.insert(key.to_owned(), value);
    }
    let sources = Sources {
        environment,
        file: None,
        read_secret: |path: &Path| std::fs::read_to_string(path),
    };
    Ok(Config::read(&sources, ProcessRole::Run)?)
}

/// The first port after the dashboard's that is not the metrics', if it is free, else any (0).
fn mailbox_port(web: u16, metrics: u16) -> u16 {
    let mut after = (web..u16::MAX).skip(1).filter(|port| *port != metrics);
    let port = after.next().filter(|_| web != 0).unwrap_or_default();
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    if free { port } else { 0 }
}

/// The rules that the script presumes, with the built-in texts.
async fn presumed_rules(
    pool: &PgPool,
    config: &Config,
    pace: DemoPace,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let account: AccountId = crate::sandbox::ACCOUNT.parse()?;
    let ids: Vec<AccountId> = config.accounts.iter().map(|a| a.id.clone()).collect();
    db::accounts::ensure(pool, &ids, now).await?;
    let mut tx = pool.begin().await?;
    for rule in people::RULES {
        let channel: Channel = rule.channel.parse()?;
        let steps = rule.after_minutes.iter();
        let settings = RuleSettings {
            steps: steps
                .map(|m| Step {
                    after: TimeDelta::minutes(i64::from(*m)),
                })
                .collect(),
            // Every scripted case is expected to be reminded.
            holdout_percent: if pace == DemoPace::Real && channel == Channel::Email {
                past::HELD_OUT_PERCENT
            } else {
                0
            },
            ..RuleSettings::default_for(channel)
        };
        let key = RuleKey {
            account: account.clone(),
            skill: Some(SkillId(rule.skill)),
            channel,
        };
        db::rules::put(&mut tx, &key, true, &settings, "demonstration", now).await?;
    }
    // A demonstration is live from the beginning, and its people's messages were written before it.
    for channel in Channel::ALL {
        let live = db::live::LiveChannel {
            since: DateTime::UNIX_EPOCH,
            by_whom: "demonstration".to_owned(),
            at: now,
        };
        db::live::begin(&mut tx, (&account, channel), &live).await?;
    }
    tx.commit()
        .await
        .context("storing the demonstration's rules")
}

/// Gives the demonstration a month before it began, unless its database has a past already. Returns when that month ended.
async fn invent_the_past(
    database: &Database,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    let account: AccountId = crate::sandbox::ACCOUNT.parse()?;
    let pool = db::pool(database.options.clone(), 1);
    let new = db::past::is_none(&pool).await?;
    if new {
        let mut tx = pool.begin().await?;
        db::past::write(&mut tx, &account, &past::invent(now)).await?;
        tx.commit().await.context("inventing the past")?;
        db::reminder_counts::roll_up(&pool).await?;
    }
    pool.close().await;
    Ok(new.then_some(now))
}

impl DemoRun {
    /// Moves every clock on by one step and lets people and service do all there is to do at that moment.
    async fn step(&self) -> anyhow::Result<()> {
        self.world_clock.advance(STEP);
        self.clock.advance(STEP);
        self.sandbox.play_until_now();
        self.scheduler.tick().await?;
        let started = Instant::now();
        loop {
            let depths = queue::depth(&self.running.pool, self.clock.now()).await?;
            let busy: i64 = depths.iter().map(|d| d.ready + d.held).sum();
            if busy == 0 {
                return Ok(());
            }
            anyhow::ensure!(
                started.elapsed() < STEP_PATIENCE,
                "{busy} jobs do not come to an end"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn strike(self) -> anyhow::Result<()> {
        let ended = self.running.finish().await;
        self.sandbox.stop().await;
        self.database.close().await?;
        ended
    }
}

/// Runs until `shutdown`, with newcomers now and then.
pub async fn live(base: &Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let stage = start_demo(base, Script::Live, DemoPace::Real, &shutdown).await?;
    let port = stage
        .running
        .web
        .map_or(base.web.port, |address| address.port());
    let places = Places {
        dashboard: format!("http://localhost:{port}"),
        login: LOGIN,
        mailbox: stage.sandbox.endpoints().mailbox_url.clone(),
        metrics: format!("http://localhost:{}/metrics", base.web.metrics_port),
    };
    say!("unread demo is running. The first reminder arrives within a minute.\n");
    say!("{}", places.block());
    say!("Ctrl-C stops everything; nothing is kept. Reminders, as they arrive:\n");
    let outbox = stage.sandbox.outbox().clone();
    let narrator = tokio::spawn(terminal::narrate(outbox, places, shutdown));
    let ended = stage.strike().await;
    narrator.abort();
    ended
}

/// What was expected of one scripted case, and what happened.
#[derive(Debug, Serialize)]
pub struct CaseResult {
    pub case: &'static str,
    pub conversation: String,
    pub channel: &'static str,
    pub step: u32,
    pub expected: String,
    pub observed: String,
    pub agree: bool,
}

/// Plays the script until every reminder is final, and tells how each case went.
pub async fn once(base: &Config, shutdown: CancellationToken) -> anyhow::Result<Vec<CaseResult>> {
    let mut base = base.clone();
    // Nobody looks at the pages of a run that lasts a minute, and a demonstration may be running already.
    base.web.port = pick_port()?;
    base.web.metrics_port = pick_port()?;
    let stage = start_demo(&base, Script::Cases, DemoPace::Stepped, &shutdown).await?;
    let waited = wait_until_final(&stage, &shutdown).await;
    let rows = match waited {
        Ok(()) => compare(&stage).await,
        Err(error) => Err(error),
    };
    shutdown.cancel();
    stage.strike().await?;
    rows
}

/// Not one of those that the system gives to outgoing connections: there may be one before the port is listened on.
fn pick_port() -> anyhow::Result<u16> {
    let mut ports = (0..100).map(|_| rand::random_range(10_000..20_000));
    let free = |port: &u16| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.find(free).context("looking for a free port")
}

/// The script's last expectation has passed, and no reminder is still on its way.
async fn wait_until_final(stage: &DemoRun, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let started = Instant::now();
    let minutes = stage
        .sandbox
        .expected()
        .iter()
        .map(|e| e.by_minute)
        .fold(0.0, f64::max);
    let end = stage.start
        + TimeDelta::from_std(Duration::from_secs_f64(minutes * 60.0)).unwrap_or_default()
        + TimeDelta::minutes(5);
    loop {
        stage.step().await?;
        let open = db::reports::not_final(&stage.running.pool).await?;
        if stage.clock.now() > end && open == 0 {
            return Ok(());
        }
        anyhow::ensure!(
            started.elapsed() < PATIENCE,
            "{open} reminders were not final after {PATIENCE:?}"
        );
        anyhow::ensure!(
            !shutdown.is_cancelled(),
            "stopped before the script was over"
        );
    }
}

async fn compare(stage: &DemoRun) -> anyhow::Result<Vec<CaseResult>> {
    let expected = stage.sandbox.expected();
    let mut rows = Vec::with_capacity(expected.len() + 1);
    for expected in &expected {
        let observed = observed(&stage.running.pool, expected).await?;
        rows.push(CaseResult {
            case: expected.case,
            conversation: expected.conversation.clone(),
            channel: expected.channel,
            step: expected.step,
            agree: agrees(expected, &observed),
            expected: describe_verdict(expected.verdict, expected.reason),
            observed: describe_verdict(&observed.verdict, observed.reason.as_deref()),
        });
    }
    // The witness: as many messages were received as reminders were sent.
    let sent = db::reports::sent_in_all(&stage.running.pool).await?;
    let outbox = stage.sandbox.outbox();
    let received = i64::try_from(outbox.mails().len() + outbox.texts().len())?;
    rows.push(CaseResult {
        case: "messages_received",
        conversation: String::new(),
        channel: "",
        step: 0,
        expected: sent.to_string(),
        observed: received.to_string(),
        agree: sent == received,
    });
    Ok(rows)
}

struct Observed {
    verdict: String,
    reason: Option<String>,
}

async fn observed(pool: &PgPool, expected: &Expected) -> anyhow::Result<Observed> {
    let step = i16::try_from(expected.step)?;
    let reminder = db::reports::reminder_of(
        pool,
        &expected.conversation,
        expected.channel.parse()?,
        step,
    )
    .await?;
    Ok(match reminder {
        Some((state, reason)) => {
            let sent = matches!(state, ReminderState::Sent | ReminderState::Delivered);
            Observed {
                reason: reason.filter(|_| !sent).map(|reason| reason.to_string()),
                verdict: if sent { ReminderState::Sent } else { state }.to_string(),
            }
        }
        None => Observed {
            verdict: "none".to_owned(),
            reason: db::reports::last_reason(
                pool,
                &expected.conversation,
                expected.channel.parse()?,
            )
            .await?
            .map(|r| r.to_string()),
        },
    })
}

fn agrees(expected: &Expected, observed: &Observed) -> bool {
    expected.verdict == observed.verdict
        && (expected.verdict == "sent" || expected.reason == observed.reason.as_deref())
}

fn describe_verdict(verdict: &str, reason: Option<&str>) -> String {
    reason.map_or_else(
        || verdict.to_owned(),
        |reason| format!("{verdict} ({reason})"),
    )
}

/// The rows as a table.
pub fn table(rows: &[CaseResult]) -> String {
    let width = |cell: &dyn Fn(&CaseResult) -> usize| {
        rows.iter().map(cell).max().unwrap_or_default().max(8)
    };
    let (case, expected) = (width(&|r| r.case.len()), width(&|r| r.expected.len()));
    let observed = width(&|r| r.observed.len());
    let mut text = format!(
        "{:case$}  {:7} {:>4}  {:expected$}  {:observed$}\n",
        "case", "channel", "step", "expected", "observed"
    );
    for r in rows {
        let mark = if r.agree { "ok" } else { "DIFFERS" };
        let step = if r.step == 0 {
            String::new()
        } else {
            r.step.to_string()
        };
        let _ = writeln!(
            text,
            "{:case$}  {:7} {step:>4}  {:expected$}  {:observed$}  {mark}",
            r.case, r.channel, r.expected, r.observed
        );
    }
    let agreed = rows.iter().filter(|r| r.agree).count();
    let _ = writeln!(text, "\n{agreed} of {} agree", rows.len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mailbox_stands_beside_the_dashboard_and_out_of_the_metrics_way() {
        let web = (20_000..).step_by(7).find(|port| {
            let free = |port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
            free(port + 1) && free(port + 2)
        });
        let web = web.unwrap_or_default();
        assert_eq!(mailbox_port(web, 9464), web + 1);
        assert_eq!(mailbox_port(web, web + 1), web + 2);
        assert_eq!(mailbox_port(0, 9464), 0);
        assert_eq!(mailbox_port(u16::MAX, 9464), 0);
    }

    #[test]
    fn the_shop_shows_its_badge_by_whichever_name_it_is_opened() {
        assert_eq!(
            by_both_names("http://127.0.0.1:3001"),
            "http://127.0.0.1:3001,http://localhost:3001"
        );
    }
}
