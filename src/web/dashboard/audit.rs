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
    table.page(Permission::View, "/activity", show);
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
        format!("/activity?{query}")
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
        let details = details.filter(|(_, value)| !value.is_null());
        let details: Vec<String> = details
            .map(|(name, value)| {
                let value = match value {
                    Value::Array(settings) if name == "changes" => changed(settings),
                    other => said(other),
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

/// A value as people write it: no brackets, no fractions of a second, no more of a hash than tells it from another.
fn said(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text_said(text),
        Value::Array(values) => values.iter().map(said).collect::<Vec<_>>().join(", "),
        Value::Object(values) => {
            let values = values.iter().filter(|(_, value)| !value.is_null());
            let values =
                values.map(|(name, value)| format!("{} {}", labels::words(name), said(value)));
            values.collect::<Vec<_>>().join(", ")
        }
    }
}

fn text_said(text: &str) -> String {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return moment.to_utc().format("%Y-%m-%d %H:%M UTC").to_string();
    }
    if text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return format!("{}…", &text[..8]);
    }
    if text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    {
        return labels::words(text);
    }
    text.to_owned()
}

/// The settings of a rule that a change touched, as its page calls them.
fn changed(settings: &[Value]) -> String {
    let names = settings.iter().filter_map(Value::as_str);
    names.map(rules::label).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_are_words_and_not_json() {
        for (value, words) in [
            (json!(["view", "edit"]), "view, edit"),
            (
                json!("2026-12-01T16:01:02.123456789Z"),
                "2026-12-01 16:01 UTC",
            ),
            (json!({ "role": "editor", "accounts": null }), "role editor"),
            (json!(true), "yes"),
            (json!("bad_address"), "bad address"),
            (json!("Ask Jo_1 first"), "Ask Jo_1 first"),
            (json!("0123456789abcdef0123456789abcdef"), "01234567…"),
        ] {
            assert_eq!(said(&value), words);
        }
    }
}
