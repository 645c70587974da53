//! What holds all sending.

use axum::extract::State as Shared;
use utoipa_axum::routes;

use super::paging::Page;
use crate::control::hold::{self, HoldView};
use crate::domain::access::Permission;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::problem::ApiError;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_holds));
}

/// List what holds all sending
///
/// None in the usual course. A database that was restored from a backup, copied, or is not the one that has sent is found out, and
/// nothing is sent until the operator of the service decides, with `unread restored` or `unread moved`.
#[utoipa::path(get, path = "/hold", tag = "pauses", responses((status = 200, body = Page<HoldView>)))]
async fn list_holds(
    Shared(state): Shared<AppState>,
) -> Result<axum::Json<Page<HoldView>>, ApiError> {
    let holds = hold::list(&state.pool).await?;
    Ok(axum::Json(Page::whole(holds)))
}
