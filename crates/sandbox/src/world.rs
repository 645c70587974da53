//! The world that the sandbox shows over the wire: accounts, conversations and what happens in them.
//!
//! A [`World`] is a cheap handle; clones share one state. Every verb is dated by the sandbox's clock, or by the moment given to
//! [`World::at`], so that histories can begin before the sandbox does. Verbs panic when the conversation does not exist: only
//! tests and scripts call them, with ids that they were given. [`World::act`] is the form for ids from outside.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::clock::{WorldClock, ms};

mod account;
mod action;
pub(crate) mod conversation;
#[cfg(test)]
mod tests;
mod verbs;
mod witness;

pub(crate) use account::{Account, AgentKind, Staff};
pub use account::{CUSTOMER_CARE, Credentials, ORDERS, Skill, UNASSIGNED};
pub use action::{Action, Closer, Partial, Person};
use conversation::{Bulk, Detail, Entry, parse_uuid, uuid};
pub use verbs::Opening;
pub use witness::Summary;

/// The channel on which a conversation was opened: the website.
pub const WEB: &str = "SHARK";

#[derive(Debug, thiserror::Error)]
#[error("there is no such account or conversation in the sandbox")]
pub struct Unknown;

/// How long things take to appear, milliseconds of the sandbox's clock.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Visibility {
    pub events_ms: i64,
    /// Receipts; the larger of both counts.
    pub receipts_ms: i64,
}

/// Rules of LivePerson's that are not documented, as switches, so that a finding on a live account becomes a test.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    /// Whether a conversation of which only the survey is open counts as `OPEN`.
    pub survey_keeps_open: bool,
    /// Whether `messageStatuses` is left out where there are none, instead of an empty list.
    pub omit_empty_statuses: bool,
    /// The widest `start` interval, milliseconds.
    pub widest_interval_ms: i64,
    /// How many skills one search may ask for.
    pub most_skills: usize,
    /// How many of a search's results can be paged to: what search indexes show if nobody asks for more.
    pub search_window: usize,
    /// Whether a READ receipt counts as an update for the filter `latestUpdateTime`.
    pub reads_are_updates: bool,
    /// With what probability an agent message does not count as one.
    pub missed_updates: f64,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            survey_keeps_open: false,
            omit_empty_statuses: false,
            widest_interval_ms: TimeDelta::days(90).num_milliseconds(),
            most_skills: usize::MAX,
            search_window: 10_000,
            reads_are_updates: false,
            missed_updates: 0.0,
        }
    }
}

/// How the conversations of a load test look.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Epoch milliseconds at which the first conversation began.
    pub started_at: i64,
    /// Milliseconds from one beginning to the next.
    #[serde(default)]
    pub every_ms: i64,
    /// Milliseconds from a beginning to the agent's unread message.
    pub answered_after_ms: i64,
    #[serde(default = "yes")]
    pub email: bool,
    #[serde(default)]
    pub phone: bool,
}

fn yes() -> bool {
    true
}

pub(crate) struct WorldState {
    pub accounts: BTreeMap<String, Account>,
    pub staff: Staff,
    pub visibility: Visibility,
    pub quirks: Quirks,
    places: HashMap<u128, (Arc<str>, u32)>,
    made: u64,
    seed: u64,
}

/// The sandbox's world. Clones share it.
#[derive(Clone)]
pub struct World {
    clock: WorldClock,
    /// The date of whatever is done through this handle, if not now.
    stamp: Option<i64>,
    state: Arc<RwLock<WorldState>>,
    checks: witness::Checks,
}

/// A well-spread number out of a seed and a counter (splitmix64): the same seed gives the same world.
pub(crate) fn spread(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl WorldState {
    fn new_id(&mut self) -> u128 {
        self.made += 1;
        let (high, low) = (
            spread(self.seed, self.made * 2),
            spread(self.seed, self.made * 2 + 1),
        );
        let random = (u128::from(high) << 64) | u128::from(low);
        // Version 4, variant 10.
        (random & !(0xF << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62)
    }

    /// Whether this message of a conversation is one that the filter by update does not see: for one seed always the same ones.
    pub fn is_missed(&self, conversation: u128, message: usize) -> bool {
        // Ids are spread well over all of their bits but six.
        let id = conversation.to_be_bytes();
        let id = u64::from_be_bytes([id[0], id[1], id[2], id[3], id[12], id[13], id[14], id[15]]);
        let place = u64::try_from(message).unwrap_or(u64::MAX);
        let chance = u32::try_from(spread(self.seed ^ id, place) >> 32).unwrap_or(u32::MAX);
        f64::from(chance) < self.quirks.missed_updates * f64::from(u32::MAX)
    }

    fn place(&self, conversation: &str) -> Option<(&Account, u32)> {
        let (account, place) = self.places.get(&parse_uuid(conversation)?)?;
        Some((self.accounts.get(&**account)?, *place))
    }

    /// The conversation of that id, if the account has it.
    pub fn entry<'a>(&'a self, account: &'a Account, conversation: &str) -> Option<&'a Entry> {
        let (owner, place) = self.place(conversation)?;
        (owner.id == account.id).then(|| &account.entries[place as usize])
    }
}

impl World {
    /// A world with the accounts of these ids, and nothing in them yet.
    pub fn new(clock: WorldClock, seed: u64, accounts: &[&str]) -> Self {
        let state = WorldState {
            accounts: accounts
                .iter()
                .map(|id| ((*id).to_owned(), Account::new(id)))
                .collect(),
            staff: Staff::new(),
            visibility: Visibility::default(),
            quirks: Quirks::default(),
            places: HashMap::new(),
            made: 0,
            seed,
        };
        Self {
            clock,
            stamp: None,
            state: Arc::new(RwLock::new(state)),
            checks: Arc::new(Mutex::new(None)),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, WorldState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, WorldState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn clock(&self) -> &WorldClock {
        &self.clock
    }

    /// The same world; what is done through the returned handle happens at that moment (epoch milliseconds).
    #[must_use]
    pub fn at(&self, ms: i64) -> Self {
        Self {
            stamp: Some(ms),
            ..self.clone()
        }
    }

    /// As [`World::at`], so many minutes from now (negative: ago).
    #[must_use]
    pub fn minutes_from_now(&self, minutes: f64) -> Self {
        self.at(self.clock.now_ms() + ms(minutes))
    }

    fn moment(&self) -> i64 {
        self.stamp.unwrap_or_else(|| self.clock.now_ms())
    }

    // Accounts

    pub fn add_account(&self, id: &str) {
        self.write()
            .accounts
            .entry(id.to_owned())
            .or_insert_with(|| Account::new(id));
    }

    fn change<T>(
        &self,
        account: &str,
        change: impl FnOnce(&mut Account) -> T,
    ) -> Result<T, Unknown> {
        self.write()
            .accounts
            .get_mut(account)
            .map(change)
            .ok_or(Unknown)
    }

    pub fn credentials(&self, account: &str) -> Result<Credentials, Unknown> {
        self.read()
            .accounts
            .get(account)
            .map(|a| a.credentials.clone())
            .ok_or(Unknown)
    }

    /// Every access token of the account stops working.
    pub fn revoke_tokens(&self, account: &str) -> Result<(), Unknown> {
        self.change(account, |account| account.tokens.clear())
    }

    pub(crate) fn issue_token(&self, account: &str, token: String) -> Result<i64, Unknown> {
        let now = self.clock.now_ms();
        self.change(account, |account| {
            let lifetime = account.credentials.token_lifetime_s;
            account.tokens.retain(|_, end| *end > now);
            account.tokens.insert(token, now + lifetime * 1000);
            lifetime
        })
    }

    /// Adds a skill, or replaces the one with its id.
    pub fn set_skill(&self, account: &str, skill: Skill) -> Result<(), Unknown> {
        self.change(account, |account| {
            account.skills.retain(|old| old.id != skill.id);
            account.skills.push(skill);
            account.revision += 1;
        })
    }

    /// The domain service names this host for `service` from now on, instead of the sandbox's own.
    pub fn set_host(&self, account: &str, service: &str, host: &str) -> Result<(), Unknown> {
        self.change(account, |account| {
            account.hosts.insert(service.to_owned(), host.to_owned());
        })
    }

    pub fn set_visibility(&self, visibility: Visibility) {
        self.write().visibility = visibility;
    }

    pub fn set_quirks(&self, quirks: Quirks) {
        self.write().quirks = quirks;
    }

    // Conversations

    pub(crate) fn open(
        &self,
        account: &str,
        skill: i64,
        source: &str,
        person: &Person,
    ) -> Result<String, Unknown> {
        let at = self.moment();
        let mut state = self.write();
        let id = state.new_id();
        let detail = Detail::open(id, at, skill, person);
        let consumer = detail.consumers[0].id.clone();
        let owner = state.accounts.get_mut(account).ok_or(Unknown)?;
        let place = owner.push(Entry::full(id, at, source.into(), detail));
        owner.index_consumer(&consumer, place);
        state.places.insert(id, (account.into(), place));
        Ok(uuid(id))
    }

    /// `count` simple conversations, each with one unread message of an agent; returns their ids.
    pub fn populate(
        &self,
        account: &str,
        skill: i64,
        count: u32,
        shape: Shape,
    ) -> Result<Vec<String>, Unknown> {
        let mut state = self.write();
        let source: Arc<str> = WEB.into();
        let name: Arc<str> = account.into();
        let mut ids = Vec::with_capacity(count as usize);
        for n in 0..count {
            let id = state.new_id();
            let start = shape.started_at + i64::from(n) * shape.every_ms;
            let serial = u32::try_from(state.made % u64::from(u32::MAX)).unwrap_or(n);
            let agent_wrote_at = start + shape.answered_after_ms;
            let bulk = Bulk {
                serial,
                agent_wrote_at,
                email: shape.email,
                phone: shape.phone,
            };
            let owner = state.accounts.get_mut(account).ok_or(Unknown)?;
            let place = owner.push(Entry::bulk(id, start, skill, source.clone(), bulk));
            owner.index_consumer(&bulk_consumer(id), place);
            state.places.insert(id, (name.clone(), place));
            ids.push(uuid(id));
        }
        Ok(ids)
    }

    /// Lets something happen in a conversation.
    pub fn act(&self, conversation: &str, action: &Action) -> Result<(), Unknown> {
        let at = self.moment();
        let mut guard = self.write();
        let state = &mut *guard;
        let (account, place) = parse_uuid(conversation)
            .and_then(|id| state.places.get(&id))
            .ok_or(Unknown)?;
        let account = state.accounts.get_mut(&**account).ok_or(Unknown)?;
        let entry = &mut account.entries[*place as usize];
        entry.act(at, action, &state.staff);
        let (start, skill) = (entry.start, entry.key.skill);
        let newest = entry
            .detail(&state.staff)
            .consumers
            .last()
            .map(|consumer| consumer.id.clone());
        if matches!(action, Action::Transfer { .. }) {
            account.index_skill(skill, start, *place);
        }
        if let (Action::StepUp { .. }, Some(consumer)) = (action, newest) {
            account.index_consumer(&consumer, *place);
        }
        Ok(())
    }
}

fn bulk_consumer(id: u128) -> String {
    conversation::consumer_id(&[&id.to_be_bytes()[..], b"0"].concat())
}
