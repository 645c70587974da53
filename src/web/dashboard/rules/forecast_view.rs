//! What a rule would do, for the editor, and the way to the first reminder.

use axum::extract::State as Shared;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::labels;
use super::super::{PageError, PageFrame};
use crate::control::forecast::{ConversationForecast, LiveForecast, RuleEffect};
use crate::control::labels::{because, why};
use crate::control::setup;
use crate::domain::access::Permission;
use crate::web::AppState;
use crate::web::access::RouteTable;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/setup", way);
}

/// A look at LivePerson for the editor: how many would be reminded, now and then, and each conversation under what becomes of it.
pub fn live(live: &LiveForecast, now: DateTime<Utc>) -> Value {
    let number = |effect: &RuleEffect| json!({ "all": effect.within_the_hour + effect.later, "hour": effect.within_the_hour });
    let effect = live.changed.as_ref().unwrap_or(&live.in_force);
    let all = effect.within_the_hour + effect.later;
    let reminded = group("Will be reminded", all, live, now, |told| told.at.is_some());
    let not = effect.not.iter().map(|not| {
        let count = usize::try_from(not.conversations).unwrap_or_default();
        group(&why(&not.reason), count, live, now, |told| {
            told.at.is_none() && not.reason.reason() == Some(told.reason)
        })
    });
    let groups = std::iter::once(reminded).chain(not);
    let groups = groups.filter(|group| group["count"] != 0);
    json!({
        "open": live.open,
        "conversations": live.conversations,
        "unread": live.unread,
        "now": number(&live.in_force),
        "then": live.changed.as_ref().map(number),
        "groups": groups.collect::<Vec<_>>(),
    })
}

/// Conversations of which the same becomes.
fn group(
    said: &str,
    count: usize,
    live: &LiveForecast,
    now: DateTime<Utc>,
    is_in: impl Fn(&ConversationForecast) -> bool,
) -> Value {
    let shown = live.people.iter().filter_map(|one| {
        let told = one.changed.as_ref().unwrap_or(&one.in_force);
        is_in(told).then(|| {
            json!({
                "conversation": one.conversation,
                "told": told.at.map(|_| becomes(told, now)),
                "was": one.changed.as_ref().map(|_| becomes(&one.in_force, now)),
            })
        })
    });
    let shown: Vec<Value> = shown.collect();
    json!({ "said": said, "count": count, "more": count.saturating_sub(shown.len()), "shown": shown })
}

/// What becomes of a conversation: "in 5 min, an e-mail to d…@example.net".
fn becomes(told: &ConversationForecast, now: DateTime<Utc>) -> String {
    let Some(at) = told.at else {
        return because(told.reason).to_owned();
    };
    let waits = told.waits_until.as_ref();
    let waits = waits.map(|until| format!(", waits until {until}"));
    let by = told
        .channel
        .map_or("a reminder", |channel| channel.names().a_message);
    format!(
        "{}, {by} to {}{}",
        labels::relative(at, now),
        told.to.as_deref().unwrap_or(""),
        waits.unwrap_or_default()
    )
}

async fn way(page: PageFrame, Shared(state): Shared<AppState>) -> Result<Response, PageError> {
    let mut accounts = Vec::new();
    for id in page.accounts.each() {
        let setup = setup::of_account(&state.context, &id, state.has_page(&id)).await?;
        let next = setup.steps.iter().position(|step| !step.done);
        let steps: Vec<Value> = setup
            .steps
            .iter()
            .enumerate()
            .map(|(at, step)| {
                let href = match step.name {
                    "rule" | "test" => Some("/rules"),
                    "live" => Some("/live"),
                    "liveperson" | "channel" => Some("/connections"),
                    _ => None,
                };
                json!({ "title": step.title, "said": step.said, "done": step.done, "next": next == Some(at), "href": href })
            })
            .collect();
        let done = setup.steps.iter().filter(|step| step.done).count();
        accounts.push(json!({
            "brand": state.brand_of(&id),
            "all": setup.done,
            "done": done,
            "in_all": setup.steps.len(),
            "steps": steps,
        }));
    }
    Ok(page.render("setup.hbs", "Set-up", json!({ "accounts": accounts })))
}
