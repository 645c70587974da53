//! How long it takes to scan all skills of an account once, at the rate at which LivePerson may be called.

use chrono::TimeDelta;

/// How scans are to go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScanPace {
    /// Calls per second that the account's limit allows.
    pub per_second: f64,
    /// Time from one scan of a skill to the next, as the settings want it.
    pub every: TimeDelta,
}

/// What one round over the skills of an account costs, by what their last scans cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// Skills that are scanned.
    pub skills: u32,
    /// Those of them that no scan has come to yet.
    pub never_scanned: u32,
    /// Calls that the last scans of the others took.
    pub calls: f64,
}

impl Round {
    /// Seconds that a round takes at this rate. A skill that was never scanned counts like the average of the others.
    pub fn seconds(&self, per_second: f64) -> f64 {
        let scanned = self.skills.saturating_sub(self.never_scanned);
        if scanned == 0 {
            return 0.0;
        }
        self.calls * f64::from(self.skills) / f64::from(scanned) / per_second
    }

    /// Whether a round is over before the next is to begin.
    pub fn fits(&self, pace: ScanPace) -> bool {
        self.seconds(pace.per_second) <= pace.every.as_seconds_f64()
    }

    /// In words: "a round over 1,000 skills takes 4 min at 5 calls/s".
    pub fn sentence(&self, pace: ScanPace) -> String {
        let skills = thousands(self.skills);
        let takes = duration(self.seconds(pace.per_second));
        let rate = pace.per_second;
        let first = match self.never_scanned {
            0 => String::new(),
            n => format!("; not yet scanned: {}", thousands(n)),
        };
        format!("scanning {skills} skills takes {takes} at {rate} calls/s{first}")
    }
}

fn duration(seconds: f64) -> String {
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

    #[test]
    fn what_a_round_takes_is_told_and_whether_it_fits() {
        let pace = |per_second| ScanPace {
            per_second,
            every: TimeDelta::seconds(60),
        };
        let cases = [
            // A thousand skills in ten searches, and one search for each.
            (round(1000, 0, 10.0), 5.0, 2.0, true, "2 s"),
            (round(1000, 0, 1000.0), 5.0, 200.0, false, "3 min"),
            (round(1000, 0, 1200.0), 5.0, 240.0, false, "4 min"),
            // Just in time, and just not.
            (round(60, 0, 60.0), 1.0, 60.0, true, "60 s"),
            (round(61, 0, 61.0), 1.0, 61.0, false, "61 s"),
            // Those to come are taken for average ones.
            (round(1000, 500, 500.0), 5.0, 200.0, false, "3 min"),
            (round(1000, 1000, 0.0), 5.0, 0.0, true, "0 s"),
            (round(0, 0, 0.0), 5.0, 0.0, true, "0 s"),
            // A hundred thousand conversations; a million at a slow rate.
            (round(4, 0, 1000.0), 5.0, 200.0, false, "3 min"),
            (round(4, 0, 10_000.0), 0.5, 20_000.0, false, "6 h"),
        ];
        for (round, rate, seconds, fits, takes) in cases {
            assert!(
                (round.seconds(rate) - seconds).abs() < 1e-9,
                "{round:?} at {rate}"
            );
            assert_eq!(round.fits(pace(rate)), fits, "{round:?} at {rate}");
            let sentence = round.sentence(pace(rate));
            assert!(
                sentence.contains(&format!("takes {takes} at {rate} calls/s")),
                "{sentence}"
            );
        }
        assert_eq!(
            round(1000, 418, 582.0).sentence(pace(5.0)),
            "scanning 1,000 skills takes 3 min at 5 calls/s; not yet scanned: 418"
        );
    }
}
