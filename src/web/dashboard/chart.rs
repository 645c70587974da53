//! Charts as `chart.hbs` draws them: bars in an SVG that stretches, words and numbers beside it, and the same as a table.

use chrono_tz::Tz;
use serde::Serialize;

use super::labels;
use crate::control::overview::{Numbers, SeriesPoint};
use crate::domain::ids::Channel;

/// Units of height; the page stretches them.
const HEIGHT: i64 = 100;
/// Units of width for a piece, and of these for its bar.
const PIECE: i64 = 10;
const BAR: i64 = 7;

/// How the pieces of a chart are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChartUnit {
    Hour,
    Day,
}

impl ChartUnit {
    fn label(self, piece: &SeriesPoint, zone: Tz) -> String {
        let local = piece.at.with_timezone(&zone);
        match self {
            Self::Hour => local.format("%H:%M").to_string(),
            Self::Day => local.format("%-d %b").to_string(),
        }
    }

    fn long(self, piece: &SeriesPoint, zone: Tz) -> String {
        let local = piece.at.with_timezone(&zone);
        match self {
            Self::Hour => local.format("%a %H:%M").to_string(),
            Self::Day => local.format("%a %-d %b").to_string(),
        }
    }
}

/// The values of `chart.hbs`.
#[derive(Debug, Serialize)]
pub struct Chart {
    width: i64,
    height: i64,
    half_y: i64,
    top: i64,
    half: String,
    bars: Vec<Bars>,
    labels: Vec<String>,
    rows: Vec<TableRow>,
    channels: labels::ChannelChoices,
    said: String,
    nothing: bool,
    by_hour: bool,
}

/// The bars of a piece.
#[derive(Debug, Serialize)]
struct Bars {
    x: i64,
    width: i64,
    full: i64,
    stacked: Vec<Bar>,
    said: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Bar {
    channel: Channel,
    y: i64,
    height: i64,
}

/// A piece in the table.
#[derive(Debug, Serialize)]
struct TableRow {
    name: String,
    sent: [i64; Channel::ALL.len()],
    back: i64,
    read: i64,
}

/// Messages sent per piece, the first channel below and the others above it.
pub fn sent(pieces: &[SeriesPoint], by: ChartUnit, zone: Tz) -> Chart {
    let most = pieces.iter().map(all).max().unwrap_or_default();
    let top = nice(most);
    let height = |n: i64| n * HEIGHT / top;
    let bars = (0..).zip(pieces).map(|(at, piece)| {
        let mut sum = 0;
        let stacked = piece.channels.iter().map(|(channel, numbers)| {
            let below = height(sum);
            sum += numbers.sent;
            let high = height(sum) - below;
            Bar {
                channel,
                y: HEIGHT - below - high,
                height: high,
            }
        });
        Bars {
            x: at * PIECE + (PIECE - BAR) / 2,
            width: BAR,
            full: HEIGHT,
            stacked: stacked.collect(),
            said: format!(
                "{}: {}",
                by.long(piece, zone),
                numbers(std::slice::from_ref(piece))
            ),
        }
    });
    let rows = pieces.iter().rev().map(|piece| {
        let total = |of: fn(&Numbers) -> i64| -> i64 {
            let numbers = piece.channels.iter();
            numbers.map(|(_, numbers)| of(numbers)).sum()
        };
        TableRow {
            name: by.long(piece, zone),
            sent: Channel::ALL.map(|channel| piece.channels[channel].sent),
            back: total(|numbers| numbers.back_24h),
            read: total(|numbers| numbers.cancelled_because_read),
        }
    });
    Chart {
        width: i64::try_from(pieces.len()).unwrap_or_default().max(1) * PIECE,
        height: HEIGHT,
        half_y: HEIGHT / 2,
        top,
        half: if top % 2 == 0 {
            (top / 2).to_string()
        } else {
            String::new()
        },
        bars: bars.collect(),
        labels: labels(pieces, by, zone),
        rows: rows.collect(),
        channels: labels::channels(None),
        said: said(pieces, by, zone),
        nothing: most == 0,
        by_hour: by == ChartUnit::Hour,
    }
}

fn all(piece: &SeriesPoint) -> i64 {
    let numbers = piece.channels.iter();
    numbers.map(|(_, numbers)| numbers.sent).sum()
}

/// What was sent in these pieces: `1 e-mail, 2 text messages`.
fn numbers(pieces: &[SeriesPoint]) -> String {
    let of = |channel: Channel| {
        let sent: i64 = pieces
            .iter()
            .map(|piece| piece.channels[channel].sent)
            .sum();
        let names = channel.names();
        let what = if sent == 1 {
            names.counted_one
        } else {
            names.counted
        };
        format!("{sent} {what}")
    };
    Channel::ALL.map(of).join(", ")
}

/// The chart in a sentence, for who does not see it.
fn said(pieces: &[SeriesPoint], by: ChartUnit, zone: Tz) -> String {
    let most = pieces.iter().max_by_key(|piece| all(piece));
    match most.filter(|piece| all(piece) > 0) {
        None => "Nothing was sent.".to_owned(),
        Some(most) => format!(
            "{} in all; most on {}: {}.",
            numbers(pieces),
            by.long(most, zone),
            numbers(std::slice::from_ref(most)),
        ),
    }
}

/// Five words below the bars, first and last among them.
fn labels(pieces: &[SeriesPoint], by: ChartUnit, zone: Tz) -> Vec<String> {
    let Some(last) = pieces.len().checked_sub(1) else {
        return Vec::new();
    };
    let mut places: Vec<usize> = (0..5).map(|n| n * last / 4).collect();
    places.dedup();
    places
        .into_iter()
        .filter_map(|at| pieces.get(at))
        .map(|piece| by.label(piece, zone))
        .collect()
}

/// The next of 1, 2, 4, 10, 20, 40, 100 …, so that the scale and its half are round.
fn nice(most: i64) -> i64 {
    let mut top = 1;
    let mut steps = [2, 2].into_iter();
    while top < most {
        if let Some(step) = steps.next() {
            top *= step;
        } else {
            top = top * 5 / 2;
            steps = [2, 2].into_iter();
        }
    }
    top
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::domain::channel::PerChannel;

    fn pieces(numbers: &[(i64, i64)]) -> Vec<SeriesPoint> {
        let sent = |sent| Numbers {
            sent,
            ..Numbers::default()
        };
        let begin: DateTime<Utc> = "2026-03-01T00:00:00Z".parse().unwrap();
        (0..)
            .zip(numbers)
            .map(|(hour, (email, sms))| {
                let mut channels = PerChannel::<Numbers>::default();
                channels[Channel::Email] = sent(*email);
                channels[Channel::Sms] = sent(*sms);
                let at = begin + TimeDelta::hours(hour);
                SeriesPoint { at, channels }
            })
            .collect()
    }

    #[test]
    fn scales_are_round_and_hold_what_is_on_them() {
        for (most, top) in [
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 4),
            (5, 10),
            (10, 10),
            (11, 20),
            (41, 100),
            (101, 200),
            (999, 1_000),
        ] {
            assert_eq!(nice(most), top, "{most}");
        }
    }

    #[test]
    fn bars_stand_on_each_other_and_fill_the_height() {
        let chart = sent(&pieces(&[(1, 1), (0, 0), (3, 1)]), ChartUnit::Hour, Tz::UTC);
        let bar = |channel, y, height| Bar { channel, y, height };
        assert_eq!(chart.top, 4);
        assert_eq!(chart.bars[2].stacked[0], bar(Channel::Email, 25, 75));
        assert_eq!(chart.bars[2].stacked[1], bar(Channel::Sms, 0, 25));
        assert_eq!(chart.bars[1].stacked[0].height, 0);
        assert_eq!(
            chart.said,
            "4 e-mails, 2 SMS in all; most on Sun 02:00: 3 e-mails, 1 SMS."
        );
        assert_eq!(chart.rows[0].name, "Sun 02:00", "the newest first");
    }

    #[test]
    fn nothing_is_a_chart_too() {
        let chart = sent(&pieces(&[(0, 0)]), ChartUnit::Day, Tz::UTC);
        assert!(chart.nothing);
        assert_eq!(chart.said, "Nothing was sent.");
        assert_eq!(chart.labels, ["1 Mar"]);
        assert!(sent(&[], ChartUnit::Day, Tz::UTC).labels.is_empty());
    }
}
