//! When a nightly backup is due, how its file is called, which older ones go, and how much room it wants.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};

use crate::domain::zone::Zone;

/// When customers sleep, and the hour after the one that changes of the clock take away or repeat.
fn quiet_time() -> NaiveTime {
    NaiveTime::from_hms_opt(3, 30, 0).unwrap_or_default()
}

/// The first quiet moment after `since`. What was missed is in the past, and due at once.
pub fn next_after(since: DateTime<Utc>, zone: Zone) -> DateTime<Utc> {
    let first = since.with_timezone(&zone).date_naive();
    let moments = first.iter_days().filter_map(|day| {
        let local = day.and_time(quiet_time());
        let at = zone.from_local_datetime(&local).earliest();
        // A clock that skips this time on this day shows the next hour.
        let at = at.or_else(|| {
            let later = local + TimeDelta::hours(1);
            zone.from_local_datetime(&later).earliest()
        });
        at.map(|at| at.to_utc())
    });
    let mut later = moments.skip_while(|at| *at <= since);
    later.next().unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// `unread-2026-11-30.dump`, by the day at that place.
pub fn file_name(at: DateTime<Utc>, zone: Zone) -> String {
    let day = at.with_timezone(&zone).date_naive();
    format!("{PREFIX}{}{SUFFIX}", day.format(DAY))
}

/// Until when a restored database knows what was done: its last heartbeat, and never later than the backup says that it was made. A plain
/// archive writes its time by the clock of the zone it was made in and does not say which: read as UTC it may be hours too late.
pub fn complete_until(
    last_beat: Option<DateTime<Utc>>,
    made_at: Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    last_beat.into_iter().chain(made_at).min()
}

/// The day of a backup of ours; `None`: the file is somebody else's.
pub fn day_of(file_name: &str) -> Option<NaiveDate> {
    let day = file_name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let parsed = NaiveDate::parse_from_str(day, DAY).ok()?;
    (parsed.format(DAY).to_string() == day).then_some(parsed)
}

const PREFIX: &str = "unread-";
const DAY: &str = "%Y-%m-%d";
const SUFFIX: &str = ".dump";

/// Which of these days' backups go when `kept` stay.
pub fn superseded(mut days: Vec<NaiveDate>, kept: usize) -> Vec<NaiveDate> {
    days.sort_unstable_by(|a, b| b.cmp(a));
    days.split_off(kept.min(days.len()))
}

/// What the database must find free beside a backup: it would stop without.
const RESERVE: u64 = 256_000_000;

/// How much must be free for a backup: a fourth more than the last one took; before the first, as much as the database itself, which
/// is a multiple of what its backup will take.
pub fn room(last: Option<u64>, database: u64) -> u64 {
    let wanted = last.map_or(database, |last| last.saturating_add(last / 4));
    wanted.saturating_add(RESERVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap()
    }

    #[test]
    fn what_a_backup_holds_ends_with_its_last_heartbeat_whatever_its_archive_says() {
        let at = |time: &str| Some(time.parse().unwrap());
        let beat = at("2026-01-05T12:00:05Z");
        for (last_beat, made_at, until) in [
            // Made in Tokyo, and in New York.
            (beat, at("2026-01-05T21:00:07Z"), beat),
            (beat, at("2026-01-05T07:00:07Z"), at("2026-01-05T07:00:07Z")),
            (beat, None, beat),
            (None, at("2026-01-05T12:00:07Z"), at("2026-01-05T12:00:07Z")),
            (None, None, None),
        ] {
            assert_eq!(complete_until(last_beat, made_at), until);
        }
    }

    #[test]
    fn a_backup_is_due_at_the_first_quiet_moment_after_the_last_one() {
        for (since, place, due) in [
            ("2026-11-30T08:00:00Z", "UTC", "2026-12-01T03:30:00Z"),
            ("2026-11-30T03:29:59Z", "UTC", "2026-11-30T03:30:00Z"),
            ("2026-11-30T03:30:00Z", "UTC", "2026-12-01T03:30:00Z"),
            // By the clock of the place, also where it is another day there.
            (
                "2026-11-30T08:00:00Z",
                "Europe/Berlin",
                "2026-12-01T02:30:00Z",
            ),
            ("2026-11-30T17:00:00Z", "Asia/Tokyo", "2026-11-30T18:30:00Z"),
            (
                "2026-11-30T08:00:00Z",
                "America/New_York",
                "2026-11-30T08:30:00Z",
            ),
            // The nights in which the clock is changed.
            (
                "2026-03-28T12:00:00Z",
                "Europe/Berlin",
                "2026-03-29T01:30:00Z",
            ),
            (
                "2026-10-24T12:00:00Z",
                "Europe/Berlin",
                "2026-10-25T02:30:00Z",
            ),
            // Samoa left out the 30th altogether.
            (
                "2011-12-29T20:00:00Z",
                "Pacific/Apia",
                "2011-12-30T13:30:00Z",
            ),
        ] {
            let at: DateTime<Utc> = since.parse().unwrap();
            let expected: DateTime<Utc> = due.parse().unwrap();
            assert_eq!(next_after(at, zone(place)), expected, "{since} {place}");
        }
    }

    #[test]
    fn a_file_is_called_by_the_day_there_and_read_back() {
        let at = "2026-11-30T18:30:00Z".parse().unwrap();
        let name = file_name(at, zone("Asia/Tokyo"));
        assert_eq!(name, "unread-2026-12-01.dump");
        assert_eq!(day_of(&name), NaiveDate::from_ymd_opt(2026, 12, 1));
        for other in [
            "unread-2026-12-01.dump.partial",
            "unread-2026-12-1.dump",
            "unread-2026-13-01.dump",
            "unread-.dump",
            "before-upgrade.dump",
        ] {
            assert_eq!(day_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_oldest_go_beyond_those_that_are_kept() {
        let day = |n| NaiveDate::from_ymd_opt(2026, 11, n).unwrap();
        let all = || vec![day(3), day(1), day(4), day(2)];
        assert_eq!(superseded(all(), 2), [day(2), day(1)]);
        assert_eq!(superseded(all(), 4), []);
        assert_eq!(superseded(all(), 9), []);
        assert_eq!(superseded(Vec::new(), 1), []);
    }

    #[test]
    fn room_is_measured_by_the_last_backup_else_by_the_database() {
        assert_eq!(room(Some(400), 100_000), 500 + RESERVE);
        assert_eq!(room(None, 100_000), 100_000 + RESERVE);
        assert_eq!(room(Some(u64::MAX), 1), u64::MAX);
    }
}
