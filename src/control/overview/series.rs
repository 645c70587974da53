//! What happened hour by hour or day by day, where the reader's days begin.

use chrono::{DateTime, Days, NaiveTime, TimeDelta, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::view::Numbers;
use crate::control::ControlError;
use crate::control::accounts::Accounts;
use crate::db;
use crate::db::reminder_counts::{Every, Sums};
use crate::domain::channel::PerChannel;
use crate::domain::ids::Channel;

/// An hour or a day.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Piece)]
pub struct SeriesPoint {
    /// Its beginning.
    pub at: DateTime<Utc>,
    /// By channel.
    #[schema(value_type = BTreeMap<String, Numbers>)]
    pub channels: PerChannel<Numbers>,
}

/// A span of time, in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSpan {
    /// Since midnight, by the hour.
    Today,
    /// This hour and the hours before, by the hour.
    Hours(u8),
    /// Today and the days before, by the day.
    Days(u8),
}

/// What happened, piece by piece, also where nothing did.
pub async fn series(
    pool: &PgPool,
    accounts: &Accounts,
    span: TimeSpan,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Vec<SeriesPoint>, ControlError> {
    let starts = starts(span, zone, now);
    let from = starts.first().copied().unwrap_or(now);
    let every = match span {
        TimeSpan::Today | TimeSpan::Hours(_) => Every::Hour,
        TimeSpan::Days(_) => Every::Day,
    };
    let points =
        db::reminder_counts::series(pool, accounts.ids(), (from, now), every, zone.name()).await?;
    Ok(starts
        .into_iter()
        .map(|at| {
            let of = |channel: Channel| {
                let own = points.iter().filter(|p| p.at == at && p.channel == channel);
                Numbers::from(own.fold(Sums::default(), |all, p| all.plus(&p.sums)))
            };
            SeriesPoint {
                at,
                channels: PerChannel::of(of),
            }
        })
        .collect())
}

fn starts(span: TimeSpan, zone: Tz, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    match span {
        TimeSpan::Today => {
            let first = midnight(now, zone);
            (0..25)
                .map(|hour| first + TimeDelta::hours(hour))
                .take_while(|at| *at <= now)
                .collect()
        }
        TimeSpan::Hours(hours) => {
            let local = now.with_timezone(&zone);
            let past = TimeDelta::minutes(i64::from(local.minute()))
                + TimeDelta::seconds(i64::from(local.second()))
                + TimeDelta::nanoseconds(i64::from(local.nanosecond()));
            let this = now - past;
            (0..i64::from(hours))
                .rev()
                .map(|back| this - TimeDelta::hours(back))
                .collect()
        }
        TimeSpan::Days(days) => {
            let today = now.with_timezone(&zone).date_naive();
            (0..u64::from(days))
                .rev()
                .filter_map(|back| today.checked_sub_days(Days::new(back)))
                .map(|day| first_instant(day.and_time(NaiveTime::MIN), zone))
                .collect()
        }
    }
}

/// The last midnight in a zone.
pub fn midnight(now: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let today = now.with_timezone(&zone).date_naive();
    first_instant(today.and_time(NaiveTime::MIN), zone)
}

/// Where the clocks jump over midnight, the day begins an hour later.
fn first_instant(local: chrono::NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    zone.from_local_datetime(&local)
        .earliest()
        .or_else(|| {
            zone.from_local_datetime(&(local + TimeDelta::hours(1)))
                .earliest()
        })
        .map_or_else(|| local.and_utc(), |at| at.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_where_the_reader_is() {
        let now = "2026-03-29T12:00:00Z".parse().unwrap();
        let days = starts(TimeSpan::Days(2), chrono_tz::Europe::Berlin, now);
        let told: Vec<String> = days.iter().map(|d| d.format("%d %H").to_string()).collect();
        // The clocks change on the 29th, after midnight.
        assert_eq!(told, ["27 23", "28 23"]);
        assert_eq!(
            starts(TimeSpan::Today, chrono_tz::Europe::Berlin, now).len(),
            14
        );
        let hours = starts(TimeSpan::Hours(24), chrono_tz::Asia::Kolkata, now);
        assert_eq!(hours.len(), 24);
        // There the hour begins at half past.
        assert_eq!(hours[23].to_rfc3339(), "2026-03-29T11:30:00+00:00");
        // In Beirut midnight itself is jumped over that day.
        assert_eq!(
            midnight(now, chrono_tz::Asia::Beirut).to_rfc3339(),
            "2026-03-28T22:00:00+00:00"
        );
    }
}
