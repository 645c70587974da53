//! Where "now" comes from.
//!
//! Time is an argument everywhere else: rules take `now`, SQL takes `$now`. Only business time (due moments, deadlines, quiet
//! hours) uses this clock; leases and heartbeats use the database's own `now()`, because a lease protects against real crashes
//! in real seconds, however fast a demonstration's days go by.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// A source of the current time, cheap to clone; clones share one time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// Starts at an instant and runs `speed` times as fast as the machine's clock. For demonstrations.
    Scaled {
        origin: DateTime<Utc>,
        started: Instant,
        speed: f64,
    },
    /// Stands still until a test moves it.
    Manual(Arc<Mutex<DateTime<Utc>>>),
}

impl Clock {
    /// A clock that shows `origin` at real instant `started` and runs `speed` times as fast as real time.
    pub fn scaled(origin: DateTime<Utc>, started: Instant, speed: f64) -> Self {
        Self::Scaled {
            origin,
            started,
            speed,
        }
    }

    pub fn manual(now: DateTime<Utc>) -> Self {
        Self::Manual(Arc::new(Mutex::new(now)))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the machine"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            Self::System => Utc::now(),
            Self::Scaled {
                origin,
                started,
                speed,
            } => {
                *origin + TimeDelta::from_std(started.elapsed().mul_f64(*speed)).unwrap_or_default()
            }
            Self::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The real time to wait until this clock shows `at`; zero if it is past. A manual clock never waits.
    pub fn wait_until(&self, at: DateTime<Utc>) -> Duration {
        let left = (at - self.now()).to_std().unwrap_or_default();
        match self {
            Self::System => left,
            Self::Scaled { speed, .. } => left.div_f64(*speed),
            Self::Manual(_) => Duration::ZERO,
        }
    }

    /// Moves a manual clock forward; the others run by themselves.
    pub fn advance(&self, by: TimeDelta) {
        if let Self::Manual(now) = self {
            let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
            *now += by;
        }
    }
}
