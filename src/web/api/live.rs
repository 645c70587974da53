//! Going live, and back.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::extract::{Json, Path};
use crate::control::accounts::Accounts;
use crate::control::live::{CheckCaller, GoLiveRequest, LiveStatus};
use crate::control::rules::ChangeAuthor;
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, Channel};
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable};
use crate::web::problem::{ApiError, Problem};

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(read_live));
    table.api(Permission::Operate, routes!(go_live));
    table.api(Permission::Operate, routes!(end_live));
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfChannel {
    /// The account's id.
    #[param(inline)]
    account: AccountId,
    #[param(inline)]
    channel: Channel,
}

/// Whether a channel of an account is live
///
/// While it is not, what stands in the way is listed. For callers who may `operate`, LivePerson and the provider are asked, unless they were within
/// the last minute: it may take some seconds. Callers who may only `view` get what was found when they were last asked.
#[utoipa::path(get, path = "/accounts/{account}/live/{channel}", tag = "accounts", params(OfChannel),
    responses((status = 200, body = LiveStatus)))]
async fn read_live(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Path(of): Path<OfChannel>,
) -> Result<axum::Json<LiveStatus>, ApiError> {
    let account = accounts.named(of.account.as_str())?;
    let asker = CheckCaller::of(caller.may(Permission::Operate));
    let installation = state.installation();
    let standing = installation.standing(&account, of.channel, asker).await?;
    Ok(axum::Json(standing))
}

/// Go live with a channel of an account
///
/// From now on its reminders go out: for what agents write from this moment on, and with `include_unread` for what is unread now.
#[utoipa::path(put, path = "/accounts/{account}/live/{channel}", tag = "accounts", params(OfChannel), request_body = GoLiveRequest,
    responses((status = 204, description = "It is live"),
    (status = 409, description = "Something stands in the way, which is listed with its fix, or it is already live, or it is not known \
                                  yet how many customers have unread messages", body = Problem,
    content_type = "application/problem+json"),
    (status = 412, description = "Not as many customers have unread messages as `include_unread` says", body = Problem,
    content_type = "application/problem+json")))]
async fn go_live(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Path(of): Path<OfChannel>,
    Json(wish): Json<GoLiveRequest>,
) -> Result<StatusCode, ApiError> {
    let by = ChangeAuthor {
        name: caller.by(),
        now: state.clock.now(),
    };
    let account = accounts.named(of.account.as_str())?;
    let installation = state.installation();
    installation.go(&account, of.channel, &wish, by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a channel of an account back from live
///
/// No reminder goes out any more; those that wait are cancelled when they are due.
#[utoipa::path(delete, path = "/accounts/{account}/live/{channel}", tag = "accounts", params(OfChannel),
    responses((status = 204, description = "It is not live any more"),
    (status = 409, description = "It was not live", body = Problem, content_type = "application/problem+json")))]
async fn end_live(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Path(of): Path<OfChannel>,
) -> Result<StatusCode, ApiError> {
    let by = ChangeAuthor {
        name: caller.by(),
        now: state.clock.now(),
    };
    let account = accounts.named(of.account.as_str())?;
    let installation = state.installation();
    installation.back(&account, of.channel, by).await?;
    Ok(StatusCode::NO_CONTENT)
}
