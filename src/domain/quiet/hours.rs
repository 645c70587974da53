//! Hours by the clocks of one consumer, as instants.
//!
//! Local time is not a line: clocks jump, repeat an hour, and once skipped a whole day (Apia, 30 December 2011). So an instant is
//! judged by what the clock on the wall shows at it, and quiet and allowed are looked for only where one can turn into the other:
//! at the ends of windows and at changes of the clock. A start that does not exist on some day is thereby the first valid instant
//! after it; one that comes twice is allowed the first time.

use chrono::{DateTime, Datelike as _, NaiveTime, TimeDelta, TimeZone as _, Utc};

use super::Window;
use crate::domain::zone::Zone;

/// How many days ahead a search looks. Every window comes back within a week; the second week is for windows that fall into a gap
/// of the clock, or on a day that was skipped.
const DAYS_AHEAD: i64 = 15;

/// The most that a clock was put back at once since 2000 (Casey, 2010), and so the most by which [`Hours::deadline`] is later than
/// its bound.
pub const LONGEST_REPEAT: TimeDelta = TimeDelta::hours(3);

/// A rule's windows by the clocks of one consumer. Allowed is what all of the clocks allow.
#[derive(Clone, Copy, Debug)]
pub struct Hours<'a> {
    windows: &'a [Window],
    zones: &'a [Zone],
}

impl<'a> Hours<'a> {
    /// No windows: always allowed.
    pub const fn new(windows: &'a [Window], zones: &'a [Zone]) -> Self {
        Self { windows, zones }
    }

    pub fn allow(&self, at: DateTime<Utc>) -> bool {
        self.windows.is_empty()
            || self.zones.iter().all(|zone| {
                let local = at.with_timezone(zone).naive_local();
                let contains = |w: &Window| w.contains(local.weekday(), local.time());
                self.windows.iter().any(contains)
            })
    }

    /// The first instant, not before `at`, at which a reminder may be sent; `None` if there is none.
    pub fn allowed_at(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.allow(at) {
            return Some(at);
        }
        let soon = at + TimeDelta::days(2);
        let edges = [(at, soon), (soon, at + TimeDelta::days(DAYS_AHEAD))];
        let mut edges = edges
            .into_iter()
            .flat_map(|(from, to)| self.edges(from, to));
        edges.find(|edge| self.allow(*edge))
    }

    /// Until when a reminder may be sent that may be sent `at` this instant: the next quiet one, or `limit` if that comes first.
    pub fn allowed_until(&self, at: DateTime<Utc>, limit: DateTime<Utc>) -> DateTime<Utc> {
        let last = limit.min(at + TimeDelta::days(DAYS_AHEAD));
        let mut edges = self.edges(at, last).into_iter();
        edges.find(|edge| !self.allow(*edge)).unwrap_or(limit)
    }

    /// Past which moment a reminder due at `due` is not sent any more: when `max_age` of allowed time has passed, and in any case
    /// when `latest` has passed. Towards `latest`, an hour that the clock shows twice counts once: the night in which clocks are put
    /// back takes nothing from the day after it.
    pub fn deadline(
        &self,
        due: DateTime<Utc>,
        max_age: TimeDelta,
        latest: TimeDelta,
    ) -> DateTime<Utc> {
        if self.windows.is_empty() {
            return due + max_age.min(latest);
        }
        let bound = self.bound(due, latest);
        let mut left = max_age;
        for (from, to) in self.allowed_within(due, bound) {
            if to - from >= left {
                return from + left;
            }
            left -= to - from;
        }
        bound
    }

    /// When `latest` has passed since `due` by the clock that says so last.
    pub(super) fn bound(&self, due: DateTime<Utc>, latest: TimeDelta) -> DateTime<Utc> {
        let bounds = self.zones.iter().map(|zone| bound(*zone, due, latest));
        bounds.max().unwrap_or(due + latest)
    }

    /// How much of the time between two instants is allowed.
    pub fn allowed_time(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> TimeDelta {
        let spans = self.allowed_within(from, to).into_iter();
        spans.map(|(from, to)| to - from).sum()
    }

    /// The allowed spans between two instants, in order.
    fn allowed_within(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        let mut edges = vec![from];
        edges.extend(self.edges(from, to));
        edges.push(to);
        let spans = edges.windows(2).map(|pair| (pair[0], pair[1]));
        spans.filter(|(from, _)| self.allow(*from)).collect()
    }

    /// The instants after `from`, up to `to`, at which quiet may turn into allowed or allowed into quiet, in order.
    fn edges(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        if self.windows.is_empty() {
            return Vec::new();
        }
        let mut edges = Vec::new();
        for zone in self.zones {
            // From yesterday on: where the clock goes back at midnight, yesterday comes again.
            let first = from.with_timezone(zone).date_naive() - TimeDelta::days(1);
            let last = to.with_timezone(zone).date_naive();
            for day in first.iter_days().take_while(|day| *day <= last) {
                for window in self.windows.iter().filter(|w| w.is_on(day.weekday())) {
                    let midnight = window.to == NaiveTime::MIN;
                    let end = day + TimeDelta::days(i64::from(midnight));
                    for local in [day.and_time(window.from), end.and_time(window.to)] {
                        let local = zone.from_local_datetime(&local);
                        edges.extend([local.earliest(), local.latest()].into_iter().flatten());
                    }
                }
            }
        }
        let mut edges: Vec<DateTime<Utc>> = edges.into_iter().map(|local| local.to_utc()).collect();
        for zone in self.zones {
            edges.extend(clock_changes(*zone, from, to).map(|(at, _)| at));
        }
        edges.retain(|edge| from < *edge && *edge <= to);
        edges.sort_unstable();
        edges.dedup();
        edges
    }
}

/// When `latest` has passed since `due`, not counting what the clock shows a second time.
fn bound(zone: Zone, due: DateTime<Utc>, latest: TimeDelta) -> DateTime<Utc> {
    let bound = due + latest;
    let repeated = clock_changes(zone, due - LONGEST_REPEAT, bound).map(|(at, ahead)| {
        let back = (-ahead).clamp(TimeDelta::zero(), LONGEST_REPEAT);
        (at + back - at.max(due)).max(TimeDelta::zero())
    });
    bound + repeated.max().unwrap_or_default()
}

/// The instants after `from`, up to `to`, from which on the zone's clock runs with another offset, to the second, and by how much it
/// is put ahead then. There is at most one in a day, so halving finds it.
pub(super) fn clock_changes(
    zone: Zone,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> impl Iterator<Item = (DateTime<Utc>, TimeDelta)> {
    let offset = move |at: i64| {
        let at = DateTime::from_timestamp(at, 0).unwrap_or_default();
        i64::from(
            zone.offset_from_utc_datetime(&at.naive_utc())
                .local_minus_utc(),
        )
    };
    let (start, end) = (from.timestamp(), to.timestamp());
    let days = (start..end).step_by(86_400);
    days.filter_map(move |day| {
        let (mut low, mut high) = (day, (day + 86_400).min(end));
        let before = offset(low);
        let ahead = TimeDelta::seconds(offset(high) - before);
        if ahead.is_zero() {
            return None;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if offset(middle) == before {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some((DateTime::from_timestamp(high, 0)?, ahead))
    })
}
