//! Settings, their values and what is wrong with them, as pages call them.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::text;
use crate::control::Fault;
use crate::domain::quiet::Window;
use crate::domain::rule::settings::{self, Input, LeftOut, Unit};
use crate::domain::rule::{hours_said, span};

/// What a setting is called, or what else a form is wrong about: by its path in files, or as a pointer into a body of the API.
pub fn label(field: &str) -> String {
    let path = field.trim_start_matches('/').replace('/', ".");
    let path = path.strip_prefix("settings.").unwrap_or(&path);
    let Some(name) = settings::label(path) else {
        return match path {
            "enabled" => "On or off".to_owned(),
            "to" => "Test message to".to_owned(),
            "code" => "Code of the test message".to_owned(),
            other => other.replace('_', " "),
        };
    };
    let (_, inner) = path.split_once('.').unwrap_or_default();
    match settings::find(path).map(|setting| &setting.input) {
        Some(Input::Texts) if !inner.is_empty() => format!("{name} {}", inner.replace('.', ", ")),
        Some(Input::Hours) => match inner.strip_prefix("by_country.") {
            Some(inner) => {
                let country = inner.split(['.', '[']).next().unwrap_or_default();
                format!("{name} for {country} numbers")
            }
            None => name.to_owned(),
        },
        _ => name.to_owned(),
    }
}

/// The value of a setting in words.
pub fn said(path: &str, value: &Value) -> String {
    let setting = settings::find(path);
    let whole = setting.filter(|setting| setting.name == path);
    match (
        whole.map(|setting| (&setting.input, setting.left_out)),
        value,
    ) {
        (Some((_, LeftOut::Means(what))), Value::Null) => what.to_owned(),
        (Some((Input::Number(number), left_out)), value) => {
            let zero = (left_out == LeftOut::Zero).then_some(0);
            match value.as_i64().or(zero) {
                Some(minutes) if number.unit == Unit::Minutes => span(TimeDelta::minutes(minutes)),
                Some(count) => format!("{count} {}", number.unit.as_str()),
                None => text(value),
            }
        }
        (Some((Input::Choice(choices), _)), Value::String(word)) => {
            let means = choices.iter().find(|(own, _)| own == word);
            means.map_or(word.as_str(), |(_, means)| *means).to_owned()
        }
        (_, Value::Null) => "nothing".to_owned(),
        (_, Value::Bool(true)) => "yes".to_owned(),
        (_, Value::Bool(false)) => "no".to_owned(),
        (_, Value::Array(items)) => match setting.map(|setting| &setting.input) {
            Some(Input::Steps) => steps(items),
            Some(Input::Hours) => hours(value),
            _ => text(value),
        },
        (_, Value::Object(template)) if template.contains_key("text") => text(&template["text"]),
        (_, other) => text(other),
    }
}

fn steps(steps: &[Value]) -> String {
    let after = steps
        .iter()
        .filter_map(|step| step["after_minutes"].as_i64());
    let after = after.map(|minutes| format!("after {}", span(TimeDelta::minutes(minutes))));
    after.collect::<Vec<_>>().join(", ")
}

fn hours(windows: &Value) -> String {
    let parsed: Result<Vec<Window>, _> = serde_json::from_value(windows.clone());
    parsed.map_or_else(|_| text(windows), |windows| hours_said(&windows))
}

/// What differs between two versions of a rule, as `rule_differences.hbs` shows it; `Null` if nothing does. `was` and `is` are what
/// the two are called.
pub fn differences<'a>(
    about: &str,
    (was, is): (&str, &str),
    found: impl IntoIterator<Item = (&'a str, &'a Value, &'a Value)>,
) -> Value {
    let rows: Vec<Value> = found
        .into_iter()
        .map(|(path, before, after)| {
            json!({ "name": label(path), "before": said(path, before), "after": said(path, after) })
        })
        .collect();
    if rows.is_empty() {
        return Value::Null;
    }
    json!({ "about": about, "was": was, "is": is, "rows": rows })
}

/// A fault for the page.
pub fn fault(fault: &Fault) -> Value {
    json!({ "name": label(&fault.field), "detail": in_words(&fault.detail) })
}

/// Where words stand in place of a number, the reader of the settings speaks of types.
fn in_words(detail: &str) -> &str {
    let is_number = ["i64", "u32", "u8"]
        .iter()
        .any(|kind| detail.contains(&format!("expected {kind}")));
    if is_number {
        "write a whole number, such as 15"
    } else {
        detail
    }
}
