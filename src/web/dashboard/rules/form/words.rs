//! Settings, their values and what is wrong with them, as pages call them.

#[cfg(test)]
mod tests;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::show::place_of;
use super::text;
use crate::control::Fault;
use crate::domain::ids::Channel;
use crate::domain::quiet::Window;
use crate::domain::rule::settings::{self, Input, LeftOut, Unit};
use crate::domain::rule::{Step, When, hours_said, span};

/// What a setting is called, or what else a form is wrong about: by its path in files, or as a pointer into a body of the API.
pub fn label(field: &str) -> String {
    let path = field
        .trim_start_matches('/')
        .replace(['/', '['], ".")
        .replace(']', "");
    let path = path.strip_prefix("settings.").unwrap_or(&path);
    let Some(name) = settings::label(path) else {
        return match path {
            "enabled" => "Active".to_owned(),
            "to" => "Test message to".to_owned(),
            "code" => "Code of the test message".to_owned(),
            other => other.replace('_', " "),
        };
    };
    let (_, rest) = settings::split(path);
    let (_, inner) = rest.split_once('.').unwrap_or_default();
    match settings::find(path).map(|(setting, _)| &setting.input) {
        Some(Input::Texts) if !inner.is_empty() => format!("{name} {}", inner.replace('.', ", ")),
        Some(Input::Steps) => match inner.split('.').next().map(str::parse::<usize>) {
            Some(Ok(at)) => format!("Step {}", at + 1),
            _ => name,
        },
        Some(Input::Hours) => match inner.strip_prefix("by_country.") {
            Some(inner) => {
                let country = inner.split('.').next().unwrap_or_default();
                format!("{name} for {country} numbers")
            }
            None => name,
        },
        _ => name,
    }
}

/// The value of a setting in words.
pub fn said(path: &str, value: &Value) -> String {
    let (_, rest) = settings::split(path);
    let setting = settings::find(path).map(|(setting, _)| setting);
    let whole = setting.filter(|setting| setting.name == rest);
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
        (_, Value::Array(_)) => match setting.map(|setting| &setting.input) {
            Some(Input::Steps) => steps(value),
            Some(Input::Hours) => hours(value),
            _ => text(value),
        },
        (_, Value::Object(template)) if template.contains_key("text") => text(&template["text"]),
        (_, other) => text(other),
    }
}

fn steps(steps: &Value) -> String {
    let parsed: Result<Vec<Step>, _> = serde_json::from_value(steps.clone());
    parsed.map_or_else(|_| text(steps), |steps| sequence(&steps))
}

/// A sequence in a line: "E-mail 10 min → SMS if not reached → E-mail 24 h".
fn sequence(steps: &[Step]) -> String {
    let said: Vec<String> = sequence_parts(steps)
        .iter()
        .map(|(channel, when)| format!("{} {when}", channel.names().label))
        .collect();
    said.join(" → ")
}

/// A span that leaves room for others in its line: "10 min", "1 h 30 min", "24 h", "2 days".
fn short(wait: TimeDelta) -> String {
    let said = span(wait)
        .replace(" minutes", " min")
        .replace(" minute", " min");
    said.replace(" hours", " h").replace(" hour", " h")
}

/// The same, each step as its channel and when.
pub fn sequence_parts(steps: &[Step]) -> Vec<(Channel, String)> {
    let before = std::iter::once(None).chain(steps.iter().map(Some));
    let parts = steps.iter().zip(before).map(|(step, before)| {
        let after = short(step.after);
        let at_once = before.is_some_and(|before| before.after == step.after);
        let when = match step.when {
            When::Always => after,
            When::IfNotReached if at_once => "if not reached".to_owned(),
            When::IfNotReached => format!("{after} if not reached"),
        };
        (step.channel, when)
    });
    parts.collect()
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

/// A fault for the page, with the place of its field among those of the form.
pub fn fault(form: &Value, fault: &Fault) -> Value {
    json!({ "name": label(&fault.field), "detail": fault.detail, "at": place_of(form, fault) })
}
