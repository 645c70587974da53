//! The first page: is it well, what did it do, what needs a person, what comes next.
//!
//! It shows no address and no consumer. Everything on it leads to the page that tells more or fixes it.

use axum::Form;
use axum::extract::{Query, State as Shared};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::chart::{self, Chart, ChartUnit};
use super::labels::{self, Moment};
use super::reminders::{ReminderRow, list_of, rows};
use super::{PageError, PageFrame, pauses};
use crate::control;
use crate::control::overview::{Attention, AttentionLevel, AttentionTopic, Overview, TimeSpan};
use crate::db::reminders::ReminderFilter;
use crate::domain::access::Permission;
use crate::domain::reminder::ReminderState;
use crate::web::AppState;
use crate::web::access::RouteTable;

/// Rows of what is due next, and of what was last.
const NEXT: usize = 5;
const LATEST: i64 = 8;

/// Days that can be looked back upon.
const SPANS: [u8; 2] = [14, 30];

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/", show);
    table.form(Permission::View, "/attention/dismiss", dismiss);
}

#[derive(Deserialize)]
struct OverviewPageQuery {
    days: Option<u8>,
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
    tiles: [Tile; 6],
    next: Vec<ReminderRow<'a>>,
    hours: Chart,
    past: Chart,
    past_name: String,
    spans: [DaysTab; SPANS.len()],
    reminders: Vec<ReminderRow<'a>>,
}

#[derive(Serialize)]
struct DaysTab {
    days: u8,
    chosen: bool,
}

async fn show(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Query(back): Query<OverviewPageQuery>,
) -> Result<Response, PageError> {
    let (pool, now, zone) = (&state.pool, state.clock.now(), page.zone);
    let accounts = &page.accounts;
    let days = back.days.filter(|days| SPANS.contains(days));
    let days = days.unwrap_or(SPANS[0]);
    let overview =
        control::overview::overview(&state.context, accounts, page.caller.user(), (zone, now))
            .await?;
    let hours = control::overview::series(pool, accounts, TimeSpan::Hours(24), zone, now).await?;
    let past = control::overview::series(pool, accounts, TimeSpan::Days(days), zone, now).await?;
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
        tiles: tiles(&overview),
        next: rows(next, now),
        hours: chart::sent(&hours, ChartUnit::Hour, zone),
        past: chart::sent(&past, ChartUnit::Day, zone),
        past_name: format!("Last {days} days"),
        spans: SPANS.map(|span| DaysTab {
            days: span,
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

/// A number, and where it leads.
#[derive(Serialize)]
struct Tile {
    label: &'static str,
    value: i64,
    more: Option<String>,
    href: &'static str,
}

/// Today's numbers, and how many there are of what changes from moment to moment.
fn tiles(overview: &Overview) -> [Tile; 6] {
    let today = &overview.today;
    let share = (today.back_24h * 100)
        .checked_div(today.sent)
        .map(|share| format!("{share}% of those sent"));
    let tile = |label, value, more: &str, href| Tile {
        label,
        value,
        more: (!more.is_empty()).then(|| more.to_owned()),
        href,
    };
    let sent = tile("Reminders sent", today.sent, "", "/reminders/sent");
    let back = Tile {
        more: share,
        ..tile("Came back", today.back_24h, "", "/results")
    };
    let read = tile(
        "Not needed",
        today.cancelled_because_read,
        "Read or answered in time",
        "/reminders/not-sent?state=cancelled",
    );
    let lost = tile(
        "Not delivered",
        today.failed + today.unknown + today.expired,
        "Failed, expired or unknown",
        "/reminders/not-sent",
    );
    let waiting = tile(
        "Scheduled now",
        overview.waiting,
        "Reminders still to be sent",
        "/reminders",
    );
    let open_now = overview.open_now.unsigned_abs();
    let open = format!("Of {}", labels::counted(open_now, "open conversation"));
    let unread = tile("Unread now", overview.unread_now, &open, "/reminders");
    [sent, back, read, lost, waiting, unread]
}
