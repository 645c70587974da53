//! Tokens that were verified lately and need not be verified again.
//!
//! A page asks twice a minute with the same token, and its signature, above all an RSA one, is the dearest part of the answer. What is
//! kept of a token is whose it is and what its being believed depends on; that is looked at each time. The token itself is not kept:
//! it is found by a `SipHash-2-4`, 128 bits wide and under a secret of this process, which nobody can make another token for.

use std::hash::Hasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use super::token::Verified;
use crate::web::jwt::{TokenBasis, Trust};
use crate::web::recent::Recent;

/// Tokens of one account; only good ones come in.
const REMEMBERED: usize = 10_000;

pub struct Lately {
    secret: [u8; 16],
    good: Mutex<Recent<u128, Good>>,
}

struct Good {
    subject: String,
    grounds: TokenBasis,
}

impl Lately {
    pub fn new() -> Self {
        Self {
            secret: rand::random(),
            good: Mutex::new(Recent::new(REMEMBERED)),
        }
    }

    pub fn find(&self, token: &str, trusted: &[Trust], now: DateTime<Utc>) -> Option<Verified> {
        let hash = self.hash(token);
        let mut good = self.good();
        let own = good.get_mut(hash)?;
        Some(Verified {
            expires: own.grounds.hold(trusted, now)?,
            subject: own.subject.clone(),
        })
    }

    pub fn keep(&self, token: &str, subject: &str, grounds: TokenBasis) {
        let good = Good {
            subject: subject.to_owned(),
            grounds,
        };
        self.good().insert(self.hash(token), good);
    }

    fn hash(&self, token: &str) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(token.as_bytes());
        hasher.finish128().as_u128()
    }

    fn good(&self) -> MutexGuard<'_, Recent<u128, Good>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
