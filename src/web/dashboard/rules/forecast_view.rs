//! What comes: the next hour, and the way to the first reminder.

use axum::extract::{Query, State as Shared};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::labels::{self, Moment};
use super::super::{PageError, PageFrame};
use crate::control;
use crate::control::forecast::{
    self, ConversationForecast, DueReminderView, LiveForecast, NotReminded, RuleEffect,
};
use crate::control::labels::{because, why};
use crate::control::reminders::DecisionView;
use crate::control::setup;
use crate::domain::access::Permission;
use crate::domain::decide::{Cause, Reason, Verdict};
use crate::domain::ids::AccountId;
use crate::web::AppState;
use crate::web::access::RouteTable;

/// Decisions that are shown.
const DECIDED: i64 = 25;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/forecast", hour);
    table.page(Permission::View, "/setup", way);
}

#[derive(Deserialize)]
struct ForecastQuery {
    #[serde(default)]
    account: String,
}

#[derive(Serialize)]
struct HourPage<'a> {
    log: Vec<DecisionRow<'a>>,
    due: Vec<DueRow<'a>>,
    more: bool,
    not: Vec<NotRow<'a>>,
    accounts: Vec<AccountChoice<'a>>,
    several: bool,
    now: Moment,
}

#[derive(Serialize)]
struct AccountChoice<'a> {
    id: &'a AccountId,
    name: String,
    chosen: bool,
}

async fn hour(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Query(whom): Query<ForecastQuery>,
) -> Result<Response, PageError> {
    let now = state.clock.now();
    let accounts = page.accounts.ids();
    let account = page.accounts.named(&whom.account).ok();
    let account = account.or_else(|| page.accounts.each().next());
    let told = match &account {
        Some(account) => Some(forecast::stored(&state.context, account, None, now).await?),
        None => None,
    };
    let due = told.iter().flat_map(|told| &told.due);
    let choices = accounts.iter().map(|id| AccountChoice {
        id,
        name: state.brand_of(id),
        chosen: account.as_deref() == Some(id),
    });
    let (pool, seen) = (&state.pool, &page.accounts);
    let log = control::reminders::decisions(pool, seen, None, None, DECIDED).await?;
    let values = HourPage {
        log: log.iter().map(|d| DecisionRow::new(d, now)).collect(),
        due: due.map(|due| DueRow::new(due, now)).collect(),
        more: told.as_ref().is_some_and(|told| told.more),
        not: told
            .iter()
            .flat_map(|told| &told.not)
            .map(NotRow::new)
            .collect(),
        accounts: choices.collect(),
        several: accounts.len() > 1,
        now: labels::time(now, now),
    };
    Ok(page.render("forecast.hbs", "Next hour", values))
}

#[derive(Serialize)]
struct DueRow<'a> {
    #[serde(flatten)]
    due: &'a DueReminderView,
    when: Moment,
    skill_label: String,
    channel_name: &'static str,
    held: Option<String>,
}

impl<'a> DueRow<'a> {
    fn new(due: &'a DueReminderView, now: DateTime<Utc>) -> Self {
        let held = due.held_by.as_ref();
        let held = held.filter(|held| **held != Cause::Ours(Reason::Scheduled));
        Self {
            when: labels::time(due.at, now),
            skill_label: labels::skill(due.skill_name.as_deref(), due.skill),
            channel_name: labels::channel(due.channel),
            held: match &due.waits_until {
                Some(until) => Some(format!("It waits until {until}.")),
                None => held.map(held_by),
            },
            due,
        }
    }
}

/// What holds a reminder up that is due.
fn held_by(cause: &Cause) -> String {
    match cause.reason() {
        Some(Reason::Paused) => "On hold: paused, until someone resumes.".to_owned(),
        Some(Reason::Held) => {
            "On hold, like all sending, until your server administrator decides.".to_owned()
        }
        Some(Reason::NotLive) => "Will not be sent: the channel is no longer live.".to_owned(),
        _ => why(cause),
    }
}

/// A line of the decision log.
#[derive(Serialize)]
struct DecisionRow<'a> {
    #[serde(flatten)]
    decision: &'a DecisionView,
    when: Moment,
    /// Of the step that it is about, if it is about one.
    channel_name: Option<&'static str>,
    said: &'static str,
    why: String,
}

impl<'a> DecisionRow<'a> {
    fn new(decision: &'a DecisionView, now: DateTime<Utc>) -> Self {
        Self {
            decision,
            when: labels::time(decision.at, now),
            channel_name: decision.channel.map(labels::channel),
            said: match decision.verdict {
                Verdict::Schedule => "Reminder scheduled",
                Verdict::Send => "Cleared to send",
                Verdict::Cancel => "Cancelled",
                Verdict::Postpone => "Postponed",
                Verdict::Expire => "Expired",
                Verdict::None => "No reminder",
            },
            why: why(&decision.reason),
        }
    }
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

/// A look at LivePerson for the editor: how many would be reminded, now and then, and each conversation under what becomes of it.
pub fn live(live: &LiveForecast, now: DateTime<Utc>) -> Value {
    let number = |effect: &RuleEffect| json!({ "all": effect.within_the_hour + effect.later, "hour": effect.within_the_hour });
    let effect = live.changed.as_ref().unwrap_or(&live.in_force);
    let all = effect.within_the_hour + effect.later;
    let reminded = group("Will be reminded".to_owned(), all, live, now, |told| {
        told.at.is_some()
    });
    let not = effect.not.iter().map(|not| {
        let count = usize::try_from(not.conversations).unwrap_or_default();
        group(why(&not.reason), count, live, now, |told| {
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
    said: String,
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
                    "liveperson" | "channel" => Some("/channels"),
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
