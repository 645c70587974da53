//! Answers in memory: bounded, found once for all who ask at the same time, and gone when a notice says that they changed.
//!
//! Whoever misses first leads: it finds the answer in a task of its own, so that nobody who hangs up stops it for the others. The
//! last known answer outlives its time, for when nothing can be asked. Consumers are held as hashes only.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::SetOnce;

use crate::db::changes::ConsumerKey;
use crate::web::recent::Recent;

const SHARDS: usize = 16;

/// What the badge says of a consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BadgeState {
    pub unread: bool,
    pub count: u32,
    pub since: Option<DateTime<Utc>>,
    /// LivePerson could not be asked: this is the last that was known.
    pub stale: bool,
}

impl BadgeState {
    pub fn stale(self) -> Self {
        Self {
            stale: true,
            ..self
        }
    }
}

/// Which of a consumer's ids were asked by: each set has an answer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ids {
    LivePerson,
    /// The brand's own customer ids too.
    Both,
}

pub type CacheKey = (ConsumerKey, Ids);

/// An answer and how long it holds; `None`: it could not be found out.
#[derive(Clone, Copy, Debug)]
pub struct CachedAnswer {
    pub answer: Option<BadgeState>,
    pub until: Instant,
}

/// Where an answer will be.
#[derive(Default)]
pub struct Slot {
    pub done: SetOnce<CachedAnswer>,
    /// What to say while the search takes longer than a visitor waits.
    pub meanwhile: OnceLock<BadgeState>,
}

struct CacheEntry {
    now: Now,
    last: Option<BadgeState>,
}

enum Now {
    /// The answer has changed, and nobody has asked since.
    Changed,
    /// Somebody is finding it out.
    Sought(Arc<Slot>),
    Known(CachedAnswer),
}

pub enum CacheLookup {
    Answer(CachedAnswer),
    /// Somebody is finding it out.
    Wait(Arc<Slot>),
    /// The caller must find it out, as a [`Leader`].
    Lead(Arc<Slot>),
}

/// Whoever finds an answer out. If that ends without one, those who wait are told so, and the next who asks leads.
pub struct Leader<'a> {
    pub slot: Arc<Slot>,
    cache: &'a Cache,
    key: CacheKey,
    found: CachedAnswer,
}

impl Leader<'_> {
    pub fn fill(mut self, found: CachedAnswer) {
        self.found = found;
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.cache.fill(self.key, &self.slot, self.found);
    }
}

pub struct Cache {
    shards: [Mutex<Recent<CacheKey, CacheEntry>>; SHARDS],
}

impl Cache {
    pub fn new(most: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Recent::new(most / SHARDS))),
        }
    }

    fn shard(&self, key: ConsumerKey) -> MutexGuard<'_, Recent<CacheKey, CacheEntry>> {
        // The key is a hash already.
        let shard = &self.shards[(key % SHARDS as u128) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn find(&self, key: CacheKey, now: Instant) -> CacheLookup {
        let mut shard = self.shard(key.0);
        let entry = shard.get_mut(key);
        match entry.as_ref().map(|entry| &entry.now) {
            Some(Now::Known(kept)) if kept.until > now => return CacheLookup::Answer(*kept),
            Some(Now::Sought(slot)) => return CacheLookup::Wait(slot.clone()),
            Some(Now::Known(_) | Now::Changed) | None => {}
        }
        let slot = Arc::<Slot>::default();
        let sought = Now::Sought(slot.clone());
        if let Some(entry) = entry {
            entry.now = sought;
        } else {
            let entry = CacheEntry {
                now: sought,
                last: None,
            };
            shard.insert(key, entry);
        }
        CacheLookup::Lead(slot)
    }

    /// An answer that holds.
    pub fn known(&self, key: CacheKey, now: Instant) -> Option<BadgeState> {
        match &self.shard(key.0).get_mut(key)?.now {
            Now::Known(kept) if kept.until > now => kept.answer,
            Now::Known(_) | Now::Sought(_) | Now::Changed => None,
        }
    }

    pub fn leader(&self, key: CacheKey, slot: Arc<Slot>, unless_found: CachedAnswer) -> Leader<'_> {
        Leader {
            slot,
            cache: self,
            key,
            found: unless_found,
        }
    }

    /// Hands an answer to all who wait for it. If it was overtaken by a change, nobody else gets it.
    fn fill(&self, key: CacheKey, slot: &Arc<Slot>, kept: CachedAnswer) {
        let mut shard = self.shard(key.0);
        if let Some(entry) = shard.get_mut(key)
            && let Now::Sought(own) = &entry.now
            && Arc::ptr_eq(own, slot)
        {
            entry.now = Now::Known(kept);
            entry.last = kept.answer.or(entry.last);
        }
        drop(shard);
        let _ = slot.done.set(kept);
    }

    /// The last answer that was found, however old.
    pub fn last(&self, key: CacheKey) -> Option<BadgeState> {
        self.shard(key.0).get_mut(key)?.last
    }

    pub fn changed(&self, consumer: ConsumerKey) {
        let mut shard = self.shard(consumer);
        for ids in [Ids::LivePerson, Ids::Both] {
            if let Some(entry) = shard.get_mut((consumer, ids)) {
                entry.now = Now::Changed;
            }
        }
    }

    pub fn all_changed(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in shard.values_mut() {
                entry.now = Now::Changed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEY: CacheKey = (7, Ids::LivePerson);

    fn kept(unread: bool, until: Instant) -> CachedAnswer {
        CachedAnswer {
            answer: Some(BadgeState {
                unread,
                ..BadgeState::default()
            }),
            until,
        }
    }

    #[test]
    fn one_leads_and_the_others_wait() {
        let (cache, now) = (Cache::new(100), Instant::now());
        let CacheLookup::Lead(slot) = cache.find(KEY, now) else {
            panic!("the first leads")
        };
        assert!(matches!(cache.find(KEY, now), CacheLookup::Wait(_)));
        assert!(matches!(
            cache.find((7, Ids::Both), now),
            CacheLookup::Lead(_)
        ));
        let later = now + Duration::from_secs(1);
        cache.fill(KEY, &slot, kept(true, later));
        assert!(
            matches!(cache.find(KEY, now), CacheLookup::Answer(kept) if kept.answer.unwrap().unread)
        );
        assert!(matches!(cache.find(KEY, later), CacheLookup::Lead(_)));
        assert!(cache.last(KEY).unwrap().unread, "kept for bad times");
    }

    #[test]
    fn a_leader_that_dies_makes_way() {
        let (cache, now) = (Cache::new(100), Instant::now());
        let CacheLookup::Lead(slot) = cache.find(KEY, now) else {
            panic!("the first leads")
        };
        let nothing = CachedAnswer {
            answer: None,
            until: now,
        };
        drop(cache.leader(KEY, slot.clone(), nothing));
        assert!(slot.done.get().is_some(), "those who wait are told");
        assert!(matches!(cache.find(KEY, now), CacheLookup::Lead(_)));
    }

    #[test]
    fn only_what_holds_is_known() {
        let (cache, now) = (Cache::new(100), Instant::now());
        assert_eq!(cache.known(KEY, now), None);
        let CacheLookup::Lead(slot) = cache.find(KEY, now) else {
            panic!("the first leads")
        };
        assert_eq!(cache.known(KEY, now), None, "it is being found out");
        let later = now + Duration::from_secs(1);
        cache
            .leader(KEY, slot, kept(true, now))
            .fill(kept(true, later));
        assert!(cache.known(KEY, now).unwrap().unread);
        assert_eq!(cache.known(KEY, later), None);
        cache.changed(7);
        assert_eq!(cache.known(KEY, now), None);
    }

    #[test]
    fn an_answer_that_a_change_overtook_is_given_to_nobody_who_asks_after_it() {
        let (cache, now) = (Cache::new(100), Instant::now());
        let CacheLookup::Lead(slot) = cache.find(KEY, now) else {
            panic!("the first leads")
        };
        cache.changed(7);
        let CacheLookup::Lead(fresh) = cache.find(KEY, now) else {
            panic!("who asks after the change leads anew")
        };
        cache.fill(KEY, &slot, kept(true, now + Duration::from_secs(9)));
        assert!(matches!(cache.find(KEY, now), CacheLookup::Wait(_)));
        assert_eq!(cache.last(KEY), None);
        cache.fill(KEY, &fresh, kept(false, now + Duration::from_secs(9)));
        assert!(
            matches!(cache.find(KEY, now), CacheLookup::Answer(kept) if !kept.answer.unwrap().unread)
        );
        cache.all_changed();
        assert!(matches!(cache.find(KEY, now), CacheLookup::Lead(_)));
    }
}
