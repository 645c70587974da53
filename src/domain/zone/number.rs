//! The time zones of a phone number: those of its area, where it has one, else all of its country's.
//!
//! Weak evidence: people move and keep their number. So all the zones of an area count, and the data errs on the side of more
//! zones: it joins what the map of prefixes tells apart within an area, and adds what the map is known to leave out.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::LazyLock;

use chrono_tz::Tz;

use super::Zone;
use crate::domain::contact::is_of_a_place;

/// What a phone number tells about its owner's time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberZones {
    /// It is used in one of these; at least one.
    In(Vec<Zone>),
    /// It belongs to no place: +800, a toll-free number, a satellite's.
    Nowhere,
}

#[derive(Default)]
struct Map {
    /// By ISO 3166 country.
    countries: HashMap<&'static str, Vec<Zone>>,
    /// By the first digits of E.164, the country's code included.
    areas: HashMap<&'static str, NumberZones>,
    /// Digits of the longest area.
    longest: usize,
}

static MAP: LazyLock<Map> = LazyLock::new(|| read(include_str!("numbers.txt")));

fn read(data: &'static str) -> Map {
    let mut map = Map::default();
    for line in data.lines().filter(|line| !line.starts_with('#')) {
        let (head, keys) = line.split_once('\t').unwrap_or_default();
        let (kind, names) = head.split_once(' ').unwrap_or((head, ""));
        let zones: Vec<Zone> = names
            .split(' ')
            .filter_map(|name| Tz::from_str(name).ok().map(Zone::Named))
            .collect();
        for key in keys.split(' ') {
            if kind == "country" {
                map.countries.insert(key, zones.clone());
            } else {
                map.longest = map.longest.max(key.len());
                let zones = match kind {
                    "area" => NumberZones::In(zones.clone()),
                    _ => NumberZones::Nowhere,
                };
                map.areas.insert(key, zones);
            }
        }
    }
    map
}

/// The zones of a number in E.164 (`+12025550143`). `country` is its ISO 3166 country, if it has one.
pub fn zones_of(e164: &str, country: Option<&str>) -> NumberZones {
    if !is_of_a_place(e164) {
        return NumberZones::Nowhere;
    }
    let digits = e164.strip_prefix('+').unwrap_or(e164);
    let mut prefixes = (2..=MAP.longest).rev().filter_map(|n| digits.get(..n));
    let area = prefixes.find_map(|prefix| MAP.areas.get(prefix));
    area.cloned()
        .or_else(|| MAP.countries.get(country?).cloned().map(NumberZones::In))
        .unwrap_or(NumberZones::Nowhere)
}

/// Every country with the zones of its numbers that belong to no area, by ISO 3166 code.
pub fn countries() -> impl Iterator<Item = (&'static str, &'static [Zone])> {
    let countries = MAP.countries.iter();
    countries.map(|(country, zones)| (*country, zones.as_slice()))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Offset as _, TimeDelta, TimeZone as _};

    use super::*;

    /// The zones' names, sorted.
    fn names(e164: &str, country: Option<&str>) -> Vec<String> {
        let NumberZones::In(zones) = zones_of(e164, country) else {
            return vec![];
        };
        let mut names: Vec<String> = zones.iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn a_number_is_where_its_area_and_country_are() {
        // Number, country, zones, why.
        #[rustfmt::skip]
        let cases: &[(&str, Option<&str>, &[&str], &str)] = &[
            ("+12025550143", Some("US"), &["America/New_York"], "Washington"),
            ("+13105550143", Some("US"), &["America/Los_Angeles"], "Los Angeles"),
            ("+18085550143", Some("US"), &["Pacific/Honolulu"], "Hawaii"),
            ("+14805550143", Some("US"), &["America/Phoenix"], "Arizona has no summer time"),
            ("+12195550143", Some("US"), &["America/Chicago", "America/New_York"], "north-west Indiana: Central, but the map says Eastern"),
            ("+15745550143", Some("US"), &["America/Chicago", "America/New_York"], "Starke County is Central, South Bend Eastern"),
            ("+19305550143", Some("US"), &["America/Chicago", "America/New_York"], "laid over 812: Evansville is Central"),
            ("+18505550143", Some("US"), &["America/Chicago", "America/New_York"], "Pensacola and Tallahassee"),
            ("+16055550143", Some("US"), &["America/Chicago", "America/Denver"], "South Dakota"),
            ("+14325550143", Some("US"), &["America/Chicago", "America/Denver"], "Culberson County, Texas"),
            ("+12085550143", Some("US"), &["America/Boise", "America/Los_Angeles"], "Idaho"),
            ("+18005550143", Some("US"), &[], "toll-free"),
            ("+18885550143", Some("US"), &[], "toll-free"),
            ("+15005550006", Some("US"), &[], "personal numbers; Twilio's test numbers"),
            ("+16005550143", Some("CA"), &[], "Canada's non-geographic numbers"),
            ("+14165550143", Some("CA"), &["America/Toronto"], "Toronto"),
            ("+18675550143", Some("CA"), &["America/Atikokan", "America/Edmonton", "America/Toronto", "America/Vancouver", "America/Whitehorse", "America/Winnipeg"], "three territories"),
            ("+13065550143", Some("CA"), &["America/Edmonton", "America/Regina", "America/Winnipeg"], "Saskatchewan and its borders"),
            ("+18765550143", Some("JM"), &["America/Jamaica"], "Jamaica"),
            ("+17875550143", Some("PR"), &["America/Puerto_Rico"], "Puerto Rico"),
            ("+4915123456789", Some("DE"), &["Europe/Berlin"], "a country of one clock"),
            ("+447400123456", Some("GB"), &["Europe/London"], "a country of one clock"),
            ("+34612345678", Some("ES"), &["Atlantic/Canary", "Europe/Madrid"], "a mobile: all of Spain"),
            ("+34922345678", Some("ES"), &["Atlantic/Canary"], "a landline of Tenerife"),
            ("+351912345678", Some("PT"), &["Atlantic/Azores", "Europe/Lisbon"], "a mobile: with the Azores"),
            ("+56912345678", Some("CL"), &["America/Coyhaique", "America/Punta_Arenas", "America/Santiago", "Pacific/Easter"], "a mobile: with Easter Island"),
            ("+61412345678", Some("AU"), &["Antarctica/Macquarie", "Australia/Brisbane", "Australia/Broken_Hill", "Australia/Darwin", "Australia/Eucla", "Australia/Lord_Howe", "Australia/Perth"], "a mobile: all of Australia"),
            ("+61312345678", Some("AU"), &["Australia/Sydney"], "Victoria and Tasmania, which keep Sydney's clock"),
            ("+5511961234567", Some("BR"), &["America/Sao_Paulo"], "a mobile of the area São Paulo"),
            ("+5592961234567", Some("BR"), &["America/Manaus"], "a mobile of the area Manaus"),
            ("+5568961234567", Some("BR"), &["America/Rio_Branco"], "Acre"),
            ("+525512345678", Some("MX"), &["America/Mexico_City"], "Mexico City"),
            ("+526641234567", Some("MX"), &["America/Tijuana"], "Tijuana"),
            ("+529981234567", Some("MX"), &["America/Cancun"], "Cancún"),
            ("+74951234567", Some("RU"), &["Europe/Moscow"], "Moscow"),
            ("+74011234567", Some("RU"), &["Europe/Kaliningrad"], "the map says Bucharest"),
            ("+78001234567", Some("RU"), &[], "toll-free"),
            ("+77011234567", Some("KZ"), &["Asia/Almaty", "Asia/Qyzylorda"], "a mobile of Kazakhstan, one clock since 2024"),
            ("+6281234567890", Some("ID"), &["Asia/Jakarta", "Asia/Jayapura", "Asia/Makassar"], "a mobile: the map says Jakarta"),
            ("+80012345678", None, &[], "universal freephone"),
            ("+611800123459", Some("AU"), &[], "toll-free, though 18 begins no area"),
            ("+498001234567", Some("DE"), &[], "toll-free in a country of one clock"),
            ("+528001234592", Some("MX"), &[], "toll-free"),
            ("+447012345678", Some("GB"), &[], "a personal number, which goes where its owner does"),
            ("+38343201234", Some("XK"), &["Europe/Belgrade"], "Kosovo, which zone.tab does not list"),
            ("+24740123", Some("AC"), &["Atlantic/St_Helena"], "Ascension"),
            ("+870773123456", None, &[], "Inmarsat"),
            ("+881612345678", None, &[], "Iridium"),
            ("+88312345678", None, &[], "networks of no country"),
        ];
        for (number, country, zones, why) in cases {
            assert_eq!(names(number, *country), *zones, "{number}: {why}");
        }
        assert!(
            names("+79161234567", Some("RU")).len() > 8,
            "a mobile: all of Russia"
        );
        assert_eq!(
            names("+15515550143", None).len(),
            1,
            "an area needs no country"
        );
        assert_eq!(
            names("+19995550143", Some("US")).len(),
            8,
            "an area of tomorrow: all of the country"
        );
        assert_eq!(zones_of("", None), NumberZones::Nowhere);
    }

    /// What the clock shows through two years.
    fn clock(zone: Tz) -> Vec<i32> {
        let start = DateTime::from_timestamp(1_735_732_800, 0).unwrap();
        let at = (0..244).map(|n| start + TimeDelta::days(3 * n));
        at.map(|t| {
            zone.offset_from_utc_datetime(&t.naive_utc())
                .fix()
                .local_minus_utc()
        })
        .collect()
    }

    /// Google's library, through another implementation of it, knows numbers of every country: ours may say more zones than it, but
    /// lacks none, save where it is wrong.
    #[test]
    fn no_clock_is_missing_that_another_implementation_knows() {
        let oracle = include_str!("../../../tests/fixtures/zones/numbers.tsv");
        // Where it is wrong, or says more than the country's clocks: the zone, and why not.
        #[rustfmt::skip]
        let wrong = [
            ("RU", "Europe/Bucharest", "Kaliningrad has had a clock of its own since 2011"),
            ("PS", "Europe/Bucharest", "Palestine changes its clocks on days of its own"),
            ("LY", "Europe/Bucharest", "Libya has no summer time"),
            ("SS", "Africa/Nairobi", "Juba has been an hour behind it since 2021"),
            ("MA", "Atlantic/Canary", "Morocco has been an hour ahead of it since 2018, but in Ramadan"),
            ("DZ", "Europe/Paris", "Algeria has no summer time"),
            ("NI", "America/Chicago", "Nicaragua has no summer time"),
            ("YT", "Indian/Reunion", "Mayotte's numbers are known from Reunion's"),
            ("RE", "Indian/Mayotte", "as above"),
            ("AU", "Indian/Christmas", "a country of its own by ISO 3166, of 1,700 people"),
            ("AU", "Indian/Cocos", "a country of its own by ISO 3166, of 600 people"),
        ];
        let (mut numbers, mut countries) = (0, std::collections::BTreeSet::new());
        for line in oracle.lines().filter(|line| !line.starts_with('#')) {
            let mut cells = line.split('\t');
            let mut cell = || cells.next().unwrap();
            let (number, country, expected) = (cell(), cell(), cell());
            // The zones of a whole numbering plan are its way to say that it does not know.
            if expected.split(' ').count() > 15 {
                continue;
            }
            let NumberZones::In(ours) = zones_of(number, Some(country)) else {
                assert_eq!(expected, "", "{line}");
                continue;
            };
            let ours: Vec<Vec<i32>> = ours
                .iter()
                .filter_map(|zone| match zone {
                    Zone::Named(zone) => Some(clock(*zone)),
                    Zone::Fixed(_) => None,
                })
                .collect();
            let expected = expected.split(' ').filter(|name| !name.is_empty());
            let right = |name: &&str| !wrong.iter().any(|(of, no, _)| of == &country && no == name);
            for name in expected.filter(right) {
                let clock = clock(name.parse().unwrap());
                assert!(
                    ours.contains(&clock),
                    "{number} {country}: {name} is missing"
                );
            }
            numbers += 1;
            countries.insert(country);
        }
        assert!(
            numbers > 800 && countries.len() > 200,
            "{numbers} numbers of {} countries",
            countries.len()
        );
    }

    #[test]
    fn the_data_is_whole_and_small() {
        let data = include_str!("numbers.txt");
        assert!(data.len() < 40_000);
        for line in data.lines().filter(|line| !line.starts_with('#')) {
            let (head, keys) = line.split_once('\t').expect("two cells");
            let mut words = head.split(' ');
            let kind = words.next().unwrap();
            assert!(["country", "area", "nowhere"].contains(&kind), "{line}");
            assert_eq!(kind == "nowhere", head == kind, "{line}");
            for name in words {
                assert!(name.parse::<Tz>().is_ok(), "{name} is unknown");
            }
            assert!(keys.split(' ').all(|key| !key.is_empty()), "{line}");
        }
        let codes = countries().count();
        assert!(codes > 230, "{codes}");
    }
}
