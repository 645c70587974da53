//! What reminders bring about: shares of people who came back, and the difference that reminding makes, with their uncertainty.
//!
//! Wilson's interval for a share and Newcombe's (his method 10) for the difference of two: both behave with few cases and with
//! shares near 0 and 1, where the textbook interval promises more than there is. 95 %, two-sided.

use serde::Serialize;
use utoipa::ToSchema;

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub hits: u32,
    pub of: u32,
}

/// A share, or the difference of two, and the interval in which the true one lies in 95 of 100 cases.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Share)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Share {
    /// Counts of the database; more than four milliards are told as that.
    pub fn new(hits: i64, of: i64) -> Self {
        let count = |n: i64| u32::try_from(n.max(0)).unwrap_or(u32::MAX);
        Self {
            hits: count(hits.min(of)),
            of: count(of),
        }
    }

    /// The share, 0 to 1; `None` of nothing.
    pub fn estimate(self) -> Option<Estimate> {
        if self.of == 0 {
            return None;
        }
        let n = f64::from(self.of);
        let p = f64::from(self.hits) / n;
        let scale = 1.0 / (1.0 + Z * Z / n);
        let centre = (p + Z * Z / (2.0 * n)) * scale;
        let half = Z * scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        Some(Estimate {
            value: p,
            low: (centre - half).max(0.0),
            high: (centre + half).min(1.0),
        })
    }
}

/// How much larger the share of the reminded is than that of those held out; `None` while one of them is empty.
pub fn lift(reminded: Share, held_out: Share) -> Option<Estimate> {
    let (a, b) = (reminded.estimate()?, held_out.estimate()?);
    let value = a.value - b.value;
    Some(Estimate {
        value,
        low: value - (a.value - a.low).hypot(b.high - b.value),
        high: value + (a.high - a.value).hypot(b.value - b.low),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(estimate: Estimate, low: f64, high: f64) {
        let off = (estimate.low - low).abs().max((estimate.high - high).abs());
        assert!(off < 0.0001, "{estimate:?}");
    }

    #[test]
    fn shares_have_wilson_s_interval() {
        // Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I.
        close(Share::new(81, 263).estimate().unwrap(), 0.2553, 0.3662);
        close(Share::new(15, 148).estimate().unwrap(), 0.0624, 0.1605);
        close(Share::new(0, 20).estimate().unwrap(), 0.0, 0.1611);
        close(Share::new(1, 29).estimate().unwrap(), 0.0061, 0.1718);
        assert_eq!(Share::new(0, 0).estimate(), None);
    }

    #[test]
    fn differences_have_newcombe_s_interval() {
        // Newcombe 1998, "Interval estimation for the difference between independent proportions", table II, method 10.
        close(
            lift(Share::new(56, 70), Share::new(48, 80)).unwrap(),
            0.0524,
            0.3339,
        );
        close(
            lift(Share::new(9, 10), Share::new(3, 10)).unwrap(),
            0.1705,
            0.8090,
        );
        close(
            lift(Share::new(10, 10), Share::new(0, 20)).unwrap(),
            0.6791,
            1.0,
        );
        assert_eq!(lift(Share::new(1, 2), Share::new(0, 0)), None);
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_value_and_stays_within_reason(a in 0_i64..5000, n in 1_i64..5000, b in 0_i64..5000, m in 1_i64..5000) {
            let (share, other) = (Share::new(a, n), Share::new(b, m));
            let one = share.estimate().unwrap();
            prop_assert!(0.0 <= one.low && one.low <= one.value + 1e-12 && one.value <= one.high + 1e-12 && one.high <= 1.0);
            let both = lift(share, other).unwrap();
            prop_assert!(both.low <= both.value && both.value <= both.high);
            prop_assert!(-1.0 - 1e-9 <= both.low && both.high <= 1.0 + 1e-9);
        }
    }
}
