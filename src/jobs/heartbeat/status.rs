//! What a process remembers of the database, and whether it may send.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::heartbeat::RememberedHeartbeat;
use crate::domain::heartbeat::trust::{PriorKnowledge, SendingMark};
use crate::hashing;

/// What this process remembers of the database.
#[derive(Debug)]
pub struct HeartbeatStatus {
    /// Whose line it signs.
    process: String,
    state: Mutex<WitnessState>,
    settled: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct WitnessState {
    seen: Option<RememberedHeartbeat>,
    beats: u32,
    /// The database's counter when the process came.
    came_at: Option<i64>,
    /// What it knew from outside when it came, after that is not judged by any more.
    knew: PriorKnowledge,
    may_send: bool,
}

impl Default for HeartbeatStatus {
    fn default() -> Self {
        Self {
            process: hashing::token(),
            state: Mutex::default(),
            settled: watch::Sender::new(false),
        }
    }
}

impl HeartbeatStatus {
    pub fn process(&self) -> &str {
        &self.process
    }

    /// What it sends by.
    pub fn mark(&self) -> SendingMark {
        SendingMark {
            process: self.process.clone(),
            counter: self.counter(),
        }
    }

    /// The counter that it has left in its line; more than any as long as it may not send.
    pub fn counter(&self) -> i64 {
        let state = self.state();
        let seen = state.seen.as_ref().filter(|_| state.may_send);
        seen.map_or(i64::MAX, |seen| seen.counter)
    }

    /// Waits until deliveries can be decided about: it may send, or something is held anyway.
    pub async fn settled(&self) {
        let mut settled = self.settled.subscribe();
        // The sender is here.
        let _ = settled.wait_for(|settled| *settled).await;
    }

    pub(super) fn seen(&self) -> Option<RememberedHeartbeat> {
        self.state().seen.clone()
    }

    pub(super) fn may_send(&self) -> bool {
        self.state().may_send
    }

    pub(super) fn knew(&self) -> PriorKnowledge {
        self.state().knew
    }

    /// The beats until now, and where the database was at the first.
    pub(super) fn course(&self) -> (u32, Option<i64>) {
        let state = self.state();
        (state.beats, state.came_at)
    }

    /// A beat was committed that found this counter, whatever it said about the database.
    pub(super) fn beaten(&self, found: i64, held: bool) {
        let mut state = self.state();
        state.beats = state.beats.saturating_add(1);
        state.came_at.get_or_insert(found);
        let settled = state.may_send || held;
        drop(state);
        if settled {
            self.settled.send_replace(true);
        }
    }

    /// Nothing spoke against the database.
    pub(super) fn remember(&self, seen: RememberedHeartbeat, knew: PriorKnowledge, may_send: bool) {
        let mut state = self.state();
        state.seen = Some(seen);
        state.knew = knew;
        state.may_send |= may_send;
    }

    fn state(&self) -> MutexGuard<'_, WitnessState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
