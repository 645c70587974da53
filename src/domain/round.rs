//! The passes over an account's skills: which kinds there are, and how long a full one takes at the rate at which LivePerson may be
//! called.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// Full passes get at most this share of an account's calls: the rest is for re-checks, recent passes and people.
pub const FULL_SHARE: f64 = 0.5;

/// What open badges may be asked about with, of an account's calls in one interval.
const BADGE_SHARE: f64 = 0.1;

/// A full pass that takes longer is too slow: closures, and what recent passes do not show, are learnt from it.
const FULL_AT_LEAST_EVERY: TimeDelta = TimeDelta::minutes(15);

/// Which conversations a pass asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassKind {
    /// All that are open.
    #[default]
    Full,
    /// Those that were updated since the last pass.
    Recent,
    /// Those that began before the usual window of time.
    Deep,
}

/// How scans are to go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScanPace {
    /// Calls per second that the account's limit allows.
    pub per_second: f64,
    /// Time from one pass over a skill to the next, of whichever kind, as the settings want it.
    pub every: TimeDelta,
    /// Time from one full pass to the next, as the settings want it.
    pub full_every: TimeDelta,
}

impl ScanPace {
    /// Calls per second that full passes may take.
    pub fn full_per_second(self) -> f64 {
        self.per_second * FULL_SHARE
    }

    /// Calls in one interval that open badges may be asked about with.
    pub fn badge_calls(self) -> usize {
        let calls = self.per_second * self.every.as_seconds_f64() * BADGE_SHARE;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small count, and no more than it"
        )]
        let whole = calls.clamp(1.0, 1_000.0) as usize;
        whole
    }

    /// How long a full pass may take before it is too slow.
    fn longest(self) -> TimeDelta {
        self.full_every.max(FULL_AT_LEAST_EVERY)
    }
}

/// What one full pass over the skills of an account costs, by what the last ones cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// Skills that are scanned.
    pub skills: u32,
    /// Those of them that no full pass has come to yet.
    pub never_scanned: u32,
    /// Calls that the last passes over the others took.
    pub calls: f64,
}

impl Round {
    /// Seconds that a full pass takes. A skill that was never scanned counts like the average of the others.
    pub fn seconds(&self, pace: ScanPace) -> f64 {
        let scanned = self.skills.saturating_sub(self.never_scanned);
        if scanned == 0 {
            return 0.0;
        }
        self.calls * f64::from(self.skills) / f64::from(scanned) / pace.full_per_second()
    }

    /// Whether full passes come often enough.
    pub fn keeps_up(&self, pace: ScanPace) -> bool {
        self.seconds(pace) <= pace.longest().as_seconds_f64()
    }

    /// Whether full passes come too seldom to be all: if not, asking for what is new as well would be calls for nothing.
    pub fn needs_recent_passes(&self, pace: ScanPace) -> bool {
        let every = pace.every.as_seconds_f64();
        pace.full_every > pace.every || self.seconds(pace) > every
    }

    /// In words: "a full pass over 1,000 skills takes 4 min at 2.5 calls/s".
    pub fn sentence(&self, pace: ScanPace) -> String {
        let skills = thousands(self.skills);
        let takes = duration(self.seconds(pace));
        let rate = pace.full_per_second();
        let first = match self.never_scanned {
            0 => String::new(),
            n => format!("; not yet scanned: {}", thousands(n)),
        };
        format!(
            "a full pass over {skills} skills takes {takes} at {rate} calls/s, half of what the settings allow{first}"
        )
    }
}

/// Seconds in words.
pub fn duration(seconds: f64) -> String {
    let (n, unit) = match seconds {
        s if s < 90.0 => (s, "s"),
        s if s < 5400.0 => (s / 60.0, "min"),
        s => (s / 3600.0, "h"),
    };
    format!("{n:.0} {unit}")
}

fn thousands(n: u32) -> String {
    match (n / 1000, n % 1000) {
        (0, rest) => rest.to_string(),
        (more, rest) => format!("{},{rest:03}", thousands(more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(skills: u32, never_scanned: u32, calls: f64) -> Round {
        Round {
            skills,
            never_scanned,
            calls,
        }
    }

    fn pace(per_second: f64) -> ScanPace {
        ScanPace {
            per_second,
            every: TimeDelta::seconds(60),
            full_every: TimeDelta::seconds(60),
        }
    }

    #[test]
    fn what_a_full_pass_takes_whether_that_is_often_enough_and_whether_it_is_enough_alone() {
        // In this order: seconds, as words, whether it keeps up, whether recent passes are needed.
        let cases = [
            // A thousand skills in ten searches, and one search for each.
            (round(1000, 0, 10.0), 5.0, 4.0, "4 s", true, false),
            (round(1000, 0, 1000.0), 5.0, 400.0, "7 min", true, true),
            // Just in time for the next slot, and just not.
            (round(60, 0, 60.0), 2.0, 60.0, "60 s", true, false),
            (round(61, 0, 61.0), 2.0, 61.0, "61 s", true, true),
            // Just within a quarter of an hour, and just not.
            (round(4, 0, 900.0), 2.0, 900.0, "15 min", true, true),
            (round(4, 0, 901.0), 2.0, 901.0, "15 min", false, true),
            // Those to come are taken for average ones.
            (round(1000, 500, 500.0), 5.0, 400.0, "7 min", true, true),
            (round(1000, 1000, 0.0), 5.0, 0.0, "0 s", true, false),
            (round(0, 0, 0.0), 5.0, 0.0, "0 s", true, false),
            // A million conversations at a slow rate.
            (round(4, 0, 10_000.0), 0.5, 40_000.0, "11 h", false, true),
        ];
        for (round, rate, seconds, takes, keeps_up, needs_recent) in cases {
            let pace = pace(rate);
            let told = format!("{round:?} at {rate}");
            assert!((round.seconds(pace) - seconds).abs() < 1e-9, "{told}");
            assert_eq!(round.keeps_up(pace), keeps_up, "{told}");
            assert_eq!(round.needs_recent_passes(pace), needs_recent, "{told}");
            let sentence = round.sentence(pace);
            let half = rate / 2.0;
            assert!(
                sentence.contains(&format!("takes {takes} at {half} calls/s")),
                "{sentence}"
            );
        }
        assert_eq!(
            round(1000, 418, 582.0).sentence(pace(5.0)),
            "a full pass over 1,000 skills takes 7 min at 2.5 calls/s, half of what the settings allow; not yet scanned: 418"
        );
    }

    #[test]
    fn open_badges_have_a_tenth_of_the_calls_and_one_at_least() {
        for (per_second, calls) in [(5.0, 30), (0.1, 1), (1.0, 6), (1e9, 1_000)] {
            assert_eq!(pace(per_second).badge_calls(), calls, "{per_second}");
        }
    }

    #[test]
    fn who_wants_full_passes_seldom_gets_recent_ones_between_them() {
        let seldom = ScanPace {
            full_every: TimeDelta::minutes(10),
            ..pace(5.0)
        };
        assert!(round(4, 0, 1.0).needs_recent_passes(seldom));
        assert!(!round(4, 0, 1.0).needs_recent_passes(pace(5.0)));
        // Half an hour between two was chosen; that is no fault to tell of.
        let chosen = ScanPace {
            full_every: TimeDelta::minutes(30),
            ..pace(2.0)
        };
        assert!(round(4, 0, 1_800.0).keeps_up(chosen));
        assert!(!round(4, 0, 1_801.0).keeps_up(chosen));
    }
}
