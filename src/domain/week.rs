//! The week's result: when it is due, and how it is said in one screen. Of what reminding brings about it says something only where that
//! is more than chance.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Timelike as _, Utc, Weekday};

use super::effect::{Share, lift};
use super::zone::Zone;

/// Episodes held out, below which nothing is said of the difference that reminding makes.
pub const LEAST_HELD_OUT: i64 = 200;

/// What is late by more is left out: the next week's comes.
const LATE: TimeDelta = TimeDelta::hours(24);

/// A weekday and an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeeklyMoment {
    pub weekday: Weekday,
    pub hour: u32,
}

impl WeeklyMoment {
    /// `monday 9`, also in capitals or shortened (`Mon 09`).
    pub fn parse(raw: &str) -> Option<Self> {
        let (weekday, hour) = raw.split_once(' ')?;
        let hour: u32 = hour.trim().parse().ok()?;
        (hour < 24).then_some(Self {
            weekday: weekday.parse().ok()?,
            hour,
        })
    }

    /// The day whose result is due at `now`, by the clock of `zone`: that of the latest such moment, if it has not passed for too long.
    pub fn due(self, now: DateTime<Utc>, zone: Zone) -> Option<NaiveDate> {
        // By the hour: clocks that are set back or forward move none of a day's hours by more than some.
        let hours = (0..=LATE.num_hours()).map(|back| now - TimeDelta::hours(back));
        hours
            .map(|at| at.with_timezone(&zone).naive_local())
            .find(|local| local.weekday() == self.weekday && local.hour() == self.hour)
            .map(|local| local.date())
    }
}

/// What a week came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeekFigures {
    /// Messages that a provider took.
    pub sent: i64,
    /// Of these, those whose customer came back within a day.
    pub back: i64,
    pub opted_out: i64,
    /// Unread episodes that were reminded of, and those of them whose customer came back.
    pub reminded: i64,
    pub reminded_back: i64,
    /// The same of those that were held out.
    pub held_out: i64,
    pub held_back: i64,
}

impl WeekFigures {
    /// In one line.
    pub fn subject(&self) -> String {
        format!(
            "{}, {} came back",
            counted(self.sent, "reminder"),
            grouped(self.back)
        )
    }

    /// In a few lines.
    pub fn text(&self, from: NaiveDate, until: NaiveDate) -> String {
        let mut text = format!(
            "From {from} to {until}:\n\n{}, {} came back; {} opted out.",
            counted(self.sent, "reminder"),
            grouped(self.back),
            grouped(self.opted_out),
        );
        if let Some(more) = self.more_than_without() {
            let _ = write!(
                text,
                "\nAbout {} customers came back who would not have without a reminder ({} to {}, in 95 of 100 cases).",
                grouped(more.about),
                grouped(more.least),
                grouped(more.most)
            );
        }
        text
    }

    /// How many customers came back because of reminders: `None` where too few were held out, or it may be none at all.
    pub fn more_than_without(&self) -> Option<Gain> {
        if self.held_out < LEAST_HELD_OUT {
            return None;
        }
        let reminded = Share::new(self.reminded_back, self.reminded);
        let held_out = Share::new(self.held_back, self.held_out);
        let lift = lift(reminded, held_out).filter(|lift| lift.low > 0.0)?;
        // Counts of a week are far below where a float loses ones.
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "see above"
        )]
        let of = |share: f64| (share * self.reminded as f64).round() as i64;
        Some(Gain {
            about: of(lift.value),
            least: of(lift.low),
            most: of(lift.high),
        })
    }
}

/// Customers who came back because of reminders, and the interval in which the true number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gain {
    pub about: i64,
    pub least: i64,
    pub most: i64,
}

fn counted(n: i64, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(n))
}

/// With commas between thousands.
fn grouped(n: i64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weekly_moment_is_read_as_people_write_it() {
        let monday = |hour| {
            Some(WeeklyMoment {
                weekday: Weekday::Mon,
                hour,
            })
        };
        #[rustfmt::skip]
        let cases = [
            ("monday 9", monday(9)), ("Mon 09", monday(9)), ("MONDAY 0", monday(0)), ("monday 23", monday(23)),
            ("monday", None), ("monday 24", None), ("monday -1", None), ("someday 9", None), ("monday 9:30", None), ("", None),
        ];
        for (raw, expected) in cases {
            assert_eq!(WeeklyMoment::parse(raw), expected, "{raw}");
        }
    }

    #[test]
    fn a_week_s_result_is_due_from_its_hour_on_for_a_day_by_the_local_clock() {
        let moment = WeeklyMoment::parse("monday 9").unwrap();
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        let due = |at: &str| {
            moment
                .due(at.parse().unwrap(), berlin)
                .map(|day| day.to_string())
        };
        #[rustfmt::skip]
        let cases = [
            ("2026-01-05T07:59:00Z", None), // 08:59
            ("2026-01-05T08:00:00Z", Some("2026-01-05")),
            ("2026-01-05T20:00:00Z", Some("2026-01-05")),
            ("2026-01-06T07:59:00Z", Some("2026-01-05")),
            ("2026-01-06T10:00:00Z", None),
            ("2026-07-06T06:59:00Z", None), // summer time
            ("2026-07-06T07:00:00Z", Some("2026-07-06")),
        ];
        for (at, expected) in cases {
            assert_eq!(due(at).as_deref(), expected, "{at}");
        }
        // An hour that the day of the change does not have is due at none, and one that it has twice once: under one day's name.
        let sunday = WeeklyMoment::parse("sunday 2").unwrap();
        let due = |at: &str| {
            sunday
                .due(at.parse().unwrap(), berlin)
                .map(|day| day.to_string())
        };
        assert_eq!(due("2026-10-25T00:30:00Z"), due("2026-10-25T01:30:00Z"));
        assert_eq!(due("2026-03-29T01:30:00Z"), None);
    }

    #[test]
    fn what_reminding_brings_is_said_only_where_it_is_more_than_chance() {
        let week = |reminded, reminded_back, held_out, held_back| WeekFigures {
            reminded,
            reminded_back,
            held_out,
            held_back,
            ..WeekFigures::default()
        };
        #[rustfmt::skip]
        let cases = [
            // Nobody held out; too few; just enough.
            (week(1_000, 400, 0, 0), None),
            (week(1_000, 400, 199, 10), None),
            (week(1_000, 400, 200, 40), Some((200, 132, 258))),
            // The interval has the 0 in it, or is below it.
            (week(1_000, 220, 200, 40), None),
            (week(1_000, 100, 200, 80), None),
            (week(0, 0, 500, 100), None),
        ];
        for (figures, expected) in cases {
            let found = figures.more_than_without();
            let found = found.map(|gain| (gain.about, gain.least, gain.most));
            assert_eq!(found, expected, "{figures:?}");
        }
    }

    #[test]
    fn a_week_is_told_in_a_few_lines() {
        let figures = WeekFigures {
            sent: 1_412,
            back: 131,
            opted_out: 2,
            ..WeekFigures::default()
        };
        let day = |n| NaiveDate::from_ymd_opt(2026, 1, n).unwrap();
        assert_eq!(figures.subject(), "1,412 reminders, 131 came back");
        assert_eq!(
            figures.text(day(5), day(11)),
            "From 2026-01-05 to 2026-01-11:\n\n1,412 reminders, 131 came back; 2 opted out."
        );
        let one = WeekFigures {
            sent: 1,
            ..WeekFigures::default()
        };
        assert_eq!(one.subject(), "1 reminder, 0 came back");
    }
}
