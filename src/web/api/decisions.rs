//! `/decisions`: the log of why there was, or was not, a reminder, for conversations that never got one too.

use axum::extract::State as Shared;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::Query;
use super::paging::{Page, Paging};
use crate::control;
use crate::control::accounts::Accounts;
use crate::db::pages::Decision as Row;
use crate::domain::access::Permission;
use crate::domain::decide::{Cause, Stage, Verdict};
use crate::domain::ids::{AccountId, Channel};
use crate::web::State;
use crate::web::access::Table;
use crate::web::problem::Refusal;

pub fn add(table: &mut Table) {
    table.api(Permission::View, routes!(list_decisions));
}

/// One recorded answer to "should this be sent now?".
#[derive(Debug, Serialize, ToSchema)]
struct Decided {
    id: i64,
    at: DateTime<Utc>,
    #[schema(value_type = String)]
    account: AccountId,
    conversation: String,
    channel: Channel,
    /// Null: there is, or was then, none.
    reminder: Option<i64>,
    /// scan, deliver, sweep or operator.
    #[schema(value_type = String, example = "deliver")]
    stage: Stage,
    /// schedule, none, send, cancel, postpone or expire.
    #[schema(value_type = String, example = "postpone")]
    verdict: Verdict,
    #[schema(value_type = String, example = "quiet_hours")]
    reason: Cause,
    /// When it is looked at again.
    until: Option<DateTime<Utc>>,
}

impl From<Row> for Decided {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            at: row.at,
            account: row.account,
            conversation: row.conversation,
            channel: row.channel,
            reminder: row.reminder.map(|id| id.0),
            stage: row.stage,
            verdict: row.verdict,
            reason: row.reason,
            until: row.until,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
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
#[utoipa::path(get, path = "/decisions", tag = "decisions", params(Filter), responses((status = 200, body = Page<Decided>)))]
async fn list_decisions(
    accounts: Accounts,
    Shared(state): Shared<State>,
    Query(filter): Query<Filter>,
) -> Result<axum::Json<Page<Decided>>, Refusal> {
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
    let page = Page::of(rows, limit, |row| row.id, Decided::from);
    Ok(axum::Json(page))
}
