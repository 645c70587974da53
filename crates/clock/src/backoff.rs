//! How long to stay away from what has failed.

use std::time::Duration;

/// Pauses between tries: each twice as long as the one before, up to a longest.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// The pause after one more failure.
    pub fn pause(&mut self) -> Duration {
        let pause = self.after(self.failures);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// The pause after the failure that so many came before.
    pub fn after(&self, earlier: u32) -> Duration {
        let doubled = self.first.saturating_mul(2u32.saturating_pow(earlier));
        doubled.min(self.longest)
    }

    /// It worked: the next failure is the first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(50), ms(300));
        let pauses = [(); 5].map(|()| backoff.pause());
        assert_eq!(pauses, [50, 100, 200, 300, 300].map(ms));
        assert_eq!(backoff.after(u32::MAX), ms(300));
        backoff.reset();
        assert_eq!(backoff.pause(), ms(50));
    }
}
