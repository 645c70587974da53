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
use crate::control::reminders::{Detail, ReminderView, StateCounts};
use crate::db::reminders::{ReminderCursor, ReminderFilter, ReminderOwner};
use crate::domain::access::Permission;
use crate::domain::decide::Cause;
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::reminder::ReminderState;
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable, Unrepeatable};
use crate::web::problem::{ApiError, Problem};

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_reminders));
    table.api(Permission::View, routes!(count_reminders));
    table.api(Permission::View, routes!(get_reminder));
    table.api(Permission::Operate, routes!(cancel_reminder));
    table.api(Permission::Operate, routes!(send_reminder_again));
    table.api(Permission::Operate, routes!(opt_out_recipient));
    table.api(Permission::Operate, routes!(reveal_address));
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReminderQuery {
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

impl ReminderQuery {
    fn filter(&self) -> Result<ReminderFilter, ApiError> {
        Ok(ReminderFilter {
            skill: self.skill,
            channel: self.channel,
            state: self.state,
            reason: self.reason.as_deref().map(Cause::parse),
            returned: self.returned,
            from: self.from,
            until: self.until,
            whose: match (&self.conversation, &self.consumer) {
                (Some(id), None) => Some(ReminderOwner::Conversation(id.clone())),
                (None, Some(id)) => Some(ReminderOwner::Consumer(id.clone())),
                (None, None) => None,
                (Some(_), Some(_)) => {
                    return Err(ApiError::fault(
                        StatusCode::BAD_REQUEST,
                        "consumer",
                        "give either a conversation or a consumer",
                    ));
                }
            },
            ..ReminderFilter::default()
        })
    }
}

/// List reminders, the newest first
#[utoipa::path(get, path = "/reminders", tag = "reminders", params(ReminderQuery), responses((status = 200, body = Page<ReminderView>)))]
async fn list_reminders(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Query(wanted): Query<ReminderQuery>,
    caller: Caller,
) -> Result<axum::Json<Page<ReminderView>>, ApiError> {
    let accounts = accounts.narrowed(wanted.account.as_ref().map(AccountId::as_str));
    let regions = accounts.ids().iter().map(|id| state.region_of(id));
    let mut regions = regions.chain([None]);
    let by_address = wanted.consumer.as_deref().is_some_and(|consumer| {
        regions.any(|region| reads_as_address(consumer, region.as_deref()))
    });
    if by_address && !caller.may(Permission::Operate) {
        return Err(ApiError::forbidden(Permission::Operate));
    }
    let filter = wanted.filter()?;
    let paging = Paging {
        limit: wanted.limit,
        after: wanted.after,
    };
    let after: Option<(DateTime<Utc>, i64)> = paging.after()?;
    let after = after.map(|(created_at, id)| ReminderCursor { created_at, id });
    let (pool, limit) = (&state.pool, paging.limit()?);
    let page = control::reminders::search(pool, &accounts, filter, after, limit).await?;
    Ok(axum::Json(Page {
        next: page.next.map(|place| cursor(&(place.created_at, place.id))),
        items: page.reminders,
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CountQuery {
    #[param(inline)]
    account: Option<AccountId>,
    #[param(inline)]
    channel: Option<Channel>,
    /// Those that ended before this are not counted; left out: as long as reminders are kept.
    since: Option<DateTime<Utc>>,
}

/// Count reminders by state
#[utoipa::path(get, path = "/reminders/counts", tag = "reminders", params(CountQuery), responses((status = 200, body = StateCounts)))]
async fn count_reminders(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Query(wanted): Query<CountQuery>,
) -> Result<axum::Json<StateCounts>, ApiError> {
    let accounts = accounts.narrowed(wanted.account.as_ref().map(AccountId::as_str));
    let since = wanted.since.unwrap_or_else(|| state.reminders_since());
    Ok(axum::Json(
        control::reminders::counts(&state.pool, &accounts, wanted.channel, since).await?,
    ))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct ReminderPath {
    /// The reminder's number.
    id: i64,
}

/// Tell one reminder's story
#[utoipa::path(get, path = "/reminders/{id}", tag = "reminders", params(ReminderPath), responses((status = 200, body = Detail)))]
async fn get_reminder(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Path(which): Path<ReminderPath>,
) -> Result<axum::Json<Detail>, ApiError> {
    let (id, now) = (ReminderId(which.id), state.clock.now());
    Ok(axum::Json(
        control::reminders::detail(&state.pool, &accounts, id, now).await?,
    ))
}

/// Cancel a reminder that waits
///
/// One that is being sent cannot be called back.
#[utoipa::path(post, path = "/reminders/{id}/cancel", tag = "reminders", params(ReminderPath), responses((status = 204),
    (status = 409, description = "Its state does not allow it")))]
async fn cancel_reminder(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Path(which): Path<ReminderPath>,
) -> Result<StatusCode, ApiError> {
    let id = ReminderId(which.id);
    control::reminders::cancel(&state.pool, &state.clock, caller.by(), &accounts, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send a reminder again
///
/// One that failed, expired, did not arrive, may not have arrived, or was cancelled by a person. Everything is checked again
/// before it goes.
#[utoipa::path(post, path = "/reminders/{id}/send-again", tag = "reminders", params(ReminderPath), responses((status = 204),
    (status = 409, description = "Its state does not allow it")))]
async fn send_reminder_again(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Path(which): Path<ReminderPath>,
) -> Result<StatusCode, ApiError> {
    let id = ReminderId(which.id);
    control::reminders::send_again(&state.pool, &state.clock, caller.by(), &accounts, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stop all reminders to the address that a reminder went to
#[utoipa::path(post, path = "/reminders/{id}/opt-out", tag = "reminders", params(ReminderPath), responses((status = 204),
    (status = 409, description = "Its recipient is not known")))]
async fn opt_out_recipient(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Path(which): Path<ReminderPath>,
) -> Result<StatusCode, ApiError> {
    let id = ReminderId(which.id);
    let (pool, clock) = (&state.pool, &state.clock);
    control::consumers::opt_out_recipient_of(pool, clock, caller.by(), &accounts, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where a reminder goes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Revealed)]
struct RevealedAddressView {
    #[schema(value_type = String, example = "email")]
    channel: Channel,
    #[schema(example = "somebody@example.com")]
    address: String,
    /// `liveperson`: from LivePerson just now; `attempt`: stored until it is known whether the message arrived.
    from: &'static str,
}

/// Tell a reminder's address
///
/// While there is one: a reminder that is owed has its address at LivePerson, which is asked. Afterwards none is kept. That it was
/// told is in the audit trail. The answer is not kept for an `Idempotency-Key`.
#[utoipa::path(post, path = "/reminders/{id}/reveal", tag = "reminders", params(ReminderPath), responses((status = 200, body = RevealedAddressView),
    (status = 409, description = "No address is kept", body = Problem, content_type = "application/problem+json")))]
async fn reveal_address(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Path(which): Path<ReminderPath>,
) -> Result<impl IntoResponse, ApiError> {
    let id = ReminderId(which.id);
    let told = control::reminders::reveal(&state.context, caller.by(), &accounts, id).await?;
    let revealed = RevealedAddressView {
        channel: told.address.channel(),
        address: told.address.expose().to_owned(),
        from: told.from.as_str(),
    };
    Ok((Extension(Unrepeatable), axum::Json(revealed)))
}
