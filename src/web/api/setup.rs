//! `/accounts/{account}/setup`: the way to the first reminder.

use axum::extract::State as Shared;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::extract::Path;
use crate::control::accounts::Accounts;
use crate::control::setup::{self, AccountSetup};
use crate::domain::access::Permission;
use crate::domain::ids::AccountId;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::problem::ApiError;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(read_setup));
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfAccount {
    /// The account's id.
    #[param(inline)]
    account: AccountId,
}

/// How far an account has come on the way to its first reminder
#[utoipa::path(get, path = "/accounts/{account}/setup", tag = "accounts", params(OfAccount),
    responses((status = 200, body = AccountSetup)))]
async fn read_setup(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Path(of): Path<OfAccount>,
) -> Result<axum::Json<AccountSetup>, ApiError> {
    let account = accounts.named(of.account.as_str())?;
    let has_page = state.has_page(&account);
    Ok(axum::Json(
        setup::of_account(&state.context, &account, has_page).await?,
    ))
}
