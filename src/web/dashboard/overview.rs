//! The first page: is it well, what did it do, what needs a person, what comes next.
//!
//! It shows no address and no consumer. Everything on it leads to the page that tells more or mends it.

use axum::extract::{Query, State as Shared};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::chart::{self, By};
use super::reminders::row;
use super::{Page, Unshown, words};
use crate::control;
use crate::control::overview::{About, Attention, Overview, Span};
use crate::db;
use crate::domain::access::Permission;
use crate::web::State;
use crate::web::access::Table;

/// Rows of what is due next, and of what was last.
const NEXT: usize = 5;
const LATEST: i64 = 8;

/// Days that can be looked back upon.
const SPANS: [u8; 2] = [14, 30];

pub fn add(table: &mut Table) {
    table.page(Permission::View, "/", show);
}

#[derive(Deserialize)]
struct Back {
    days: Option<u8>,
}

async fn show(
    page: Page,
    Shared(state): Shared<State>,
    Query(back): Query<Back>,
) -> Result<Response, Unshown> {
    let (pool, now, zone) = (&state.pool, state.clock.now(), page.zone);
    let accounts = state.account_ids();
    let days = back.days.filter(|days| SPANS.contains(days));
    let days = days.unwrap_or(SPANS[0]);
    let overview = control::overview::overview(&state.context, &accounts, zone, now).await?;
    let hours = control::overview::series(pool, &accounts, Span::Hours(24), zone, now).await?;
    let past = control::overview::series(pool, &accounts, Span::Days(days), zone, now).await?;
    let latest = db::pages::newest(pool, LATEST).await?;
    let spans = SPANS.map(|span| json!({ "days": span, "chosen": span == days }));
    let next = overview.next.iter().take(NEXT);
    let values = json!({
        "health": { "level": overview.health.level.as_str(), "sentence": overview.health.sentence },
        "attention": overview.attention.iter().map(attention).collect::<Vec<_>>(),
        "now": words::time(now, now),
        "zone": zone.name(),
        "tiles": tiles(&overview),
        "next": next.map(|r| row(r, now)).collect::<Vec<_>>(),
        "hours": chart::sent(&hours, By::Hour, zone),
        "past": chart::sent(&past, By::Day, zone),
        "past_name": format!("Last {days} days"),
        "spans": spans,
        "reminders": latest.iter().map(|r| row(r, now)).collect::<Vec<_>>(),
    });
    Ok(page.render("overview.hbs", "Overview", values))
}

/// What needs a person, with the way to the page that mends it.
fn attention(item: &Attention) -> Value {
    let (href, to) = match item.about {
        About::Channels => ("/channels".to_owned(), "See the sender"),
        About::Scans => ("/channels#scans".to_owned(), "See the connection"),
        About::Rules => ("/rules".to_owned(), "To the rules"),
        About::Reminders(state) => (format!("/reminders?state={state}"), "See these reminders"),
    };
    json!({
        "level": item.level.as_str(),
        "what": item.what,
        "mend": item.mend,
        "href": href,
        "to": to,
    })
}

/// Today's numbers, and how many there are of what changes from moment to moment.
fn tiles(overview: &Overview) -> Value {
    let today = overview.total();
    let share = (today.back_24h * 100)
        .checked_div(today.sent)
        .map(|share| format!("{share} % of those sent"));
    let lost = today.failed + today.unknown + today.expired;
    json!([
        { "label": "Reminders sent", "value": today.sent, "more": null, "href": "/reminders?state=sent" },
        { "label": "Came back", "value": today.back_24h, "more": share, "href": "/effect" },
        { "label": "Cancelled because read", "value": today.read, "more": "Read or answered in time", "href": "/reminders?state=cancelled" },
        { "label": "Not delivered", "value": lost, "more": "Failed, too late, or nobody knows", "href": "/reminders?state=failed" },
        { "label": "Waiting now", "value": overview.waiting, "more": "Reminders with a moment to come", "href": "/reminders?state=scheduled" },
        { "label": "Unread now", "value": overview.unread_now, "more": format!("Of {} open conversations", overview.open_now), "href": "/forecast" },
    ])
}
