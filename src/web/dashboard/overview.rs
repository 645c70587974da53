//! The first page: is it well, what did it do, what needs a person, what comes next.
//!
//! It shows no address and no consumer. Everything on it leads to the page that tells more or fixes it.

use axum::Form;
use axum::extract::{Query, State as Shared};
use axum::response::Response;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::chart::{self, Chart, ChartUnit, Measure, Spark};
use super::labels::{self, Moment};
use super::reminders::{ReminderRow, list_of, rows};
use super::{PageError, PageFrame, pauses};
use crate::control;
use crate::control::overview::{
    Attention, AttentionLevel, AttentionTopic, Overview, SeriesPoint, TimeSpan,
};
use crate::db::reminders::ReminderFilter;
use crate::domain::access::Permission;
use crate::domain::reminder::ReminderState;
use crate::web::AppState;
use crate::web::access::RouteTable;

/// Rows of what is due next, and of what was last.
const NEXT: usize = 5;
const LATEST: i64 = 8;

/// Days that can be looked back upon; a day is looked at by the hour.
const SPANS: [u8; 3] = [1, 7, 30];
const USUAL_SPAN: u8 = 7;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/", show);
    table.form(Permission::View, "/attention/dismiss", dismiss);
}

#[derive(Deserialize)]
struct OverviewPageQuery {
    days: Option<u8>,
    #[serde(default)]
    graph: String,
}

impl OverviewPageQuery {
    fn days(&self) -> u8 {
        let days = self.days.filter(|days| SPANS.contains(days));
        days.unwrap_or(USUAL_SPAN)
    }

    fn measure(&self) -> Measure {
        let mut all = Measure::ALL.into_iter();
        all.find(|measure| measure.as_str() == self.graph)
            .unwrap_or_default()
    }
}

#[derive(Serialize)]
struct OverviewPage<'a> {
    level: AttentionLevel,
    sentence: &'a str,
    attention: Vec<AttentionRow<'a>>,
    pauses: Vec<pauses::Choice>,
    resumes: bool,
    now: Moment,
    zone: &'static str,
    days: u8,
    measure: &'static str,
    tiles: Vec<Tile>,
    next: Vec<ReminderRow<'a>>,
    chart: Chart,
    chart_name: String,
    spans: [DaysTab; SPANS.len()],
    reminders: Vec<ReminderRow<'a>>,
}

#[derive(Serialize)]
struct DaysTab {
    days: u8,
    label: String,
    chosen: bool,
}

async fn show(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Query(back): Query<OverviewPageQuery>,
) -> Result<Response, PageError> {
    let (pool, now, zone) = (&state.pool, state.clock.now(), page.zone);
    let accounts = &page.accounts;
    let (days, measure) = (back.days(), back.measure());
    let overview =
        control::overview::overview(&state.context, accounts, page.caller.user(), (zone, now))
            .await?;
    let (span, unit) = match days {
        1 => (TimeSpan::Hours(24), ChartUnit::Hour),
        days => (TimeSpan::Days(days), ChartUnit::Day),
    };
    let past = control::overview::series(pool, accounts, span, zone, now).await?;
    // As much of the day is over as now: what has just begun is not compared with what was complete.
    let earlier = now - TimeDelta::days(i64::from(days));
    let before = control::overview::series(pool, accounts, span, zone, earlier).await?;
    let latest =
        control::reminders::search(pool, accounts, ReminderFilter::default(), None, LATEST).await?;
    // The bar above tells what is paused, and ends it.
    let listed = overview
        .attention
        .iter()
        .filter(|item| item.about != AttentionTopic::Pauses);
    let next = overview.next.get(..NEXT).unwrap_or(&overview.next);
    let values = OverviewPage {
        level: overview.level,
        sentence: &overview.sentence,
        attention: listed.map(AttentionRow::new).collect(),
        pauses: pauses::choices(&state, &page),
        resumes: pauses::may_resume_all(&page),
        now: labels::time(now, now),
        zone: zone.name(),
        days,
        measure: measure.as_str(),
        tiles: tiles(&overview, &past, &before, days, measure),
        next: rows(next, now),
        chart: chart::of(&past, measure, unit, zone),
        chart_name: format!("{}, last {}", measure.label(), span_words(days)),
        spans: SPANS.map(|span| DaysTab {
            days: span,
            label: span_words(span),
            chosen: span == days,
        }),
        reminders: rows(&latest.reminders, now),
    };
    Ok(page.render("overview.hbs", "Overview", values))
}

/// What needs a person, with the way to the page that fixes it.
#[derive(Serialize)]
struct AttentionRow<'a> {
    #[serde(flatten)]
    item: &'a Attention,
    href: Option<String>,
    to: &'static str,
    dismiss: Option<&'a str>,
}

impl<'a> AttentionRow<'a> {
    fn new(item: &'a Attention) -> Self {
        let (href, to) = match item.about {
            AttentionTopic::Channels => (Some("/connections".to_owned()), "View sender"),
            AttentionTopic::Scans => (Some("/connections#scans".to_owned()), "View connection"),
            AttentionTopic::Pauses => (Some("#notices".to_owned()), "View what is paused"),
            AttentionTopic::Rules => (Some("/rules".to_owned()), "Go to rules"),
            AttentionTopic::Live => (Some("/live".to_owned()), "Go live"),
            // It is ended by a command of whoever runs the service.
            AttentionTopic::Hold => (None, ""),
            AttentionTopic::Reminders(state) => (
                ReminderState::parse(state).map(list_of),
                "View these reminders",
            ),
        };
        Self {
            item,
            href,
            to,
            dismiss: item.mark.as_ref().map(|mark| mark.key.as_str()),
        }
    }
}

#[derive(Deserialize)]
struct Dismissed {
    key: String,
}

async fn dismiss(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(dismissed): Form<Dismissed>,
) -> Result<Response, PageError> {
    let Some(reader) = page.caller.user() else {
        return Err(PageError::forbidden());
    };
    let (accounts, when) = (&page.accounts, (page.zone, state.clock.now()));
    control::overview::dismiss(&state.context, accounts, reader, &dismissed.key, when).await?;
    page.done("/", "Dismissed. It comes back if it happens again.")
        .await
}

fn span_words(days: u8) -> String {
    match days {
        1 => "24 hours".to_owned(),
        days => format!("{days} days"),
    }
}

/// A number, how it has changed, and where it leads.
#[derive(Serialize)]
struct Tile {
    label: &'static str,
    value: i64,
    change: Option<Change>,
    more: Option<String>,
    href: String,
    spark: Option<Spark>,
    current: bool,
}

/// Against the period before.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Change {
    arrow: &'static str,
    said: String,
    /// With the number of then.
    long: String,
}

impl Change {
    fn new(was: i64, is: i64, days: u8) -> Option<Self> {
        if was == 0 && is == 0 {
            return None;
        }
        let span = span_words(days);
        let long = format!("{was} in the {span} before");
        let change = |arrow, said: String| Some(Self { arrow, said, long });
        if was == 0 {
            return change("↑", "from none".to_owned());
        }
        match (is - was) * 100 / was {
            0 => change("→", "as before".to_owned()),
            percent if percent > 0 => change("↑", format!("{percent}%")),
            percent => change("↓", format!("{}%", -percent)),
        }
    }
}

/// The numbers of the period, and how many there are of what changes from moment to moment.
fn tiles(
    overview: &Overview,
    past: &[SeriesPoint],
    before: &[SeriesPoint],
    days: u8,
    shown: Measure,
) -> Vec<Tile> {
    let sum = |pieces: &[SeriesPoint], measure: Measure| -> i64 {
        pieces.iter().map(|piece| measure.in_piece(piece)).sum()
    };
    let sent = sum(past, Measure::Sent);
    let of_period = Measure::ALL.map(|measure| {
        let value = sum(past, measure);
        Tile {
            label: measure.label(),
            value,
            change: Change::new(sum(before, measure), value, days),
            more: match measure {
                Measure::Sent => None,
                Measure::Back => (value * 100)
                    .checked_div(sent)
                    .map(|share| format!("{share}% of those sent")),
                Measure::NotNeeded => Some("Read or answered in time".to_owned()),
                Measure::NotDelivered => Some("Failed, expired or unknown".to_owned()),
            },
            href: format!("/?days={days}&graph={}#graph", measure.as_str()),
            spark: Some(chart::spark(past, measure)),
            current: measure == shown,
        }
    });
    let now = |label, value, more: String| Tile {
        label,
        value,
        change: None,
        more: Some(more),
        href: "/reminders".to_owned(),
        spark: None,
        current: false,
    };
    let open_now = overview.open_now.unsigned_abs();
    let open = format!("Of {}", labels::counted(open_now, "open conversation"));
    let waiting = now(
        "Scheduled now",
        overview.waiting,
        "Reminders still to be sent".to_owned(),
    );
    let unread = now("Unread now", overview.unread_now, open);
    of_period.into_iter().chain([waiting, unread]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_against_the_period_before() {
        for (was, is, told) in [
            (0, 0, None),
            (0, 3, Some(("↑", "from none"))),
            (10, 10, Some(("→", "as before"))),
            (1000, 1001, Some(("→", "as before"))),
            (10, 15, Some(("↑", "50%"))),
            (10, 0, Some(("↓", "100%"))),
            (4, 3, Some(("↓", "25%"))),
        ] {
            let change = Change::new(was, is, 7);
            let found = change.as_ref().map(|change| (change.arrow, &*change.said));
            assert_eq!(found, told, "{was} → {is}");
        }
        let change = Change::new(4, 3, 1).unwrap();
        assert_eq!(change.long, "4 in the 24 hours before");
    }
}
