//! What a rule would do, for the editor, and the way to the first reminder.

use axum::extract::State as Shared;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::labels;
use super::super::{PageError, PageFrame};
use crate::control::forecast::{self, LiveForecast, NotReminded, RuleEffect};
use crate::control::labels::{because, why};
use crate::control::setup;
use crate::domain::access::Permission;
use crate::web::AppState;
use crate::web::access::RouteTable;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/setup", way);
}

#[derive(Serialize)]
struct NotRow<'a> {
    #[serde(flatten)]
    not: &'a NotReminded,
    why: String,
}

impl<'a> NotRow<'a> {
    fn new(not: &'a NotReminded) -> Self {
        let why = why(&not.reason);
        Self { not, why }
    }
}

/// A look at LivePerson for the editor.
pub fn live(live: &LiveForecast, now: DateTime<Utc>) -> Value {
    let effect = |effect: &RuleEffect| {
        json!({
            "hour": effect.within_the_hour,
            "later": effect.later,
            "not": effect.not.iter().map(NotRow::new).collect::<Vec<_>>(),
        })
    };
    let told = |told: &forecast::ConversationForecast| match told.at {
        Some(at) => {
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
        None => because(told.reason).to_owned(),
    };
    let people = live.people.iter().map(|one| {
        json!({
            "conversation": one.conversation,
            "in_force": told(&one.in_force),
            "changed": one.changed.as_ref().map(told),
        })
    });
    json!({
        "conversations": live.conversations,
        "open": live.open,
        "unread": live.unread,
        "in_force": effect(&live.in_force),
        "changed": live.changed.as_ref().map(effect),
        "people": people.collect::<Vec<_>>(),
    })
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
