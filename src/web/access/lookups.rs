//! Words by which callers say who they are (sessions, tokens): how often one is looked up that this process has not met.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::control::ControlError;
use crate::web::limiter::Limiter;
use crate::web::recent::Recent;

/// Look-ups per second, after a burst, of words from one address that turn out to be nobody's.
const UNKNOWN: (f64, f64) = (10.0, 60.0);

/// Without it, whoever invents words would have the database asked for each of them.
pub struct CredentialLookups {
    unknown: Limiter<IpAddr>,
    /// Hashes of words that were good here lately, and whether they are as far as is known.
    good: Mutex<Recent<[u8; 16], bool>>,
}

impl CredentialLookups {
    pub fn new(remembered: usize) -> Self {
        Self {
            unknown: Limiter::new(UNKNOWN.0, UNKNOWN.1, remembered),
            good: Mutex::new(Recent::new(remembered)),
        }
    }

    /// Whether a word may be looked up now. One that was good here lately always may: its owner is not held up by who else is behind the
    /// same address.
    pub fn admit(&self, word: &[u8; 32], from: IpAddr, now: Instant) -> Result<(), Duration> {
        let is_good = self
            .good()
            .get_mut(shortened(word))
            .is_some_and(|good| *good);
        if is_good {
            return Ok(());
        }
        self.unknown.pass(from, now)
    }

    /// A word that was looked up is somebody's: it does not count, since a whole office may begin its day behind one address.
    pub fn found(&self, word: &[u8; 32], from: IpAddr, now: Instant) {
        if self.met(word) {
            self.unknown.give_back(from, now);
        }
    }

    /// The word is somebody's. Whether that is new here.
    pub fn met(&self, word: &[u8; 32]) -> bool {
        let (mut good, word) = (self.good(), shortened(word));
        let is_new = !good.get_mut(word).is_some_and(|good| *good);
        good.insert(word, true);
        is_new
    }

    /// A word is nobody's, or nobody's any more.
    pub fn not_found(&self, word: &[u8; 32]) {
        if let Some(good) = self.good().get_mut(shortened(word)) {
            *good = false;
        }
    }

    fn good(&self) -> MutexGuard<'_, Recent<[u8; 16], bool>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shortened(hash: &[u8; 32]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}

/// Why nobody knows whose a word is.
pub enum LookupError {
    /// Too many were looked up.
    Later(Duration),
    Fault(ControlError),
}

impl From<ControlError> for LookupError {
    fn from(error: ControlError) -> Self {
        Self::Fault(error)
    }
}

impl From<sqlx::Error> for LookupError {
    fn from(error: sqlx::Error) -> Self {
        Self::Fault(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_nobody_knows_are_looked_up_so_often_and_good_ones_always() {
        let lookups = CredentialLookups::new(1_000);
        let (here, there): (IpAddr, IpAddr) = ([10, 1, 1, 1].into(), [10, 2, 2, 2].into());
        let word = |n: u8| [n; 32];
        let now = Instant::now();
        for n in 201..=255 {
            lookups.admit(&word(n), here, now).unwrap();
            lookups.found(&word(n), here, now);
        }
        let mut passed = 0;
        for n in 0..200 {
            passed += usize::from(lookups.admit(&word(n), here, now).is_ok());
        }
        assert_eq!(passed, 60, "the good ones did not count");
        assert!(lookups.admit(&word(200), here, now).is_err());
        assert!(lookups.admit(&word(255), here, now).is_ok(), "met before");
        assert!(
            lookups.admit(&word(254), there, now).is_ok(),
            "from elsewhere"
        );
        lookups.not_found(&word(255));
        assert!(lookups.admit(&word(255), here, now).is_err(), "logged out");
        let later = now + Duration::from_millis(100);
        assert!(lookups.admit(&word(200), here, later).is_ok());
        assert!(lookups.admit(&word(200), here, later).is_err());
    }
}
