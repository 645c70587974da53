//! Reminders: a list to search, and one reminder's story with what can be done about it.

use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, Unshown, words};
use crate::control;
use crate::control::Error;
use crate::control::reminders::Origin;
use crate::control::rules::Governing;
use crate::control::story::{Line, state_words, waits_until, will_not_be_sent};
use crate::control::words::why;
use crate::db::pages::Reminder;
use crate::db::reminders::{Filter, Place, Whose};
use crate::domain::access::Permission;
use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::reminder::ReminderState;
use crate::web::State;
use crate::web::access::Table;

/// Reminders on a page.
const SHOWN: i64 = 50;

pub fn add(table: &mut Table) {
    table.page(Permission::View, "/reminders", list);
    table.page(Permission::View, "/reminders/{id}", one);
    table.form(Permission::Operate, "/reminders/{id}/cancel", cancel);
    table.form(
        Permission::Operate,
        "/reminders/{id}/send-again",
        send_again,
    );
    table.form(Permission::Operate, "/reminders/{id}/opt-out", opt_out);
    table.form(Permission::Operate, "/reminders/{id}/reveal", reveal);
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    state: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    conversation: String,
    /// Milliseconds and number of the last reminder of the page before.
    before: Option<i64>,
    id: Option<i64>,
}

impl Wanted {
    fn filter(&self) -> Filter {
        let conversation = self.conversation.trim();
        Filter {
            channel: self.channel.parse().ok(),
            state: ReminderState::parse(&self.state),
            whose: (!conversation.is_empty()).then(|| Whose::Conversation(conversation.to_owned())),
            ..Filter::default()
        }
    }

    fn after(&self) -> Option<Place> {
        Some(Place {
            created_at: DateTime::from_timestamp_micros(self.before?)?,
            id: self.id?,
        })
    }

    fn older(&self, next: Place) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("state", &self.state)
            .append_pair("channel", &self.channel)
            .append_pair("conversation", self.conversation.trim())
            .append_pair("before", &next.created_at.timestamp_micros().to_string())
            .append_pair("id", &next.id.to_string())
            .finish();
        format!("/reminders?{query}")
    }
}

async fn list(
    page: Page,
    Shared(state): Shared<State>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Unshown> {
    let filter = wanted.filter();
    let (pool, after) = (&state.pool, wanted.after());
    let found =
        control::reminders::search(pool, &page.accounts, filter.clone(), after, SHOWN).await?;
    let now = state.clock.now();
    let filtered = filter.state.is_some() || filter.channel.is_some() || filter.whose.is_some();
    let states = ReminderState::ALL.map(|state| {
        json!({
            "word": state.as_str(),
            "label": state_words(state, None),
            "chosen": filter.state == Some(state),
        })
    });
    let values = json!({
        "states": states,
        "email": filter.channel == Some(Channel::Email),
        "sms": filter.channel == Some(Channel::Sms),
        "conversation": wanted.conversation.trim(),
        "filtered": filtered || wanted.before.is_some(),
        "reminders": found.reminders.iter().map(|r| row(r, now)).collect::<Vec<_>>(),
        "older": found.next.map(|next| wanted.older(next)),
    });
    Ok(page.render("reminders.hbs", "Reminders", values))
}

/// A reminder as every list shows it.
pub fn row(r: &Reminder, now: DateTime<Utc>) -> Value {
    let when = r.sent_at.or(r.final_at).or(r.next_at).unwrap_or(r.due_at);
    let settled = matches!(
        r.state,
        ReminderState::Sent | ReminderState::Delivered | ReminderState::Sending
    );
    let forbidden = will_not_be_sent(r);
    let reason = r.suppressed_as.map(|why| Cause::Ours(why.into()));
    let reason = reason.or_else(|| {
        let reason = r.reason.clone();
        reason.filter(|reason| !settled && *reason != Cause::Ours(Reason::Scheduled))
    });
    json!({
        "id": r.id,
        "at": words::time(when, now),
        "channel": words::channel(r.channel),
        "skill": words::skill(r.skill_name.as_deref(), r.skill),
        "step": r.step,
        "state": r.state,
        "words": forbidden.unwrap_or_else(|| state_words(r.state, r.reason.as_ref())),
        "why": reason.map(|reason| match (r.state, waits_until(r)) {
            (_, Some(until)) if forbidden.is_none() => format!("It waits until {until}."),
            (ReminderState::Failed | ReminderState::Undelivered | ReminderState::Unknown, _) => {
                control::words::trouble(r.channel, reason.as_str())
            }
            _ => why(&reason),
        }),
        "returned": r.returned_at.is_some(),
    })
}

async fn one(
    page: Page,
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
) -> Result<Response, Unshown> {
    render_one(&page, &state, ReminderId(id), StatusCode::OK, &Value::Null).await
}

/// One reminder's page. `told` is its address, or why there is none to tell; it is part of this answer only.
async fn render_one(
    page: &Page,
    state: &State,
    id: ReminderId,
    status: StatusCode,
    told: &Value,
) -> Result<Response, Unshown> {
    let now = state.clock.now();
    let detail = control::reminders::detail(&state.pool, &page.accounts, id, now).await?;
    let (reminder, may) = (&detail.reminder, detail.may);
    let operates = page.caller.may(Permission::Operate);
    let values = json!({
        "reminder": row(reminder, now),
        "erased": control::reminders::is_erased(reminder),
        "is_over": reminder.final_at.is_some() || reminder.sent_at.is_some(),
        "rule": detail.rule.as_ref().map(|rule| governing(rule, &reminder.account)),
        "account": reminder.account,
        "conversation": reminder.conversation,
        "brand": state.brand_of(&reminder.account),
        "due": words::time(reminder.due_at, now),
        "deadline": words::time(reminder.deadline, now),
        "told": told,
        "revealable": may.reveal,
        "may_reveal": operates && may.reveal,
        "story": detail.story.iter().map(|line| story_line(line, now)).collect::<Vec<_>>(),
        "others": detail.others.iter().map(|r| row(r, now)).collect::<Vec<_>>(),
        "may_cancel": operates && may.cancel,
        "may_send_again": operates && may.send_again,
        "may_opt_out": operates && may.opt_out,
        "may_something": operates && (may.cancel || may.send_again || may.opt_out),
    });
    Ok(page.render_as(status, "reminder.hbs", "Reminder", values))
}

/// A rule as pages link to it.
pub fn governing(rule: &Governing, account: &AccountId) -> Value {
    json!({ "path": format!("/rules/{}", rule.path(account)), "version": rule.version })
}

fn story_line(line: &Line, now: DateTime<Utc>) -> Value {
    json!({
        "at": words::time(line.at, now),
        "what": line.what,
        "detail": line.detail,
        "until": line.until.map(|at| words::time(at, now)),
        "mood": line.mood.as_str(),
    })
}

/// The page with the address on it: told to this person, once, and on record.
async fn reveal(
    page: Page,
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
) -> Result<Response, Unshown> {
    let (accounts, id) = (&page.accounts, ReminderId(id));
    let by = page.caller.by();
    let (status, told) = match control::reminders::reveal(&state.context, by, accounts, id).await {
        Ok(revealed) => {
            let from = match revealed.from {
                Origin::Attempt => "kept until it is known whether the message arrived",
                Origin::LivePerson => "as LivePerson told it just now",
            };
            let told =
                json!({ "address": revealed.address.expose(), "from": from, "why_not": null });
            (StatusCode::OK, told)
        }
        Err(Error::Conflict(why)) => (StatusCode::CONFLICT, not_told(&why)),
        Err(Error::Unavailable(why)) => (StatusCode::SERVICE_UNAVAILABLE, not_told(&why)),
        Err(Error::Busy(why, _)) => (StatusCode::TOO_MANY_REQUESTS, not_told(&why)),
        Err(other) => return Err(other.into()),
    };
    render_one(&page, &state, id, status, &told).await
}

fn not_told(why: &str) -> Value {
    let mut why = why.to_owned();
    if let Some(first) = why.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    json!({ "address": null, "from": null, "why_not": format!("{why}.") })
}

async fn cancel(
    page: Page,
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
) -> Result<Response, Unshown> {
    let (accounts, by) = (&page.accounts, page.caller.by());
    let id = ReminderId(id);
    let done = control::reminders::cancel(&state.pool, &state.clock, by, accounts, id).await;
    told(&page, id, done, "The reminder is cancelled.").await
}

async fn send_again(
    page: Page,
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
) -> Result<Response, Unshown> {
    let (accounts, by) = (&page.accounts, page.caller.by());
    let id = ReminderId(id);
    let done = control::reminders::send_again(&state.pool, &state.clock, by, accounts, id).await;
    told(
        &page,
        id,
        done,
        "It is sent again, if the message is still unread.",
    )
    .await
}

async fn opt_out(
    page: Page,
    Shared(state): Shared<State>,
    Path(id): Path<i64>,
) -> Result<Response, Unshown> {
    let (accounts, by) = (&page.accounts, page.caller.by());
    let (pool, clock, id) = (&state.pool, &state.clock, ReminderId(id));
    let done = control::consumers::opt_out_recipient_of(pool, clock, by, accounts, id).await;
    told(
        &page,
        id,
        done,
        "This customer gets no more reminders at this address.",
    )
    .await
}

/// Back to the reminder, with what was done or why not.
async fn told(
    page: &Page,
    id: ReminderId,
    done: Result<(), Error>,
    said: &str,
) -> Result<Response, Unshown> {
    let to = format!("/reminders/{id}");
    match done {
        Ok(()) => page.done(&to, said).await,
        Err(Error::Conflict(why)) => {
            page.not_done(&to, &format!("Nothing was changed: {why}."))
                .await
        }
        Err(error) => Err(error.into()),
    }
}
