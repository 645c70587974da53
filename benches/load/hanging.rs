//! How late everybody else's reminders are while something hangs: an account's LivePerson that answers no question by ids, Twilio for one
//! sender, the mail server. Two accounts, the usual limits, a scheduler and a worker.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::TimeDelta;
use sqlx::PgPool;
use unread::clock::Clock;
use unread::demo;
use unread::domain::ids::{AccountId, Channel, ReminderId};
use unread::postgres::{Durability, Options, Server};
use unread::sandbox::faults::{Endpoint, Fault, FaultRule, FaultSpan as LivePersonWhen};
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};
use unread::sandbox::twilio::{Operation, TwilioAnswer, TwilioFault};
use unread::sandbox::world::{CUSTOMER_CARE, World};
use unread::sandbox::{ACCOUNT, Options as SandboxOptions, Sandbox};

use crate::ledger::{self, Round};
use crate::stage::{Process, go_live, until};

/// The account that hangs is the sandbox's own; this is its neighbour, with a sender of its own.
const NEIGHBOUR: &str = "87654321";
const SENDERS: [(&str, &str); 2] = [(ACCOUNT, "+15005550006"), (NEIGHBOUR, "+15005550009")];

/// Reminders of the one that hangs, all due at one moment.
const HANGING: usize = 200;

/// The others' come one by one from a second later on, for longer than anybody waits for LivePerson or Twilio.
const OTHERS: usize = 100;
const EVERY: TimeDelta = TimeDelta::milliseconds(250);

/// From the unread message to the reminder, by the rule.
const WAIT: TimeDelta = TimeDelta::minutes(1);
/// From the beginning until the first are due: as long as a scan may take to find them all, with all messages in the past by then.
const LEAD: TimeDelta = TimeDelta::seconds(30);

/// Longer than all of it takes.
const SILENCE_MS: u64 = 120_000;

/// Seconds, for all of the others but one in a hundred.
const GOAL: f64 = 1.0;

/// An account's reminders on one channel.
type Side = (AccountId, Channel);

#[derive(Clone, Copy, Debug)]
enum Silent {
    LivePerson,
    Twilio,
    MailServer,
}

pub async fn run(durability: Durability) -> Result<()> {
    println!("{HANGING} reminders due at once that hang, and {OTHERS} others one by one");
    let mut late = Vec::new();
    for silent in [Silent::LivePerson, Silent::Twilio, Silent::MailServer] {
        let round = silent.play(durability).await?;
        late.extend((round.late_p99 >= GOAL).then_some(silent));
    }
    ensure!(late.is_empty(), "p99 is not below {GOAL} s: {late:?}");
    Ok(())
}

impl Silent {
    /// What hangs, and what does not.
    fn sides(self) -> Result<[Side; 2]> {
        let (own, neighbour) = (ACCOUNT.parse()?, NEIGHBOUR.parse()?);
        Ok(match self {
            Self::LivePerson => [(own, Channel::Email), (neighbour, Channel::Email)],
            Self::Twilio => [(own, Channel::Sms), (neighbour, Channel::Sms)],
            Self::MailServer => [(own.clone(), Channel::Email), (own, Channel::Sms)],
        })
    }

    fn begin(self, sandbox: &Sandbox) {
        match self {
            Self::LivePerson => {
                sandbox.faults().add(FaultRule {
                    endpoint: Some(Endpoint::ById),
                    account: Some(ACCOUNT.to_owned()),
                    skill: None,
                    fault: Fault::Delay { ms: SILENCE_MS },
                    when: LivePersonWhen::UntilCleared,
                });
            }
            Self::Twilio => {
                let nothing = TwilioAnswer::Silence { accepted: false };
                let fault = TwilioFault::answer(When::to("+1202*"), nothing);
                sandbox.twilio().faults().add(fault.on(Operation::Create));
            }
            Self::MailServer => {
                let fault = SmtpFault::silence(Phase::Mail, When::always(), false);
                sandbox.smtp().faults().add(fault);
            }
        }
    }

    async fn play(self, durability: Durability) -> Result<Round> {
        let folder = std::env::temp_dir().join(format!("unread-hanging-{}", std::process::id()));
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
        sandbox.world().add_account(NEIGHBOUR);
        let environment = environment(&sandbox, &server);
        let pool = unread::db::pool(server.connect_options("postgres"), 8);
        let round = self.measure(&folder, &environment, &sandbox, &pool).await;
        pool.close().await;
        sandbox.stop().await;
        server.stop()?;
        let _ = std::fs::remove_dir_all(&folder);
        round
    }

    async fn measure(
        self,
        folder: &Path,
        environment: &BTreeMap<String, String>,
        sandbox: &Sandbox,
        pool: &PgPool,
    ) -> Result<Round> {
        std::fs::write(folder.join("unread.toml"), accounts(sandbox)?)?;
        std::fs::write(folder.join("rules.toml"), rules())?;
        Process::finish(&["migrate"], folder, environment)?;
        Process::finish(&["rules", "import", "rules.toml"], folder, environment)?;
        go_live(pool).await?;
        let [hangs, goes_on] = self.sides()?;
        let began = Clock::System.now();
        for n in 0..HANGING {
            answered(&due_in(sandbox.world(), LEAD), &hangs, 202, n);
        }
        for n in 0..OTHERS {
            let after = LEAD + TimeDelta::seconds(1) + EVERY * i32::try_from(n)?;
            answered(&due_in(sandbox.world(), after), &goes_on, 415, n);
        }
        let _scheduler = Process::spawn(&["scheduler"], folder, environment)?;
        let _worker = Process::spawn(&["worker"], folder, environment)?;
        let others = until("a scan", Duration::from_mins(5), async || {
            let (hanging, others) = (of(pool, &hangs).await?, of(pool, &goes_on).await?);
            let all = hanging.len() == HANGING && others.len() == OTHERS;
            Ok(all.then_some(others))
        })
        .await?;
        self.begin(sandbox);
        ensure!(
            Clock::System.now() < began + LEAD,
            "the scan came when the first reminders were due"
        );
        let new = scanned(sandbox.world(), pool, &goes_on);
        let (round, new) = tokio::try_join!(ledger::all_sent(pool, &others), new)?;
        println!(
            "{self:?} silent: {} others sent, late p50 {:.2} s, p99 {:.2} s, max {:.2} s; a new conversation scanned after {new:.0} s",
            round.sent, round.late_p50, round.late_p99, round.late_max
        );
        ensure!(usize::try_from(round.sent)? == OTHERS, "some were not sent");
        Ok(round)
    }
}

fn environment(sandbox: &Sandbox, server: &Server) -> BTreeMap<String, String> {
    let mut environment = demo::environment(sandbox.endpoints());
    // What differs between accounts is in `unread.toml`.
    for key in ["ACCOUNT", "CLIENT_ID", "CLIENT_SECRET"] {
        environment.remove(&format!("LE_{key}"));
    }
    for key in ["UNREAD_BRAND", "UNREAD_DEFAULT_REGION"] {
        environment.remove(key);
    }
    for (key, value) in [
        ("DATABASE_URL", &*server.url("postgres")),
        ("TWILIO_FROM", SENDERS[0].1),
        ("UNREAD_PUBLIC_URL", "https://unread.shop.example"),
        ("UNREAD_METRICS_BIND", "127.0.0.1"),
        ("UNREAD_METRICS_PORT", "0"),
        ("UNREAD_SCAN_INTERVAL_SECONDS", "15"),
        ("UNREAD_LOG_LEVEL", "error"),
    ] {
        environment.insert(key.to_owned(), value.to_owned());
    }
    environment
}

fn accounts(sandbox: &Sandbox) -> Result<String> {
    let account = |(id, _)| {
        let credentials = sandbox.world().credentials(id).ok();
        let credentials = credentials.context("an account of the sandbox")?;
        let (client, secret) = (credentials.client_id, credentials.client_secret);
        Ok(format!(
            "[[account]]\nid = '{id}'\nbrand = 'Brand {id}'\nclient_id = '{client}'\nclient_secret = '{secret}'\n"
        ))
    };
    SENDERS.into_iter().map(account).collect()
}

/// At all hours, over the one channel on which somebody can be reached.
fn rules() -> String {
    let minutes = WAIT.num_minutes();
    let of = |(account, sender)| {
        format!(
            "[[rule]]\naccount = '{account}'\nsteps = [\n\
             {{ channel = 'email', after_minutes = {minutes} }},\n\
             {{ channel = 'sms', after_minutes = {minutes}, when = 'if_not_reached' }},\n]\n\
             debounce_minutes = 0\n\
             channels.sms = {{ quiet_hours = {{ allowed = [] }}, sender = '{sender}' }}\n"
        )
    };
    format!("version = 2\n{}", SENDERS.map(of).concat())
}

/// The world at the time of a message whose reminder is due so long from now.
fn due_in(world: &World, after: TimeDelta) -> World {
    world.minutes_from_now((after - WAIT).as_seconds_f64() / 60.0)
}

/// Somebody who can be reached on one channel, under a number of that area.
fn answered(world: &World, (account, channel): &Side, area: u16, n: usize) -> String {
    let opening = world.conversation(account.as_str(), CUSTOMER_CARE);
    let opening = if *channel == Channel::Email {
        opening.email(&format!("person{area}.{n}@example.net"))
    } else {
        opening.phone(&format!("+1{area}555{n:04}"))
    };
    let chat = opening.time_zone("UTC").start();
    world.consumer_says(&chat, "Do you have it in green?");
    world.agent_says(&chat, "Yes, we do.");
    chat
}

/// The reminders of a side.
async fn of(pool: &PgPool, (account, channel): &Side) -> Result<Vec<ReminderId>> {
    let sql = "select id from reminders where account = $1 and channel = $2 order by id";
    let ids = sqlx::query_scalar(sql).bind(account).bind(channel);
    let ids: Vec<i64> = ids.fetch_all(pool).await?;
    Ok(ids.into_iter().map(ReminderId).collect())
}

/// Somebody new is answered: seconds until a reminder is scheduled.
async fn scanned(world: &World, pool: &PgPool, side: &Side) -> Result<f64> {
    let began = Clock::System.now();
    let chat = answered(world, side, 415, OTHERS);
    let patience = Duration::from_mins(2);
    until("a new conversation is scanned", patience, async || {
        let sql = "select extract(epoch from created_at - $2)::float8 from reminders where conversation = $1";
        let after = sqlx::query_scalar(sql).bind(&chat).bind(began);
        Ok(after.fetch_optional(pool).await?)
    })
    .await
}
