//! Time zones: one by its name, or by its distance from UTC alone.
//!
//! What people and browsers write is read by [`Zone::parse`] in many spellings; what we write is one of two: the name in IANA's
//! database (`America/New_York`), or `UTC+05:30`.

mod number;
mod spelling;

use std::fmt;

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

pub use number::{NumberZones, countries, zones_of};

/// A time zone. As a [`TimeZone`] of chrono it tells the offsets of its moments; they are plain distances from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    Named(Tz),
    /// Without changes of the clock.
    Fixed(FixedOffset),
}

/// The words name no time zone, or several.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a time zone; write one such as Europe/Berlin, or an offset such as UTC+05:30"
)]
pub struct UnknownZone(String);

impl Zone {
    pub const UTC: Self = Self::Named(Tz::UTC);

    /// Reads a zone in any spelling that means one zone only: names in IANA's database, names of Windows, distances from UTC, and
    /// what JavaScript's dates say. Abbreviations that several places use (CST, IST) mean none.
    pub fn parse(raw: &str) -> Result<Self, UnknownZone> {
        let shown = || raw.trim().chars().take(40).collect();
        spelling::parse(raw).ok_or_else(|| UnknownZone(shown()))
    }

    /// Zones in the form in which [`Zone::join`] wrote them; unknown ones are left out.
    pub fn split(joined: &str) -> Vec<Self> {
        let names = joined.split_ascii_whitespace();
        names.filter_map(|name| Self::parse(name).ok()).collect()
    }

    /// Zones as one text: their names with spaces between.
    pub fn join(zones: &[Self]) -> String {
        let names: Vec<String> = zones.iter().map(ToString::to_string).collect();
        names.join(" ")
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(zone) => f.write_str(zone.name()),
            Self::Fixed(offset) => write!(f, "UTC{offset}"),
        }
    }
}

impl std::str::FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(raw: &str) -> Result<Self, UnknownZone> {
        Self::parse(raw)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}

impl TimeZone for Zone {
    type Offset = FixedOffset;

    fn from_offset(offset: &FixedOffset) -> Self {
        Self::Fixed(*offset)
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<FixedOffset> {
        match self {
            Self::Named(zone) => zone.offset_from_local_date(local).map(|o| o.fix()),
            Self::Fixed(offset) => MappedLocalTime::Single(*offset),
        }
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
        match self {
            Self::Named(zone) => zone.offset_from_local_datetime(local).map(|o| o.fix()),
            Self::Fixed(offset) => MappedLocalTime::Single(*offset),
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
        match self {
            Self::Named(zone) => zone.offset_from_utc_date(utc).fix(),
            Self::Fixed(offset) => *offset,
        }
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
        match self {
            Self::Named(zone) => zone.offset_from_utc_datetime(utc).fix(),
            Self::Fixed(offset) => *offset,
        }
    }
}
