//! What hours take from a rule: the due moments of a week for which no allowed hour comes in time.

use chrono::{DateTime, Datelike as _, NaiveTime, TimeDelta, TimeZone as _, Utc};

use super::hours::{Hours, clock_changes};
use super::{Window, longest_quiet};
use crate::domain::zone::Zone;

const WEEK: TimeDelta = TimeDelta::days(7);
/// Clocks are changed twice in a year; where Ramadan is excepted, four times.
const MOST_CHANGES: usize = 4;
const YEAR: TimeDelta = TimeDelta::days(366);

/// How late a reminder may be, and what becomes of it in quiet hours.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub max_age: TimeDelta,
    pub latest: TimeDelta,
    /// What falls into quiet hours is not sent.
    pub drops: bool,
}

/// A part of the due moments of a week, in minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostShare {
    pub minutes: i64,
    pub of: i64,
}

impl LostShare {
    pub fn is_none(&self) -> bool {
        self.minutes == 0
    }

    /// In percent, to a tenth, rounded down.
    pub fn percent(&self) -> f64 {
        let tenths = self.minutes.saturating_mul(1_000) / self.of.max(1);
        i32::try_from(tenths).map_or(100.0, f64::from) / 10.0
    }

    fn more(self, other: Self) -> bool {
        i128::from(self.minutes) * i128::from(other.of)
            > i128::from(other.minutes) * i128::from(self.of)
    }
}

/// A week by the clock of a zone, from Monday on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Week {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Clocks are changed in it.
    pub clock_change: bool,
}

/// The weeks that tell everything about a zone's year: an ordinary one, and those in which its clocks are changed.
pub fn weeks(zone: Zone, now: DateTime<Utc>) -> Vec<Week> {
    let clock_changes: Vec<DateTime<Utc>> = clock_changes(zone, now, now + YEAR)
        .map(|(at, _)| at)
        .collect();
    let far = |week: &Week| {
        let near = week.from - WEEK..week.to + WEEK;
        !clock_changes.iter().any(|at| near.contains(at))
    };
    let after = (1..=52).map(|n| week(zone, now + WEEK * n));
    let ordinary = after.filter(|week| far(week)).take(1);
    let others = clock_changes.iter().take(MOST_CHANGES).map(|at| Week {
        clock_change: true,
        ..week(zone, *at)
    });
    let mut weeks: Vec<Week> = ordinary.chain(others).collect();
    if weeks.is_empty() {
        weeks.push(week(zone, now));
    }
    weeks
}

/// The week by a zone's clock that holds an instant.
fn week(zone: Zone, at: DateTime<Utc>) -> Week {
    let day = at.with_timezone(&zone).date_naive();
    let monday = day - TimeDelta::days(i64::from(day.weekday().num_days_from_monday()));
    let midnight = |day: chrono::NaiveDate| {
        let local = zone
            .from_local_datetime(&day.and_time(NaiveTime::MIN))
            .earliest();
        local.map_or_else(
            || day.and_time(NaiveTime::MIN).and_utc(),
            |local| local.to_utc(),
        )
    };
    Week {
        from: midnight(monday),
        to: midnight(monday + WEEK),
        clock_change: false,
    }
}

/// What is lost in an ordinary week or, if that is nothing, in the worse of those in which clocks are changed.
pub fn lost_share(
    windows: &[Window],
    bounds: Bounds,
    zone: Zone,
    now: DateTime<Utc>,
) -> (LostShare, Week) {
    let zones = [zone];
    let hours = Hours::new(windows, &zones);
    let mut worst: Option<(LostShare, Week)> = None;
    for week in weeks(zone, now) {
        let lost = share(&hours, bounds, week);
        if worst.is_none_or(|(worst, _)| lost.more(worst)) {
            worst = Some((lost, week));
        }
        if !week.clock_change && !lost.is_none() {
            break;
        }
    }
    worst.unwrap_or_else(|| (LostShare::default(), week(zone, now)))
}

/// How many minutes of a week are such that what falls due in them is never sent.
///
/// Within a stretch of quiet, whoever is due earlier waits longer and has no later deadline: what is lost is its beginning.
pub fn share(hours: &Hours<'_>, bounds: Bounds, week: Week) -> LostShare {
    let of = (week.to - week.from).num_minutes();
    let mut minutes = 0;
    let mut at = week.from;
    while at < week.to {
        if hours.allow(at) {
            at = hours.allowed_until(at, week.to);
            continue;
        }
        // The same for all of the stretch, and dear to find.
        let allowed_at = hours.allowed_at(at);
        let open = allowed_at.unwrap_or(week.to).min(week.to);
        let stretch = (open - at).num_minutes();
        let due = |minute: i64| {
            let due = at + TimeDelta::minutes(minute);
            waits_too_long(hours, bounds, due, allowed_at)
        };
        minutes += first_not(stretch, due);
        at = open;
    }
    LostShare { minutes, of }
}

/// Whether a reminder that is due in quiet hours is never sent. No allowed time passes until they end, so that of its deadline only the
/// bound may come before.
fn waits_too_long(
    hours: &Hours<'_>,
    bounds: Bounds,
    due: DateTime<Utc>,
    allowed_at: Option<DateTime<Utc>>,
) -> bool {
    let in_time = |at| bounds.max_age > TimeDelta::zero() && at < hours.bound(due, bounds.latest);
    bounds.drops || !allowed_at.is_some_and(in_time)
}

/// Whether a reminder that is due at this moment, and can be sent but for the hours, is never sent.
#[cfg(test)]
fn is_lost(hours: &Hours<'_>, bounds: Bounds, due: DateTime<Utc>) -> bool {
    match hours.allowed_at(due) {
        Some(at) if at <= due => false,
        Some(_) if bounds.drops => true,
        Some(at) => at >= hours.deadline(due, bounds.max_age, bounds.latest),
        None => true,
    }
}

/// The first number below `end` for which it is not so; it is so for all before it, and for none after it.
fn first_not(end: i64, holds: impl Fn(i64) -> bool) -> i64 {
    if end <= 0 || !holds(0) {
        return 0;
    }
    if holds(end - 1) {
        return end;
    }
    let (mut yes, mut no) = (0, end - 1);
    while no - yes > 1 {
        let middle = yes + (no - yes) / 2;
        if holds(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    no
}

/// The longest stretch of quiet, as far as bounds go: nobody waits longer.
pub fn longest_wait(windows: &[Window], bounds: Bounds) -> TimeDelta {
    if bounds.drops {
        return TimeDelta::zero();
    }
    longest_quiet(windows).min(bounds.latest)
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;
    use proptest::prelude::*;

    use super::super::QuietHours;
    use super::*;

    fn window(days: &[Weekday], from: &str, to: &str) -> Window {
        Window {
            days: days.to_vec(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        }
    }

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2026-01-14T10:00:00Z".parse().unwrap()
    }

    fn bounds(max_age: i64, latest: i64, drops: bool) -> Bounds {
        Bounds {
            max_age: TimeDelta::minutes(max_age),
            latest: TimeDelta::minutes(latest),
            drops,
        }
    }

    /// The seven days of a week, each as long as its clock makes it or, the last, as what is left.
    fn days_of(week: Week) -> Vec<Week> {
        let starts: Vec<DateTime<Utc>> = (0..7).map(|n| week.from + TimeDelta::days(n)).collect();
        let ends = starts.iter().skip(1).copied().chain([week.to]);
        let days = starts.iter().zip(ends);
        days.map(|(from, to)| Week {
            from: *from,
            to,
            ..week
        })
        .collect()
    }

    fn minute_by_minute(hours: &Hours<'_>, bounds: Bounds, week: Week) -> i64 {
        let minutes = 0..(week.to - week.from).num_minutes();
        let due = minutes.map(|minute| week.from + TimeDelta::minutes(minute));
        due.filter(|due| is_lost(hours, bounds, *due))
            .fold(0, |n, _| n + 1)
    }

    #[test]
    fn the_share_of_a_week_that_hours_take() {
        use Weekday::{Fri, Mon, Thu, Tue, Wed};
        let working = [Mon, Tue, Wed, Thu, Fri];
        let day = || vec![window(&[], "09:00:00", "20:00:00")];
        let sms = QuietHours::sms_default();
        #[rustfmt::skip]
        let cases: [(&str, Vec<Window>, Bounds, i64); 9] = [
            ("at any hour", vec![], bounds(60, 60, false), 0),
            ("the night is waited for", day(), bounds(60, 14 * 60, false), 0),
            ("thirteen hours of night, and twelve of patience: an hour and the minute before twelve are over", day(),
                bounds(60, 12 * 60, false), 7 * 61),
            ("what falls outside is dropped", day(), bounds(60, 14 * 60, true), 7 * 13 * 60),
            ("working days: the weekend is 64 hours", vec![window(&working, "09:00:00", "17:00:00")],
                bounds(360, 24 * 60, false), 40 * 60 + 1),
            ("never", vec![window(&[], "09:00:00", "09:00:00")], bounds(60, 600, false), 7 * 1440),
            ("the defaults of text messages", sms.allowed.clone(), bounds(60, 17 * 60, false), 0),
            ("the same to US numbers", sms.windows(Some("US")).to_vec(), bounds(60, 17 * 60, false), 0),
            ("with less patience, the beginning of a US Sunday's night", sms.windows(Some("US")).to_vec(),
                bounds(60, 15 * 60, false), 61),
        ];
        for (what, windows, bounds, minutes) in cases {
            for name in [
                "America/New_York",
                "Europe/Berlin",
                "Asia/Kolkata",
                "UTC+05:45",
            ] {
                let (share, _) = lost_share(&windows, bounds, zone(name), now());
                let ordinary = weeks(zone(name), now())[0];
                let of_ordinary =
                    super::share(&Hours::new(&windows, &[zone(name)]), bounds, ordinary);
                assert_eq!(
                    of_ordinary,
                    LostShare {
                        minutes,
                        of: 7 * 1440
                    },
                    "{what} in {name}"
                );
                assert_eq!(share, of_ordinary, "{what} in {name}");
            }
        }
        assert!(
            (LostShare {
                minutes: 1_000,
                of: 10_080
            }
            .percent()
                - 9.9)
                .abs()
                < f64::EPSILON
        );
    }

    #[test]
    fn a_year_is_told_by_an_ordinary_week_and_those_in_which_clocks_change() {
        let told = |name| {
            let weeks = weeks(zone(name), now());
            let days = weeks.iter().map(|week| {
                let day = week.from.with_timezone(&zone(name)).format("%F %R");
                format!("{day}{}", if week.clock_change { " changed" } else { "" })
            });
            days.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            told("Europe/Berlin"),
            "2026-01-19 00:00, 2026-03-23 00:00 changed, 2026-10-19 00:00 changed"
        );
        assert_eq!(told("Asia/Kolkata"), "2026-01-19 00:00");
        assert_eq!(told("UTC+05:45"), "2026-01-19 00:00");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn what_is_said_to_be_lost_is_lost_minute_by_minute(
            from in 0..1438_u32, length in 1..1439_u32, second in prop::option::of((0..1438_u32, 1..1439_u32)),
            days in prop::collection::vec(0..7_u8, 0..4), max_age in 1..900_i64, latest in 1..3_000_i64, drops: bool,
            place in 0..5_usize, day in 0..7_usize,
        ) {
            let clock = |minute: u32| NaiveTime::from_num_seconds_from_midnight_opt(minute * 60, 0).unwrap();
            let days: Vec<Weekday> = days.iter().map(|day| Weekday::try_from(*day).unwrap()).collect();
            let spans = std::iter::once((from, length)).chain(second);
            let windows: Vec<Window> = spans.map(|(from, length)| Window {
                days: days.clone(),
                from: clock(from),
                to: clock((from + length).min(1439)),
            }).collect();
            let name = ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "UTC+05:30"][place];
            let zones = [zone(name)];
            let hours = Hours::new(&windows, &zones);
            let bounds = bounds(max_age, latest, drops);
            for week in weeks(zones[0], now()) {
                let days = days_of(week);
                let of_days = days.iter().map(|day| share(&hours, bounds, *day));
                let of_week = share(&hours, bounds, week);
                prop_assert_eq!(of_days.clone().map(|share| share.minutes).sum::<i64>(), of_week.minutes);
                prop_assert_eq!(of_days.map(|share| share.of).sum::<i64>(), of_week.of);
                // All of the days would take minutes.
                let counted = minute_by_minute(&hours, bounds, days[day]);
                prop_assert_eq!(share(&hours, bounds, days[day]).minutes, counted, "{} {:?}", name, days[day]);
                prop_assert!(counted == 0 || !of_week.is_none());
            }
        }
    }
}
