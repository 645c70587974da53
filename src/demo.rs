//! The demonstration: a PostgreSQL that keeps nothing, the sandbox, and every role of the service, which is configured by the
//! same settings as for a real account and cannot tell the difference.
//!
//! With `once` the scripted people live their hours on a clock that runs as fast as the service keeps up: it moves on a few
//! seconds whenever nothing is left to do, so that a slow machine gives the same results as a fast one. Then what the service did
//! to each is compared with what the script says should happen.

mod once;
pub mod past;
mod settings;
mod terminal;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::app::{self, Database, RoleSet, Running, Start};
use crate::clock::Clock;
use crate::config::Config;
use crate::control;
use crate::db;
use crate::domain::access;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::{RuleKey, RuleSettings, Step, When};
use crate::postgres::Durability;
use crate::sandbox::clock::WorldClock;
use crate::sandbox::people::{self, PresumedStep};
use crate::sandbox::world::CUSTOMER_CARE;
use crate::sandbox::{Options, Sandbox, Script};
use crate::say;
use crate::scheduler::Scheduler;
use crate::secret::Secret;
use crate::web;

use self::settings::{mailbox_port, settings};
use self::terminal::Places;

pub use once::{CaseResult, once, table};
pub use settings::{environment, smtp_options};

/// Who can log in: everybody who can reach this machine, which is loopback only.
pub const LOGIN: (&str, &str) = ("demo", "look around and try it");

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
    let webhook = |path| {
        config
            .web
            .public_url
            .join(path)
            .context("extending the public URL")
    };
    let account = sandbox.twilio().account();
    account.set_inbound_url(webhook("twilio/inbound")?.as_str());
    sandbox
        .smtp()
        .post_events_to(webhook("mail/events")?.as_str());
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

fn presumed_step(step: &PresumedStep) -> anyhow::Result<Step> {
    Ok(Step {
        id: step.id.try_into()?,
        channel: step.channel.parse()?,
        after: TimeDelta::minutes(step.after_minutes.into()),
        when: if step.if_not_reached {
            When::IfNotReached
        } else {
            When::Always
        },
    })
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
        let steps = rule.steps.iter().map(presumed_step);
        let settings = RuleSettings {
            steps: steps.collect::<anyhow::Result<_>>()?,
            // Every scripted case is expected to be reminded.
            holdout_percent: if pace == DemoPace::Real && rule.skill == CUSTOMER_CARE {
                past::HELD_OUT_PERCENT
            } else {
                0
            },
            ..RuleSettings::default_for(&Channel::ALL)
        };
        let key = RuleKey {
            account: account.clone(),
            skill: Some(SkillId(rule.skill)),
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
