//! One conversation with its whole history, every part of it dated, so that it can be shown as of any moment.
//!
//! Load tests need 100,000 of them, so a conversation that nothing has happened to since it was made in bulk is kept as a few
//! numbers ([`Bulk`]) and written out in full only while somebody looks at it.

use std::borrow::Cow;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::account::{Agent, AgentKind, Staff};
use super::action::{Action, Closer, Partial, Person};

/// What a search filters by, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub skill: i64,
    /// The MAIN dialog is open.
    pub open: bool,
    /// Some dialog, perhaps the survey, is open.
    pub any_open: bool,
    pub in_queue: bool,
    pub updated: i64,
}

pub struct Entry {
    pub id: u128,
    pub start: i64,
    /// The newest event; until then `key` is not yet what the world sees.
    pub changed: i64,
    pub key: Key,
    pub source: Arc<str>,
    body: Body,
}

enum Body {
    Bulk(Bulk),
    Full(Box<Detail>),
}

/// A conversation of a load test: the consumer asked, an agent answered, nobody read it.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    pub serial: u32,
    pub agent_wrote_at: i64,
    pub email: bool,
    pub phone: bool,
}

#[derive(Clone, Default)]
pub struct Detail {
    pub consumers: Vec<Consumer>,
    pub agents: Vec<Joined>,
    pub dialogs: Vec<Dialog>,
    pub messages: Vec<Message>,
    pub receipts: Vec<Receipt>,
    pub attributes: Vec<Attributes>,
    pub transfers: Vec<Transfer>,
    /// (when, whether in queue)
    pub queue: Vec<(i64, bool)>,
    /// (when, skill)
    pub skills: Vec<(i64, i64)>,
    pub stepped_up: Option<i64>,
    pub time_zone: Option<String>,
    pub language: Option<String>,
    pub partial: Partial,
    pub garbled: bool,
}

#[derive(Clone)]
pub struct Consumer {
    pub id: String,
    pub joined: i64,
    pub first_name: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
}

#[derive(Clone)]
pub struct Joined {
    pub agent: Arc<Agent>,
    pub at: i64,
    pub dialog: usize,
}

#[derive(Clone)]
pub struct Dialog {
    pub id: String,
    pub survey: bool,
    pub opened: i64,
    pub closed: Option<(i64, Closer)>,
    /// Restarts in every dialog; receipts use numbers up too, hence the gaps.
    pub next_seq: u32,
}

#[derive(Clone)]
pub enum Party {
    /// The place in `consumers`.
    Consumer(usize),
    Agent(Arc<Agent>),
}

#[derive(Clone)]
pub enum Content {
    Text(String),
    File { caption: String },
    Rich { text: String },
}

#[derive(Clone)]
pub struct Message {
    pub seq: u32,
    pub dialog: usize,
    pub at: i64,
    pub from: Party,
    pub content: Content,
    pub private: bool,
}

#[derive(Clone)]
pub struct Receipt {
    /// The place in `messages`.
    pub message: usize,
    pub at: i64,
    pub by: Party,
    /// `ACCEPT` or `READ`.
    pub status: &'static str,
}

#[derive(Clone)]
pub struct Attributes {
    pub at: i64,
    pub authenticated: bool,
    pub about: About,
}

#[derive(Clone)]
pub enum About {
    Customer {
        id: String,
        remark: Option<String>,
    },
    Person {
        first_name: Option<String>,
        last_name: Option<String>,
        email: Option<String>,
        phone: Option<String>,
    },
}

#[derive(Clone)]
pub struct Transfer {
    pub at: i64,
    pub from: i64,
    pub to: i64,
    pub by: Option<Arc<Agent>>,
}

impl Message {
    fn by_human(&self) -> bool {
        matches!(&self.from, Party::Agent(agent) if agent.kind == AgentKind::Human)
    }

    fn by_consumer(&self) -> bool {
        matches!(self.from, Party::Consumer(_))
    }
}

/// The last value that was set by `as_of`.
fn value_at<T: Copy>(history: &[(i64, T)], as_of: i64) -> Option<T> {
    // `max_by_key` takes the last of equals: what was told later.
    history
        .iter()
        .filter(|(at, _)| *at <= as_of)
        .max_by_key(|(at, _)| *at)
        .map(|(_, value)| *value)
}

/// A UUID's text.
pub fn uuid(id: u128) -> String {
    let hex = format!("{id:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

pub fn parse_uuid(text: &str) -> Option<u128> {
    let hex: String = text.split('-').collect();
    (text.len() == 36 && hex.len() == 32)
        .then(|| u128::from_str_radix(&hex, 16).ok())
        .flatten()
}

/// LivePerson's id of an authenticated consumer: 64 hexadecimal digits.
pub fn consumer_id(of: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(of)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

impl Bulk {
    fn person(self) -> Person {
        const AREAS: [u32; 10] = [201, 202, 203, 205, 206, 207, 208, 209, 210, 212];
        let (area, line) = (
            AREAS[(self.serial / 10_000) as usize % AREAS.len()],
            self.serial % 10_000,
        );
        Person {
            first_name: Some("Visitor".into()),
            customer_id: Some(format!("CUST-{}", self.serial)),
            email: self
                .email
                .then(|| format!("visitor{}@example.com", self.serial)),
            phone: self.phone.then(|| format!("+1{area}555{line:04}")),
            ..Person::default()
        }
    }

    fn detail(self, id: u128, start: i64, skill: i64, staff: &Staff) -> Detail {
        let mut detail = Detail::open(id, start, skill, &self.person());
        let mut act = |at, action| detail.apply(at, id, &action, staff);
        act(
            start,
            Action::ConsumerSays {
                text: "Hello, where is my order?".into(),
            },
        );
        act(
            self.agent_wrote_at,
            Action::AgentSays {
                text: "It left today. Anything else?".into(),
            },
        );
        detail
    }
}

impl Entry {
    pub fn bulk(id: u128, start: i64, skill: i64, source: Arc<str>, bulk: Bulk) -> Self {
        let changed = bulk.agent_wrote_at.max(start);
        let key = Key {
            skill,
            open: true,
            any_open: true,
            in_queue: false,
            updated: changed,
        };
        Self {
            id,
            start,
            changed,
            key,
            source,
            body: Body::Bulk(bulk),
        }
    }

    pub fn full(id: u128, start: i64, source: Arc<str>, detail: Detail) -> Self {
        let key = detail.key_at(i64::MAX);
        Self {
            id,
            start,
            changed: start,
            key,
            source,
            body: Body::Full(Box::new(detail)),
        }
    }

    pub fn detail(&self, staff: &Staff) -> Cow<'_, Detail> {
        match &self.body {
            Body::Full(detail) => Cow::Borrowed(detail),
            Body::Bulk(bulk) => Cow::Owned(bulk.detail(self.id, self.start, self.key.skill, staff)),
        }
    }

    /// Lets something happen at `at`.
    pub fn act(&mut self, at: i64, action: &Action, staff: &Staff) {
        if let Body::Bulk(bulk) = self.body {
            self.body = Body::Full(Box::new(bulk.detail(
                self.id,
                self.start,
                self.key.skill,
                staff,
            )));
        }
        if let Body::Full(detail) = &mut self.body {
            detail.apply(at, self.id, action, staff);
            self.key = detail.key_at(i64::MAX);
            self.changed = self.changed.max(at);
        }
    }

    /// What the world sees at `as_of`; `None` before the conversation appears.
    pub fn key_at(&self, as_of: i64, staff: &Staff) -> Option<Key> {
        if self.start > as_of {
            None
        } else if self.changed <= as_of {
            Some(self.key)
        } else {
            Some(self.detail(staff).key_at(as_of))
        }
    }
}

impl Detail {
    pub fn open(id: u128, at: i64, skill: i64, person: &Person) -> Self {
        let mut detail = Self {
            dialogs: vec![Dialog {
                id: uuid(id),
                survey: false,
                opened: at,
                closed: None,
                next_seq: 0,
            }],
            queue: vec![(at, true)],
            skills: vec![(at, skill)],
            time_zone: person.time_zone.clone(),
            language: person.language.clone(),
            ..Self::default()
        };
        detail.join(at, id, person);
        detail.tell(at, person);
        detail
    }

    fn join(&mut self, at: i64, id: u128, person: &Person) {
        let made_up = || {
            consumer_id(
                &[
                    &id.to_be_bytes()[..],
                    self.consumers.len().to_string().as_bytes(),
                ]
                .concat(),
            )
        };
        let id = person.consumer_id.clone().unwrap_or_else(made_up);
        self.consumers.push(Consumer {
            id,
            joined: at,
            first_name: person.first_name.clone(),
            email: person.participant_email.clone(),
            phone: person.participant_phone.clone(),
        });
    }

    fn tell(&mut self, at: i64, person: &Person) {
        if let Some(id) = &person.customer_id {
            let about = About::Customer {
                id: id.clone(),
                remark: person.remark.clone(),
            };
            self.attributes.push(Attributes {
                at,
                authenticated: true,
                about,
            });
        }
        for (authenticated, email, phone) in [
            (true, &person.email, &person.phone),
            (false, &person.unverified_email, &person.unverified_phone),
        ] {
            if email.is_some() || phone.is_some() {
                let about = About::Person {
                    first_name: person.first_name.clone(),
                    last_name: person.last_name.clone(),
                    email: email.clone(),
                    phone: phone.clone(),
                };
                self.attributes.push(Attributes {
                    at,
                    authenticated,
                    about,
                });
            }
        }
    }

    /// Lets one thing happen. Things may be told out of order: everything is dated.
    pub fn apply(&mut self, at: i64, id: u128, action: &Action, staff: &Staff) {
        let text = |text: &String| Content::Text(text.clone());
        match action {
            Action::ConsumerSays { text: said } => {
                self.say(
                    at,
                    Party::Consumer(self.consumers.len() - 1),
                    text(said),
                    false,
                );
            }
            Action::AgentSays { text: said } => self.answer(at, &self.agent(staff), text(said)),
            Action::AgentSendsFile { caption } => {
                self.answer(
                    at,
                    &self.agent(staff),
                    Content::File {
                        caption: caption.clone(),
                    },
                );
            }
            Action::BotSays { text: said } => self.answer(at, &staff.bot, text(said)),
            Action::BotSendsRichContent { text } => {
                self.answer(at, &staff.bot, Content::Rich { text: text.clone() });
            }
            Action::SystemSays { text: said } => {
                self.enter(at, &staff.system);
                self.say(at, Party::Agent(staff.system.clone()), text(said), false);
            }
            Action::PrivateNote { text: said } => {
                self.enter(at, &staff.supervisor);
                self.say(at, Party::Agent(staff.supervisor.clone()), text(said), true);
            }
            Action::ConsumerAccepts => self.consumer_receipts(at, "ACCEPT"),
            Action::ConsumerReads => self.consumer_receipts(at, "READ"),
            Action::ManagerReads => {
                self.enter(at, &staff.supervisor);
                let by = Party::Agent(staff.supervisor.clone());
                self.receipts(at, &by, "READ", |_| true);
            }
            Action::StepUp { person } => {
                self.stepped_up = Some(at);
                self.join(at, id, person);
                self.tell(at, person);
            }
            Action::Tells { person } => self.tell(at, person),
            Action::Transfer { skill } => self.transfer(at, *skill),
            Action::Queue => self.queue.push((at, true)),
            Action::Unqueue => self.queue.push((at, false)),
            Action::Close { by } => self.close_dialogs(at, *by, |_| true),
            Action::OpenSurvey => self.open_survey(at, id, staff),
            Action::CloseSurvey => self.close_dialogs(at, Closer::System, |dialog| dialog.survey),
            Action::Partial { partial } => self.partial = *partial,
            Action::Garble => self.garbled = true,
        }
    }

    /// The human agent in charge, or who would take over: the sandbox's two agents share the conversations.
    fn agent(&self, staff: &Staff) -> Arc<Agent> {
        let in_charge = self.agents.iter().rev().map(|joined| &joined.agent);
        let mut in_charge = in_charge.filter(|agent| agent.permission == "ASSIGNED_AGENT");
        let human = in_charge.find(|agent| agent.kind == AgentKind::Human);
        human
            .unwrap_or(&staff.agents[usize::from(self.dialogs[0].opened / 60_000 % 2 == 1)])
            .clone()
    }

    fn enter(&mut self, at: i64, agent: &Arc<Agent>) {
        if !self.agents.iter().any(|joined| joined.agent.id == agent.id) {
            self.agents.push(Joined {
                agent: agent.clone(),
                at,
                dialog: 0,
            });
        }
    }

    /// An agent or bot takes the conversation, reads what the consumer wrote, and writes.
    fn answer(&mut self, at: i64, agent: &Arc<Agent>, content: Content) {
        self.enter(at, agent);
        if value_at(&self.queue, at) == Some(true) {
            self.queue.push((at, false));
        }
        let by = Party::Agent(agent.clone());
        self.receipts(at, &by, "READ", Message::by_consumer);
        self.say(at, by, content, false);
    }

    fn say(&mut self, at: i64, from: Party, content: Content, private: bool) {
        self.say_in(0, at, from, content, private);
    }

    fn say_in(&mut self, dialog: usize, at: i64, from: Party, content: Content, private: bool) {
        let seq = self.dialogs[dialog].next_seq;
        self.dialogs[dialog].next_seq += 1;
        self.messages.push(Message {
            seq,
            dialog,
            at,
            from,
            content,
            private,
        });
    }

    fn consumer_receipts(&mut self, at: i64, status: &'static str) {
        let by = Party::Consumer(self.consumers.len() - 1);
        self.receipts(at, &by, status, |message| {
            !message.private && !message.by_consumer()
        });
    }

    /// One event of `by` about every message in the MAIN dialog that it has not reported yet.
    fn receipts(
        &mut self,
        at: i64,
        by: &Party,
        status: &'static str,
        of: impl Fn(&Message) -> bool,
    ) {
        let before = self.receipts.len();
        for (place, message) in self.messages.iter().enumerate() {
            let reported = self.receipts[..before].iter().any(|receipt| {
                receipt.message == place && receipt.status == status && receipt.by.same_side(by)
            });
            if message.at <= at && message.dialog == 0 && of(message) && !reported {
                self.receipts.push(Receipt {
                    message: place,
                    at,
                    by: by.clone(),
                    status,
                });
            }
        }
        self.dialogs[0].next_seq += u32::from(self.receipts.len() > before);
    }

    fn transfer(&mut self, at: i64, skill: i64) {
        let from = value_at(&self.skills, at).unwrap_or(skill);
        let by = self.agents.last().map(|joined| joined.agent.clone());
        self.transfers.push(Transfer {
            at,
            from,
            to: skill,
            by,
        });
        self.skills.push((at, skill));
        self.queue.push((at, true));
    }

    fn close_dialogs(&mut self, at: i64, by: Closer, of: impl Fn(&Dialog) -> bool) {
        for dialog in &mut self.dialogs {
            if dialog.closed.is_none() && of(dialog) {
                dialog.closed = Some((at, by));
            }
        }
    }

    fn open_survey(&mut self, at: i64, id: u128, staff: &Staff) {
        self.close_dialogs(at, Closer::Agent, |dialog| !dialog.survey);
        let dialog = self.dialogs.len();
        self.dialogs.push(Dialog {
            id: uuid(!id ^ dialog as u128),
            survey: true,
            opened: at,
            closed: None,
            next_seq: 0,
        });
        let bot = staff.bot.clone();
        self.agents.push(Joined {
            agent: bot.clone(),
            at,
            dialog,
        });
        let question = Content::Text("How satisfied are you, from 1 to 5?".into());
        self.say_in(dialog, at, Party::Agent(bot), question, false);
    }

    pub fn key_at(&self, as_of: i64) -> Key {
        let open = |dialog: &Dialog| {
            dialog.opened <= as_of && dialog.closed.is_none_or(|(at, _)| at > as_of)
        };
        let messages = self.messages.iter().map(|message| message.at);
        let ends = self
            .dialogs
            .iter()
            .filter_map(|dialog| dialog.closed.map(|(at, _)| at));
        let moves = self
            .skills
            .iter()
            .map(|(at, _)| *at)
            .chain(self.queue.iter().map(|(at, _)| *at));
        Key {
            skill: value_at(&self.skills, as_of).unwrap_or(super::account::UNASSIGNED),
            open: self
                .dialogs
                .iter()
                .any(|dialog| !dialog.survey && open(dialog)),
            any_open: self.dialogs.iter().any(open),
            in_queue: value_at(&self.queue, as_of).unwrap_or(false),
            updated: messages
                .chain(ends)
                .chain(moves)
                .filter(|at| *at <= as_of)
                .max()
                .unwrap_or(0),
        }
    }

    /// The newest message of a human agent that the consumer can see.
    fn last_agent_message(&self, as_of: i64) -> Option<(usize, &Message)> {
        let messages = self.messages.iter().enumerate();
        messages
            .filter(|(_, m)| m.at <= as_of && m.dialog == 0 && !m.private && m.by_human())
            .max_by_key(|(_, m)| (m.at, m.seq))
    }

    /// When the consumer read or answered the newest human agent's message of that time.
    pub fn seen_at(&self, as_of: i64) -> Option<i64> {
        let (place, last) = self.last_agent_message(as_of)?;
        let read = self.receipts.iter().filter(|receipt| {
            matches!(receipt.by, Party::Consumer(_))
                && receipt.status == "READ"
                && receipt.message == place
        });
        let answered = self
            .messages
            .iter()
            .filter(|m| m.by_consumer() && m.dialog == 0 && (m.at, m.seq) > (last.at, last.seq));
        let seen = read.map(|receipt| receipt.at).chain(answered.map(|m| m.at));
        seen.filter(|at| *at <= as_of).min()
    }

    pub fn unread_at(&self, as_of: i64) -> bool {
        self.key_at(as_of).open
            && self.last_agent_message(as_of).is_some()
            && self.seen_at(as_of).is_none()
    }

    pub fn closed_at(&self) -> Option<i64> {
        self.dialogs
            .iter()
            .filter(|dialog| !dialog.survey)
            .find_map(|d| d.closed.map(|(at, _)| at))
    }
}

impl Party {
    /// The consumer's several ids are one reader; agents report each for themselves.
    fn same_side(&self, other: &Party) -> bool {
        match (self, other) {
            (Self::Consumer(_), Self::Consumer(_)) => true,
            (Self::Agent(one), Self::Agent(two)) => one.id == two.id,
            _ => false,
        }
    }
}
