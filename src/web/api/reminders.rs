//! `/reminders`: look them up, tell one's story, cancel it, send it again, stop writing to its recipient, tell its address.

use axum::Extension;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Path, Query};
use super::paging::{Page, Paging, cursor};
use crate::control;
use crate::control::accounts::Accounts;
use crate::control::consumers::reads_as_address;
use crate::control::rules::Governing;
use crate::control::story::Line;
use crate::db::pages::{Attempt as MadeAttempt, Decision as Made, Reminder as Row};
use crate::db::reminders::{Filter, Place, Whose};
use crate::domain::access::Permission;
use crate::domain::contact::Suppression;
use crate::domain::decide::{Cause, Stage, Verdict};
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::local_time::ZoneSource;
use crate::domain::outcome::OutcomeKind;
use crate::domain::reminder::ReminderState;
use crate::domain::zone::Zone;
use crate::web::State;
use crate::web::access::{Caller, Table, Unrepeatable};
use crate::web::problem::{Problem, Refusal};

pub fn add(table: &mut Table) {
    table.api(Permission::View, routes!(list_reminders));
    table.api(Permission::View, routes!(get_reminder));
    table.api(Permission::Operate, routes!(cancel_reminder));
    table.api(Permission::Operate, routes!(send_reminder_again));
    table.api(Permission::Operate, routes!(opt_out_recipient));
    table.api(Permission::Operate, routes!(reveal_address));
}

/// A reminder: one message owed to one consumer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reminder {
    id: i64,
    #[schema(value_type = String)]
    account: AccountId,
    conversation: String,
    skill: i64,
    skill_name: Option<String>,
    channel: Channel,
    step: i16,
    state: ReminderState,
    /// Why it is in this state, where there is a reason.
    #[schema(value_type = Option<String>)]
    reason: Option<Cause>,
    unread_since: DateTime<Utc>,
    due_at: DateTime<Utc>,
    /// Past this it is not sent any more. Time outside the rule's hours does not count, by the clocks of `time_zones`.
    deadline: DateTime<Utc>,
    /// By whose clocks the rule's hours are read; all of them must allow.
    #[schema(example = json!(["America/New_York"]))]
    time_zones: Vec<String>,
    /// What tells the zones: `liveperson`, `number`, or, because nothing better is known, `rule` or `account`. Null where there are
    /// none.
    #[schema(value_type = Option<String>, example = "number")]
    zone_source: Option<ZoneSource>,
    /// When it is looked at again.
    next_at: Option<DateTime<Utc>>,
    /// It waits, and will not be sent: `opted_out`, `bad_address`, `complaint` or `blocked`.
    #[schema(value_type = Option<String>)]
    suppressed_as: Option<Suppression>,
    /// It waits for the rule's hours until this, by the consumer's clock.
    #[schema(example = "09:00 on Wed, America/New_York time")]
    waits_until: Option<String>,
    sent_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    clicked_at: Option<DateTime<Utc>>,
    /// When the consumer came back, if within 24 hours.
    returned_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<Row> for Reminder {
    fn from(row: Row) -> Self {
        let zones = Zone::split(row.time_zone.as_deref().unwrap_or_default());
        Self {
            id: row.id.0,
            waits_until: control::story::waits_until(&row),
            time_zones: zones.iter().map(ToString::to_string).collect(),
            zone_source: row.zone_source,
            account: row.account,
            conversation: row.conversation,
            skill: row.skill.0,
            skill_name: row.skill_name,
            channel: row.channel,
            step: row.step,
            state: row.state,
            reason: row.reason,
            unread_since: row.episode_since,
            due_at: row.due_at,
            deadline: row.deadline,
            next_at: row.next_at,
            suppressed_as: row.suppressed_as,
            sent_at: row.sent_at,
            ended_at: row.final_at,
            clicked_at: row.clicked_at,
            returned_at: row.returned_at,
            created_at: row.created_at,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    #[param(inline)]
    account: Option<AccountId>,
    skill: Option<i64>,
    #[param(inline)]
    channel: Option<Channel>,
    #[param(inline)]
    state: Option<ReminderState>,
    /// A reason's word.
    reason: Option<String>,
    /// Whether the consumer came back.
    returned: Option<bool>,
    /// Not before this.
    from: Option<DateTime<Utc>>,
    /// Before this.
    until: Option<DateTime<Utc>>,
    /// LivePerson's conversation id.
    conversation: Option<String>,
    /// LivePerson's consumer id, or the brand's own.
    consumer: Option<String>,
    /// Reminders on a page. A page can be shorter and still have a `next`.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next` of the page before.
    after: Option<String>,
}

impl Wanted {
    fn filter(&self) -> Result<Filter, Refusal> {
        Ok(Filter {
            skill: self.skill,
            channel: self.channel,
            state: self.state,
            reason: self.reason.as_deref().map(Cause::parse),
            returned: self.returned,
            from: self.from,
            until: self.until,
            whose: match (&self.conversation, &self.consumer) {
                (Some(id), None) => Some(Whose::Conversation(id.clone())),
                (None, Some(id)) => Some(Whose::Consumer(id.clone())),
                (None, None) => None,
                (Some(_), Some(_)) => {
                    return Err(Refusal::fault(
                        StatusCode::BAD_REQUEST,
                        "consumer",
                        "give either a conversation or a consumer",
                    ));
                }
            },
            ..Filter::default()
        })
    }
}

/// List reminders, the newest first
#[utoipa::path(get, path = "/reminders", tag = "reminders", params(Wanted), responses((status = 200, body = Page<Reminder>)))]
async fn list_reminders(
    accounts: Accounts,
    Shared(state): Shared<State>,
    Query(wanted): Query<Wanted>,
    caller: Caller,
) -> Result<axum::Json<Page<Reminder>>, Refusal> {
    let accounts = accounts.narrowed(wanted.account.as_ref().map(AccountId::as_str));
    let regions = accounts.ids().iter().map(|id| state.region_of(id));
    let mut regions = regions.chain([None]);
    let by_address = wanted.consumer.as_deref().is_some_and(|consumer| {
        regions.any(|region| reads_as_address(consumer, region.as_deref()))
    });
    if by_address && !caller.may(Permission::Operate) {
        return Err(Refusal::forbidden(Permission::Operate));
    }
    let filter = wanted.filter()?;
    let paging = Paging {
        limit: wanted.limit,
        after: wanted.after,
    };
    let after: Option<(DateTime<Utc>, i64)> = paging.after()?;
    let after = after.map(|(created_at, id)| Place { created_at, id });
    let (pool, limit) = (&state.pool, paging.limit()?);
    let page = control::reminders::search(pool, &accounts, filter, after, limit).await?;
    Ok(axum::Json(Page {
        next: page.next.map(|place| cursor(&(place.created_at, place.id))),
        items: page.reminders.into_iter().map(Reminder::from).collect(),
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct Which {
    /// The reminder's number.
    id: i64,
}

/// Everything about one reminder.
#[derive(Debug, Serialize, ToSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own"
)]
struct Story {
    reminder: Reminder,
    /// What happened, in plain words, oldest first.
    lines: Vec<StoryLine>,
    decisions: Vec<Decision>,
    attempts: Vec<Attempt>,
    may_cancel: bool,
    may_send_again: bool,
    /// Whether its address can be told.
    may_reveal: bool,
    /// Whether it is known, by keyed hash, whom it went to.
    may_opt_out: bool,
    /// The rule that was in force when it was sent or ended; of one that waits, the one that is in force now.
    rule: Option<Governing>,
    /// The other reminders of the conversation.
    others: Vec<Reminder>,
}

#[derive(Debug, Serialize, ToSchema)]
struct StoryLine {
    at: DateTime<Utc>,
    what: String,
    detail: Option<String>,
    /// The moment the line speaks of.
    until: Option<DateTime<Utc>>,
}

impl From<Line> for StoryLine {
    fn from(line: Line) -> Self {
        Self {
            at: line.at,
            what: line.what,
            detail: line.detail,
            until: line.until,
        }
    }
}

/// One recorded answer to "should this be sent now?".
#[derive(Debug, Serialize, ToSchema)]
struct Decision {
    at: DateTime<Utc>,
    /// scan, deliver, sweep or operator.
    #[schema(value_type = String)]
    stage: Stage,
    /// schedule, none, send, cancel, postpone or expire.
    #[schema(value_type = String)]
    verdict: Verdict,
    #[schema(value_type = String)]
    reason: Cause,
    until: Option<DateTime<Utc>>,
}

impl From<Made> for Decision {
    fn from(made: Made) -> Self {
        Self {
            at: made.at,
            stage: made.stage,
            verdict: made.verdict,
            reason: made.reason,
            until: made.until,
        }
    }
}

/// One try to hand a reminder to a provider.
#[derive(Debug, Serialize, ToSchema)]
struct Attempt {
    number: i32,
    sender: String,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    /// `accepted`, `refused`, `not_accepted` or `unknown`; null while it is under way.
    #[schema(value_type = Option<String>)]
    outcome: Option<OutcomeKind>,
    code: Option<String>,
}

impl From<MadeAttempt> for Attempt {
    fn from(made: MadeAttempt) -> Self {
        Self {
            number: made.number,
            sender: made.sender,
            started_at: made.started_at,
            ended_at: made.ended_at,
            outcome: made.outcome,
            code: made.code,
        }
    }
}

/// Tell one reminder's story
#[utoipa::path(get, path = "/reminders/{id}", tag = "reminders", params(Which), responses((status = 200, body = Story)))]
async fn get_reminder(
    accounts: Accounts,
    Shared(state): Shared<State>,
    Path(which): Path<Which>,
) -> Result<axum::Json<Story>, Refusal> {
    let id = ReminderId(which.id);
    let detail = control::reminders::detail(&state.pool, &accounts, id, state.clock.now()).await?;
    Ok(axum::Json(Story {
        reminder: detail.reminder.into(),
        lines: detail.story.into_iter().map(StoryLine::from).collect(),
        decisions: detail.decisions.into_iter().map(Decision::from).collect(),
        attempts: detail.attempts.into_iter().map(Attempt::from).collect(),
        may_cancel: detail.may.cancel,
        may_send_again: detail.may.send_again,
        may_reveal: detail.may.reveal,
        may_opt_out: detail.may.opt_out,
        rule: detail.rule,
        others: detail.others.into_iter().map(Reminder::from).collect(),
    }))
}

/// Cancel a reminder that waits
///
/// One that is being sent cannot be called back.
#[utoipa::path(post, path = "/reminders/{id}/cancel", tag = "reminders", params(Which), responses((status = 204),
    (status = 409, description = "Its state does not allow it")))]
async fn cancel_reminder(
    accounts: Accounts,
    Shared(state): Shared<State>,
    caller: Caller,
    Path(which): Path<Which>,
) -> Result<StatusCode, Refusal> {
    let id = ReminderId(which.id);
    control::reminders::cancel(&state.pool, &state.clock, caller.by(), &accounts, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send a reminder again
///
/// One that failed, expired, did not arrive, may not have arrived, or was cancelled by a person. Everything is checked again
/// before it goes.
#[utoipa::path(post, path = "/reminders/{id}/send-again", tag = "reminders", params(Which), responses((status = 204),
    (status = 409, description = "Its state does not allow it")))]
async fn send_reminder_again(
    accounts: Accounts,
    Shared(state): Shared<State>,
    caller: Caller,
    Path(which): Path<Which>,
) -> Result<StatusCode, Refusal> {
    let id = ReminderId(which.id);
    control::reminders::send_again(&state.pool, &state.clock, caller.by(), &accounts, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stop all reminders to the address that a reminder went to
#[utoipa::path(post, path = "/reminders/{id}/opt-out", tag = "reminders", params(Which), responses((status = 204),
    (status = 409, description = "Its recipient is not known")))]
async fn opt_out_recipient(
    accounts: Accounts,
    Shared(state): Shared<State>,
    caller: Caller,
    Path(which): Path<Which>,
) -> Result<StatusCode, Refusal> {
    let id = ReminderId(which.id);
    let (pool, clock) = (&state.pool, &state.clock);
    control::consumers::opt_out_recipient_of(pool, clock, caller.by(), &accounts, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where a reminder goes.
#[derive(Debug, Serialize, ToSchema)]
struct Revealed {
    #[schema(value_type = String, example = "email")]
    channel: Channel,
    #[schema(example = "somebody@example.com")]
    address: String,
    /// `liveperson`: as LivePerson told it now; `attempt`: kept until it is known whether the message arrived.
    from: &'static str,
}

/// Tell a reminder's address
///
/// While there is one: a reminder that is owed has its address at LivePerson, which is asked. Afterwards none is kept. That it was
/// told is in the audit trail. The answer is not kept for an `Idempotency-Key`.
#[utoipa::path(post, path = "/reminders/{id}/reveal", tag = "reminders", params(Which), responses((status = 200, body = Revealed),
    (status = 409, description = "No address is kept", body = Problem, content_type = "application/problem+json")))]
async fn reveal_address(
    accounts: Accounts,
    Shared(state): Shared<State>,
    caller: Caller,
    Path(which): Path<Which>,
) -> Result<impl IntoResponse, Refusal> {
    let id = ReminderId(which.id);
    let told = control::reminders::reveal(&state.context, caller.by(), &accounts, id).await?;
    let revealed = Revealed {
        channel: told.address.channel(),
        address: told.address.expose().to_owned(),
        from: told.from.as_str(),
    };
    Ok((Extension(Unrepeatable), axum::Json(revealed)))
}
