//! The turns under one sender's limit that this process was granted and has not used yet.
//!
//! A turn is granted to the process, not to a reminder: whoever is ready first uses the earliest. What was granted for a reminder that
//! turns out not to be owed any more is used by the next one, and nothing goes out faster than the rate, however many were held up
//! and become ready together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The provider asked to be left alone after the turn was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held;

#[derive(Debug, Default)]
pub struct Pace {
    /// In order.
    granted: VecDeque<Instant>,
    /// Reminders that were let in and have neither used their turn nor given it up.
    admitted: usize,
    last_used: Option<Instant>,
    held_until: Option<Instant>,
    /// Somebody is lined up for turns of this sender.
    pub lined_up: bool,
}

impl Pace {
    /// Granted turns that nobody is let in for. Those whose moment has passed are lost.
    pub fn unclaimed(&mut self, now: Instant) -> usize {
        while self.granted.len() > self.admitted && self.granted.front().is_some_and(|t| *t < now) {
            self.granted.pop_front();
        }
        self.granted.len() - self.admitted.min(self.granted.len())
    }

    /// After how long a turn that is granted now could be used: those who are ready come first.
    pub fn behind(&self, now: Instant, interval: Duration) -> Duration {
        let next = self.last_used.map(|last| last + interval);
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    pub fn grant(&mut self, turns: impl IntoIterator<Item = Instant>) {
        self.granted.extend(turns);
        self.granted.make_contiguous().sort_unstable();
    }

    /// Uses the earliest turn. Returns when: not before it, and not sooner after the last one than the rate allows.
    fn next(&mut self, now: Instant, interval: Duration) -> Result<Instant, Held> {
        self.admitted = self.admitted.saturating_sub(1);
        if self.held_until.is_some_and(|until| until > now) {
            return Err(Held);
        }
        let turn = self.granted.pop_front().unwrap_or(now);
        let earliest = self.last_used.map_or(now, |last| last + interval);
        let at = turn.max(earliest).max(now);
        self.last_used = Some(at);
        Ok(at)
    }
}

/// The pace of one sender, shared by those who were let in.
#[derive(Clone, Debug)]
pub struct Sender {
    /// As the limit's row names it.
    pub key: Arc<str>,
    pub per_second: Option<f64>,
    pace: Arc<Mutex<Pace>>,
}

impl Sender {
    pub fn new(key: &str, per_second: Option<f64>) -> Self {
        Self {
            key: key.into(),
            per_second,
            pace: Arc::default(),
        }
    }

    pub fn interval(&self) -> Duration {
        let interval = self.per_second.map_or(0.0, |rate| 1.0 / rate);
        Duration::try_from_secs_f64(interval).unwrap_or(Duration::MAX)
    }

    pub fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a reminder in, for which there is a turn.
    pub fn admit(&self) -> Turn {
        self.pace().admitted += 1;
        Turn {
            sender: self.clone(),
            open: true,
        }
    }

    /// Nobody uses a turn before the pause is over: the provider asked for it. Those granted meanwhile are lost.
    pub fn hold(&self, pause: Duration) {
        let mut pace = self.pace();
        let until = Instant::now() + pause;
        pace.held_until = Some(pace.held_until.map_or(until, |held| held.max(until)));
        pace.granted.retain(|turn| *turn >= until);
    }
}

/// The right to send one message under the sender's limit. Dropped, the turn is somebody else's.
#[derive(Debug)]
pub struct Turn {
    sender: Sender,
    open: bool,
}

impl Turn {
    pub fn key(&self) -> &str {
        &self.sender.key
    }

    /// The moment from which on the message may leave.
    pub fn take(mut self) -> Result<Instant, Held> {
        self.open = false;
        let interval = self.sender.interval();
        self.sender.pace().next(Instant::now(), interval)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.open {
            let mut pace = self.sender.pace();
            pace.admitted = pace.admitted.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A sender at ten a second with turns granted from now on, and reminders let in for them.
    fn let_in(turns: u32) -> (Sender, Instant, Vec<Turn>) {
        let sender = Sender::new("p:a", Some(10.0));
        let now = Instant::now();
        sender.pace().grant((0..turns).map(|n| now + MS * 100 * n));
        let let_in = (0..turns).map(|_| sender.admit()).collect();
        (sender, now, let_in)
    }

    #[test]
    fn what_is_given_up_is_used_by_the_next() {
        let (sender, now, mut turns) = let_in(3);
        assert_eq!(sender.pace().unclaimed(now), 0);
        drop(turns.remove(0));
        assert_eq!(sender.pace().unclaimed(now), 1);
        // Its moment is free for whoever is let in now.
        let next = sender.admit();
        assert_eq!(sender.pace().unclaimed(now), 0);
        let at: Vec<Duration> = turns
            .into_iter()
            .chain([next])
            .map(|turn| turn.take().unwrap() - now)
            .collect();
        assert!(at[0] < MS * 100 && at[1] >= MS * 100 && at[2] >= MS * 200);
    }

    #[test]
    fn a_turn_that_nobody_claims_is_lost_when_its_moment_has_passed() {
        let (sender, now, turns) = let_in(3);
        drop(turns);
        assert_eq!(sender.pace().unclaimed(now), 3);
        assert_eq!(sender.pace().unclaimed(now + MS * 150), 1);
        assert_eq!(sender.pace().unclaimed(now + MS * 250), 0);
    }

    #[test]
    fn those_who_were_held_up_together_go_one_after_the_other() {
        let (sender, now, turns) = let_in(5);
        let late = now + MS * 900;
        let at: Vec<Instant> = (0..5)
            .map(|_| sender.pace().next(late, sender.interval()).unwrap())
            .collect();
        assert_eq!(at[0], late);
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] == MS * 100));
        // And who comes next is told to come after them.
        assert_eq!(sender.pace().behind(late, sender.interval()), MS * 500);
        drop(turns);
    }

    #[test]
    fn a_pause_that_the_provider_asks_for_ends_turns_that_were_granted() {
        let (sender, _, mut turns) = let_in(2);
        sender.hold(Duration::from_mins(1));
        assert_eq!(turns.remove(0).take(), Err(Held));
        sender.hold(Duration::from_secs(1));
        assert_eq!(turns.remove(0).take(), Err(Held), "the longer pause holds");
    }

    proptest! {
        /// However late those let in become ready, no second sees more of them than the rate.
        #[test]
        fn no_second_sees_more_than_the_rate(
            rate in 1.0f64..100.0,
            ready in prop::collection::vec(0u64..3_000, 1..80),
        ) {
            let sender = Sender::new("p:a", Some(rate));
            let (start, interval) = (Instant::now(), sender.interval());
            let count = u32::try_from(ready.len()).unwrap();
            sender.pace().grant((0..count).map(|n| start + interval * n));
            let mut ready: Vec<Instant> = ready.iter().map(|ms| start + MS * u32::try_from(*ms).unwrap()).collect();
            ready.sort_unstable();
            let used: Vec<Instant> = ready
                .iter()
                .map(|now| sender.pace().next(*now, interval).unwrap())
                .collect();
            for (n, at) in used.iter().enumerate() {
                prop_assert!(*at >= ready[n]);
                prop_assert!(n == 0 || *at - used[n - 1] >= interval);
            }
        }
    }
}
