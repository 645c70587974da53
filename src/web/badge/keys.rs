//! The keys of consumers, each made once.
//!
//! A consumer's key is a SHA-256, since the database makes the same one for its notices. That would be the dearest step of an answer
//! from memory, so the keys of those who were asked for lately are found by a hash that costs less than half: `SipHash`, 128 bits wide and
//! under a secret of this process, so that nobody can make two ids that it takes for one. No id is kept.

use std::hash::Hasher as _;
use std::sync::{Mutex, PoisonError};

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::db::changes::{ConsumerKey, consumer_key};
use crate::domain::ids::AccountId;

/// A megabyte. Who comes to a place that is taken takes it.
const PLACES: usize = 1 << 14;

pub struct ConsumerKeyCache {
    secret: [u8; 16],
    places: Box<[Mutex<CachedKey>]>,
}

/// The hash that it is found by, and the key.
type CachedKey = Option<(u128, ConsumerKey)>;

impl ConsumerKeyCache {
    pub fn new() -> Self {
        Self::with(PLACES)
    }

    fn with(places: usize) -> Self {
        Self {
            secret: rand::random(),
            places: (0..places).map(|_| Mutex::default()).collect(),
        }
    }

    /// The consumer's [`consumer_key`].
    pub fn of(&self, account: &AccountId, consumer: &str) -> ConsumerKey {
        let hash = self.hash(account, consumer);
        let [.., low, lowest] = hash.to_be_bytes();
        let place = usize::from(u16::from_be_bytes([low, lowest])) % self.places.len();
        let place = self.places[place].lock();
        let mut place = place.unwrap_or_else(PoisonError::into_inner);
        if let Some((own, key)) = *place
            && own == hash
        {
            return key;
        }
        let key = consumer_key(account, consumer);
        *place = Some((hash, key));
        key
    }

    /// An account's id has no colon.
    fn hash(&self, account: &AccountId, consumer: &str) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.secret);
        hasher.write(account.as_str().as_bytes());
        hasher.write(b":");
        hasher.write(consumer.as_bytes());
        hasher.finish128().as_u128()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_consumer_s_own_whoever_was_at_its_place_before() {
        let keys = ConsumerKeyCache::with(16);
        let accounts: [AccountId; 2] = ["1", "12"].map(|id| id.parse().unwrap());
        // More than there are places, so that each is taken by others in between.
        for _ in 0..2 {
            for account in &accounts {
                for n in 0..50 {
                    let consumer = format!("2:{n}");
                    let key = consumer_key(account, &consumer);
                    assert_eq!(keys.of(account, &consumer), key, "{account} {consumer}");
                    assert_eq!(keys.of(account, &consumer), key, "{account} {consumer}");
                }
            }
        }
    }
}
