//! Quiet hours: at which local times a reminder may be sent.
//!
//! Local time is not a line: clocks jump, repeat an hour, and once skipped a whole day (Apia, 30 December 2011). So an instant is
//! judged by what the clock on the wall shows at it, and the search for the next allowed one looks only where quiet can turn
//! into allowed: at a window's start and at a change of the clock. A start that does not exist on some day is thereby the first
//! valid instant after it; one that comes twice is allowed the first time.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveTime, Offset, TimeDelta, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// When sending is allowed, in the recipient's local time; everything else is quiet. Data, not code: what differs by country
/// (US Sundays) is an entry in `by_country`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QuietHours {
    /// Empty: always allowed.
    pub allowed: Vec<Window>,
    /// By ISO 3166 country of the recipient's phone number; replaces `allowed` for it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_country: BTreeMap<String, Vec<Window>>,
}

/// `from` is included, `to` is not; `to` of 00:00 means the end of the day. A window never crosses midnight: write two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Empty: every day.
    #[serde(default)]
    #[schema(value_type = Vec<String>, example = json!(["Mon", "Tue"]))]
    pub days: Vec<Weekday>,
    #[serde(with = "hhmm")]
    #[schema(value_type = String, example = "09:00")]
    pub from: NaiveTime,
    #[serde(with = "hhmm")]
    #[schema(value_type = String, example = "20:00")]
    pub to: NaiveTime,
}

/// How many days ahead the search looks. Every window comes back within a week; the second week is for windows that fall into
/// a gap of the clock, or on a day that was skipped.
const DAYS_AHEAD: i64 = 15;

impl QuietHours {
    /// The first instant, not before `at`, at which a reminder may be sent; `None` if there is none.
    /// `country` is the ISO 3166 country of the recipient's phone number.
    pub fn allowed_at(
        &self,
        at: DateTime<Utc>,
        zone: Tz,
        country: Option<&str>,
    ) -> Option<DateTime<Utc>> {
        let windows = self.windows(country);
        if allows(windows, at, zone) {
            return Some(at);
        }
        let today = at.with_timezone(&zone).date_naive();
        let starts = (0..=DAYS_AHEAD).flat_map(|days| {
            let day = today + TimeDelta::days(days);
            let on_day = windows.iter().filter(move |w| w.is_on(day.weekday()));
            on_day.flat_map(move |w| {
                let local = zone.from_local_datetime(&day.and_time(w.from));
                [local.earliest(), local.latest()]
            })
        });
        let changes = (0..DAYS_AHEAD).map(|days| {
            let from = at + TimeDelta::days(days);
            clock_change(zone, from, from + TimeDelta::days(1))
        });
        starts
            .flatten()
            .map(|local| local.to_utc())
            .chain(changes.flatten())
            .filter(|t| *t >= at && allows(windows, *t, zone))
            .min()
    }

    /// Until when a reminder may be sent that may be sent `at` this instant: the next quiet one, or `limit` if that comes first.
    pub fn allowed_until(
        &self,
        at: DateTime<Utc>,
        limit: DateTime<Utc>,
        zone: Tz,
        country: Option<&str>,
    ) -> DateTime<Utc> {
        let windows = self.windows(country);
        if windows.is_empty() {
            return limit;
        }
        let today = at.with_timezone(&zone).date_naive();
        let days = (limit - at).num_days().clamp(0, DAYS_AHEAD) + 1;
        // From yesterday on: where the clock goes back at midnight, yesterday comes again.
        let ends = (-1..=days).flat_map(|days| {
            let day = today + TimeDelta::days(days);
            let on_day = windows.iter().filter(move |w| w.is_on(day.weekday()));
            on_day.flat_map(move |w| {
                let midnight = w.to == NaiveTime::MIN;
                let day = day + TimeDelta::days(i64::from(midnight));
                let local = zone.from_local_datetime(&day.and_time(w.to));
                [local.earliest(), local.latest()]
            })
        });
        let changes = (0..days).map(|days| {
            let from = at + TimeDelta::days(days);
            clock_change(zone, from, from + TimeDelta::days(1))
        });
        ends.flatten()
            .map(|local| local.to_utc())
            .chain(changes.flatten())
            .filter(|t| *t > at && !allows(windows, *t, zone))
            .fold(limit, Ord::min)
    }

    fn windows(&self, country: Option<&str>) -> &[Window] {
        country
            .and_then(|c| self.by_country.get(c))
            .unwrap_or(&self.allowed)
    }

    /// 09:00 to 20:00 every day; for US numbers Sundays from 12:00.
    pub fn sms_default() -> Self {
        use Weekday::{Fri, Mon, Sat, Sun, Thu, Tue, Wed};
        let window = |days: &[Weekday], from| Window {
            days: days.to_vec(),
            from: NaiveTime::from_hms_opt(from, 0, 0).unwrap_or_default(),
            to: NaiveTime::from_hms_opt(20, 0, 0).unwrap_or_default(),
        };
        let us = vec![
            window(&[Mon, Tue, Wed, Thu, Fri, Sat], 9),
            window(&[Sun], 12),
        ];
        Self {
            allowed: vec![window(&[], 9)],
            by_country: BTreeMap::from([("US".to_owned(), us)]),
        }
    }
}

fn allows(windows: &[Window], at: DateTime<Utc>, zone: Tz) -> bool {
    let local = at.with_timezone(&zone).naive_local();
    windows.is_empty()
        || windows
            .iter()
            .any(|w| w.contains(local.weekday(), local.time()))
}

impl Window {
    fn contains(&self, day: Weekday, time: NaiveTime) -> bool {
        self.is_on(day) && self.from <= time && (time < self.to || self.to == NaiveTime::MIN)
    }

    fn is_on(&self, day: Weekday) -> bool {
        self.days.is_empty() || self.days.contains(&day)
    }
}

/// The instant in (`from`, `to`] from which on the zone's clock runs with another offset, to the second. There is at most one in a
/// day, so halving finds it.
fn clock_change(zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let offset = |t: DateTime<Utc>| zone.offset_from_utc_datetime(&t.naive_utc()).fix();
    let before = offset(from);
    if offset(to) == before {
        return None;
    }
    let (mut low, mut high) = (from.timestamp(), to.timestamp());
    while high - low > 1 {
        let middle = DateTime::from_timestamp(low + (high - low) / 2, 0)?;
        if offset(middle) == before {
            low = middle.timestamp();
        } else {
            high = middle.timestamp();
        }
    }
    DateTime::from_timestamp(high, 0)
}

mod hhmm {
    use chrono::NaiveTime;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks for this signature"
    )]
    pub fn serialize<S: Serializer>(t: &NaiveTime, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&t.format("%H:%M"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<NaiveTime, D::Error> {
        let raw = String::deserialize(d)?;
        NaiveTime::parse_from_str(&raw, "%H:%M")
            .map_err(|_| D::Error::custom(format!("\"{raw}\" is not a time of day like \"09:00\"")))
    }
}

#[cfg(test)]
mod tests;
