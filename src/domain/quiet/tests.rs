use chrono::{DateTime, Datelike as _, TimeDelta, TimeZone as _, Utc};
use chrono_tz::{America, Asia, Australia, Europe, Pacific, Tz, US};
use proptest::prelude::*;

use super::*;
use crate::domain::ids::Channel;
use crate::domain::rule::RuleSettings;
use crate::domain::zone::Zone;
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

/// `allowed_at` and its like, by one zone's clock.
impl QuietHours {
    fn at(&self, at: DateTime<Utc>, zone: Tz, country: Option<&str>) -> Option<DateTime<Utc>> {
        Hours::new(self.windows(country), &[Zone::Named(zone)]).allowed_at(at)
    }

    fn until(
        &self,
        at: DateTime<Utc>,
        limit: DateTime<Utc>,
        zone: Tz,
        country: Option<&str>,
    ) -> DateTime<Utc> {
        Hours::new(self.windows(country), &[Zone::Named(zone)]).allowed_until(at, limit)
    }
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
        let found = hours.at(at.parse().unwrap(), *zone, country);
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
        let until = hours.until(at.parse().unwrap(), limit.parse().unwrap(), *zone, None);
        let shown = until.with_timezone(zone).to_rfc3339();
        assert_eq!(shown, *expected, "{what}");
    }
    let sunday: DateTime<Utc> = "2026-03-15T16:00:00Z".parse().unwrap();
    let until = us.until(
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
    assert_eq!(never.at(at, Tz::UTC, None), None);
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
                    let until = hours.until(at, limit, zone, None);
                    assert_eq!(until, limit.min(quiet), "{zone} {at}");
                }
            } else {
                quiet = Some(at);
            }
            if next.is_some() {
                assert_eq!(hours.at(at, zone, None), next, "{zone} {at}");
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
        let found = hours.at(at, zone, None).expect("every window comes back");
        prop_assert!(found >= at);
        prop_assert_eq!(hours.at(found, zone, None), Some(found));
        // Nothing in between would have done.
        let half = at + (found - at) / 2;
        prop_assert_eq!(hours.at(half, zone, None), Some(found));
    }
}

/// Zones with odd clocks and without, and the moments at which their weeks are odd: when clocks change, and an ordinary one.
fn zones_and_weeks() -> impl Iterator<Item = (Zone, DateTime<Utc>)> {
    #[rustfmt::skip]
    let zones = [
        "UTC", "America/New_York", "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles", "America/Anchorage",
        "America/Adak", "Pacific/Honolulu", "America/St_Johns", "America/Santiago", "America/Sao_Paulo", "Atlantic/Azores", "Europe/London",
        "Europe/Berlin", "Africa/Casablanca", "Africa/Cairo", "Asia/Tehran", "Asia/Kabul", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Yangon",
        "Australia/Eucla", "Australia/Adelaide", "Australia/Lord_Howe", "Pacific/Marquesas", "Pacific/Chatham", "Pacific/Apia",
        "Pacific/Kiritimati", "UTC+05:30", "UTC-09:30", "UTC+12:45",
    ];
    // Sundays; the clocks of the USA change on 8 March and 1 November 2026, Europe's on 29 March and 25 October, Lord Howe's on 5 April
    // and 4 October, Santiago's on 5 April and 6 September.
    let weeks = [
        "2026-01-11",
        "2026-03-08",
        "2026-03-29",
        "2026-04-05",
        "2026-09-06",
        "2026-10-04",
        "2026-10-25",
        "2026-11-01",
    ];
    zones.into_iter().flat_map(move |zone| {
        weeks.into_iter().map(move |sunday| {
            let sunday: DateTime<Utc> = format!("{sunday}T00:00:00Z").parse().unwrap();
            (zone.parse().unwrap(), sunday - TimeDelta::days(3))
        })
    })
}

#[test]
fn whatever_is_due_at_any_hour_of_a_week_can_be_sent_by_the_defaults() {
    let (hour, quarter) = (TimeDelta::hours(1), TimeDelta::minutes(15));
    let (email, sms) = (
        RuleSettings::default_for(&[Channel::Email]),
        RuleSettings::default_for(&[Channel::Sms]),
    );
    let mut tried = 0;
    for (zone, start) in zones_and_weeks() {
        for (channel, settings, country) in [
            (Channel::Email, &email, None),
            (Channel::Sms, &sms, None),
            (Channel::Sms, &sms, Some("US")),
        ] {
            let own = &settings.channels[channel];
            let windows = own.quiet_hours.windows(country);
            let (max_age, latest) = (own.max_age, settings.latest(channel));
            let zones = [zone];
            let hours = Hours::new(windows, &zones);
            for nth in 0..7 * 24 * 4 {
                let due = start + quarter * nth;
                let at = hours.allowed_at(due).expect("every window comes back");
                let deadline = hours.deadline(due, max_age, latest);
                assert!(
                    at + hour <= deadline,
                    "{zone} {due}: allowed at {at}, until {deadline}"
                );
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 32 * 8 * 3 * 672);
}

#[test]
fn the_deadline_counts_allowed_time_within_its_bound() {
    let day = daily("09:00:00", "20:00:00");
    let minute = daily("09:00:00", "09:01:00");
    let saturdays = hours(vec![window(&[Sat], "09:00:00", "20:00:00")]);
    let always = QuietHours::default();
    let never = daily("09:00:00", "09:00:00");
    let us = QuietHours::sms_default();
    let us = hours(us.windows(Some("US")).to_vec());
    let night = daily("00:00:00", "04:00:00");
    let (berlin, new_york, utc) = (
        Zone::Named(Europe::Berlin),
        Zone::Named(America::New_York),
        Zone::UTC,
    );
    // What, windows, zones, due, minutes of max age, hours of the bound, deadline in UTC.
    #[expect(clippy::type_complexity, reason = "the columns of a table")]
    #[rustfmt::skip]
    let cases: &[(&str, &QuietHours, &[Zone], &str, i64, i64, &str)] = &[
        ("within the window", &day, &[utc], "2026-01-14T10:00:00Z", 60, 17, "2026-01-14T11:00:00Z"),
        ("the night does not count", &day, &[utc], "2026-01-14T19:40:00Z", 60, 17, "2026-01-15T09:40:00Z"),
        ("due in the night", &day, &[utc], "2026-01-14T22:00:00Z", 60, 17, "2026-01-15T10:00:00Z"),
        ("due when quiet begins", &day, &[utc], "2026-01-14T20:00:00Z", 60, 17, "2026-01-15T10:00:00Z"),
        ("used up when quiet begins", &day, &[utc], "2026-01-14T19:00:00Z", 60, 17, "2026-01-14T20:00:00Z"),
        ("the bound comes first", &day, &[utc], "2026-01-14T20:00:00Z", 600, 17, "2026-01-15T13:00:00Z"),
        ("the bound is in the night", &day, &[utc], "2026-01-14T12:00:00Z", 600, 12, "2026-01-15T00:00:00Z"),
        ("several nights", &minute, &[utc], "2026-01-14T12:00:00Z", 3, 96, "2026-01-17T09:01:00Z"),
        ("a closed week", &saturdays, &[utc], "2026-01-12T12:00:00Z", 60, 24, "2026-01-13T12:00:00Z"),
        ("never open", &never, &[utc], "2026-01-12T12:00:00Z", 60, 24, "2026-01-13T12:00:00Z"),
        ("no hours", &always, &[utc], "2026-01-12T23:00:00Z", 360, 24, "2026-01-13T05:00:00Z"),
        ("no hours, the bound", &always, &[utc], "2026-01-12T23:00:00Z", 360, 2, "2026-01-13T01:00:00Z"),
        ("by two clocks: 09:00 to 20:00 in New York and Berlin is six hours", &day, &[new_york, berlin], "2026-01-14T19:30:00Z", 60, 24, "2026-01-15T15:00:00Z"),
        ("a US Sunday begins at noon", &us, &[new_york], "2026-01-11T01:00:00Z", 60, 17, "2026-01-11T18:00:00Z"),
        ("clocks are put back: one hour more", &us, &[new_york], "2026-11-01T00:00:00Z", 60, 17, "2026-11-01T18:00:00Z"),
        ("clocks are put ahead", &us, &[new_york], "2026-03-08T01:00:00Z", 60, 17, "2026-03-08T17:00:00Z"),
        ("the repeated hour is allowed twice", &night, &[berlin], "2026-10-25T00:30:00Z", 90, 17, "2026-10-25T02:00:00Z"),
        ("due in the repeated hour: its rest", &never, &[berlin], "2026-10-25T01:30:00Z", 60, 10, "2026-10-25T12:00:00Z"),
        ("due before it: all of it", &never, &[berlin], "2026-10-25T00:30:00Z", 60, 10, "2026-10-25T11:30:00Z"),
        ("due after it", &never, &[berlin], "2026-10-25T02:30:00Z", 60, 10, "2026-10-25T12:30:00Z"),
    ];
    for (what, quiet, zones, due, max_age, latest, expected) in cases {
        let hours = Hours::new(quiet.windows(None), zones);
        let (max_age, latest) = (TimeDelta::minutes(*max_age), TimeDelta::hours(*latest));
        let deadline = hours.deadline(due.parse().unwrap(), max_age, latest);
        let expected: DateTime<Utc> = expected.parse().unwrap();
        assert_eq!(deadline, expected, "{what}");
    }
}

#[test]
fn what_several_clocks_must_allow_is_what_all_of_them_allow() {
    let sms = QuietHours::sms_default();
    let zones = [
        Zone::Named(America::New_York),
        Zone::Named(Pacific::Honolulu),
    ];
    let hours = Hours::new(sms.windows(None), &zones);
    // 14 January 2026: New York is 5 hours behind UTC, Honolulu 10.
    let at = |time: &str| {
        format!("2026-01-14T{time}:00Z")
            .parse::<DateTime<Utc>>()
            .unwrap()
    };
    assert_eq!(
        hours.allowed_at(at("14:00")),
        Some(at("19:00")),
        "09:00 in Honolulu"
    );
    let tomorrow = at("19:00") + TimeDelta::days(1);
    assert_eq!(
        hours.allowed_until(at("19:00"), tomorrow),
        tomorrow - TimeDelta::hours(18),
        "20:00 in New York"
    );
    assert_eq!(
        hours.allowed_time(at("00:00"), at("00:00") + TimeDelta::days(1)),
        TimeDelta::hours(6)
    );
    let apart = [
        Zone::Named(Europe::Kaliningrad),
        Zone::Named(Pacific::Auckland),
    ];
    let never = Hours::new(sms.windows(None), &apart).allowed_at(at("14:00"));
    assert_eq!(never, None, "eleven hours apart in January");
}

fn any_zones() -> impl Strategy<Value = Vec<Zone>> {
    let named = prop::sample::select(&chrono_tz::TZ_VARIANTS[..]).prop_map(Zone::Named);
    let fixed = (-12 * 4..14 * 4_i32)
        .prop_map(|quarters| Zone::Fixed(chrono::FixedOffset::east_opt(quarters * 900).unwrap()));
    prop::collection::vec(prop_oneof![4 => named, 1 => fixed], 1..3)
}

fn any_windows() -> impl Strategy<Value = Vec<Window>> {
    let window = (0..24_u32, 0..60_u32, 1..900_i64, prop::option::of(0..7_u8)).prop_map(
        |(hour, minute, long, day)| {
            let from = NaiveTime::from_hms_opt(hour, minute, 0).unwrap();
            let (to, days_on) = from.overflowing_add_signed(TimeDelta::minutes(long));
            let to = if days_on == 0 { to } else { NaiveTime::MIN };
            let days = day
                .and_then(|day| Weekday::try_from(day).ok())
                .into_iter()
                .collect();
            Window { days, from, to }
        },
    );
    prop::collection::vec(window, 0..4)
}

proptest! {
    #[test]
    fn a_deadline_is_monotonic_bounded_and_counts_allowed_time(
        zones in any_zones(), windows in any_windows(), due in 1_200_000_000_i64..2_200_000_000, later in 0..200_000_i64,
        max_age in 1..1000_i64, latest in 1..3000_i64,
    ) {
        let hours = Hours::new(&windows, &zones);
        let (max_age, latest) = (TimeDelta::minutes(max_age), TimeDelta::minutes(latest));
        let due = DateTime::from_timestamp(due, 0).unwrap();
        let deadline = hours.deadline(due, max_age, latest);
        prop_assert!(due <= deadline && deadline <= due + latest + LONGEST_REPEAT);
        let bounded = deadline >= due + latest;
        let age = hours.allowed_time(due, deadline);
        prop_assert!(age == max_age || (bounded && age < max_age), "{} of {}", age, max_age);
        let of_later = hours.deadline(due + TimeDelta::seconds(later), max_age, latest);
        prop_assert!(deadline <= of_later);
        // More of either never makes it earlier.
        prop_assert!(hours.deadline(due, max_age * 2, latest) >= deadline);
        prop_assert!(hours.deadline(due, max_age, latest * 2) >= deadline);
        // Whoever may still be written to before it, may.
        if let Some(at) = hours.allowed_at(due) && at - due < latest {
            prop_assert!(at < deadline);
        }
    }

    #[test]
    fn all_clocks_allow_what_several_allow(
        zones in any_zones(), windows in any_windows(), at in 1_200_000_000_i64..2_200_000_000,
    ) {
        let at = DateTime::from_timestamp(at, 0).unwrap();
        let all = Hours::new(&windows, &zones);
        if let Some(found) = all.allowed_at(at) {
            prop_assert!(found >= at && all.allow(found));
            prop_assert!(zones.iter().all(|zone| Hours::new(&windows, &[*zone]).allow(found)));
            let half = at + (found - at) / 2;
            prop_assert_eq!(all.allowed_at(half), Some(found));
            let until = all.allowed_until(found, found + TimeDelta::days(2));
            prop_assert!(until > found);
            prop_assert_eq!(all.allowed_time(found, until), until - found);
        }
    }
}
