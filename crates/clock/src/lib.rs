//! Where "now" comes from.
//!
//! Time is an argument everywhere else: rules take `now`, SQL takes `$now`. Only business time (due moments, deadlines, quiet
//! hours) uses this clock; leases and heartbeats use the database's own `now()`, because a lease protects against real crashes
//! in real seconds, however fast a demonstration's days go by.
//!
//! Machines' clocks differ; the database's is the one that all processes share. A running service goes by it ([`Clock::OfDatabase`]),
//! and what is due is claimed by it alone.

mod backoff;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

pub use backoff::Backoff;

/// A source of the current time, cheap to clone; clones share one time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// The machine's clock, set right by the database's: one time for all processes, however wrong a machine is.
    OfDatabase(Arc<Correction>),
    /// Stands still until a test moves it.
    Manual(Arc<Mutex<DateTime<Utc>>>),
}

/// How the machine's clock is set right.
#[derive(Debug, Default)]
pub struct Correction {
    /// By how much this machine's clock is put wrong, in tests.
    error: TimeDelta,
    /// Microseconds to add to the machine's clock.
    offset: AtomicI64,
}

/// A longer way to the database says too little about when it looked at its clock.
const LONGEST_WAY: TimeDelta = TimeDelta::seconds(2);

impl Clock {
    /// The machine's clock, until [`Clock::set_right`] is told what the database's shows.
    pub fn of_database() -> Self {
        Self::OfDatabase(Arc::default())
    }

    /// The same on a machine whose clock is wrong by `error`. For tests.
    pub fn of_database_on_a_wrong_machine(error: TimeDelta) -> Self {
        Self::OfDatabase(Arc::new(Correction {
            error,
            offset: AtomicI64::default(),
        }))
    }

    /// What SQL compares due moments with: nothing where this clock shows real time, since then the database's own counts.
    pub fn instead_of_database(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::System | Self::OfDatabase(_) => None,
            Self::Manual(_) => Some(self.now()),
        }
    }

    /// The machine's time, for [`Clock::set_right`].
    pub fn machine(&self) -> DateTime<Utc> {
        let error = match self {
            Self::OfDatabase(correction) => correction.error,
            _ => TimeDelta::zero(),
        };
        Self::System.now() + error
    }

    /// The database's clock showed `database` at some moment between `asked` and `answered` of [`Clock::machine`]. False if the
    /// answer took so long that it says nothing. The other clocks stay as they are.
    pub fn set_right(
        &self,
        asked: DateTime<Utc>,
        database: DateTime<Utc>,
        answered: DateTime<Utc>,
    ) -> bool {
        let way = answered - asked;
        if way < TimeDelta::zero() || way > LONGEST_WAY {
            return false;
        }
        if let Self::OfDatabase(correction) = self {
            let micros = |offset: TimeDelta| offset.num_microseconds().unwrap_or_default();
            let (least, most) = (micros(database - answered), micros(database - asked));
            // What agrees with this answer stays: on a busy machine the middle of a long way is a guess.
            if !(least..=most).contains(&correction.offset.load(Ordering::Relaxed)) {
                let middle = least.midpoint(most);
                correction.offset.store(middle, Ordering::Relaxed);
            }
        }
        true
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
            Self::OfDatabase(correction) => {
                let offset = correction.offset.load(Ordering::Relaxed);
                Utc::now() + correction.error + TimeDelta::microseconds(offset)
            }
            Self::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The real time to wait until this clock shows `at`; zero if it is past. A manual clock never waits.
    pub fn wait_until(&self, at: DateTime<Utc>) -> Duration {
        self.real(at - self.now())
    }

    /// The real time in which this clock goes on by so much; zero for what is past. A manual clock never waits.
    pub fn real(&self, by: TimeDelta) -> Duration {
        let left = by.to_std().unwrap_or_default();
        match self {
            Self::System | Self::OfDatabase(_) => left,
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

/// A moment by two clocks of the machine: one stands still while the machine is suspended, the other may be set.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub steady: tokio::time::Instant,
    pub wall: DateTime<Utc>,
}

impl Moment {
    pub fn now() -> Self {
        Self {
            steady: tokio::time::Instant::now(),
            wall: Clock::System.now(),
        }
    }

    /// How long ago it was, by the clock that says more.
    pub fn age(self) -> Duration {
        Self::now().since(self)
    }

    /// How long after another moment it is, by the clock that says more.
    pub fn since(self, earlier: Self) -> Duration {
        let by_wall = (self.wall - earlier.wall).to_std().unwrap_or_default();
        self.steady.duration_since(earlier.steady).max(by_wall)
    }

    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        if other.steady < self.steady {
            other
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_machine_shows_the_database_s_time_once_it_was_told() {
        for error in [-86_400, -45, -1, 0, 1, 45, 86_400] {
            let clock = Clock::of_database_on_a_wrong_machine(TimeDelta::seconds(error));
            let off = || (clock.now() - Clock::System.now()).abs();
            let near = |wanted: i64| (off() - TimeDelta::seconds(wanted.abs())).abs();
            assert!(near(error) < TimeDelta::seconds(1), "wrong until told");
            let asked = clock.machine();
            let database = Clock::System.now();
            assert!(clock.set_right(asked, database, clock.machine()));
            assert!(
                off() < TimeDelta::milliseconds(500),
                "{error} s: off by {}",
                off()
            );
        }
    }

    #[test]
    fn the_database_is_believed_to_have_looked_half_way_and_not_at_all_after_a_long_way() {
        let clock = Clock::of_database();
        let at = |millis: i64| DateTime::from_timestamp_millis(1_700_000_000_000 + millis).unwrap();
        assert!(!clock.set_right(at(0), at(60_000), at(2_001)), "too long");
        assert!(!clock.set_right(at(0), at(60_000), at(-1)), "set meanwhile");
        assert!((clock.now() - clock.machine()).abs() < TimeDelta::seconds(1));
        assert!(clock.set_right(at(0), at(60_000), at(2_000)));
        let ahead = clock.now() - clock.machine();
        assert!((ahead - TimeDelta::seconds(59)).abs() < TimeDelta::milliseconds(500));
        // What agrees stays, also at the ends of a long way; what does not is corrected.
        for (database, ahead_by) in [(59_500, 59_000), (60_500, 59_000), (57_000, 56_000)] {
            assert!(clock.set_right(at(0), at(database), at(2_000)));
            let ahead = clock.now() - clock.machine() - TimeDelta::milliseconds(ahead_by);
            assert!(
                ahead.abs() < TimeDelta::milliseconds(400),
                "{database}: {ahead}"
            );
        }
        // On one machine with the database it is never put wrong.
        let same = Clock::of_database();
        for (database, answered) in [(0, 1_900), (1_900, 1_900), (3, 5)] {
            assert!(same.set_right(at(0), at(database), at(answered)));
            assert!((same.now() - same.machine()).abs() < TimeDelta::milliseconds(400));
        }
        // A clock that a test moves is nobody else's.
        let manual = Clock::manual(at(0));
        assert!(manual.set_right(at(0), at(60_000), at(10)));
        assert_eq!(manual.now(), at(0));
    }

    #[test]
    fn an_age_is_the_longer_one_of_two_clocks() {
        let began = Moment::now();
        let moment = Duration::from_secs(20);
        assert!(began.age() < moment);
        // The machine was suspended: its steady clock stood still.
        let suspended = Moment {
            wall: began.wall - TimeDelta::minutes(5),
            ..began
        };
        assert!(suspended.age() >= Duration::from_mins(5));
        // Somebody set the clock back.
        let set_back = Moment {
            wall: began.wall + TimeDelta::minutes(5),
            ..began
        };
        assert!(set_back.age() < moment);
    }
}
