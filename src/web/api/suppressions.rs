//! `/suppressions`: addresses that must not be written to. They are known by keyed hash only.

mod export;
mod import;
mod review;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Json, Query};
use super::paging::{Page, Paging};
use crate::control;
use crate::control::accounts::{Accounts, Allowed};
use crate::control::consumers::ConsumerSelector;
use crate::control::suppressions::SuppressionView;
use crate::db::suppressions::{AddressHash, SuppressionFilter};
use crate::domain::access::Permission;
use crate::domain::contact::Suppression as Reason;
use crate::domain::ids::{AccountId, Channel};
use crate::suppressions_file;
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable};
use crate::web::problem::ApiError;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_suppressions));
    table.api(Permission::Operate, routes!(add_suppression));
    table.api(Permission::Operate, routes!(remove_suppression));
    import::add(table);
    export::add(table);
    review::add(table);
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SuppressionQuery {
    #[param(inline)]
    account: Option<AccountId>,
    #[param(inline)]
    channel: Option<Channel>,
    #[param(inline)]
    reason: Option<Reason>,
    /// Entries on a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next` of the page before.
    after: Option<String>,
}

/// List suppressions, the newest first
#[utoipa::path(get, path = "/suppressions", tag = "suppressions", params(SuppressionQuery),
    responses((status = 200, body = Page<SuppressionView>)))]
async fn list_suppressions(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Query(wanted): Query<SuppressionQuery>,
) -> Result<axum::Json<Page<SuppressionView>>, ApiError> {
    let accounts = accounts.narrowed(wanted.account.as_ref().map(AccountId::as_str));
    let filter = SuppressionFilter {
        channel: wanted.channel,
        reason: wanted.reason,
        ..SuppressionFilter::default()
    };
    let paging = Paging {
        limit: wanted.limit,
        after: wanted.after,
    };
    let (after, limit) = (paging.after()?, paging.limit()?);
    let pool = &state.pool;
    let rows = control::suppressions::list(pool, &accounts, filter, after, limit + 1).await?;
    Ok(axum::Json(Page::of(rows, limit, SuppressionView::place)))
}

/// An address, given itself or by its hash.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Which)]
struct SuppressionTarget {
    account: AccountId,
    /// An e-mail address or a phone number. It is hashed at once and neither stored nor logged.
    address: Option<String>,
    /// Instead of the address: its hash, as a list or an export has it …
    #[schema(pattern = "^[0-9a-fA-F]{32}$")]
    hash: Option<String>,
    /// … with its channel.
    channel: Option<Channel>,
}

impl SuppressionTarget {
    async fn key(
        &self,
        state: &AppState,
        accounts: &Accounts,
    ) -> Result<(Allowed<AccountId>, Channel, AddressHash), ApiError> {
        let fault = |field: &str, detail: &str| {
            ApiError::fault(StatusCode::UNPROCESSABLE_ENTITY, field, detail)
        };
        let account = accounts.named(self.account.as_str())?;
        let (channel, hash) = match (&self.address, &self.hash, &self.channel) {
            (Some(raw), None, None) => {
                let region = state.region_of(&account);
                let (pool, clock, hasher) = (&state.pool, &state.clock, &state.hasher);
                match ConsumerSelector::address(pool, clock, hasher, (raw, region.as_deref()))
                    .await?
                {
                    ConsumerSelector::Address(channel, hash) => (channel, hash),
                    ConsumerSelector::Consumer(_) | ConsumerSelector::Conversation(_) => {
                        unreachable!("an address was read")
                    }
                }
            }
            (None, Some(hash), Some(channel)) => (
                *channel,
                suppressions_file::unhex(hash)
                    .ok_or_else(|| fault("/hash", "is not 32 hexadecimal digits"))?,
            ),
            _ => {
                return Err(fault(
                    "",
                    "give either an address, or a hash and its channel",
                ));
            }
        };
        Ok((account, channel, hash))
    }
}

/// An address to be suppressed, given itself or by its hash and channel.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = New)]
struct NewSuppression {
    account: AccountId,
    /// An e-mail address or a phone number. It is hashed at once and neither stored nor logged.
    address: Option<String>,
    #[schema(pattern = "^[0-9a-fA-F]{32}$")]
    hash: Option<String>,
    channel: Option<Channel>,
    /// Left out: `blocked`.
    reason: Option<Reason>,
}

/// Suppress an address
///
/// What forbids more stays: an opt-out does not replace a block or a complaint.
#[utoipa::path(post, path = "/suppressions", tag = "suppressions", request_body = NewSuppression, responses((status = 204),
    (status = 404, description = "There is no such account")))]
async fn add_suppression(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(new): Json<NewSuppression>,
) -> Result<StatusCode, ApiError> {
    let reason = new.reason.unwrap_or(Reason::Blocked);
    let which = SuppressionTarget {
        account: new.account,
        address: new.address,
        hash: new.hash,
        channel: new.channel,
    };
    let (account, channel, hash) = which.key(&state, &accounts).await?;
    let key = (&account, channel, &hash);
    control::suppressions::add(&state.pool, &state.clock, caller.by(), key, reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lift a suppression, whatever its reason
#[utoipa::path(post, path = "/suppressions/remove", tag = "suppressions", request_body = SuppressionTarget, responses((status = 204),
    (status = 404, description = "It is not suppressed")))]
async fn remove_suppression(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(which): Json<SuppressionTarget>,
) -> Result<StatusCode, ApiError> {
    let (account, channel, hash) = which.key(&state, &accounts).await?;
    let key = (&account, channel, &hash);
    control::suppressions::remove(&state.pool, &state.clock, caller.by(), key).await?;
    Ok(StatusCode::NO_CONTENT)
}
