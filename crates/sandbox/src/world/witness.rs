//! What really happened, for tests to compare with what the service did. Judged here anew, not by the service's rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::World;
use super::conversation::{Detail, Entry, uuid};

/// What a list of conversations says about one.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub conversation: String,
    pub account: String,
    pub skill: i64,
    pub started_at: i64,
    pub open: bool,
    pub in_queue: bool,
    /// By the sandbox's own judgement: a human agent's message is neither read nor answered.
    pub unread: bool,
    /// When the consumer read or answered the newest agent message.
    pub seen_at: Option<i64>,
    pub closed_at: Option<i64>,
    pub first_name: Option<String>,
    pub consumer_ids: Vec<String>,
}

/// When each conversation was asked for by its id; `None` until somebody wants to know.
pub(super) type Checks = Arc<Mutex<Option<HashMap<String, Vec<i64>>>>>;

impl World {
    /// From now on remembers when each conversation is asked for by its id: for chaos runs, which end.
    pub fn keep_checks(&self) {
        self.checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_default();
    }

    pub(crate) fn note_checks(&self, conversations: &[&str], at: i64) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(checks) = &mut *checks {
            for id in conversations {
                checks.entry((*id).to_owned()).or_default().push(at);
            }
        }
    }

    /// When the conversation was asked for by its id since [`World::keep_checks`], oldest first.
    pub fn checked_at(&self, conversation: &str) -> Vec<i64> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let found = checks.as_ref().and_then(|all| all.get(conversation));
        found.cloned().unwrap_or_default()
    }

    fn witness<T>(&self, conversation: &str, tell: impl FnOnce(&Detail) -> T) -> Option<T> {
        let state = self.read();
        let (account, place) = state.place(conversation)?;
        Some(tell(&account.entries[place as usize].detail(&state.staff)))
    }

    /// When the consumer read, or answered, the newest human agent's message; `None` while it is unread.
    pub fn was_read_at(&self, conversation: &str) -> Option<i64> {
        self.witness(conversation, |detail| detail.seen_at(i64::MAX))
            .flatten()
    }

    pub fn closed_at(&self, conversation: &str) -> Option<i64> {
        self.witness(conversation, Detail::closed_at).flatten()
    }

    /// Whether, at that moment, an open conversation held a human agent's message that the consumer had neither read nor answered.
    pub fn was_unread_at(&self, conversation: &str, ms: i64) -> bool {
        self.witness(conversation, |detail| detail.unread_at(ms))
            .unwrap_or(false)
    }

    /// LivePerson's ids of the consumer: two after a step-up.
    pub fn consumer_ids(&self, conversation: &str) -> Vec<String> {
        let ids = |detail: &Detail| detail.consumers.iter().map(|c| c.id.clone()).collect();
        self.witness(conversation, ids).unwrap_or_default()
    }

    /// The newest `limit` conversations of an account.
    pub fn list(&self, account: &str, limit: usize) -> Vec<Summary> {
        let state = self.read();
        let now = self.clock.now_ms();
        let entries = state
            .accounts
            .get(account)
            .map_or(&[][..], |account| &account.entries);
        let summary = |entry: &Entry| {
            let detail = entry.detail(&state.staff);
            Summary {
                conversation: uuid(entry.id),
                account: account.to_owned(),
                skill: entry.key.skill,
                started_at: entry.start,
                open: entry.key.open,
                in_queue: entry.key.in_queue,
                unread: detail.unread_at(now),
                seen_at: detail.seen_at(now),
                closed_at: detail.closed_at(),
                first_name: detail.consumers.last().and_then(|c| c.first_name.clone()),
                consumer_ids: detail.consumers.iter().map(|c| c.id.clone()).collect(),
            }
        };
        entries.iter().rev().take(limit).map(summary).collect()
    }
}
