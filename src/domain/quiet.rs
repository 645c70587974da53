//! Quiet hours: at which local times a reminder may be sent.

use std::collections::BTreeMap;

use chrono::{NaiveTime, Weekday};
use serde::{Deserialize, Serialize};

/// When sending is allowed, in the recipient's local time; everything else is quiet. Data, not code: what differs by country
/// (US Sundays) is an entry in `by_country`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuietHours {
    /// Empty: always allowed.
    pub allowed: Vec<Window>,
    /// By ISO 3166 country of the recipient's phone number; replaces `allowed` for it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_country: BTreeMap<String, Vec<Window>>,
}

/// `from` is included, `to` is not; `to` of 00:00 means the end of the day. A window never crosses midnight: write two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Empty: every day.
    #[serde(default)]
    pub days: Vec<Weekday>,
    #[serde(with = "hhmm")]
    pub from: NaiveTime,
    #[serde(with = "hhmm")]
    pub to: NaiveTime,
}

impl QuietHours {
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

mod hhmm {
    use chrono::NaiveTime;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(t: &NaiveTime, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&t.format("%H:%M"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<NaiveTime, D::Error> {
        let raw = String::deserialize(d)?;
        NaiveTime::parse_from_str(&raw, "%H:%M")
            .map_err(|_| D::Error::custom(format!("\"{raw}\" is not a time of day like \"09:00\"")))
    }
}
