//! The first page: is it well, what did it do, what needs a person, what comes next.
//!
//! It shows no address and no consumer. Everything on it leads to the page that tells more or mends it.

use axum::Form;
use axum::extract::{Query, State as Shared};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::chart::{self, By};
use super::reminders::row;
use super::{Page, Unshown, pauses, words};
use crate::control;
use crate::control::overview::{About, Attention, Overview, Span};
use crate::db::reminders::Filter;
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
    table.form(Permission::View, "/attention/dismiss", dismiss);
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
    let accounts = &page.accounts;
    let days = back.days.filter(|days| SPANS.contains(days));
    let days = days.unwrap_or(SPANS[0]);
    let overview =
        control::overview::overview(&state.context, accounts, page.caller.user(), (zone, now))
            .await?;
    let hours = control::overview::series(pool, accounts, Span::Hours(24), zone, now).await?;
    let past = control::overview::series(pool, accounts, Span::Days(days), zone, now).await?;
    let latest =
        control::reminders::search(pool, accounts, Filter::default(), None, LATEST).await?;
    let spans = SPANS.map(|span| json!({ "days": span, "chosen": span == days }));
    let next = overview.next.iter().take(NEXT);
    // The bar above tells what is paused, and ends it.
    let listed = overview
        .attention
        .iter()
        .filter(|item| item.about != About::Pauses);
    let values = json!({
        "health": { "level": overview.health.level.as_str(), "sentence": overview.health.sentence },
        "attention": listed.map(attention).collect::<Vec<_>>(),
        "pauses": pauses::choices(&state, &page),
        "resumes": pauses::may_resume_all(&page),
        "now": words::time(now, now),
        "zone": zone.name(),
        "tiles": tiles(&overview),
        "next": next.map(|r| row(r, now)).collect::<Vec<_>>(),
        "hours": chart::sent(&hours, By::Hour, zone),
        "past": chart::sent(&past, By::Day, zone),
        "past_name": format!("Last {days} days"),
        "spans": spans,
        "reminders": latest.reminders.iter().map(|r| row(r, now)).collect::<Vec<_>>(),
    });
    Ok(page.render("overview.hbs", "Overview", values))
}

/// What needs a person, with the way to the page that mends it.
fn attention(item: &Attention) -> Value {
    let (href, to) = match item.about {
        About::Channels => (Some("/channels".to_owned()), "See the sender"),
        About::Scans => (Some("/channels#scans".to_owned()), "See the connection"),
        About::Pauses => (Some("#notices".to_owned()), "See what is paused"),
        About::Rules => (Some("/rules".to_owned()), "To the rules"),
        About::Live => (Some("/live".to_owned()), "Go live"),
        // It is ended by a command of whoever runs the service.
        About::Hold => (None, ""),
        About::Reminders(state) => (
            Some(format!("/reminders?state={state}")),
            "See these reminders",
        ),
    };
    json!({
        "level": item.level.as_str(),
        "what": item.what,
        "mend": item.mend,
        "href": href,
        "to": to,
        "dismiss": item.mark.as_ref().map(|mark| &mark.key),
    })
}

#[derive(Deserialize)]
struct Dismissed {
    key: String,
}

async fn dismiss(
    page: Page,
    Shared(state): Shared<State>,
    Form(dismissed): Form<Dismissed>,
) -> Result<Response, Unshown> {
    let Some(reader) = page.caller.user() else {
        return Err(Unshown::forbidden());
    };
    let (accounts, when) = (&page.accounts, (page.zone, state.clock.now()));
    control::overview::dismiss(&state.context, accounts, reader, &dismissed.key, when).await?;
    page.done("/", "Dismissed. It comes back if it happens again.")
        .await
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
