//! Whether this process stood still: starved, stopped or suspended.
//!
//! Whatever it had in hand goes on at once when it runs again. What was allowed for one moment, a turn under a rate limit, must then
//! be asked for anew, or everything that stood still goes out together.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Moment;

/// How often a running process shows that it runs.
const TICK: Duration = Duration::from_millis(250);

/// A process that did not run for so long stood still. A busy one is late by less.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Notices standstills of this process for as long as it lives.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Mutex<Ticks>>);

#[derive(Debug)]
struct Ticks {
    last: Moment,
    /// When the last standstill had ended.
    stood_still: Option<Moment>,
}

impl Ticks {
    fn tick(&mut self, now: Moment) {
        if now.since(self.last) > STANDSTILL {
            self.stood_still = Some(now);
        }
        self.last = now;
    }

    /// Whoever asks may run before the tick that would have noticed.
    fn since(&self, moment: Moment, now: Moment) -> bool {
        now.since(self.last) > STANDSTILL
            || self
                .stood_still
                .is_some_and(|end| end.steady >= moment.steady)
    }
}

impl Watch {
    /// Needs a runtime. Ends when the last clone is gone.
    pub fn start() -> Self {
        let ticks = Arc::new(Mutex::new(Ticks {
            last: Moment::now(),
            stood_still: None,
        }));
        let watched = Arc::downgrade(&ticks);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(TICK);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let Some(ticks) = watched.upgrade() else {
                    return;
                };
                let mut ticks = ticks.lock().unwrap_or_else(PoisonError::into_inner);
                ticks.tick(Moment::now());
            }
        });
        Self(ticks)
    }

    /// Whether this process stood still after that moment.
    pub fn since(&self, moment: Moment) -> bool {
        let ticks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ticks.since(moment, Moment::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment so many milliseconds after another, by both clocks.
    fn after(start: Moment, millis: u64) -> Moment {
        let later = Duration::from_millis(millis);
        Moment {
            steady: start.steady + later,
            wall: start.wall + later,
        }
    }

    #[test]
    fn a_gap_between_ticks_is_a_standstill_for_what_was_allowed_before_it_ended() {
        let start = Moment::now();
        let at = |millis| after(start, millis);
        // (ticks, allowed at, asked at, whether it stood still between)
        let cases: [(&[u64], u64, u64, bool); 7] = [
            (&[250, 500, 750], 300, 800, false),
            // Late, as on a busy machine.
            (&[250, 1_200], 300, 1_300, false),
            (&[250, 9_000], 300, 9_100, true),
            // The tick that notices has not run yet.
            (&[250, 500], 600, 9_000, true),
            // Allowed after it.
            (&[250, 9_000, 9_250], 9_100, 9_300, false),
            // A later tick does not hide it.
            (&[250, 9_000, 9_250, 9_500], 8_999, 9_600, true),
            (&[], 0, 900, false),
        ];
        for (n, (ticks, allowed, asked, wanted)) in cases.into_iter().enumerate() {
            let mut watch = Ticks {
                last: start,
                stood_still: None,
            };
            for tick in ticks {
                watch.tick(at(*tick));
            }
            assert_eq!(watch.since(at(allowed), at(asked)), wanted, "case {n}");
        }
    }

    #[test]
    fn a_suspended_machine_stood_still_although_its_steady_clock_did_not_run() {
        let start = Moment::now();
        let mut watch = Ticks {
            last: start,
            stood_still: None,
        };
        let woken = Moment {
            wall: start.wall + Duration::from_mins(1),
            ..after(start, 250)
        };
        watch.tick(woken);
        assert!(watch.since(start, after(woken, 10)));
        assert!(!watch.since(after(woken, 1), after(woken, 10)));
    }
}
