//! `/incidents`: what kept reminders from going out, and whether it still does.

use axum::extract::State as Shared;
use utoipa_axum::routes;

use super::paging::Page;
use crate::control::accounts::Accounts;
use crate::control::incidents::{self, IncidentView};
use crate::domain::access::Permission;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::problem::ApiError;

/// The newest; older ones are in the tables for as long as the audit trail.
const MOST: i64 = 200;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_incidents));
}

/// List incidents
///
/// Those that people were told of, the newest first, at most 200. Who is limited to some accounts sees theirs.
#[utoipa::path(get, path = "/incidents", tag = "overview", responses((status = 200, body = Page<IncidentView>)))]
async fn list_incidents(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
) -> Result<axum::Json<Page<IncidentView>>, ApiError> {
    let found = incidents::list(&state.context, &accounts, MOST).await?;
    Ok(axum::Json(Page::whole(found)))
}
