//! `/audit`: who changed what, when.

use axum::extract::State as Shared;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::Query;
use super::paging::{Page, Paging};
use crate::control;
use crate::control::accounts::Accounts;
use crate::db::audit::{Wanted, Written};
use crate::domain::access::Permission;
use crate::domain::ids::AccountId;
use crate::web::State;
use crate::web::access::Table;
use crate::web::problem::Refusal;

pub fn add(table: &mut Table) {
    table.api(Permission::View, routes!(list_audit));
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
struct Entry {
    id: i64,
    at: DateTime<Utc>,
    /// A person's name, `token …`, or the command that was run.
    by: String,
    /// A dotted verb.
    #[schema(example = "rule.publish")]
    action: String,
    #[schema(value_type = Option<String>)]
    account: Option<AccountId>,
    /// What was changed.
    subject: String,
    /// What belongs to it: old and new values, counts.
    #[schema(value_type = Object)]
    detail: serde_json::Value,
}

impl From<Written> for Entry {
    fn from(written: Written) -> Self {
        Self {
            id: written.id,
            at: written.at,
            by: written.by,
            action: written.action,
            account: written.account,
            subject: written.subject,
            detail: written.detail.0,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
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
#[utoipa::path(get, path = "/audit", tag = "audit", params(Filter), responses((status = 200, body = Page<Entry>)))]
async fn list_audit(
    accounts: Accounts,
    Shared(state): Shared<State>,
    Query(filter): Query<Filter>,
) -> Result<axum::Json<Page<Entry>>, Refusal> {
    let paging = Paging {
        limit: filter.limit,
        after: filter.after,
    };
    let limit = paging.limit()?;
    let wanted = Wanted {
        by: filter.by.as_deref(),
        action: filter.action.as_deref(),
        before: paging.after()?,
    };
    let rows = control::audit::list(&state.pool, &accounts, &wanted, limit + 1).await?;
    Ok(axum::Json(Page::of(rows, limit, |row| row.id, Entry::from)))
}
