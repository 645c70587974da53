//! `/decisions`: the log of why there was, or was not, a reminder, for conversations that never got one too.

use axum::extract::State as Shared;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::extract::Query;
use super::paging::{Page, Paging};
use crate::control;
use crate::control::accounts::Accounts;
use crate::control::reminders::DecisionView;
use crate::domain::access::Permission;
use crate::domain::ids::AccountId;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::problem::ApiError;

pub fn add(table: &mut RouteTable) {
    table.api(Permission::View, routes!(list_decisions));
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DecisionQuery {
    #[param(inline)]
    account: Option<AccountId>,
    /// LivePerson's conversation id.
    conversation: Option<String>,
    /// Entries on a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Where the page begins: `next` of the page before.
    after: Option<String>,
}

/// List decisions, the newest first
///
/// An answer equal to the one before it, about the same reminder or conversation, is logged once.
#[utoipa::path(get, path = "/decisions", tag = "decisions", params(DecisionQuery), responses((status = 200, body = Page<DecisionView>)))]
async fn list_decisions(
    accounts: Accounts,
    Shared(state): Shared<AppState>,
    Query(filter): Query<DecisionQuery>,
) -> Result<axum::Json<Page<DecisionView>>, ApiError> {
    let accounts = accounts.narrowed(filter.account.as_ref().map(AccountId::as_str));
    let paging = Paging {
        limit: filter.limit,
        after: filter.after,
    };
    let (limit, after) = (paging.limit()?, paging.after()?);
    let conversation = filter.conversation.as_deref();
    let rows =
        control::reminders::decisions(&state.pool, &accounts, conversation, after, limit + 1)
            .await?;
    let page = Page::of(rows, limit, |row| row.id);
    Ok(axum::Json(page))
}
