//! Doubtful opt-outs, until a person has looked at them.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::control;
use crate::control::accounts::Accounts;
use crate::control::opt_outs::{DoubtfulOptOut, OptOutReview};
use crate::domain::access::Permission;
use crate::domain::ids::Channel;
use crate::suppressions_file;
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable};
use crate::web::api::extract::Json;
use crate::web::problem::ApiError;

pub(super) fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_doubtful_opt_outs));
    table.api(Permission::Operate, routes!(review_opt_out));
}

/// Doubtful opt-outs.
#[derive(Debug, Serialize, ToSchema)]
struct ToReview {
    /// The oldest first, 200 at most: those that are kept or undone make room for the rest.
    items: Vec<DoubtfulOptOut>,
}

/// List doubtful opt-outs to review
///
/// What was written is not kept: only that it was doubtful, and why.
#[utoipa::path(get, path = "/suppressions/review", tag = "suppressions", responses((status = 200, body = ToReview)))]
async fn list_doubtful_opt_outs(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
) -> Result<axum::Json<ToReview>, ApiError> {
    const MOST: i64 = 200;
    let found = control::opt_outs::to_review(&state.pool, &accounts, MOST).await?;
    Ok(axum::Json(ToReview { items: found }))
}

/// What is made of a doubtful opt-out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Review {
    /// The address's hash, as the list has it …
    #[schema(pattern = "^[0-9a-fA-F]{32}$")]
    hash: String,
    /// … with its channel.
    channel: Channel,
    verdict: OptOutReview,
}

/// Keep or undo a doubtful opt-out
///
/// `keep` takes it off the list; `undo` lets reminders go to the address again, in all accounts in which it held.
#[utoipa::path(post, path = "/suppressions/review", tag = "suppressions", request_body = Review, responses((status = 204),
    (status = 404, description = "It is not among the doubtful ones")))]
async fn review_opt_out(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(review): Json<Review>,
) -> Result<StatusCode, ApiError> {
    let hash = suppressions_file::unhex(&review.hash).ok_or_else(|| {
        let detail = "is not 32 hexadecimal digits";
        ApiError::fault(StatusCode::UNPROCESSABLE_ENTITY, "/hash", detail)
    })?;
    let (pool, clock, by) = (&state.pool, &state.clock, caller.by());
    let address = (review.channel, &hash);
    control::opt_outs::review(pool, clock, by, &accounts, address, review.verdict).await?;
    Ok(StatusCode::NO_CONTENT)
}
