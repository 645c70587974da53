//! One conversation with its whole history, every part of it dated, so that it can be shown as of any moment.
//!
//! Load tests need 100,000 of them, so a conversation that nothing has happened to since it was made in bulk is kept as a few
//! numbers ([`Bulk`]) and written out in full only while somebody looks at it.

mod as_of;
mod course;

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
