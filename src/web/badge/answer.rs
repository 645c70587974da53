//! Finds out whether a consumer has something unread: memory, else the conversations table, else LivePerson.
//!
//! A consumer whom no scan has met, or not for long, is looked up at LivePerson once for all who ask, under a limit of its own
//! that leaves the scans their share. Who finds the limit's queue full is told `false` at once; when LivePerson cannot answer, the
//! last known answer is told and marked. It is never a guess of `true`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::cache::{BadgeState, CacheKey, CacheLookup, CachedAnswer, Ids, Slot};
use super::{AppState, Site};
use crate::batch::Batcher;
use crate::db;
use crate::db::conversations::{UnreadQuery, UnreadState, unread_of};
use crate::domain::ids::AccountId;
use crate::domain::read_state::{ReadState, read_state};
use crate::liveperson::Purpose;
use crate::metrics::BadgeSource;

/// How long an answer from the table holds unless a notice says that it changed.
const KEEP: Duration = Duration::from_secs(15);

/// How long an answer of LivePerson holds: of consumers whom no scan meets there are no notices.
const KEEP_LOOKED_UP: Duration = Duration::from_secs(30);

/// How long an answer holds that was given because LivePerson could not be asked.
const KEEP_UNASKED: Duration = Duration::from_secs(5);

/// How long nobody tries again after the database failed.
const KEEP_FAILURE: Duration = Duration::from_secs(1);

/// How long a page waits for its badge.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a look-up may take in all; it goes on for the next visitor when this one has gone.
const LOOK_UP: Duration = Duration::from_secs(15);

/// How long LivePerson is left alone after it failed to answer.
const PAUSE: Duration = Duration::from_secs(5);

/// Look-ups of one process and account under way or waiting for their turn.
const QUEUE: usize = 8;

/// Longer ids are not LivePerson's, nor any brand's.
const MAX_ID: usize = 256;

/// Consumers in one query, and queries at once: the badge takes only a part of the connections, however many ask.
const TOGETHER: usize = 100;
const QUERIES: usize = 3;

/// Nothing is known, and the database could not be asked.
#[derive(Debug)]
pub struct Unavailable;

/// Answers from the conversations table; `None`: it could not be asked.
pub type ConversationBatcher = Batcher<UnreadQuery, Option<UnreadState>>;

/// Whoever is asked for while a query is under way is part of the next.
pub fn table(pool: &PgPool) -> ConversationBatcher {
    let pool = pool.clone();
    let read = move |asked: Vec<UnreadQuery>| {
        let pool = pool.clone();
        async move {
            match unread_of(&pool, &asked).await {
                Ok(found) => found.into_iter().map(Some).collect(),
                Err(error) => {
                    tracing::warn!("Badges cannot be read from the database: {error}");
                    vec![None; asked.len()]
                }
            }
        }
    };
    Batcher::new(TOGETHER, QUERIES, read, drop)
}

pub fn plausible(consumer: &str) -> bool {
    let control = if consumer.is_ascii() {
        consumer.bytes().any(|byte| byte.is_ascii_control())
    } else {
        consumer.chars().any(char::is_control)
    };
    (1..=MAX_ID).contains(&consumer.len()) && !control
}

/// LivePerson's consumer ids are UUIDs or 64 hexadecimal digits; only those are worth a call.
fn looks_like_liveperson(consumer: &str) -> bool {
    let hex = consumer.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    hex && matches!(consumer.len(), 36 | 64)
}

/// The look-ups of one account at LivePerson.
pub struct BadgeLookups {
    pub per_second: f64,
    /// A snapshot that is older says nothing certain.
    pub stale_after: TimeDelta,
    queue: Semaphore,
    failed_at: Mutex<Option<Instant>>,
}

impl BadgeLookups {
    pub fn new(per_second: f64, stale_after: TimeDelta) -> Self {
        Self {
            per_second,
            stale_after,
            queue: Semaphore::new(QUEUE),
            failed_at: Mutex::default(),
        }
    }

    fn failed_at(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What memory knows to be so now.
pub fn remembered(
    state: &AppState,
    key: CacheKey,
    now: Instant,
) -> Option<(BadgeState, BadgeSource)> {
    state.badge.cache.known(key, now).map(of_memory)
}

/// What is unread for a consumer of a configured account.
pub async fn answer(
    state: &AppState,
    account: &AccountId,
    consumer: &str,
    ids: Ids,
    now: Instant,
) -> Result<(BadgeState, BadgeSource), Unavailable> {
    let key = (state.badge.keys.of(account, consumer), ids);
    let (slot, source) = match state.badge.cache.find(key, now) {
        CacheLookup::Answer(kept) => {
            return kept
                .answer
                .map(of_memory)
                .or_else(|| last(state, key))
                .ok_or(Unavailable);
        }
        CacheLookup::Wait(slot) => (slot, BadgeSource::Memory),
        CacheLookup::Lead(slot) => {
            let (state, account) = (state.clone(), account.clone());
            let (consumer, led) = (consumer.to_owned(), slot.clone());
            tokio::spawn(async move {
                let leader = state.badge.cache.leader(key, led, keep(None, KEEP_FAILURE));
                let found = find_out(&state, &account, &consumer, ids, &leader.slot).await;
                leader.fill(found);
            });
            (slot, BadgeSource::Database)
        }
    };
    let told = match timeout(PATIENCE, slot.done.wait()).await {
        Ok(kept) => kept.answer,
        Err(_) => slot.meanwhile.get().copied(),
    };
    match told {
        Some(answer) if answer.stale => Ok((answer, BadgeSource::Stale)),
        Some(answer) if source == BadgeSource::Database && slot.meanwhile.get().is_some() => {
            Ok((answer, BadgeSource::LivePerson))
        }
        Some(answer) => Ok((answer, source)),
        None => last(state, key).ok_or(Unavailable),
    }
}

fn keep(answer: Option<BadgeState>, time: Duration) -> CachedAnswer {
    CachedAnswer {
        answer,
        until: Instant::now() + time,
    }
}

fn of_memory(answer: BadgeState) -> (BadgeState, BadgeSource) {
    let source = if answer.stale {
        BadgeSource::Stale
    } else {
        BadgeSource::Memory
    };
    (answer, source)
}

fn last(state: &AppState, key: CacheKey) -> Option<(BadgeState, BadgeSource)> {
    let last = state.badge.cache.last(key)?;
    Some((last.stale(), BadgeSource::Stale))
}

async fn find_out(
    state: &AppState,
    id: &AccountId,
    consumer: &str,
    ids: Ids,
    slot: &Arc<Slot>,
) -> CachedAnswer {
    let asked = UnreadQuery {
        account: id.clone(),
        consumer: consumer.to_owned(),
        by_customer_id: ids == Ids::Both,
    };
    let Some(own) = state.badge.table.ask(asked).await.ok().flatten() else {
        return keep(None, KEEP_FAILURE);
    };
    state.badge.shown.note(id, &own.conversations);
    let known = BadgeState {
        unread: own.unread,
        count: u32::try_from(own.count).unwrap_or(u32::MAX),
        since: own.since,
        stale: false,
    };
    let Some(site) = state.sites.get(id) else {
        return keep(Some(known), KEEP);
    };
    let old = own
        .seen_at
        .is_some_and(|seen| state.clock.now() - seen > site.lookups.stale_after);
    if own.known && !old {
        return keep(Some(known), KEEP);
    }
    if !looks_like_liveperson(consumer) {
        let answer = if own.known { known.stale() } else { known };
        return keep(Some(answer), KEEP);
    }
    let _ = slot.meanwhile.set(known.stale());
    match look_up(state, id, site, consumer).await {
        Some(found) => keep(Some(found), KEEP_LOOKED_UP),
        None => keep(Some(known.stale()), KEEP_UNASKED),
    }
}

/// `None` when LivePerson could not be asked, or did not tell.
async fn look_up(
    state: &AppState,
    id: &AccountId,
    site: &Site,
    consumer: &str,
) -> Option<BadgeState> {
    let lookups = &site.lookups;
    if lookups.failed_at().is_some_and(|at| at.elapsed() < PAUSE) {
        return None;
    }
    let _turn = lookups.queue.try_acquire().ok()?;
    let account = state.account(id)?;
    let asked = async {
        let (key, rate) = (format!("badge:{id}"), lookups.per_second);
        match db::limits::reserve(&state.pool, &key, rate).await {
            Ok(wait) => tokio::time::sleep(wait).await,
            Err(error) => {
                tracing::warn!("The limit of badge look-ups cannot be read: {error}");
                return None;
            }
        }
        let client = account.client.made_for(Purpose::Background);
        match client.by_consumer(consumer).await {
            Ok(found) => Some(found),
            Err(error) => {
                tracing::warn!(account = %id, "A badge look-up failed: {error}");
                *lookups.failed_at() = Some(Instant::now());
                None
            }
        }
    };
    let found = timeout(LOOK_UP, asked).await.ok().flatten()?;
    let mut answer = BadgeState::default();
    for record in &found.records {
        if let ReadState::Unread(episode) = read_state(record, account.count_bots) {
            answer.unread = true;
            answer.count = answer.count.saturating_add(episode.count);
            answer.since = answer.since.into_iter().chain([episode.since]).min();
        }
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_in_liveperson_s_shape_cost_a_call() {
        assert!(looks_like_liveperson(
            "44eefca3-3b86-5eb2-b379-3bda9ddcfb50"
        ));
        assert!(looks_like_liveperson(&"a1".repeat(32)));
        for other in [
            "",
            "CUST-100231",
            "auth0|5f7c8ec7c33c6c004bbafe82",
            &"g".repeat(64),
        ] {
            assert!(!looks_like_liveperson(other), "{other}");
        }
    }

    #[test]
    fn control_characters_and_endless_ids_are_not_looked_at() {
        assert!(plausible("auth0|5f7c8ec7"));
        assert!(!plausible("a\nb"));
        assert!(!plausible(&"a".repeat(257)));
        assert!(!plausible(""));
    }
}
