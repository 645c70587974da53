//! By whose clock a reminder's hours are read.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::contact::Address;
use super::ids::Channel;
use super::quiet::{Hours, QuietHours, Window};
use super::rule::{ChannelSettings, RuleSettings};
use super::zone::{NumberZones, Zone, zones_of};

/// A number whose zones have less than this in common on a day is not told from where it is.
const ENOUGH_A_DAY: TimeDelta = TimeDelta::hours(2);

/// The clocks by which a reminder's hours are read, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// At least one; all of them must allow.
    pub zones: Vec<Zone>,
    pub source: ZoneSource,
    /// ISO 3166, of the phone number: it may have windows of its own.
    country: Option<String>,
}

/// What tells the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ZoneSource {
    /// LivePerson, which has it from the consumer's browser.
    LivePerson,
    /// The area or country of the phone number.
    Number,
    /// The rule, because nothing better is known.
    Rule,
    /// The account, because nothing better is known.
    Account,
}

impl ZoneSource {
    pub const ALL: [Self; 4] = [Self::LivePerson, Self::Number, Self::Rule, Self::Account];

    /// The word in SQL and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LivePerson => "liveperson",
            Self::Number => "number",
            Self::Rule => "rule",
            Self::Account => "account",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == word)
    }
}

impl LocalTime {
    /// The consumer's own time zone as LivePerson `told` it; else those of the phone number it goes to, if they have enough allowed
    /// hours in common; else the rule's; else the account's.
    pub fn new(
        told: Option<Zone>,
        address: Option<&Address>,
        (settings, channel): (&RuleSettings, Channel),
        of_account: Zone,
        now: DateTime<Utc>,
    ) -> Self {
        let quiet = &settings.channels[channel].quiet_hours;
        let country = address
            .filter(|_| quiet.is_any())
            .and_then(Address::country);
        let of_number = || {
            let number =
                address.filter(|address| matches!(address, Address::Phone(_)) && quiet.is_any())?;
            match zones_of(number.expose(), country.as_deref()) {
                NumberZones::In(zones) => {
                    have_hours_in_common(quiet, country.as_deref(), &zones, now).then_some(zones)
                }
                NumberZones::Nowhere => None,
            }
        };
        let (zones, source) = if let Some(zone) = told {
            (vec![zone], ZoneSource::LivePerson)
        } else if let Some(zones) = of_number() {
            (zones, ZoneSource::Number)
        } else if let Some(zone) = settings.time_zone {
            (vec![zone], ZoneSource::Rule)
        } else {
            (vec![of_account], ZoneSource::Account)
        };
        Self {
            zones,
            source,
            country,
        }
    }

    /// The account's, where it is not known yet whose hours they are.
    pub fn of_account(zone: Zone) -> Self {
        Self {
            zones: vec![zone],
            source: ZoneSource::Account,
            country: None,
        }
    }

    /// The hours of a channel by these clocks.
    pub fn hours<'a>(&'a self, settings: &'a ChannelSettings) -> Hours<'a> {
        let windows = settings.quiet_hours.windows(self.country.as_deref());
        Hours::new(windows, &self.zones)
    }

    /// Past which moment a reminder due at `due` is not sent any more on this channel.
    pub fn deadline(
        &self,
        settings: &RuleSettings,
        channel: Channel,
        due: DateTime<Utc>,
    ) -> DateTime<Utc> {
        let own = &settings.channels[channel];
        self.hours(own)
            .deadline(due, own.max_age, settings.latest(channel))
    }
}

/// What the clock shows at an instant, with its zone: `09:00 on Wed, America/New_York time`. Of several clocks the one that is
/// furthest behind, for which the others wait in the morning.
pub fn clock_time(at: DateTime<Utc>, zones: &[Zone]) -> String {
    let local = zones
        .iter()
        .map(|zone| (at.with_timezone(zone).naive_local(), zone));
    match local.min_by_key(|(local, _)| *local) {
        Some((local, zone)) => format!("{}, {zone} time", local.format("%H:%M on %a")),
        None => at.format("%H:%M on %a, UTC").to_string(),
    }
}

/// Whether these zones allow two hours a day together, or as much as each of them alone does.
pub fn have_hours_in_common(
    quiet: &QuietHours,
    country: Option<&str>,
    zones: &[Zone],
    now: DateTime<Utc>,
) -> bool {
    let windows = quiet.windows(country);
    if zones.len() < 2 || windows.is_empty() {
        return true;
    }
    let week = (now, now + TimeDelta::days(7));
    let of = |zones: &[Zone]| Hours::new(windows, zones).allowed_time(week.0, week.1);
    let alone = zones.iter().map(|zone| of(std::slice::from_ref(zone)));
    let enough = alone
        .min()
        .unwrap_or_default()
        .min(ENOUGH_A_DAY * days_of(windows));
    of(zones) >= enough
}

/// On how many days of a week something may be sent.
fn days_of(windows: &[Window]) -> i32 {
    let is_on = |day: &u8| {
        let day = chrono::Weekday::try_from(*day);
        day.is_ok_and(|day| windows.iter().any(|window| window.is_on(day)))
    };
    i32::try_from((0..7).filter(is_on).count()).unwrap_or(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    #[test]
    fn the_best_evidence_of_a_zone_counts() {
        use ZoneSource::{Account, LivePerson, Number, Rule};
        let now = "2026-03-10T08:00:00Z".parse().unwrap();
        let (berlin, tokyo) = (zone("Europe/Berlin"), zone("Asia/Tokyo"));
        // What, told by LivePerson, address, of the rule, expected zones, source.
        #[expect(clippy::type_complexity, reason = "the columns of a table")]
        #[rustfmt::skip]
        let cases: &[(&str, Option<&str>, &str, Option<Zone>, &str, ZoneSource)] = &[
            ("LivePerson knows best", Some("Asia/Kolkata"), "+12025550143", Some(berlin), "Asia/Kolkata", LivePerson),
            ("for e-mail, too", Some("UTC+05:30"), "ana@example.com", Some(berlin), "UTC+05:30", LivePerson),
            ("a number in one zone", None, "+18085550143", Some(berlin), "Pacific/Honolulu", Number),
            ("a number in two zones", None, "+12195550143", None, "America/Chicago America/New_York", Number),
            ("Spain and the Canaries", None, "+34612345678", None, "Europe/Madrid Atlantic/Canary", Number),
            ("a mobile of Russia: ten hours from end to end leave one", None, "+79161234567", None, "Asia/Tokyo", Account),
            ("a mobile of Russia under a rule with a zone", None, "+79161234567", Some(berlin), "Europe/Berlin", Rule),
            ("a landline of Moscow", None, "+74951234567", None, "Europe/Moscow", Number),
            ("toll-free", None, "+18005550143", None, "Asia/Tokyo", Account),
            ("no country", None, "+80012345678", None, "Asia/Tokyo", Account),
            ("an e-mail address says nothing", None, "ana@example.com", None, "Asia/Tokyo", Account),
            ("but the rule may", None, "ana@example.com", Some(berlin), "Europe/Berlin", Rule),
            ("no address at all", None, "", None, "Asia/Tokyo", Account),
        ];
        for (what, told, address, of_rule, zones, source) in cases {
            let address = match *address {
                "" => None,
                email if email.contains('@') => Address::email(email),
                number => Some(Address::Phone(number.to_owned())),
            };
            let settings = RuleSettings {
                time_zone: *of_rule,
                ..RuleSettings::default_for(&[Channel::Sms])
            };
            let told = told.map(zone);
            let local = LocalTime::new(
                told,
                address.as_ref(),
                (&settings, Channel::Sms),
                tokyo,
                now,
            );
            let found = (Zone::join(&local.zones), local.source);
            assert_eq!(found, ((*zones).to_owned(), *source), "{what}");
        }
    }

    #[test]
    fn a_moment_is_told_by_the_clock_for_which_the_others_wait() {
        let at = "2026-03-11T13:00:00Z".parse().unwrap();
        for (zones, told) in [
            ("America/New_York", "09:00 on Wed, America/New_York time"),
            (
                "Europe/Madrid Atlantic/Canary",
                "13:00 on Wed, Atlantic/Canary time",
            ),
            ("UTC+12:45", "01:45 on Thu, UTC+12:45 time"),
            ("", "13:00 on Wed, UTC"),
        ] {
            assert_eq!(clock_time(at, &Zone::split(zones)), told);
        }
    }

    #[test]
    fn zones_need_two_hours_a_day_in_common_or_all_that_each_has() {
        let now = "2026-01-14T00:00:00Z".parse().unwrap();
        let sms = QuietHours::sms_default();
        let none = QuietHours::default();
        let mut mornings = QuietHours::sms_default();
        mornings.allowed[0].to = "10:00:00".parse().unwrap();
        let mut weekdays = QuietHours::sms_default();
        weekdays.allowed[0].days = vec![chrono::Weekday::Mon, chrono::Weekday::Tue];
        #[rustfmt::skip]
        let cases = [
            ("eleven hours less nine", &sms, None, "UTC UTC+09:00", true),
            ("a minute too far", &sms, None, "UTC UTC+09:01", false),
            ("a Sunday in the USA has eight hours: three are left", &sms, Some("US"), "UTC UTC+05:00", true),
            ("the same clock by two names", &mornings, None, "Europe/Berlin Europe/Paris", true),
            ("one hour a day, and two clocks", &mornings, None, "Europe/Berlin Europe/London", false),
            ("one clock is always enough", &mornings, None, "Europe/Berlin", true),
            ("only the days that have hours count", &weekdays, None, "UTC UTC+08:00", true),
            ("no hours at all", &none, None, "UTC UTC+12:00", true),
        ];
        for (what, quiet, country, zones, expected) in cases {
            let zones = Zone::split(zones);
            assert_eq!(
                have_hours_in_common(quiet, country, &zones, now),
                expected,
                "{what}"
            );
        }
    }
}
