//! From fields to settings. What does not fit is passed on as it was written, so that
//! [`Settings::parse`](crate::domain::rule::RuleSettings::parse) says what is wrong with it.

use serde_json::{Map, Value, json};

use super::{DAYS, FormFields};
use crate::domain::channel::Parts;
use crate::domain::ids::Channel;
use crate::domain::rule::settings::{Input, LeftOut, SETTINGS};

/// Rows of a kind that are looked for.
const MOST_ROWS: usize = 60;

/// A whole number, or what was written instead.
fn number(raw: &str) -> Value {
    raw.parse::<i64>().map_or_else(|_| raw.into(), Value::from)
}

/// The settings that a form says. `stored` keeps what the form does not show.
pub fn settings(channel: Channel, stored: Value, fields: &FormFields) -> Value {
    let Value::Object(mut settings) = stored else {
        return stored;
    };
    for setting in SETTINGS {
        if !setting.is_of(channel) {
            // What the channel does not have would be refused, and there is no field to correct it with.
            setting.put(&mut settings, None);
            continue;
        }
        let raw = fields.one(setting.name);
        let value = match setting.input {
            Input::Steps => Some(steps(fields)),
            Input::Hours => Some(quiet_hours(channel, fields)),
            Input::Texts => Some(templates(channel, fields)),
            // Of a box that is not ticked a browser says nothing.
            Input::Switch => Some(fields.has(setting.name).into()),
            _ if !fields.has(setting.name) => continue,
            _ if raw.is_empty() && matches!(setting.left_out, LeftOut::Means(_)) => None,
            Input::Number(_) => Some(number(raw)),
            Input::Choice(_) | Input::TimeZone | Input::Text(_) => Some(raw.into()),
        };
        setting.put(&mut settings, value);
    }
    Value::Object(settings)
}

fn steps(fields: &FormFields) -> Value {
    let rows = fields.all("step").zip(fields.all("step_unit"));
    rows.filter(|(count, _)| !count.is_empty())
        .map(|(count, unit)| {
            let factor = match unit {
                "hours" => 60,
                "days" => 1440,
                _ => 1,
            };
            let minutes = match number(count) {
                Value::Number(n) => n.as_i64().and_then(|n| n.checked_mul(factor)).into(),
                other => other,
            };
            json!({ "after_minutes": minutes })
        })
        .collect()
}

fn quiet_hours(channel: Channel, fields: &FormFields) -> Value {
    let mut allowed = Vec::new();
    let mut by_country = Map::new();
    for row in 0..MOST_ROWS {
        let field = |name: &str| format!("w{row}_{name}");
        let (from, to) = (field("from"), field("to"));
        let (from, to) = (fields.one(&from), fields.one(&to));
        if from.is_empty() && to.is_empty() {
            continue;
        }
        let days: Vec<&str> = DAYS
            .into_iter()
            .filter(|day| fields.has(&field(day)))
            .collect();
        // A browser writes seconds if a time had any.
        let minute = |time: &str| time.chars().take(5).collect::<String>();
        let window = json!({ "days": days, "from": minute(from), "to": minute(to) });
        let country = field("country");
        match fields.one(&country).to_ascii_uppercase() {
            country if country.is_empty() || !channel.profile().tells_country => {
                allowed.push(window);
            }
            country => {
                let windows = by_country.entry(country).or_insert_with(|| json!([]));
                windows
                    .as_array_mut()
                    .into_iter()
                    .for_each(|w| w.push(window.clone()));
            }
        }
    }
    json!({ "allowed": allowed, "by_country": by_country })
}

fn templates(channel: Channel, fields: &FormFields) -> Value {
    let mut templates = Map::new();
    for row in 0..MOST_ROWS {
        let field = |name: &str| format!("t{row}_{name}");
        let value = |name: &str| fields.one(&field(name)).to_owned();
        let (language, text) = (value("language"), value("text"));
        if language.is_empty() && text.is_empty() {
            continue;
        }
        let mut template = json!({ "text": text.replace("\r\n", "\n") });
        if channel.profile().parts == Parts::SubjectAndHtml {
            template["subject"] = value("subject").into();
            let html = value("html");
            if !html.is_empty() {
                template["html"] = html.into();
            }
        }
        templates.insert(language, template);
    }
    Value::Object(templates)
}
