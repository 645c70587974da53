//! The people of a chaos run: a conversation or two each, with a due moment, and what they do around it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use unread::clock::Clock;
use unread::domain::ids::Channel;
use unread::domain::rule::When;
use unread::liveperson;
use unread::sandbox::outbox::OutboxMessage;
use unread::sandbox::world::Person as Consumer;
use unread::sandbox::{ACCOUNT, Sandbox};

use super::Options;
use super::skills::{BOTH, HASTY, LADDER, MAIL, SkillRule, TEXT};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Leaves everything unread.
    Nothing,
    Reads,
    Answers,
    /// An agent closes the conversation.
    Closes,
    /// Opts out as soon as a reminder is there.
    OptsOut,
    /// The second conversation of the one before, due a little later: must get nothing after the opt-out.
    SecondOfTheSame,
}

/// One conversation of somebody.
#[derive(Clone, Debug)]
pub struct Person {
    pub rule: &'static SkillRule,
    pub email: Option<String>,
    pub phone: Option<String>,
    /// LivePerson's id, of who has several conversations under one.
    pub consumer: Option<String>,
    /// When the first step is due, from the start of the run.
    pub due: Duration,
    /// How long before that the conversation shows up.
    lead: Duration,
    pub deed: Deed,
    deed_at: Duration,
    /// One of two conversations that are due at about the same moment: the gap lets one through.
    paired: bool,
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

impl People {
    /// Who they are, what they do and when.
    pub fn invent(options: &Options) -> Self {
        let mut dice = StdRng::seed_from_u64(options.seed);
        let mut people: Vec<Person> = Vec::with_capacity(options.people as usize);
        while people.len() < options.people as usize {
            let mut person = Person::invent(&mut dice, people.len(), options.spread.as_secs_f64());
            let second = person.second(&mut dice, people.len());
            if let Some(second) = &second {
                person.consumer.clone_from(&second.consumer);
                person.paired = second.paired;
            }
            people.push(person);
            people.extend(second);
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
        let quitters =
            quitters.flat_map(|(n, p)| p.addresses().map(move |address| (address.to_owned(), n)));
        let quitters = quitters.collect();
        let lives = self.0.iter_mut().map(async |person| {
            tokio::time::sleep_until(began + person.due.saturating_sub(person.lead)).await;
            let wrote_at = start + ms(person.due) - person.rule.after().num_milliseconds();
            let then = world.at(wrote_at - 1_000);
            let opening = then.conversation(ACCOUNT, person.rule.skill);
            person.conversation = opening.person(person.consumer()).start();
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
            // Who said so on both channels has said so by the first.
            let first = |known: Option<i64>| Some(known.map_or(at, |known| known.min(at)));
            self.0[number].opted_out_at = first(self.0[number].opted_out_at);
            let second = self.0.get_mut(number + 1);
            if let Some(second) = second.filter(|p| p.deed == Deed::SecondOfTheSame) {
                second.opted_out_at = first(second.opted_out_at);
            }
        }
        Ok(self)
    }

    /// How many reminders there must be in the ledger at least.
    pub fn owed_for_certain(&self) -> i64 {
        let certain = self
            .0
            .iter()
            .map(Person::rungs_owed_for_certain)
            .sum::<usize>();
        i64::try_from(certain).unwrap_or(i64::MAX)
    }
}

impl Person {
    fn invent(dice: &mut StdRng, n: usize, spread: f64) -> Self {
        let (email, phone) = (
            format!("person{n}@example.com"),
            format!("+1415{}", 2_000_000 + n),
        );
        let some = |email_too: bool, phone_too: bool| {
            (
                email_too.then(|| email.clone()),
                phone_too.then(|| phone.clone()),
            )
        };
        let (rule, (email, phone)) = match dice.random_range(0..20) {
            0..6 => (&MAIL, some(true, dice.random_bool(0.2))),
            6..10 => (&TEXT, some(dice.random_bool(0.2), true)),
            10..12 => (&HASTY, some(false, true)),
            12..14 => (&HASTY, some(true, false)),
            14..17 => match dice.random_range(0..10) {
                0 => (&BOTH, some(true, false)),
                1 => (&BOTH, some(false, true)),
                _ => (&BOTH, some(true, true)),
            },
            _ => match dice.random_range(0..10) {
                0 => (&LADDER, some(true, false)),
                1 => (&LADDER, some(false, true)),
                _ => (&LADDER, some(true, true)),
            },
        };
        let deed = match dice.random_range(0..100) {
            0..22 => Deed::Reads,
            22..30 => Deed::Answers,
            30..36 => Deed::Closes,
            36..41 => Deed::OptsOut,
            _ => Deed::Nothing,
        };
        // The second rung comes a minute later, and is to have its share of the trouble.
        let two_rungs = rule.is(&LADDER);
        let latest = if two_rungs { spread / 3.0 } else { spread };
        let due = dice.random_range(4.0..latest.max(5.0));
        // Half of those who act do so at the worst moment, just around the reminder; or between the rungs.
        let near = if dice.random_bool(0.5) { 1.5 } else { 15.0 };
        let off = if two_rungs && dice.random_bool(0.5) {
            dice.random_range(5.0..65.0)
        } else {
            dice.random_range(-near..near)
        };
        Self {
            rule,
            email,
            phone,
            consumer: None,
            due: Duration::from_secs_f64(due),
            lead: Duration::from_secs_f64(dice.random_range(2.0..50.0)),
            deed,
            deed_at: Duration::from_secs_f64((due + off).max(0.5)),
            paired: false,
            conversation: String::new(),
            opted_out_at: None,
        }
    }

    /// Their second conversation, of some.
    fn second(&self, dice: &mut StdRng, n: usize) -> Option<Self> {
        if self.deed == Deed::OptsOut {
            let later = dice.random_range(8.0..20.0);
            return Some(Self {
                due: self.due + Duration::from_secs_f64(later),
                deed: Deed::SecondOfTheSame,
                ..self.clone()
            });
        }
        if !self.rule.is(&BOTH) || !dice.random_bool(0.4) {
            return None;
        }
        let due = (self.due.as_secs_f64() + dice.random_range(-2.0..2.0)).max(4.0);
        let mut second = Self {
            due: Duration::from_secs_f64(due),
            deed: Deed::Nothing,
            paired: true,
            ..self.clone()
        };
        match dice.random_range(0..3) {
            // The same addresses, by which LivePerson does not know them.
            0 => {}
            // The same consumer, known by another address here than there.
            1 => {
                second.consumer = Some(format!("consumer-{n}"));
                second.email = self.email.as_ref().map(|_| format!("other{n}@example.com"));
            }
            // The same consumer, reached over another channel here than there.
            _ => {
                second.consumer = Some(format!("consumer-{n}"));
                second.email = None;
                second.phone = Some(format!("+1415{}", 3_000_000 + n));
            }
        }
        Some(second)
    }

    /// One of two conversations of a customer with both addresses, who does nothing.
    pub fn planted(rule: &'static SkillRule, n: usize) -> Self {
        Self {
            rule,
            email: Some(format!("planted{n}@example.com")),
            phone: Some(format!("+1415{}", 2_000_000 + n)),
            consumer: Some("planted".to_owned()),
            due: Duration::ZERO,
            lead: Duration::ZERO,
            deed: Deed::Nothing,
            deed_at: Duration::ZERO,
            paired: false,
            conversation: String::new(),
            opted_out_at: None,
        }
    }

    pub fn consumer(&self) -> Consumer {
        Consumer {
            first_name: Some("Alex".to_owned()),
            last_name: Some("Example".to_owned()),
            email: self.email.clone(),
            phone: self.phone.clone(),
            consumer_id: self.consumer.clone(),
            // By whose clock the hasty skill's hours are set.
            time_zone: self.phone.as_ref().map(|_| "UTC".to_owned()),
            ..Consumer::default()
        }
    }

    pub fn address(&self, channel: Channel) -> Option<&str> {
        match channel {
            Channel::Email => self.email.as_deref(),
            Channel::Sms => self.phone.as_deref(),
            // Nobody in the run is reached over it.
            #[cfg(feature = "test-channel")]
            Channel::Probe => None,
        }
    }

    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.email.iter().chain(&self.phone).map(String::as_str)
    }

    /// Where the first message goes if nothing goes wrong.
    pub fn first_address(&self) -> Option<(Channel, &str)> {
        let mut steps = self.rule.steps.iter();
        steps.find_map(|step| Some((step.channel, self.address(step.channel)?)))
    }

    /// Leaves everything unread, the reminder has time, and nothing else is in its way.
    pub fn is_patient(&self) -> bool {
        self.deed == Deed::Nothing && !self.rule.is(&HASTY) && !self.paired
    }

    /// Must get nothing in quiet hours.
    pub fn sleeps(&self) -> bool {
        self.phone.is_some() && self.rule.is(&HASTY)
    }

    /// Leaves everything unread until it is too late to matter. A hasty reminder that nobody could schedule in time is rightly never owed.
    pub fn is_owed_for_certain(&self) -> bool {
        let acts = matches!(self.deed, Deed::Reads | Deed::Answers | Deed::Closes);
        !acts && !self.rule.is(&HASTY)
    }

    /// The rungs of which one step at least must have a reminder. After an opt-out there is no next one.
    pub fn rungs_owed_for_certain(&self) -> usize {
        if !self.is_owed_for_certain() {
            return 0;
        }
        let rungs = self
            .rule
            .steps
            .chunk_by(|_, next| next.when == When::IfNotReached);
        let rungs: Vec<_> = rungs.collect();
        // Before another rung there may be no time for more than the step that is always sent.
        let certain = rungs.iter().enumerate().filter(|(place, rung)| {
            let most = if place + 1 < rungs.len() {
                1
            } else {
                rung.len()
            };
            rung[..most]
                .iter()
                .any(|step| self.address(step.channel).is_some())
        });
        let rungs = certain.count();
        if self.deed == Deed::Nothing {
            rungs
        } else {
            rungs.min(1)
        }
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
