//! Zones in which it is a given hour.

use chrono::{DateTime, Timelike as _, Utc};

/// Zones without daylight saving, by their offset from UTC in hours.
const ZONES: [(i64, &str); 22] = [
    (-10, "Pacific/Honolulu"),
    (-7, "America/Phoenix"),
    (-6, "America/Costa_Rica"),
    (-5, "America/Bogota"),
    (-4, "America/Puerto_Rico"),
    (-3, "America/Sao_Paulo"),
    (-1, "Atlantic/Cape_Verde"),
    (0, "Atlantic/Reykjavik"),
    (1, "Africa/Lagos"),
    (2, "Africa/Johannesburg"),
    (3, "Africa/Nairobi"),
    (4, "Asia/Dubai"),
    (5, "Asia/Karachi"),
    (6, "Asia/Dhaka"),
    (7, "Asia/Bangkok"),
    (8, "Asia/Singapore"),
    (9, "Asia/Tokyo"),
    (10, "Australia/Brisbane"),
    (11, "Pacific/Guadalcanal"),
    (12, "Pacific/Tarawa"),
    (13, "Pacific/Tongatapu"),
    (14, "Pacific/Kiritimati"),
];

/// A zone in which it is about `hour` o'clock now, so that the cases do not depend on the time of day at which they are played.
pub(super) fn zone_where_it_is(hour: i64, now: DateTime<Utc>) -> &'static str {
    let off = |offset: i64| {
        let late = (i64::from(now.hour()) + offset - hour).rem_euclid(24);
        late.min(24 - late)
    };
    ZONES
        .iter()
        .min_by_key(|(offset, _)| off(*offset))
        .map_or("Etc/UTC", |(_, zone)| zone)
}
