//! `/audit`: who changed what, when.

use axum::extract::State as Shared;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::extract::Query;
use super::paging::{Page, Paging};
use crate::control;
use crate::control::accounts::Accounts;
use crate::control::audit::EntryView;
use crate::db::audit::AuditFilter;
use crate::domain::access::Permission;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::problem::ApiError;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_audit));
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Only changes by this person, token or command.
    by: Option<String>,
    /// Only this verb, or those that begin with it: `rule` finds `rule.publish`.
    action: Option<String>,
    /// Entries on a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next` of the page before.
    after: Option<String>,
}

/// List changes, the newest first
///
/// Who is limited to some accounts sees the changes in these.
#[utoipa::path(get, path = "/audit", tag = "audit", params(AuditQuery), responses((status = 200, body = Page<EntryView>)))]
async fn list_audit(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Query(filter): Query<AuditQuery>,
) -> Result<axum::Json<Page<EntryView>>, ApiError> {
    let paging = Paging {
        limit: filter.limit,
        after: filter.after,
    };
    let limit = paging.limit()?;
    let wanted = AuditFilter {
        by: filter.by.as_deref(),
        action: filter.action.as_deref(),
        before: paging.after()?,
    };
    let rows = control::audit::list(&state.pool, &accounts, &wanted, limit + 1).await?;
    Ok(axum::Json(Page::of(rows, limit, |row| row.id)))
}
