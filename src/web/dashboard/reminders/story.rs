//! One reminder's story, with what can be done about it.

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::row::{ReminderRow, RuleLink, governing, rows};
use crate::control;
use crate::control::ControlError;
use crate::control::reminders::AddressOrigin;
use crate::control::story::StoryEntry;
use crate::domain::access::Permission;
use crate::domain::ids::ReminderId;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::dashboard::labels::{self, Moment};
use crate::web::dashboard::{PageError, PageFrame};
use crate::web::page_error::sentence;

pub fn add(table: &mut RouteTable) {
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

async fn one(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, PageError> {
    render_one(&page, &state, ReminderId(id), StatusCode::OK, None).await
}

#[derive(Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own"
)]
struct OnePage<'a> {
    heading: String,
    reminder: ReminderRow<'a>,
    erased: bool,
    is_over: bool,
    rule: Option<RuleLink>,
    brand: String,
    due: Moment,
    deadline: Moment,
    told: Option<AddressShown>,
    revealable: bool,
    may_reveal: bool,
    story: Vec<StoryLine<'a>>,
    others: Vec<ReminderRow<'a>>,
    may_cancel: bool,
    may_send_again: bool,
    may_opt_out: bool,
    may_something: bool,
}

/// A reminder's address, or why there is none to tell.
#[derive(Serialize)]
struct AddressShown {
    address: Option<String>,
    from: Option<&'static str>,
    why_not: Option<String>,
}

/// One reminder's page. What is told of its address is part of this answer only.
async fn render_one(
    page: &PageFrame,
    state: &AppState,
    id: ReminderId,
    status: StatusCode,
    told: Option<AddressShown>,
) -> Result<Response, PageError> {
    let now = state.clock.now();
    let detail = control::reminders::detail(&state.pool, &page.accounts, id, now).await?;
    let reminder = &detail.reminder;
    let operates = page.caller.may(Permission::Operate);
    let may = |possible: bool| operates && possible;
    let title = format!(
        "{} to {}",
        labels::channel(reminder.channel),
        labels::customer(&reminder.conversation)
    );
    let values = OnePage {
        heading: title.clone(),
        reminder: ReminderRow::new(reminder, now),
        erased: control::reminders::is_erased(&reminder.conversation),
        is_over: reminder.ended_at.is_some() || reminder.sent_at.is_some(),
        rule: detail
            .rule
            .as_ref()
            .map(|rule| governing(rule, &reminder.account)),
        brand: state.brand_of(&reminder.account),
        due: labels::time(reminder.due_at, now),
        deadline: labels::time(reminder.deadline, now),
        told,
        revealable: detail.may_reveal,
        may_reveal: may(detail.may_reveal),
        story: detail
            .lines
            .iter()
            .map(|line| StoryLine::new(line, now))
            .collect(),
        others: rows(&detail.others, now),
        may_cancel: may(detail.may_cancel),
        may_send_again: may(detail.may_send_again),
        may_opt_out: may(detail.may_opt_out),
        may_something: may(detail.may_cancel || detail.may_send_again || detail.may_opt_out),
    };
    Ok(page.render_as(status, "reminder.hbs", &title, values))
}

#[derive(Serialize)]
struct StoryLine<'a> {
    #[serde(flatten)]
    line: &'a StoryEntry,
    when: Moment,
    again: Option<Moment>,
}

impl<'a> StoryLine<'a> {
    fn new(line: &'a StoryEntry, now: DateTime<Utc>) -> Self {
        Self {
            line,
            when: labels::time(line.at, now),
            again: line.until.map(|at| labels::time(at, now)),
        }
    }
}

/// The page with the address on it: told to this person, once, and on record.
async fn reveal(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, PageError> {
    let (accounts, id) = (&page.accounts, ReminderId(id));
    let by = page.caller.by();
    let (status, told) = match control::reminders::reveal(&state.context, by, accounts, id).await {
        Ok(revealed) => {
            let from = match revealed.from {
                AddressOrigin::Attempt => "stored until we know whether the message arrived",
                AddressOrigin::LivePerson => "from LivePerson just now",
            };
            let told = AddressShown {
                address: Some(revealed.address.expose().to_owned()),
                from: Some(from),
                why_not: None,
            };
            (StatusCode::OK, told)
        }
        Err(ControlError::Conflict(why)) => (StatusCode::CONFLICT, not_told(&why)),
        Err(ControlError::Unavailable(why)) => (StatusCode::SERVICE_UNAVAILABLE, not_told(&why)),
        Err(ControlError::Busy(why, _)) => (StatusCode::TOO_MANY_REQUESTS, not_told(&why)),
        Err(other) => return Err(other.into()),
    };
    render_one(&page, &state, id, status, Some(told)).await
}

fn not_told(why: &str) -> AddressShown {
    let mut why = why.to_owned();
    if let Some(first) = why.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    AddressShown {
        address: None,
        from: None,
        why_not: Some(sentence(&why)),
    }
}

async fn cancel(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, PageError> {
    let (accounts, by) = (&page.accounts, page.caller.by());
    let id = ReminderId(id);
    let done = control::reminders::cancel(&state.pool, &state.clock, by, accounts, id).await;
    address_shown(&page, id, done, "Reminder cancelled.").await
}

async fn send_again(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, PageError> {
    let (accounts, by) = (&page.accounts, page.caller.by());
    let id = ReminderId(id);
    let done = control::reminders::send_again(&state.pool, &state.clock, by, accounts, id).await;
    address_shown(
        &page,
        id,
        done,
        "It will be sent again if the message is still unread.",
    )
    .await
}

async fn opt_out(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, PageError> {
    let (accounts, by) = (&page.accounts, page.caller.by());
    let (pool, clock, id) = (&state.pool, &state.clock, ReminderId(id));
    let done = control::consumers::opt_out_recipient_of(pool, clock, by, accounts, id).await;
    address_shown(
        &page,
        id,
        done,
        "Opted out. This customer gets no more reminders at this address.",
    )
    .await
}

/// Back to the reminder, with what was done or why not.
async fn address_shown(
    page: &PageFrame,
    id: ReminderId,
    done: Result<(), ControlError>,
    said: &str,
) -> Result<Response, PageError> {
    let to = format!("/reminders/{id}");
    match done {
        Ok(()) => page.done(&to, said).await,
        Err(ControlError::Conflict(why)) => {
            page.not_done(&to, &sentence(&format!("Nothing was changed: {why}")))
                .await
        }
        Err(error) => Err(error.into()),
    }
}
