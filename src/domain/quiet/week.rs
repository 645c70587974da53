//! What windows mean for a week of local time, wherever and whenever that is.

use chrono::{NaiveTime, TimeDelta, Timelike as _, Weekday};

use super::Window;

const DAY: i64 = 24 * 60;
const WEEK: i64 = 7 * DAY;

/// The longest time that nothing may be sent, by the clock: 16 hours for "09:00 to 20:00, Sundays from 12:00". A whole week if
/// nothing may ever be sent.
pub fn longest_quiet(windows: &[Window]) -> TimeDelta {
    if windows.is_empty() {
        return TimeDelta::zero();
    }
    let minute = |time: NaiveTime| i64::from(time.hour() * 60 + time.minute());
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for window in windows {
        let days = (0..7_u8).filter_map(|n| Weekday::try_from(n).ok());
        for day in days.filter(|day| window.is_on(*day)) {
            let midnight = i64::from(day.num_days_from_monday()) * DAY;
            let end = match minute(window.to) {
                0 => DAY,
                end => end,
            };
            if minute(window.from) < end {
                spans.push((midnight + minute(window.from), midnight + end));
            }
        }
    }
    spans.sort_unstable();
    let Some((first, _)) = spans.first().copied() else {
        return TimeDelta::minutes(WEEK);
    };
    // Round to the first window of the week after.
    spans.push((first + WEEK, first + WEEK));
    let (mut allowed_to, mut longest) = (i64::MAX, 0);
    for (from, to) in spans {
        longest = longest.max(from.saturating_sub(allowed_to));
        allowed_to = if allowed_to == i64::MAX {
            to
        } else {
            allowed_to.max(to)
        };
    }
    TimeDelta::minutes(longest)
}

#[cfg(test)]
mod tests {
    use super::super::{QuietHours, Window};
    use super::*;
    use Weekday::{Fri, Mon, Sat, Thu, Tue, Wed};

    #[test]
    fn the_longest_quiet_is_found_across_midnights_and_weeks() {
        let window = |days: &[Weekday], from: &str, to: &str| Window {
            days: days.to_vec(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        };
        let working = [Mon, Tue, Wed, Thu, Fri];
        #[rustfmt::skip]
        let cases: [(&str, Vec<Window>, i64); 9] = [
            ("always", vec![], 0),
            ("every day", vec![window(&[], "09:00:00", "20:00:00")], 13 * 60),
            ("around midnight", vec![window(&[], "22:00:00", "00:00:00"), window(&[], "00:00:00", "02:30:00")], 19 * 60 + 30),
            ("all day, written as two", vec![window(&[], "00:00:00", "12:00:00"), window(&[], "12:00:00", "00:00:00")], 0),
            ("working days: the weekend", vec![window(&working, "09:00:00", "17:00:00")], 64 * 60),
            ("one day a week", vec![window(&[Sat], "10:00:00", "12:00:00")], 166 * 60),
            ("overlapping", vec![window(&[], "08:00:00", "18:00:00"), window(&[], "09:00:00", "10:00:00")], 14 * 60),
            ("US numbers: from Saturday evening to Sunday noon", QuietHours::sms_default().windows(Some("US")).to_vec(), 16 * 60),
            ("never", vec![window(&[], "09:00:00", "09:00:00")], 7 * 24 * 60),
        ];
        for (what, windows, minutes) in cases {
            assert_eq!(
                longest_quiet(&windows),
                TimeDelta::minutes(minutes),
                "{what}"
            );
        }
    }
}
