//! From fields to settings. What does not fit is passed on as it was written, so that
//! [`RuleSettings::parse`](crate::domain::rule::RuleSettings::parse) says what is wrong with it.

use serde_json::{Map, Value, json};

use super::{DAYS, FormFields, steps, texts};
use crate::domain::ids::Channel;
use crate::domain::rule::settings::{Input, LeftOut, SETTINGS, Setting};

/// Rows of a kind that are looked for.
const MOST_ROWS: usize = 60;

/// A whole number, or what was written instead.
pub fn number(raw: &str) -> Value {
    raw.parse::<i64>().map_or_else(|_| raw.into(), Value::from)
}

/// The settings that a form says. `stored` keeps what the form does not show.
pub fn settings(stored: Value, fields: &FormFields) -> Value {
    let Value::Object(mut settings) = stored else {
        return stored;
    };
    for setting in SETTINGS {
        for of in setting.places() {
            if of.is_some_and(|channel| !shows(fields, channel)) {
                continue;
            }
            match written(setting, of, fields) {
                Written::Value(value) => setting.put(of, &mut settings, Some(value)),
                Written::LeftOut => setting.put(of, &mut settings, None),
                Written::Nowhere => {}
            }
        }
        // What a channel does not have would be refused, and there is no field to correct it with.
        let lacks = Channel::ALL.into_iter().filter(|channel| {
            !setting
                .places()
                .any(|of| of.is_none_or(|of| of == *channel))
        });
        for channel in lacks {
            setting.put(Some(channel), &mut settings, None);
        }
    }
    Value::Object(settings)
}

/// Whether the form has the settings of a channel: of a box that is not ticked, and of rows that are gone, it says nothing else.
fn shows(fields: &FormFields, channel: Channel) -> bool {
    fields.all("channel").any(|word| word == channel.as_str())
}

/// What a form says of a setting.
enum Written {
    Value(Value),
    LeftOut,
    /// The form does not show it.
    Nowhere,
}

fn written(setting: &Setting, of: Option<Channel>, fields: &FormFields) -> Written {
    let path = setting.path(of);
    let raw = fields.one(&path);
    Written::Value(match (&setting.input, of) {
        (Input::Steps, _) => steps::written(fields),
        (Input::Hours, Some(channel)) => quiet_hours(channel, fields),
        (Input::Texts, Some(channel)) => texts::written(channel, fields),
        // Of a box that is not ticked a browser says nothing.
        (Input::Switch, _) => fields.has(&path).into(),
        _ if !fields.has(&path) => return Written::Nowhere,
        _ if raw.is_empty() && matches!(setting.left_out, LeftOut::Means(_)) => {
            return Written::LeftOut;
        }
        (Input::Number(_), _) => number(raw),
        _ => raw.into(),
    })
}

fn quiet_hours(channel: Channel, fields: &FormFields) -> Value {
    let mut allowed = Vec::new();
    let mut by_country = Map::new();
    for row in 0..MOST_ROWS {
        let field = |name: &str| format!("{channel}_w{row}_{name}");
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
