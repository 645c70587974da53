//! A LivePerson account as the sandbox knows it: skills, agents, keys, and the indexes that make a search quick.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::conversation::Entry;

/// The skill of everybody in the script who has no reason to be elsewhere.
pub const CUSTOMER_CARE: i64 = 3_155_411_010;
/// The second skill.
pub const ORDERS: i64 = 3_155_410_910;
/// LivePerson's pseudo skill: never in the list of skills, always allowed in a filter.
pub const UNASSIGNED: i64 = -1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Skill {
    pub id: i64,
    pub name: String,
    pub deleted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentKind {
    System,
    Human,
    Bot,
}

#[derive(Debug)]
pub struct Agent {
    pub id: &'static str,
    pub full_name: &'static str,
    pub nickname: &'static str,
    pub login: &'static str,
    pub kind: AgentKind,
    pub role: &'static str,
    pub permission: &'static str,
    pub group: (i64, &'static str),
}

/// The people and machines on the brand's side, the same in every account.
pub struct Staff {
    pub agents: [Arc<Agent>; 2],
    pub supervisor: Arc<Agent>,
    pub bot: Arc<Agent>,
    pub system: Arc<Agent>,
}

impl Staff {
    pub fn new() -> Self {
        let human = |id, full_name, nickname, login| Agent {
            id,
            full_name,
            nickname,
            login,
            kind: AgentKind::Human,
            role: "AGENT",
            permission: "ASSIGNED_AGENT",
            group: (-1, "Main Group"),
        };
        Self {
            agents: [
                Arc::new(human(
                    "2911000110",
                    "Dana Ortiz",
                    "Dana",
                    "dana.ortiz@brand.example",
                )),
                Arc::new(human(
                    "2911000210",
                    "Lee Park",
                    "Lee",
                    "lee.park@brand.example",
                )),
            ],
            supervisor: Arc::new(Agent {
                role: "MANAGER",
                permission: "AGENT_MANAGER",
                ..human(
                    "2911000777",
                    "Mona Reyes",
                    "Mona",
                    "mona.reyes@brand.example",
                )
            }),
            bot: Arc::new(Agent {
                kind: AgentKind::Bot,
                group: (2_911_001, "Bots"),
                ..human("2911000990", "Order Bot", "Order Assistant", "order-bot")
            }),
            system: Arc::new(Agent {
                kind: AgentKind::System,
                role: "CONTROLLER",
                permission: "CONTROLLER",
                group: (-1, "Unassigned"),
                ..human(
                    "2911000001",
                    "LivePerson Controller",
                    "System",
                    "controller",
                )
            }),
        }
    }
}

/// What a client needs to be let in. The sandbox's secrets protect nothing, so `Debug` may show them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credentials {
    pub client_id: String,
    pub client_secret: String,
    pub consumer_key: String,
    pub consumer_secret: String,
    pub token: String,
    pub token_secret: String,
    /// Whether OAuth 2.0 bearer tokens are accepted.
    pub oauth2: bool,
    /// Whether OAuth 1.0a signatures are accepted.
    pub oauth1: bool,
    /// Lifetime of an access token, seconds of the sandbox's clock.
    pub token_lifetime_s: i64,
}

impl Credentials {
    fn of(account: &str) -> Self {
        Self {
            client_id: "11111111-2222-4333-8444-555555555555".into(),
            client_secret: format!("sandbox-client-secret-{account}"),
            consumer_key: format!("sandboxappkey{account}"),
            consumer_secret: "sandbox app secret & more".into(),
            token: format!("sandboxtoken{account}"),
            token_secret: "sandbox+token/secret=".into(),
            oauth2: true,
            oauth1: true,
            token_lifetime_s: 3600,
        }
    }
}

pub struct Account {
    pub id: String,
    pub credentials: Credentials,
    /// Access tokens and the epoch milliseconds at which they end.
    pub tokens: HashMap<String, i64>,
    pub skills: Vec<Skill>,
    /// The `ac-revision` of the skills; moves with every change.
    pub revision: u64,
    /// Hosts that differ from the sandbox's own, by service name.
    pub hosts: BTreeMap<String, String>,
    pub entries: Vec<Entry>,
    /// Per skill the conversations that ever had it, as (start, place in `entries`), ascending. Nothing is ever taken out, so that
    /// a search as of a minute ago still finds what was transferred since.
    by_skill: BTreeMap<i64, Vec<(i64, u32)>>,
    /// By a hash of the consumer's id: the ids themselves would outweigh everything else. A look-up may find strangers.
    by_consumer: HashMap<u64, Vec<u32>>,
}

impl Account {
    pub fn new(id: &str) -> Self {
        let skill = |id, name: &str| Skill {
            id,
            name: name.into(),
            deleted: false,
        };
        Self {
            id: id.into(),
            credentials: Credentials::of(id),
            tokens: HashMap::new(),
            skills: vec![
                skill(ORDERS, "Orders"),
                skill(CUSTOMER_CARE, "Customer Care"),
                skill(3_155_411_110, "Bot Triage"),
            ],
            revision: 1842,
            hosts: BTreeMap::new(),
            entries: Vec::new(),
            by_skill: BTreeMap::new(),
            by_consumer: HashMap::new(),
        }
    }

    pub fn skill_name(&self, id: i64) -> &str {
        self.skills
            .iter()
            .find(|skill| skill.id == id)
            .map_or("Unassigned", |skill| &skill.name)
    }

    /// Adds a conversation; the caller enters its consumers with [`Account::index_consumer`].
    pub fn push(&mut self, entry: Entry) -> u32 {
        let place = u32::try_from(self.entries.len()).expect("fewer than 2^32 conversations");
        self.index_skill(entry.key.skill, entry.start, place);
        self.entries.push(entry);
        place
    }

    pub fn index_skill(&mut self, skill: i64, start: i64, place: u32) {
        let list = self.by_skill.entry(skill).or_default();
        if let Err(at) = list.binary_search(&(start, place)) {
            list.insert(at, (start, place));
        }
    }

    pub fn index_consumer(&mut self, consumer: &str, place: u32) {
        self.by_consumer
            .entry(hash(consumer))
            .or_default()
            .push(place);
    }

    /// The conversations that began within `from..=to` and ever had one of `skills` (`None`: any), ascending by start.
    pub fn started_within(&self, from: i64, to: i64, skills: Option<&[i64]>) -> Vec<(i64, u32)> {
        let mut found = Vec::new();
        let mut lists = 0;
        for (skill, list) in &self.by_skill {
            if skills.is_none_or(|wanted| wanted.contains(skill)) {
                let first = list.partition_point(|&(start, _)| start < from);
                let end = list.partition_point(|&(start, _)| start <= to);
                found.extend_from_slice(&list[first..end.max(first)]);
                lists += 1;
            }
        }
        if lists > 1 {
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    /// The conversations that may be this consumer's; the caller looks whether they are.
    pub fn perhaps_of(&self, consumer: &str) -> &[u32] {
        self.by_consumer
            .get(&hash(consumer))
            .map_or(&[], Vec::as_slice)
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
