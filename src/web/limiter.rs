//! How often, and how many at once: limits in memory.
//!
//! They are a process's own: they protect it from a client gone wild, and a shared count of every page view would cost more than it
//! protects. What must hold for all processes together (LivePerson's patience) is in PostgreSQL.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::recent::Recent;

/// A rate per key, with a burst (GCRA).
pub struct Limiter<K> {
    per_turn: Duration,
    burst: Duration,
    full_at: Mutex<Recent<K, Instant>>,
}

impl<K: Hash + Eq + Copy> Limiter<K> {
    /// Remembers at most `most` keys.
    pub fn new(per_second: f64, burst: f64, most: usize) -> Self {
        Self {
            per_turn: Duration::from_secs_f64(1.0 / per_second),
            burst: Duration::from_secs_f64((burst - 1.0).max(0.0) / per_second),
            full_at: Mutex::new(Recent::new(most)),
        }
    }

    /// Takes a turn, or says how long to stay away.
    pub fn pass(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut full_at = lock(&self.full_at);
        let Some(at) = full_at.get_mut(key) else {
            full_at.insert(key, now + self.per_turn);
            return Ok(());
        };
        let from = (*at).max(now);
        if let Some(wait) = (from - now).checked_sub(self.burst)
            && !wait.is_zero()
        {
            return Err(wait);
        }
        *at = from + self.per_turn;
        Ok(())
    }

    /// How long to stay away, if there is no turn now. Takes none.
    pub fn peek(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut full_at = lock(&self.full_at);
        let ahead = full_at.get_mut(key).map(|at| (*at).max(now) - now);
        match ahead.and_then(|ahead| ahead.checked_sub(self.burst)) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
        }
    }

    /// Returns a turn that was taken for nothing.
    pub fn give_back(&self, key: K, now: Instant) {
        if let Some(at) = lock(&self.full_at).get_mut(key) {
            *at = at.checked_sub(self.per_turn).unwrap_or(now);
        }
    }

    /// The key has all turns again.
    pub fn clear(&self, key: K, now: Instant) {
        if let Some(at) = lock(&self.full_at).get_mut(key) {
            *at = now;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many connections are open, by key.
#[derive(Clone)]
pub struct ConnectionLimiter<K: Hash + Eq + Copy>(Arc<Mutex<HashMap<K, usize>>>);

impl<K: Hash + Eq + Copy> Default for ConnectionLimiter<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// A connection that counts until this is dropped.
pub struct ConnectionPermit<K: Hash + Eq + Copy>(ConnectionLimiter<K>, K);

impl<K: Hash + Eq + Copy> ConnectionLimiter<K> {
    pub fn open(&self, key: K, most: usize) -> Option<ConnectionPermit<K>> {
        let mut open = lock(&self.0);
        let count = open.entry(key).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(ConnectionPermit(self.clone(), key))
    }
}

impl<K: Hash + Eq + Copy> Drop for ConnectionPermit<K> {
    fn drop(&mut self) {
        let mut open = lock(&self.0.0);
        if let Some(count) = open.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_rest_waits_its_turn() {
        let limiter = Limiter::new(2.0, 3.0, 100);
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.peek(1, now), Ok(()));
            assert_eq!(limiter.pass(1, now), Ok(()));
        }
        assert_eq!(limiter.peek(1, now), Err(Duration::from_millis(500)));
        limiter.give_back(1, now);
        assert_eq!(limiter.pass(1, now), Ok(()));
        assert_eq!(limiter.pass(1, now), Err(Duration::from_millis(500)));
        assert_eq!(limiter.pass(2, now), Ok(()), "another's turn");
        assert_eq!(limiter.pass(1, now + Duration::from_millis(500)), Ok(()));
        assert!(limiter.pass(1, now + Duration::from_millis(501)).is_err());
        limiter.clear(1, now + Duration::from_millis(501));
        for _ in 0..3 {
            assert_eq!(limiter.pass(1, now + Duration::from_millis(501)), Ok(()));
        }
    }

    #[test]
    fn connections_are_counted_until_they_close() {
        let connections = ConnectionLimiter::default();
        let first = connections.open(1, 2);
        let second = connections.open(1, 2);
        assert!(first.is_some() && second.is_some());
        assert!(connections.open(1, 2).is_none());
        drop(first);
        assert!(connections.open(1, 2).is_some());
        drop(second);
        assert!(lock(&connections.0).is_empty(), "nothing is left behind");
    }
}
