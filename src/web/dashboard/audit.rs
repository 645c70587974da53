//! The audit trail as a page: who changed what, when.

use axum::extract::{Query, State as Shared};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, Unshown, words};
use crate::control;
use crate::db::audit::{Wanted, Written};
use crate::domain::access::Permission;
use crate::web::State;
use crate::web::access::Table;

/// Entries on a page.
const SHOWN: i64 = 50;

pub fn add(table: &mut Table) {
    table.page(Permission::View, "/audit", show);
}

#[derive(Deserialize)]
struct Filter {
    #[serde(default)]
    by: String,
    #[serde(default)]
    action: String,
    before: Option<i64>,
}

async fn show(
    page: Page,
    Shared(state): Shared<State>,
    Query(filter): Query<Filter>,
) -> Result<Response, Unshown> {
    let given = |word: &'_ str| Some(word.trim().to_owned()).filter(|word| !word.is_empty());
    let (by, action) = (given(&filter.by), given(&filter.action));
    let wanted = Wanted {
        by: by.as_deref(),
        action: action.as_deref(),
        before: filter.before,
    };
    let mut rows = control::audit::list(&state.pool, &page.accounts, &wanted, SHOWN + 1).await?;
    let more = rows.len() > usize::try_from(SHOWN).unwrap_or_default();
    rows.truncate(usize::try_from(SHOWN).unwrap_or_default());
    let older = rows.last().filter(|_| more).map(|last| {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("by", by.as_deref().unwrap_or_default())
            .append_pair("action", action.as_deref().unwrap_or_default())
            .append_pair("before", &last.id.to_string())
            .finish();
        format!("/audit?{query}")
    });
    let now = state.clock.now();
    let values = json!({
        "by": by.as_deref().unwrap_or_default(),
        "action": action.as_deref().unwrap_or_default(),
        "filtered": by.is_some() || action.is_some() || filter.before.is_some(),
        "entries": rows.iter().map(|row| entry(row, now)).collect::<Vec<_>>(),
        "older": older,
    });
    Ok(page.render("audit.hbs", "Audit trail", values))
}

fn entry(row: &Written, now: chrono::DateTime<chrono::Utc>) -> Value {
    let detail = row.detail.as_object();
    let detail: Vec<String> = detail
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("{}: {value}", words::words(name))
        })
        .collect();
    json!({
        "at": words::time(row.at, now),
        "by": row.by,
        "action": row.action,
        "done": words::action(&row.action),
        "account": row.account,
        "subject": row.subject,
        "detail": detail.join(", "),
    })
}
