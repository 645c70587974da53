//! The audit trail as a page: who changed what, when.

use axum::extract::{Query, State as Shared};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::labels::{self, Moment};
use super::{PageError, PageFrame, rules};
use crate::control;
use crate::control::audit::EntryView;
use crate::db::audit::AuditFilter;
use crate::domain::access::Permission;
use crate::web::AppState;
use crate::web::access::RouteTable;

/// Entries on a page.
const SHOWN: i64 = 50;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/audit", show);
}

#[derive(Deserialize)]
struct AuditPageQuery {
    #[serde(default)]
    by: String,
    #[serde(default)]
    action: String,
    before: Option<i64>,
}

async fn show(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Query(filter): Query<AuditPageQuery>,
) -> Result<Response, PageError> {
    let given = |word: &'_ str| Some(word.trim().to_owned()).filter(|word| !word.is_empty());
    let (by, action) = (given(&filter.by), given(&filter.action));
    let wanted = AuditFilter {
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
    let values = AuditPage {
        filtered: by.is_some() || action.is_some() || filter.before.is_some(),
        by: by.unwrap_or_default(),
        action: action.unwrap_or_default(),
        entries: rows.iter().map(|row| AuditRow::new(row, now)).collect(),
        older,
    };
    Ok(page.render("audit.hbs", "Activity", values))
}

#[derive(Serialize)]
struct AuditPage<'a> {
    by: String,
    action: String,
    filtered: bool,
    entries: Vec<AuditRow<'a>>,
    older: Option<String>,
}

#[derive(Serialize)]
struct AuditRow<'a> {
    #[serde(flatten)]
    entry: &'a EntryView,
    when: Moment,
    done: Option<&'static str>,
    details: String,
}

impl<'a> AuditRow<'a> {
    fn new(entry: &'a EntryView, now: DateTime<Utc>) -> Self {
        let details = entry.detail.as_object().into_iter().flatten();
        let details: Vec<String> = details
            .map(|(name, value)| {
                let value = match value {
                    Value::String(word) => word.clone(),
                    Value::Array(settings) if name == "changes" => changed(settings),
                    other => other.to_string(),
                };
                format!("{}: {value}", labels::words(name))
            })
            .collect();
        Self {
            entry,
            when: labels::time(entry.at, now),
            done: labels::action(&entry.action),
            details: details.join(", "),
        }
    }
}

/// The settings of a rule that a change touched, as its page calls them.
fn changed(settings: &[Value]) -> String {
    let names = settings.iter().filter_map(Value::as_str);
    names.map(rules::label).collect::<Vec<_>>().join("; ")
}
