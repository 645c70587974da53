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

/// One line of a table: what it shows, the hours, the zone, an instant, and the expected one in RFC 3339 (whose local offset tells
/// which of two equal wall times is meant).
type Line<'a> = (&'a str, &'a QuietHours, Tz, &'a str, &'a str);

fn check(country: Option<&str>, lines: &[Line<'_>]) {
    for (what, hours, zone, at, expected) in lines {
        let found = hours.allowed_at(at.parse().unwrap(), *zone, country);
        let shown = found.map(|t| t.with_timezone(zone).to_rfc3339());
        assert_eq!(shown.as_deref(), Some(*expected), "{what}");
    }
}

#[test]
fn on_ordinary_days_the_next_window_begins_at_its_start() {
    let day = daily("09:00:00", "20:00:00");
    let z = Europe::Berlin;
    #[rustfmt::skip]
    check(None, &[
        ("inside", &day, z, "2026-01-14T10:30:00Z", "2026-01-14T11:30:00+01:00"),
        ("the start is inside", &day, z, "2026-01-14T08:00:00Z", "2026-01-14T09:00:00+01:00"),
        ("before the start", &day, z, "2026-01-14T05:00:00.5Z", "2026-01-14T09:00:00+01:00"),
        ("the end is outside", &day, z, "2026-01-14T19:00:00Z", "2026-01-15T09:00:00+01:00"),
        ("just before the end", &day, z, "2026-01-14T18:59:59Z", "2026-01-14T19:59:59+01:00"),
    ]);
}

#[test]
fn days_ends_of_day_and_several_windows_are_honoured() {
    let z = Tz::UTC;
    let any_time = QuietHours::default();
    let weekend = hours(vec![window(&[Sat, Sun], "10:00:00", "00:00:00")]);
    let mondays = hours(vec![window(&[Mon], "00:00:00", "00:00:00")]);
    let night = hours(vec![
        window(&[], "22:00:00", "00:00:00"),
        window(&[], "00:00:00", "02:00:00"),
    ]);
    #[rustfmt::skip]
    check(None, &[
        ("next Saturday", &weekend, z, "2026-01-12T12:00:00Z", "2026-01-17T10:00:00+00:00"),
        ("until midnight", &weekend, z, "2026-01-17T23:59:59Z", "2026-01-17T23:59:59+00:00"),
        ("across midnight", &night, z, "2026-01-17T00:00:00Z", "2026-01-17T00:00:00+00:00"),
        ("between the windows", &night, z, "2026-01-17T02:00:00Z", "2026-01-17T22:00:00+00:00"),
        ("a whole day", &mondays, z, "2026-01-13T00:00:00Z", "2026-01-19T00:00:00+00:00"),
        ("no window: any time", &any_time, z, "2026-01-13T03:00:00Z", "2026-01-13T03:00:00+00:00"),
    ]);
}

#[test]
fn what_is_allowed_is_allowed_until_quiet_begins_or_the_limit_comes() {
    let day = daily("09:00:00", "20:00:00");
    let halves = hours(vec![
        window(&[], "09:00:00", "12:00:00"),
        window(&[], "12:00:00", "20:00:00"),
    ]);
    let always = QuietHours::default();
    let night = hours(vec![
        window(&[], "22:00:00", "00:00:00"),
        window(&[], "00:00:00", "02:30:00"),
    ]);
    let saturdays = hours(vec![window(&[Sat], "00:00:00", "00:00:00")]);
    let us = QuietHours::sms_default();
    // Berlin 2026: 29 March 02:00 → 03:00, 25 October 03:00 → 02:00. Santiago 2026: 6 September 00:00 → 01:00.
    #[rustfmt::skip]
    let lines: &[(&str, &QuietHours, Tz, &str, &str, &str)] = &[
        ("the evening", &day, Europe::Berlin, "2026-01-14T18:30:00Z", "2026-01-14T19:30:00Z", "2026-01-14T20:00:00+01:00"),
        ("the limit", &day, Europe::Berlin, "2026-01-14T10:00:00Z", "2026-01-14T11:00:00Z", "2026-01-14T12:00:00+01:00"),
        ("no quiet in between", &halves, Tz::UTC, "2026-01-14T11:00:00Z", "2026-01-15T11:00:00Z", "2026-01-14T20:00:00+00:00"),
        ("never quiet", &always, Tz::UTC, "2026-01-14T11:00:00Z", "2026-01-15T11:00:00Z", "2026-01-15T11:00:00+00:00"),
        ("across midnight", &night, Tz::UTC, "2026-01-14T23:00:00Z", "2026-01-16T00:00:00Z", "2026-01-15T02:30:00+00:00"),
        ("the end of the day", &saturdays, Tz::UTC, "2026-01-17T23:00:00Z", "2026-01-19T00:00:00Z", "2026-01-18T00:00:00+00:00"),
        ("no such midnight", &saturdays, America::Santiago, "2026-09-05T23:00:00Z", "2026-09-07T00:00:00Z", "2026-09-06T01:00:00-03:00"),
        ("the end does not exist", &night, Europe::Berlin, "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z", "2026-03-29T03:00:00+02:00"),
        ("the end comes twice", &night, Europe::Berlin, "2026-10-24T23:00:00Z", "2026-10-26T00:00:00Z", "2026-10-25T02:30:00+02:00"),
    ];
    for (what, hours, zone, at, limit, expected) in lines {
        let until = hours.allowed_until(at.parse().unwrap(), limit.parse().unwrap(), *zone, None);
        let shown = until.with_timezone(zone).to_rfc3339();
        assert_eq!(shown, *expected, "{what}");
    }
    let sunday: DateTime<Utc> = "2026-03-15T16:00:00Z".parse().unwrap();
    let until = us.allowed_until(
        sunday,
        sunday + TimeDelta::days(1),
        America::New_York,
        Some("US"),
    );
    assert_eq!(
        until,
        sunday + TimeDelta::hours(8),
        "a US Sunday from noon to 20:00"
    );
}

#[test]
fn hours_that_never_come_are_told() {
    let at = "2026-01-13T03:00:00Z".parse().unwrap();
    let never = daily("09:00:00", "09:00:00");
    assert_eq!(never.allowed_at(at, Tz::UTC, None), None);
}

#[test]
fn a_country_has_its_own_windows() {
    let sms = QuietHours::sms_default();
    let z = America::New_York;
    let sunday = "2026-03-15T12:00:00Z";
    #[rustfmt::skip]
    check(Some("US"), &[("US Sunday", &sms, z, sunday, "2026-03-15T12:00:00-04:00")]);
    #[rustfmt::skip]
    check(Some("CA"), &[("elsewhere", &sms, z, sunday, "2026-03-15T09:00:00-04:00")]);
    check(
        None,
        &[("unknown", &sms, z, sunday, "2026-03-15T09:00:00-04:00")],
    );
}

#[test]
fn clocks_that_jump_or_repeat_are_read_as_they_show() {
    let half_past_two = daily("02:30:00", "08:00:00");
    let in_the_gap = daily("02:15:00", "02:45:00");
    let short = daily("02:30:00", "02:45:00");
    let early = daily("01:00:00", "02:15:00");
    let sundays_in_the_gap = hours(vec![window(&[Sun], "02:00:00", "03:00:00")]);
    // Berlin 2026: 29 March 02:00 → 03:00, 25 October 03:00 → 02:00.
    let z = Europe::Berlin;
    #[rustfmt::skip]
    check(None, &[
        ("the start does not exist", &half_past_two, z, "2026-03-29T00:00:00Z", "2026-03-29T03:00:00+02:00"),
        ("the window does not exist", &in_the_gap, z, "2026-03-29T00:00:00Z", "2026-03-30T02:15:00+02:00"),
        ("nor does this week's", &sundays_in_the_gap, z, "2026-03-28T12:00:00Z", "2026-04-05T02:00:00+02:00"),
        ("the start comes twice", &half_past_two, z, "2026-10-24T23:00:00Z", "2026-10-25T02:30:00+02:00"),
        ("and is allowed twice", &short, z, "2026-10-25T00:50:00Z", "2026-10-25T02:30:00+01:00"),
        ("the clock goes back into it", &early, z, "2026-10-25T00:30:00Z", "2026-10-25T02:00:00+01:00"),
    ]);
}

#[test]
fn unusual_clocks_are_read_as_they_show() {
    // Lord Howe moves by half an hour (4 October 2026, 02:00 → 02:30), Santiago at midnight (6 September 2026, 00:00 → 01:00),
    // and Apia had no 30 December 2011, a Friday.
    let (lord_howe, santiago, apia) = (Australia::Lord_Howe, America::Santiago, Pacific::Apia);
    let after_two = daily("02:10:00", "05:00:00");
    let from_midnight = daily("00:00:00", "06:00:00");
    let day = daily("09:00:00", "20:00:00");
    let fridays = hours(vec![window(&[Fri], "09:00:00", "20:00:00")]);
    #[rustfmt::skip]
    check(None, &[
        ("half an hour", &after_two, lord_howe, "2026-10-03T15:00:00Z", "2026-10-04T02:30:00+11:00"),
        ("no midnight", &from_midnight, santiago, "2026-09-06T03:30:00Z", "2026-09-06T01:00:00-03:00"),
        ("no such day", &day, apia, "2011-12-30T07:00:00Z", "2011-12-31T09:00:00+14:00"),
        ("no Friday", &fridays, apia, "2011-12-29T12:00:00Z", "2012-01-06T09:00:00+14:00"),
    ]);
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
        let mut quiet = None;
        while at >= end {
            if is_window(at, zone) {
                next = Some(at);
                if let Some(quiet) = quiet {
                    let limit = at + TimeDelta::days(2);
                    let until = hours.allowed_until(at, limit, zone, None);
                    assert_eq!(until, limit.min(quiet), "{zone} {at}");
                }
            } else {
                quiet = Some(at);
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
