//! The people of a chaos run: one conversation each, with a due moment, and what they do around it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, DurationRound as _, NaiveTime, TimeDelta, Utc};
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::PgPool;
use tokio::task::JoinSet;
use unread::clock::Clock;
use unread::db;
use unread::domain::ids::{AccountId, Channel, SkillId};
use unread::domain::quiet::{QuietHours, Window};
use unread::domain::rule::{Caps, InQuietHours, RuleKey, RuleSettings, Step};
use unread::liveperson;
use unread::sandbox::outbox::OutboxMessage;
use unread::sandbox::world::{CUSTOMER_CARE, ORDERS, UNASSIGNED};
use unread::sandbox::{ACCOUNT, Sandbox};

use super::Options;

/// Minutes from the agent's message to the reminder.
const AFTER: i64 = 1;

/// The skill whose e-mails are worth nothing after a minute, and whose texts fall into quiet hours in the middle of the run.
const HASTY: i64 = UNASSIGNED;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Leaves everything unread.
    Nothing,
    Reads,
    Answers,
    /// An agent closes the conversation.
    Closes,
    /// Opts out as soon as the reminder is there.
    OptsOut,
    /// The second conversation of the one before, due a little later: must get nothing after the opt-out.
    SecondOfTheSame,
}

#[derive(Clone, Debug)]
pub struct Person {
    pub channel: Channel,
    pub skill: i64,
    pub address: String,
    /// From the start of the run.
    pub due: Duration,
    /// How long before that the conversation shows up.
    lead: Duration,
    pub deed: Deed,
    deed_at: Duration,
    /// Known once the person has arrived.
    pub conversation: String,
    /// When the service had confirmed the opt-out, epoch milliseconds.
    pub opted_out_at: Option<i64>,
}

pub struct People(pub Vec<Person>);

/// The full minute at which quiet hours begin for the texts of the hasty skill: about the middle of the run.
pub fn quiet_from(options: &Options) -> DateTime<Utc> {
    let middle = Clock::System.now() + TimeDelta::from_std(options.spread / 2).unwrap_or_default();
    middle
        .duration_round(TimeDelta::minutes(1))
        .unwrap_or(middle)
}

/// Allowed until then, from twelve hours before on.
fn allowed_until(quiet: DateTime<Utc>) -> QuietHours {
    let (from, to) = ((quiet - TimeDelta::hours(12)).time(), quiet.time());
    let window = |from, to| Window {
        days: Vec::new(),
        from,
        to,
    };
    let allowed = if from < to || to == NaiveTime::MIN {
        vec![window(from, to)]
    } else {
        vec![window(from, NaiveTime::MIN), window(NaiveTime::MIN, to)]
    };
    QuietHours {
        allowed,
        ..QuietHours::default()
    }
}

/// The rules they live under.
pub async fn rules(pool: &PgPool, options: &Options, quiet: DateTime<Utc>) -> Result<()> {
    let account: AccountId = ACCOUNT.parse()?;
    let now = Clock::System.now();
    db::accounts::ensure(pool, std::slice::from_ref(&account), now).await?;
    let mut tx = pool.begin().await?;
    for channel in Channel::ALL {
        let live = db::live::LiveChannel {
            since: chrono::DateTime::UNIX_EPOCH,
            by_whom: "chaos".to_owned(),
            at: now,
        };
        db::live::begin(&mut tx, (&account, channel), &live).await?;
    }
    // Long enough that retries have their chance, short enough that the run ends.
    let usual = if options.wait_out_leases { 20 } else { 10 };
    let any_time = QuietHours::default;
    for (skill, channel, max_age, quiet_hours) in [
        (CUSTOMER_CARE, Channel::Email, usual, any_time()),
        (ORDERS, Channel::Sms, usual, any_time()),
        (HASTY, Channel::Email, 1, any_time()),
        (HASTY, Channel::Sms, usual, allowed_until(quiet)),
    ] {
        let settings = RuleSettings {
            steps: vec![Step {
                after: TimeDelta::minutes(AFTER),
            }],
            debounce: TimeDelta::zero(),
            max_age: TimeDelta::minutes(max_age),
            quiet_hours,
            in_quiet_hours: InQuietHours::Drop,
            caps: Caps {
                per_recipient_24h: 20,
                ..Caps::default()
            },
            ..RuleSettings::default_for(channel)
        };
        let key = RuleKey {
            account: account.clone(),
            skill: Some(SkillId(skill)),
            channel,
        };
        db::rules::put(&mut tx, &key, true, &settings, "chaos", now).await?;
    }
    tx.commit().await?;
    Ok(())
}

impl People {
    /// Who they are, what they do and when.
    pub fn invent(options: &Options) -> Self {
        let mut dice = StdRng::seed_from_u64(options.seed);
        let mut people: Vec<Person> = Vec::with_capacity(options.people as usize);
        let spread = options.spread.as_secs_f64();
        while people.len() < options.people as usize {
            let n = people.len();
            let (channel, skill) = match dice.random_range(0..10) {
                0..5 => (Channel::Email, CUSTOMER_CARE),
                5..8 => (Channel::Sms, ORDERS),
                8 => (Channel::Sms, HASTY),
                _ => (Channel::Email, HASTY),
            };
            let address = match channel {
                Channel::Email => format!("person{n}@example.com"),
                Channel::Sms => format!("+1415{}", 2_000_000 + n),
                #[cfg(feature = "test-channel")]
                Channel::Probe => format!("customer-{n}"),
            };
            let deed = match dice.random_range(0..100) {
                0..22 => Deed::Reads,
                22..30 => Deed::Answers,
                30..36 => Deed::Closes,
                36..41 => Deed::OptsOut,
                _ => Deed::Nothing,
            };
            let due = dice.random_range(4.0..spread.max(5.0));
            // Half of those who act do so at the worst moment, just around the reminder.
            let near = if dice.random_bool(0.5) { 1.5 } else { 15.0 };
            let act = (due + dice.random_range(-near..near)).max(0.5);
            let person = Person {
                channel,
                skill,
                address,
                due: Duration::from_secs_f64(due),
                lead: Duration::from_secs_f64(dice.random_range(2.0..50.0)),
                deed,
                deed_at: Duration::from_secs_f64(act),
                conversation: String::new(),
                opted_out_at: None,
            };
            people.push(person.clone());
            if deed == Deed::OptsOut {
                let later = dice.random_range(8.0..20.0);
                people.push(Person {
                    due: person.due + Duration::from_secs_f64(later),
                    deed: Deed::SecondOfTheSame,
                    ..person
                });
            }
        }
        people.truncate(options.people as usize);
        Self(people)
    }

    /// Everybody arrives, and does what they do, each at their moment.
    pub async fn live(mut self, sandbox: &Sandbox, webs: Vec<String>) -> Result<Self> {
        let world = sandbox.world();
        let start = world.clock().now_ms();
        let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        let began = tokio::time::Instant::now();
        let last = self.0.iter().map(|p| p.due).max().unwrap_or_default();
        let quitters = (0..).zip(&self.0).filter(|(_, p)| p.deed == Deed::OptsOut);
        let quitters = quitters.map(|(n, p)| (p.address.clone(), n)).collect();
        let lives = self.0.iter_mut().map(async |person| {
            tokio::time::sleep_until(began + person.due.saturating_sub(person.lead)).await;
            let wrote_at = start + ms(person.due) - AFTER * 60_000;
            let then = world.at(wrote_at - 1_000);
            let opening = then.conversation(ACCOUNT, person.skill);
            let opening = opening.consumer("Alex", "Example");
            let opening = match person.channel {
                Channel::Email => opening.email(&person.address),
                // By whose clock the hasty skill's hours are set.
                Channel::Sms => opening.phone(&person.address).time_zone("UTC"),
                #[cfg(feature = "test-channel")]
                Channel::Probe => opening.customer_id(&person.address),
            };
            person.conversation = opening.start();
            let id = &person.conversation;
            then.consumer_says(id, "Hello?");
            world.at(wrote_at).agent_says(id, "Here is your answer.");
            tokio::time::sleep_until(began + person.deed_at).await;
            match person.deed {
                Deed::Reads => world.consumer_reads(id),
                Deed::Answers => world.consumer_says(id, "Thank you"),
                Deed::Closes => world.close(id),
                Deed::Nothing | Deed::OptsOut | Deed::SecondOfTheSame => {}
            }
        });
        let ((), opted_out) = tokio::join!(
            async { drop(join_all(lives).await) },
            opt_outs(sandbox, webs, quitters, start + ms(last) + 15_000),
        );
        for (number, at) in opted_out {
            self.0[number].opted_out_at = Some(at);
            let second = self.0.get_mut(number + 1);
            if let Some(second) = second.filter(|p| p.deed == Deed::SecondOfTheSame) {
                second.opted_out_at = Some(at);
            }
        }
        Ok(self)
    }

    /// How many reminders there must be in the ledger at least: of those who leave everything unread until it is too late to
    /// matter. A hasty reminder that nobody could schedule in time is rightly never owed.
    pub fn owed_for_certain(&self) -> i64 {
        let certain = self.0.iter().filter(|p| p.is_owed_for_certain()).count();
        i64::try_from(certain).unwrap_or(i64::MAX)
    }
}

impl Person {
    /// Leaves everything unread, and the reminder has time.
    pub fn is_patient(&self) -> bool {
        self.deed == Deed::Nothing && self.skill != HASTY
    }

    /// Must get nothing in quiet hours.
    pub fn sleeps(&self) -> bool {
        self.channel == Channel::Sms && self.skill == HASTY
    }

    pub fn is_owed_for_certain(&self) -> bool {
        let acts = matches!(self.deed, Deed::Reads | Deed::Answers | Deed::Closes);
        !acts && self.skill != HASTY
    }
}

/// Lets those who want no more say so as soon as they are written to. Returns who was confirmed when.
async fn opt_outs(
    sandbox: &Sandbox,
    webs: Vec<String>,
    quitters: HashMap<String, usize>,
    until: i64,
) -> Vec<(usize, i64)> {
    let (outbox, clock) = (sandbox.outbox(), sandbox.world().clock());
    let account = sandbox.twilio().account();
    let mut waiting = quitters;
    let mut under_way = JoinSet::new();
    let mut next = 1;
    while clock.now_ms() < until {
        while let Some(message) = outbox.message(next) {
            next += 1;
            let to = match &message {
                OutboxMessage::Mail(mail) => mail.to.first().cloned().unwrap_or_default(),
                OutboxMessage::Text(text) => text.to.clone(),
            };
            let Some(number) = waiting.remove(&to) else {
                continue;
            };
            let (webs, account, clock) = (webs.clone(), account.clone(), clock.clone());
            under_way.spawn(async move {
                // The service may be down at the moment: people try again, and so does Twilio.
                for attempt in 0..60 {
                    let confirmed = match &message {
                        OutboxMessage::Mail(mail) => {
                            let link = mail.list_unsubscribe().first().map(|l| (*l).to_owned());
                            unsubscribe(link, &webs[attempt % webs.len()]).await
                        }
                        // Twilio itself blocks after a bare STOP; other words only we understand.
                        OutboxMessage::Text(text) => {
                            let words = ["STOP", "please stop texting me"][number % 2];
                            let from = account.number();
                            let told = account.inbound(&text.to, &from, words, None).await;
                            told.is_ok_and(|(status, _)| status == 200)
                        }
                    };
                    if confirmed {
                        return Some((number, clock.now_ms()));
                    }
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                None
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    under_way.join_all().await.into_iter().flatten().collect()
}

/// One-click, as a mail program does it (RFC 8058), at any of the webs.
async fn unsubscribe(link: Option<String>, web: &str) -> bool {
    let Some(path) = link
        .and_then(|link| url::Url::parse(&link).ok())
        .map(|url| url.path().to_owned())
    else {
        return false;
    };
    let post = liveperson::http_client()
        .post(format!("{web}{path}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("List-Unsubscribe=One-Click");
    post.timeout(Duration::from_secs(3))
        .send()
        .await
        .is_ok_and(|answer| answer.status().is_success())
}
