use chrono_tz::{America, Asia, Australia, Europe, Pacific, US};
use proptest::prelude::*;

use super::*;
use Weekday::{Fri, Mon, Sat, Sun};

fn window(days: &[Weekday], from: &str, to: &str) -> Window {
    Window {
        days: days.to_vec(),
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
    }
}

fn daily(from: &str, to: &str) -> QuietHours {
    hours(vec![window(&[], from, to)])
}

fn hours(allowed: Vec<Window>) -> QuietHours {
    QuietHours {
        allowed,
        ..QuietHours::default()
    }
}

/// `at` and the expected instant in RFC 3339, the latter with the local offset that shows which of two equal wall times it is.
fn check(
    what: &str,
    hours: &QuietHours,
    zone: Tz,
    country: Option<&str>,
    at: &str,
    expected: Option<&str>,
) {
    let at: DateTime<Utc> = at.parse().unwrap();
    let found = hours.allowed_at(at, zone, country);
    let shown = found.map(|t| t.with_timezone(&zone).to_rfc3339());
    assert_eq!(shown.as_deref(), expected, "{what}");
}

#[test]
fn on_ordinary_days_the_next_window_begins_at_its_start() {
    let day = daily("09:00:00", "20:00:00");
    let z = Europe::Berlin;
    let cases = [
        (
            "inside",
            "2026-01-14T10:30:00Z",
            "2026-01-14T11:30:00+01:00",
        ),
        (
            "the start is inside",
            "2026-01-14T08:00:00Z",
            "2026-01-14T09:00:00+01:00",
        ),
        (
            "before the start",
            "2026-01-14T05:00:00.5Z",
            "2026-01-14T09:00:00+01:00",
        ),
        (
            "the end is outside",
            "2026-01-14T19:00:00Z",
            "2026-01-15T09:00:00+01:00",
        ),
        (
            "just before the end",
            "2026-01-14T18:59:59Z",
            "2026-01-14T19:59:59+01:00",
        ),
    ];
    for (what, at, expected) in cases {
        check(what, &day, z, None, at, Some(expected));
    }
}

#[test]
fn days_ends_of_day_and_several_windows_are_honoured() {
    let z = Tz::UTC;
    let weekend = hours(vec![window(&[Sat, Sun], "10:00:00", "00:00:00")]);
    check(
        "next Saturday",
        &weekend,
        z,
        None,
        "2026-01-12T12:00:00Z",
        Some("2026-01-17T10:00:00+00:00"),
    );
    check(
        "until midnight",
        &weekend,
        z,
        None,
        "2026-01-17T23:59:59Z",
        Some("2026-01-17T23:59:59+00:00"),
    );
    let night = hours(vec![
        window(&[], "22:00:00", "00:00:00"),
        window(&[], "00:00:00", "02:00:00"),
    ]);
    check(
        "across midnight",
        &night,
        z,
        None,
        "2026-01-17T00:00:00Z",
        Some("2026-01-17T00:00:00+00:00"),
    );
    check(
        "between the windows",
        &night,
        z,
        None,
        "2026-01-17T02:00:00Z",
        Some("2026-01-17T22:00:00+00:00"),
    );
    let all_day = hours(vec![window(&[Mon], "00:00:00", "00:00:00")]);
    check(
        "a whole day",
        &all_day,
        z,
        None,
        "2026-01-13T00:00:00Z",
        Some("2026-01-19T00:00:00+00:00"),
    );
    check(
        "no window: any time",
        &QuietHours::default(),
        z,
        None,
        "2026-01-13T03:00:00Z",
        Some("2026-01-13T03:00:00+00:00"),
    );
    let never = hours(vec![window(&[], "09:00:00", "09:00:00")]);
    check("never", &never, z, None, "2026-01-13T03:00:00Z", None);
}

#[test]
fn a_country_has_its_own_windows() {
    let sms = QuietHours::sms_default();
    let sunday = "2026-03-15T14:00:00Z";
    check(
        "US Sunday",
        &sms,
        America::New_York,
        Some("US"),
        sunday,
        Some("2026-03-15T12:00:00-04:00"),
    );
    check(
        "elsewhere",
        &sms,
        America::New_York,
        Some("CA"),
        sunday,
        Some("2026-03-15T10:00:00-04:00"),
    );
    check(
        "unknown",
        &sms,
        America::New_York,
        None,
        sunday,
        Some("2026-03-15T10:00:00-04:00"),
    );
}

#[test]
fn clocks_that_jump_or_repeat_are_read_as_they_show() {
    // Berlin 2026: 29 March 02:00 → 03:00, 25 October 03:00 → 02:00.
    let z = Europe::Berlin;
    check(
        "the start does not exist",
        &daily("02:30:00", "08:00:00"),
        z,
        None,
        "2026-03-29T00:00:00Z",
        Some("2026-03-29T03:00:00+02:00"),
    );
    check(
        "the window does not exist",
        &daily("02:15:00", "02:45:00"),
        z,
        None,
        "2026-03-29T00:00:00Z",
        Some("2026-03-30T02:15:00+02:00"),
    );
    check(
        "the start comes twice",
        &daily("02:30:00", "08:00:00"),
        z,
        None,
        "2026-10-24T23:00:00Z",
        Some("2026-10-25T02:30:00+02:00"),
    );
    check(
        "and is allowed twice",
        &daily("02:30:00", "02:45:00"),
        z,
        None,
        "2026-10-25T00:50:00Z",
        Some("2026-10-25T02:30:00+01:00"),
    );
    check(
        "the clock goes back into the window",
        &daily("01:00:00", "02:15:00"),
        z,
        None,
        "2026-10-25T00:30:00Z",
        Some("2026-10-25T02:00:00+01:00"),
    );
    // Lord Howe moves by half an hour: 4 October 2026, 02:00 → 02:30.
    check(
        "half an hour",
        &daily("02:10:00", "05:00:00"),
        Australia::Lord_Howe,
        None,
        "2026-10-03T15:00:00Z",
        Some("2026-10-04T02:30:00+11:00"),
    );
    // Santiago jumps at midnight: 6 September 2026, 00:00 → 01:00.
    check(
        "no midnight",
        &daily("00:00:00", "06:00:00"),
        America::Santiago,
        None,
        "2026-09-06T03:30:00Z",
        Some("2026-09-06T01:00:00-03:00"),
    );
    // Apia had no 30 December 2011, a Friday.
    let fridays = hours(vec![window(&[Fri], "09:00:00", "20:00:00")]);
    check(
        "no Friday",
        &fridays,
        Pacific::Apia,
        None,
        "2011-12-29T12:00:00Z",
        Some("2012-01-06T09:00:00+14:00"),
    );
    check(
        "no such day",
        &daily("09:00:00", "20:00:00"),
        Pacific::Apia,
        None,
        "2011-12-30T07:00:00Z",
        Some("2011-12-31T09:00:00+14:00"),
    );
    check(
        "weekly in the gap",
        &hours(vec![window(&[Sun], "02:00:00", "03:00:00")]),
        z,
        None,
        "2026-03-28T12:00:00Z",
        Some("2026-04-05T02:00:00+02:00"),
    );
}

#[test]
fn through_a_whole_year_nothing_is_early_quiet_or_later_than_need_be() {
    const QUARTER: TimeDelta = TimeDelta::minutes(15);
    let years = [
        (Australia::Lord_Howe, 2026),
        (America::Santiago, 2026),
        (Asia::Kathmandu, 2026),
        (Pacific::Apia, 2011),
        (US::Eastern, 2026),
    ];
    // All starts and ends, and all changes of these clocks, fall on quarters: stepping by quarters misses nothing.
    let hours = hours(vec![
        window(&[Mon, Fri, Sat], "09:00:00", "12:30:00"),
        window(&[Sun], "00:15:00", "02:15:00"),
        window(&[], "17:45:00", "00:00:00"),
    ]);
    let is_window = |t: DateTime<Utc>, zone: Tz| {
        let local = t.with_timezone(&zone);
        hours
            .allowed
            .iter()
            .any(|w| w.contains(local.weekday(), local.time()))
    };
    for (zone, year) in years {
        // Backwards, so that the next allowed quarter is known.
        let mut at = Utc.with_ymd_and_hms(year + 1, 1, 1, 0, 0, 0).unwrap();
        let end = Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap();
        let mut next = None;
        while at >= end {
            if is_window(at, zone) {
                next = Some(at);
            }
            if next.is_some() {
                assert_eq!(hours.allowed_at(at, zone, None), next, "{zone} {at}");
            }
            at -= QUARTER;
        }
    }
}

proptest! {
    #[test]
    fn the_result_is_stable_and_never_in_the_past(
        zone in prop::sample::select(&chrono_tz::TZ_VARIANTS[..]),
        at in 1_200_000_000_i64..2_200_000_000,
        starts in prop::collection::vec((0..24_u32, 0..60_u32, 1..600_i64, 0..7_u8), 1..4),
    ) {
        let windows = starts.iter().map(|&(hour, minute, long, day)| {
            let from = NaiveTime::from_hms_opt(hour, minute, 0).unwrap();
            let (to, days_on) = from.overflowing_add_signed(TimeDelta::minutes(long));
            let to = if days_on == 0 { to } else { NaiveTime::MIN };
            Window { days: vec![Weekday::try_from(day).unwrap()], from, to }
        });
        let hours = hours(windows.collect());
        let at = DateTime::from_timestamp(at, 0).unwrap();
        let found = hours.allowed_at(at, zone, None).expect("every window comes back");
        prop_assert!(found >= at);
        prop_assert_eq!(hours.allowed_at(found, zone, None), Some(found));
        // Nothing in between would have done.
        let half = at + (found - at) / 2;
        prop_assert_eq!(hours.allowed_at(half, zone, None), Some(found));
    }
}
