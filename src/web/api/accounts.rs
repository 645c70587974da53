//! `/accounts`: the LivePerson accounts of this installation and their skills, to read.

use axum::extract::State as Shared;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::Path;
use super::paging::Page;
use crate::control;
use crate::control::accounts::{Accounts, SkillView};
use crate::control::rules::SkillCoverage;
use crate::domain::access::Permission;
use crate::domain::ids::AccountId;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::problem::ApiError;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_accounts));
    table.api(Permission::View, routes!(list_skills));
    table.api(Permission::View, routes!(list_coverage));
}

/// A LivePerson account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
struct AccountView {
    /// LivePerson's site id.
    #[schema(value_type = String, example = "12345678")]
    id: AccountId,
    brand: String,
    /// When its skills were last read at LivePerson.
    skills_synced_at: Option<DateTime<Utc>>,
}

/// List the accounts
#[utoipa::path(get, path = "/accounts", tag = "accounts", responses((status = 200, body = Page<AccountView>)))]
async fn list_accounts(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
) -> Result<axum::Json<Page<AccountView>>, ApiError> {
    let accounts = control::accounts::list(&state.pool, &accounts).await?;
    let accounts = accounts.into_iter().map(|account| AccountView {
        brand: state.brand_of(&account.id),
        id: account.id,
        skills_synced_at: account.skills_synced_at,
    });
    Ok(axum::Json(Page::whole(accounts.collect())))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct AccountQuery {
    /// The account's id.
    #[param(inline)]
    account: AccountId,
}

/// List an account's skills
///
/// Those that LivePerson lists, by name. `-1`, "Unassigned", is LivePerson's own and not among them.
#[utoipa::path(get, path = "/accounts/{account}/skills", tag = "accounts", params(AccountQuery),
    responses((status = 200, body = Page<SkillView>)))]
async fn list_skills(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Path(of): Path<AccountQuery>,
) -> Result<axum::Json<Page<SkillView>>, ApiError> {
    let account = accounts.named(of.account.as_str())?;
    let skills = control::accounts::skills(&state.pool, &account).await?;
    Ok(axum::Json(Page::whole(skills)))
}

/// List which rule covers which skill
///
/// The account's default first, for all skills without a rule of their own; then every skill that LivePerson lists or that has a rule, and
/// "Unassigned".
#[utoipa::path(get, path = "/accounts/{account}/coverage", tag = "accounts", params(AccountQuery),
    responses((status = 200, body = Page<SkillCoverage>)))]
async fn list_coverage(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Path(of): Path<AccountQuery>,
) -> Result<axum::Json<Page<SkillCoverage>>, ApiError> {
    let account = accounts.named(of.account.as_str())?;
    let map = control::rules::coverage(&state.pool, &account).await?;
    Ok(axum::Json(Page::whole(map)))
}
