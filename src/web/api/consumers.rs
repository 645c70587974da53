//! `/consumers`: what is known of one person, no more reminders for them, forgetting them.
//!
//! The person is named in the body, never in the address: addresses end up in logs.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::extract::Json;
use crate::control;
use crate::control::accounts::{Accounts, Allowed};
use crate::control::consumers::{ConsumerSelector, ConsumerView, ErasureView, reads_as_address};
use crate::domain::access::Permission;
use crate::domain::ids::AccountId;
use crate::web::AppState;
use crate::web::access::{Caller, RouteTable};
use crate::web::problem::ApiError;

pub fn add(table: &mut RouteTable) {
    table.api_question(Permission::View, routes!(look_up_consumer));
    table.api(Permission::Operate, routes!(opt_out_consumer));
    table.api(Permission::Operate, routes!(allow_consumer));
    table.api(Permission::Administer, routes!(erase_consumer));
}

/// Who is meant: exactly one of consumer, conversation and address.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Named)]
struct ConsumerQuery {
    account: AccountId,
    /// LivePerson's consumer id, or the brand's own.
    consumer: Option<String>,
    /// LivePerson's conversation id.
    conversation: Option<String>,
    /// An e-mail address or a phone number. It is hashed at once and neither stored nor logged.
    address: Option<String>,
}

impl ConsumerQuery {
    /// Whether an answer would confirm an address.
    fn by_address(&self, region: Option<&str>) -> bool {
        let id = self.consumer.as_deref();
        self.address.is_some() || id.is_some_and(|id| reads_as_address(id, region))
    }

    async fn who(
        &self,
        state: &AppState,
        accounts: &Accounts,
    ) -> Result<(Allowed<AccountId>, ConsumerSelector), ApiError> {
        let account = accounts.named(self.account.as_str())?;
        let who = match (&self.consumer, &self.conversation, &self.address) {
            (Some(id), None, None) => ConsumerSelector::Consumer(id.clone()),
            (None, Some(id), None) => ConsumerSelector::Conversation(id.clone()),
            (None, None, Some(raw)) => {
                let region = state.region_of(&account);
                let (pool, clock, hasher) = (&state.pool, &state.clock, &state.hasher);
                ConsumerSelector::address(pool, clock, hasher, (raw, region.as_deref())).await?
            }
            _ => {
                return Err(ApiError::fault(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "",
                    "give exactly one of consumer, conversation and address",
                ));
            }
        };
        Ok((account, who))
    }
}

/// Look up a consumer
///
/// By an address, or by a customer id that is one, only with the scope `operate`: the answer says whether the address is known.
#[utoipa::path(post, path = "/consumers/look-up", tag = "consumers", request_body = ConsumerQuery,
    responses((status = 200, body = ConsumerView),
    (status = 404, description = "There is no such account")))]
async fn look_up_consumer(
    accounts: Accounts,
    caller: Caller,
    Shared(state): Shared<AppState>,
    Json(named): Json<ConsumerQuery>,
) -> Result<axum::Json<ConsumerView>, ApiError> {
    let region = state.region_of(&*accounts.named(named.account.as_str())?);
    if named.by_address(region.as_deref()) && !caller.may(Permission::Operate) {
        return Err(ApiError::forbidden(Permission::Operate));
    }
    let (account, who) = named.who(&state, &accounts).await?;
    Ok(axum::Json(
        control::consumers::look_up(&state.context, &account, &who).await?,
    ))
}

/// What an opt-out reached.
#[derive(Debug, Serialize, ToSchema)]
struct OptedOut {
    addresses: usize,
}

/// Stop all reminders to the known addresses of a consumer
#[utoipa::path(post, path = "/consumers/opt-out", tag = "consumers", request_body = ConsumerQuery,
    responses((status = 200, body = OptedOut),
    (status = 404, description = "There is no such account"),
    (status = 409, description = "No address of theirs is known")))]
async fn opt_out_consumer(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(named): Json<ConsumerQuery>,
) -> Result<axum::Json<OptedOut>, ApiError> {
    let (account, who) = named.who(&state, &accounts).await?;
    let (pool, clock) = (&state.pool, &state.clock);
    let addresses = control::consumers::opt_out(pool, clock, caller.by(), &account, &who).await?;
    Ok(axum::Json(OptedOut { addresses }))
}

/// What was allowed again.
#[derive(Debug, Serialize, ToSchema)]
struct AllowedAgain {
    addresses: u64,
}

/// Take an opt-out back
///
/// Lifts the opt-outs that your team made for the known addresses of a consumer. A consumer's own opt-out and imported lists stay.
#[utoipa::path(post, path = "/consumers/allow", tag = "consumers", request_body = ConsumerQuery,
    responses((status = 200, body = AllowedAgain),
    (status = 404, description = "There is no such account"),
    (status = 409, description = "Your team has not opted them out")))]
async fn allow_consumer(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(named): Json<ConsumerQuery>,
) -> Result<axum::Json<AllowedAgain>, ApiError> {
    let (account, who) = named.who(&state, &accounts).await?;
    let (pool, clock) = (&state.pool, &state.clock);
    let addresses = control::consumers::allow(pool, clock, caller.by(), &account, &who).await?;
    Ok(axum::Json(AllowedAgain { addresses }))
}

/// Erase a consumer
///
/// What stays: counts without a person, and suppressions, which are keyed hashes.
#[utoipa::path(post, path = "/consumers/erase", tag = "consumers", request_body = ConsumerQuery,
    responses((status = 200, body = ErasureView),
    (status = 404, description = "There is no such account")))]
async fn erase_consumer(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    caller: Caller,
    Json(named): Json<ConsumerQuery>,
) -> Result<axum::Json<ErasureView>, ApiError> {
    let (account, who) = named.who(&state, &accounts).await?;
    let (pool, clock) = (&state.pool, &state.clock);
    let erased =
        control::consumers::erase(pool, (clock, &state.hasher), caller.by(), &account, &who)
            .await?;
    Ok(axum::Json(erased))
}
