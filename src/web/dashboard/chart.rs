//! Charts as `chart.hbs` draws them: bars in an SVG that stretches, words and numbers beside it, and the same as a table.

use std::fmt::Write as _;

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

/// What a chart is about, and the number on the overview that leads to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    #[default]
    Sent,
    Back,
    NotNeeded,
    NotDelivered,
}

impl Measure {
    pub const ALL: [Self; 4] = [Self::Sent, Self::Back, Self::NotNeeded, Self::NotDelivered];

    /// The word in an address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Back => "back",
            Self::NotNeeded => "not-needed",
            Self::NotDelivered => "not-delivered",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Sent => "Reminders sent",
            Self::Back => "Came back",
            Self::NotNeeded => "Not needed",
            Self::NotDelivered => "Not delivered",
        }
    }

    pub fn of(self, numbers: &Numbers) -> i64 {
        match self {
            Self::Sent => numbers.sent,
            Self::Back => numbers.back_24h,
            Self::NotNeeded => numbers.cancelled_because_read,
            Self::NotDelivered => numbers.failed + numbers.unknown + numbers.expired,
        }
    }

    pub fn in_piece(self, piece: &SeriesPoint) -> i64 {
        let numbers = piece.channels.iter();
        numbers.map(|(_, numbers)| self.of(numbers)).sum()
    }
}

/// A small line of a number's course, as the path of an SVG of [`PIECE`] by piece and [`HEIGHT`].
#[derive(Debug, Serialize)]
pub struct Spark {
    width: i64,
    path: String,
}

pub fn spark(pieces: &[SeriesPoint], measure: Measure) -> Spark {
    let values: Vec<i64> = pieces.iter().map(|piece| measure.in_piece(piece)).collect();
    let top = values.iter().copied().max().unwrap_or_default().max(1);
    Spark {
        width: width(pieces),
        path: line(&values, top),
    }
}

/// Through the middle of each piece.
fn line(values: &[i64], top: i64) -> String {
    let mut path = String::new();
    for (at, value) in (0..).zip(values) {
        let (x, y) = (at * PIECE + PIECE / 2, HEIGHT - value * HEIGHT / top);
        let step = if at == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{step}{x} {y}");
    }
    path
}

fn width(pieces: &[SeriesPoint]) -> i64 {
    i64::try_from(pieces.len()).unwrap_or_default().max(1) * PIECE
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
    /// Who came back.
    line: Option<String>,
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
    lost: i64,
}

/// A measure per piece, the first channel below and the others above it; over what was sent, the line of who came back.
pub fn of(pieces: &[SeriesPoint], measure: Measure, by: ChartUnit, zone: Tz) -> Chart {
    let most = pieces.iter().map(|piece| measure.in_piece(piece)).max();
    let most = most.unwrap_or_default();
    let top = nice(most);
    let back: Vec<i64> = pieces
        .iter()
        .map(|piece| Measure::Back.in_piece(piece))
        .collect();
    let bars = (0..).zip(pieces);
    Chart {
        width: width(pieces),
        height: HEIGHT,
        half_y: HEIGHT / 2,
        top,
        half: if top % 2 == 0 {
            (top / 2).to_string()
        } else {
            String::new()
        },
        bars: bars
            .map(|(at, piece)| bar(piece, measure, (at, top), &by.long(piece, zone)))
            .collect(),
        line: (measure == Measure::Sent && most > 0).then(|| line(&back, top)),
        labels: labels(pieces, by, zone),
        rows: pieces
            .iter()
            .rev()
            .map(|piece| TableRow::new(piece, by.long(piece, zone)))
            .collect(),
        channels: labels::channels(None),
        said: said(pieces, measure, by, zone),
        nothing: most == 0,
        by_hour: by == ChartUnit::Hour,
    }
}

fn bar(piece: &SeriesPoint, measure: Measure, (at, top): (i64, i64), when: &str) -> Bars {
    let height = |n: i64| n * HEIGHT / top;
    let mut sum = 0;
    let stacked = piece.channels.iter().map(|(channel, numbers)| {
        let below = height(sum);
        sum += measure.of(numbers);
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
        said: format!("{when}: {}", amount(std::slice::from_ref(piece), measure)),
    }
}

impl TableRow {
    fn new(piece: &SeriesPoint, name: String) -> Self {
        Self {
            name,
            sent: Channel::ALL.map(|channel| piece.channels[channel].sent),
            back: Measure::Back.in_piece(piece),
            read: Measure::NotNeeded.in_piece(piece),
            lost: Measure::NotDelivered.in_piece(piece),
        }
    }
}

/// What there was in these pieces: `1 e-mail, 2 text messages`, and who came back after them; of other measures a number.
fn amount(pieces: &[SeriesPoint], measure: Measure) -> String {
    let all =
        |measure: Measure| -> i64 { pieces.iter().map(|piece| measure.in_piece(piece)).sum() };
    match measure {
        Measure::Sent => format!("{}; {} came back", numbers(pieces), all(Measure::Back)),
        other => all(other).to_string(),
    }
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
fn said(pieces: &[SeriesPoint], measure: Measure, by: ChartUnit, zone: Tz) -> String {
    let most = pieces.iter().max_by_key(|piece| measure.in_piece(piece));
    match most.filter(|piece| measure.in_piece(piece) > 0) {
        None => "None.".to_owned(),
        Some(most) => format!(
            "In all {}. Most on {}: {}.",
            amount(pieces, measure),
            by.long(most, zone),
            amount(std::slice::from_ref(most), measure),
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
                // Of the third piece one comes back.
                channels[Channel::Email].back_24h = i64::from(hour == 2);
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
        let chart = of(
            &pieces(&[(1, 1), (0, 0), (3, 1)]),
            Measure::Sent,
            ChartUnit::Hour,
            Tz::UTC,
        );
        let bar = |channel, y, height| Bar { channel, y, height };
        assert_eq!(chart.top, 4);
        assert_eq!(chart.bars[2].stacked[0], bar(Channel::Email, 25, 75));
        assert_eq!(chart.bars[2].stacked[1], bar(Channel::Sms, 0, 25));
        assert_eq!(chart.bars[1].stacked[0].height, 0);
        assert_eq!(
            chart.said,
            "In all 4 e-mails, 2 SMS; 1 came back. Most on Sun 02:00: 3 e-mails, 1 SMS; 1 came back."
        );
        assert_eq!(chart.rows[0].name, "Sun 02:00", "the newest first");
        assert_eq!(chart.line.as_deref(), Some("M5 100L15 100L25 75"));
    }

    #[test]
    fn nothing_is_a_chart_too() {
        let chart = of(&pieces(&[(0, 0)]), Measure::Sent, ChartUnit::Day, Tz::UTC);
        assert!(chart.nothing);
        assert_eq!(chart.said, "None.");
        assert_eq!(chart.line, None);
        assert_eq!(chart.labels, ["1 Mar"]);
        assert!(
            of(&[], Measure::Back, ChartUnit::Day, Tz::UTC)
                .labels
                .is_empty()
        );
    }

    #[test]
    fn a_small_line_fills_its_own_height_and_lies_low_where_there_is_nothing() {
        let some = pieces(&[(1, 0), (2, 0), (0, 0)]);
        assert_eq!(spark(&some, Measure::Sent).path, "M5 50L15 0L25 100");
        assert_eq!(
            spark(&some, Measure::NotNeeded).path,
            "M5 100L15 100L25 100"
        );
    }
}
