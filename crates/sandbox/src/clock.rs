//! The sandbox's own clock: real time, time that runs fast, or time that a test moves by hand.
//!
//! The service has a clock of its own; the sandbox must not share it (it shares nothing with the service), so whoever starts both
//! passes the same origin, start and speed to each.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// How often a clock that is moved by hand is looked at, and one that may be.
const LOOK: Duration = Duration::from_millis(10);
const LOOK_RUNNING: Duration = Duration::from_millis(500);

/// The time in the sandbox. Clones share one time.
#[derive(Clone, Debug)]
pub struct WorldClock {
    origin: DateTime<Utc>,
    started: Instant,
    speed: f64,
    /// Milliseconds added by hand; with speed 0 this is the only thing that moves the clock.
    advanced: Arc<AtomicI64>,
}

impl WorldClock {
    /// Real time.
    #[expect(
        clippy::disallowed_methods,
        reason = "the sandbox's own source of time"
    )]
    pub fn real() -> Self {
        Self::scaled(Utc::now(), Instant::now(), 1.0)
    }

    /// Shows `origin` at the real instant `started` and runs `speed` times as fast as real time; speed 0 stands still.
    pub fn scaled(origin: DateTime<Utc>, started: Instant, speed: f64) -> Self {
        Self {
            origin,
            started,
            speed,
            advanced: Arc::default(),
        }
    }

    /// Stands still until [`WorldClock::advance`].
    pub fn manual(now: DateTime<Utc>) -> Self {
        Self::scaled(now, Instant::now(), 0.0)
    }

    pub fn now(&self) -> DateTime<Utc> {
        let ran = self.started.elapsed().mul_f64(self.speed);
        self.origin
            + TimeDelta::from_std(ran).unwrap_or_default()
            + TimeDelta::milliseconds(self.advanced.load(Ordering::SeqCst))
    }

    /// Epoch milliseconds, the unit of LivePerson's numbers.
    pub fn now_ms(&self) -> i64 {
        self.now().timestamp_millis()
    }

    pub fn advance(&self, by: TimeDelta) {
        self.advanced
            .fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }

    /// How long to sleep in real time for `by` to pass here; `None` when the clock stands still.
    pub fn real_duration(&self, by: Duration) -> Option<Duration> {
        (self.speed > 0.0).then(|| by.div_f64(self.speed))
    }

    /// Sleeps until it shows `at`, also when it is moved by hand.
    pub async fn until(&self, at: DateTime<Utc>) {
        while let Ok(left) = (at - self.now()).to_std() {
            if left.is_zero() {
                return;
            }
            let sleep = self.real_duration(left).map_or(LOOK, |left| {
                left.clamp(Duration::from_millis(1), LOOK_RUNNING)
            });
            tokio::time::sleep(sleep).await;
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "scripts are minutes long, not aeons"
)]
pub(crate) fn ms(minutes: f64) -> i64 {
    (minutes * 60_000.0) as i64
}
