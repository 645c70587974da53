//! The spellings in which browsers, Windows and people name a time zone.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::LazyLock;

use chrono::{DateTime, FixedOffset, TimeZone as _};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::Zone;

/// Longer than any name, and than what JavaScript says of a date.
const LONGEST: usize = 120;

/// Clocks lie between Baker Island's and Kiritimati's.
const OFFSETS: std::ops::RangeInclusive<i32> = -12 * 3600..=14 * 3600;

/// By lower-case name: what Windows calls its zones, and what it shows. The zone of each is that of most of its people.
static WINDOWS: LazyLock<HashMap<String, Tz>> = LazyLock::new(|| {
    let lines = include_str!("windows.txt").lines();
    let rows = lines.filter(|line| !line.starts_with('#'));
    rows.flat_map(|line| {
        let mut cells = line.split('\t');
        let zone = cells.next().and_then(|name| Tz::from_str(name).ok());
        cells.filter_map(move |name| Some((name.to_lowercase(), zone?)))
    })
    .collect()
});

pub fn parse(raw: &str) -> Option<Zone> {
    if raw.len() > LONGEST {
        return None;
    }
    let text = tidied(raw);
    if text.eq_ignore_ascii_case("Z") {
        return Some(Zone::UTC);
    }
    named(&text)
        .map(Zone::Named)
        .or_else(|| offset(&text))
        .or_else(|| offset_before_name(&text))
        .or_else(|| offset_of_date(&text))
}

/// With plain signs and single spaces, and without what stands around it.
fn tidied(raw: &str) -> String {
    let plain = raw
        .replace(
            ['\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2212}'],
            "-",
        )
        .replace("%2F", "/")
        .replace("%2f", "/");
    let words: Vec<&str> = plain.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.trim_matches(['"', '\'', ':', ' ']);
    text.replace(" / ", "/")
}

/// A name of IANA's or of Windows', in any case, with underscores or blanks.
fn named(text: &str) -> Option<Tz> {
    if let Ok(zone) = Tz::from_str(text) {
        return Some(zone);
    }
    let name = text.replace(' ', "_");
    let same = |zone: &&Tz| zone.name().eq_ignore_ascii_case(&name);
    TZ_VARIANTS
        .iter()
        .find(same)
        .copied()
        .or_else(|| windows(&text.replace('_', " ")))
}

fn windows(name: &str) -> Option<Tz> {
    let name = name.to_lowercase();
    // A zone is called by its standard time all year round; a date is not.
    let standard = || {
        let name = name.replace("daylight time", "standard time");
        name.replace("summer time", "standard time")
    };
    WINDOWS
        .get(&name)
        .or_else(|| WINDOWS.get(&standard()))
        .copied()
}

/// `UTC+2`, `GMT-05:00`, `+05:30`, `-0330`, `UTC +5`. The sign is that of ISO 8601, east of Greenwich is more; only names that begin
/// with `Etc/` have it the other way round.
fn offset(text: &str) -> Option<Zone> {
    let rest = after_utc(text);
    let digits = rest.unwrap_or(text).trim_start();
    let (sign, digits) = match digits.as_bytes().first()? {
        b'+' => (1, &digits[1..]),
        b'-' => (-1, &digits[1..]),
        _ => return None,
    };
    let digits = digits.trim_start();
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return None,
        // Three digits without a word before them may be JavaScript's minutes, whose sign is reversed.
        None if digits.len() == 4 || (digits.len() == 3 && rest.is_some()) => {
            digits.split_at_checked(digits.len() - 2)?
        }
        None => (digits, "00"),
    };
    let number = |s: &str| {
        let fits = (1..=2).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| s.parse::<i32>().ok())?
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = sign * (hours * 3600 + minutes * 60);
    let known = minutes < 60 && OFFSETS.contains(&seconds);
    let offset = FixedOffset::east_opt(seconds).filter(|_| known)?;
    Some(if seconds == 0 {
        Zone::UTC
    } else {
        Zone::Fixed(offset)
    })
}

fn after_utc(text: &str) -> Option<&str> {
    let (word, rest) = text.split_at_checked(3)?;
    (word.eq_ignore_ascii_case("UTC") || word.eq_ignore_ascii_case("GMT")).then_some(rest)
}

/// As Windows shows it: `(UTC-05:00) Eastern Time (US & Canada)`.
fn offset_before_name(text: &str) -> Option<Zone> {
    let (distance, name) = text.strip_prefix('(')?.split_once(')')?;
    let distance = offset(distance).or_else(|| named(distance).map(Zone::Named))?;
    Some(of_both(distance, name.trim()))
}

/// As JavaScript shows it: `GMT-0500 (Eastern Standard Time)`, perhaps with the date before it.
fn offset_of_date(text: &str) -> Option<Zone> {
    let start = text.find("GMT").or_else(|| text.find("UTC"))?;
    let (distance, name) = match text[start..].split_once('(') {
        Some((distance, name)) => (distance.trim(), name.strip_suffix(')')?),
        None => (&text[start..], ""),
    };
    Some(of_both(offset(distance)?, name))
}

/// The zone of this name, if its clock can be so far from UTC; else the distance alone.
fn of_both(distance: Zone, name: &str) -> Zone {
    let summer_and_winter = [1_768_478_400, 1_784_116_800];
    let offsets = |zone: Zone| {
        summer_and_winter
            .map(|at| DateTime::from_timestamp(at, 0).unwrap_or_default())
            .map(|at| zone.offset_from_utc_datetime(&at.naive_utc()))
    };
    match named(name).map(Zone::Named) {
        Some(zone) if offsets(zone).contains(&offsets(distance)[0]) => zone,
        _ => distance,
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::{America, Asia, Europe};
    use proptest::prelude::*;

    use super::*;

    fn east(hours: i32, minutes: i32) -> Zone {
        let seconds = hours * 3600 + hours.signum() * minutes * 60;
        Zone::Fixed(FixedOffset::east_opt(seconds).unwrap())
    }

    #[test]
    fn a_zone_is_understood_in_every_spelling_that_means_one() {
        let new_york = Zone::Named(America::New_York);
        // What is written, what it means, and who writes so.
        #[rustfmt::skip]
        let cases = [
            ("America/New_York", new_york, "IANA; ECMA-402 resolvedOptions().timeZone"),
            ("america/new_york", new_york, "ECMA-402 compares names without regard to case"),
            ("AMERICA/NEW YORK", new_york, "typed by people"),
            (" America/New_York\n", new_york, "space around it"),
            ("\"America/New_York\"", new_york, "quoted twice"),
            ("America%2FNew_York", new_york, "percent-encoded"),
            ("America / New York", new_york, "typed by people"),
            (":America/New_York", new_york, "POSIX TZ"),
            ("US/Eastern", Zone::Named(chrono_tz::US::Eastern), "IANA backward"),
            ("US/Pacific", Zone::Named(chrono_tz::US::Pacific), "IANA backward"),
            ("EST5EDT", Zone::Named(Tz::EST5EDT), "IANA northamerica"),
            ("Asia/Calcutta", Zone::Named(Asia::Calcutta), "IANA backward; Chromium says so"),
            ("Asia/Kolkata", Zone::Named(Asia::Kolkata), "IANA"),
            ("Europe/Kiev", Zone::Named(Europe::Kiev), "renamed in 2022; older browsers"),
            ("Europe/Kyiv", Zone::Named(Europe::Kyiv), "renamed in 2022"),
            ("Asia/Saigon", Zone::Named(Asia::Saigon), "IANA backward; Chromium says so"),
            ("America/Buenos_Aires", Zone::Named(America::Buenos_Aires), "IANA backward"),
            ("america/argentina/buenos_aires", Zone::Named(America::Argentina::Buenos_Aires), "IANA"),
            ("Etc/GMT+5", Zone::Named(Tz::Etc__GMTPlus5), "IANA etcetera: five hours west"),
            ("etc/gmt-3", Zone::Named(Tz::Etc__GMTMinus3), "IANA etcetera: three hours east"),
            ("UTC", Zone::UTC, "IANA"),
            ("utc", Zone::UTC, "IANA"),
            ("GMT", Zone::Named(Tz::GMT), "IANA"),
            ("Z", Zone::UTC, "ISO 8601; RFC 3339"),
            ("GMT-05:00", east(-5, 0), "Java's TimeZone ids"),
            ("GMT+5:30", east(5, 30), "Java's TimeZone ids"),
            ("GMT+5", east(5, 0), "Java's TimeZone ids: east, unlike Etc/"),
            ("UTC+2", east(2, 0), "people; java.time.ZoneId"),
            ("UTC +02:00", east(2, 0), "people"),
            ("utc-3:30", east(-3, 30), "people"),
            ("UTC\u{2212}05:00", east(-5, 0), "with a true minus sign, ISO 80000"),
            ("UTC\u{2013}5", east(-5, 0), "with a dash, as word processors write"),
            ("GMT+0530", east(5, 30), "ECMAScript Date.prototype.toString"),
            ("GMT+530", east(5, 30), "people"),
            ("UTC+00:00", Zone::UTC, "no distance"),
            ("GMT+0", Zone::Named(Tz::GMTPlus0), "IANA backward"),
            ("+05:30", east(5, 30), "ISO 8601; ECMA-402 since 2023"),
            ("-0330", east(-3, 30), "ISO 8601, basic form"),
            ("+05", east(5, 0), "ISO 8601, hours only"),
            ("+5:45", east(5, 45), "people"),
            ("+14:00", east(14, 0), "Kiritimati"),
            ("-12:00", east(-12, 0), "Baker Island"),
            ("Eastern Standard Time", new_york, "Windows: the zone, summer and winter"),
            ("eastern standard time", new_york, "Windows"),
            ("Eastern_Standard_Time", new_york, "Windows, without blanks"),
            ("Eastern Daylight Time", new_york, "CLDR's long name in summer"),
            ("Pacific Standard Time (Mexico)", Zone::Named(America::Tijuana), "Windows"),
            ("Central Standard Time (Mexico)", Zone::Named(America::Mexico_City), "Windows"),
            ("W. Europe Standard Time", Zone::Named(Europe::Berlin), "Windows"),
            ("Central European Summer Time", Zone::Named(Europe::Warsaw), "CLDR's long name in summer"),
            ("India Standard Time", Zone::Named(Asia::Calcutta), "Windows"),
            ("GMT Standard Time", Zone::Named(Europe::London), "Windows"),
            ("Eastern Time (US & Canada)", new_york, "what Windows shows; Ruby on Rails"),
            ("(UTC-05:00) Eastern Time (US & Canada)", new_york, "what Windows shows"),
            ("(GMT-05:00) Eastern Time (US & Canada)", new_york, "what older versions of Windows show"),
            ("(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna", Zone::Named(Europe::Berlin), "what Windows shows"),
            ("(UTC+05:30) Chennai, Kolkata, Mumbai, New Delhi", Zone::Named(Asia::Calcutta), "what Windows shows"),
            ("(UTC+07:00) Nowhere, Neverland", east(7, 0), "shown by a newer version: the distance at least"),
            ("(UTC) Coordinated Universal Time", Zone::UTC, "what Windows shows"),
            ("(UTC-05:00) America/New_York", new_york, "lists on web pages"),
            ("GMT-0500 (Eastern Standard Time)", new_york, "ECMAScript Date.prototype.toTimeString"),
            ("GMT-0400 (Eastern Daylight Time)", new_york, "ECMAScript in summer"),
            ("Tue Mar 10 2026 08:00:00 GMT-0600 (Central Standard Time (Mexico))", Zone::Named(America::Mexico_City), "a whole date"),
            ("GMT-0800 (PST)", east(-8, 0), "older browsers: the abbreviation means several, the distance one"),
            ("GMT+0100 (heure normale d\u{2019}Europe centrale)", east(1, 0), "ECMAScript in French"),
            ("GMT+0300 (Arabian Standard Time)", east(3, 0), "CLDR means Riyadh, Windows Dubai: the distance decides"),
            ("08:00:00 GMT+0530", east(5, 30), "a time without a name"),
        ];
        for (raw, zone, why) in cases {
            assert_eq!(parse(raw), Some(zone), "{raw}: {why}");
        }
    }

    #[test]
    fn what_means_no_zone_or_several_is_none() {
        #[rustfmt::skip]
        let cases = [
            ("", "nothing"), ("undefined", "a script's nothing"), ("null", "a script's nothing"), ("Etc/Unknown", "CLDR's nothing"),
            ("CST", "Chicago, Shanghai and Havana"), ("IST", "India, Israel, Ireland"), ("PST", "Los Angeles and Manila"),
            ("Mars/Base", "no such place"), ("Berlin", "no such name"), ("Europe", "a continent"),
            ("5", "no sign"), ("0530", "no sign"), ("-300", "JavaScript's minutes have the sign reversed"),
            ("300", "minutes"), ("+15:00", "no clock is so far off"), ("-13", "no clock is so far off"), ("+05:75", "no minute"),
            ("UTC+", "no distance"), ("GMT+5:3", "no minute"), ("UTC+5:30:00:00", "no time"), ("GMT (", "not closed"),
            ("+\u{663}", "digits of another script"), ("GMT\u{e9}+1", "no sign after it"),
        ];
        for (raw, why) in cases {
            assert_eq!(parse(raw), None, "{raw}: {why}");
        }
        assert_eq!(parse(&"A".repeat(100_000)), None);
    }

    #[test]
    fn the_table_of_windows_names_has_known_zones_only() {
        let rows = include_str!("windows.txt")
            .lines()
            .filter(|line| !line.starts_with('#'));
        let mut names = 0;
        for row in rows {
            let mut cells = row.split('\t');
            let zone = Tz::from_str(cells.next().unwrap()).unwrap_or_else(|e| panic!("{row}: {e}"));
            for name in cells {
                assert_eq!(
                    WINDOWS.get(&name.to_lowercase()),
                    Some(&zone),
                    "{name} stands there twice"
                );
                names += 1;
            }
        }
        assert!(names > 250, "{names}");
    }

    proptest! {
        #[test]
        fn what_we_write_is_read_back(
            zone in prop::sample::select(&TZ_VARIANTS[..]), minutes in -12 * 60..14 * 60_i32,
        ) {
            let fixed = FixedOffset::east_opt(minutes * 60).map(Zone::Fixed).filter(|_| minutes != 0);
            for zone in [Some(Zone::Named(zone)), fixed].into_iter().flatten() {
                let written = zone.to_string();
                prop_assert_eq!(parse(&written), Some(zone));
                let cased = parse(&written.to_lowercase().replace('_', " "));
                prop_assert_eq!(cased, Some(zone));
                let round = serde_json::from_value::<Zone>(serde_json::json!(zone));
                prop_assert_eq!(round.ok(), Some(zone));
            }
        }

        #[test]
        fn fuzz_zones(raw in "\\PC{0,40}|[(]?(UTC|GMT)?[ +-]{0,2}[0-9:]{0,8}[)]?[A-Za-z (/_]{0,20}") {
            if let Some(zone) = parse(&raw) {
                prop_assert_eq!(parse(&zone.to_string()), Some(zone));
            }
        }
    }
}
