//! From settings, valid or not, to the fields of the form.

use serde_json::{Map, Value, json};

use super::{DAYS, text};
use crate::control::Fault;
use crate::domain::channel::Parts;
use crate::domain::ids::Channel;
use crate::domain::rule::settings::{Group, Input, LeftOut, MOST_STEPS, SETTINGS, Setting};

/// The values of the form in `rule.hbs`.
pub fn model(channel: Channel, settings: &Value) -> Value {
    let group = |group| fields(channel, settings, group);
    json!({
        "when": group(Group::When),
        "hours": group(Group::Hours),
        "limits": group(Group::Limits),
        "sender": group(Group::Sender),
        "steps": { "help": help("steps"), "rows": step_rows(settings) },
        "windows": { "help": help("quiet_hours"), "rows": window_rows(channel, settings) },
        "texts": { "help": help("templates"), "rows": template_rows(channel, settings) },
    })
}

fn help(name: &str) -> &'static str {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    setting.map_or("", |setting| setting.help)
}

/// The settings of a group that are one field each: what is written, and what is ticked.
fn fields(channel: Channel, settings: &Value, group: Group) -> Value {
    let own = |setting: &&Setting| setting.group == group && setting.is_of(channel);
    let (mut fields, mut switches) = (Vec::new(), Vec::new());
    for setting in SETTINGS.iter().filter(own) {
        match setting.input {
            Input::Steps | Input::Hours | Input::Texts => {}
            Input::Switch => switches.push(field(setting, settings)),
            _ => fields.push(field(setting, settings)),
        }
    }
    json!({ "fields": fields, "switches": switches })
}

/// A field for one of the templates `rule_setting_….hbs`.
fn field(setting: &Setting, settings: &Value) -> Value {
    let value = match (setting.value(settings), setting.left_out) {
        (Value::Null, LeftOut::Zero) => "0".to_owned(),
        (value, _) => text(value),
    };
    let hint = match setting.left_out {
        LeftOut::Means(what) => format!("{} Empty: {what}.", setting.help),
        LeftOut::Never | LeftOut::Zero => setting.help.to_owned(),
    };
    let mut model = json!({
        "id": setting.name.replace('.', "_"),
        "name": setting.name,
        "label": setting.label,
        "hint": hint,
    });
    let (template, key, of_its_kind) = match &setting.input {
        Input::Number(number) => ("number", "unit", json!(number.unit.as_str())),
        Input::Switch => ("switch", "on", json!(value == "true")),
        Input::Choice(choices) => {
            let choices = choices.iter().map(
                |(word, means)| json!({ "word": word, "means": means, "chosen": *word == value }),
            );
            ("choice", "choices", choices.collect())
        }
        Input::TimeZone => {
            let zones = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
            ("text", "suggestions", zones.collect())
        }
        _ => ("text", "suggestions", json!([])),
    };
    model["template"] = format!("rule_setting_{template}.hbs").into();
    model["value"] = value.into();
    model[key] = of_its_kind;
    model
}

/// The steps there are, and one more to fill in.
fn step_rows(settings: &Value) -> Vec<Value> {
    let steps = settings["steps"].as_array().cloned().unwrap_or_default();
    let known = steps
        .iter()
        .map(|step| match step["after_minutes"].as_i64() {
            Some(n) if n >= 2880 && n % 1440 == 0 => ((n / 1440).to_string(), "days"),
            Some(n) if n >= 60 && n % 60 == 0 => ((n / 60).to_string(), "hours"),
            Some(n) => (n.to_string(), "minutes"),
            None => (text(&step["after_minutes"]), "minutes"),
        });
    let empty = (steps.len() < MOST_STEPS).then(|| (String::new(), "hours"));
    known
        .chain(empty)
        .enumerate()
        .map(|(at, (count, unit))| {
            let units = ["minutes", "hours", "days"];
            let units = units.map(|name| json!({ "name": name, "chosen": name == unit }));
            json!({ "id": format!("step-{at}"), "number": at + 1, "count": count, "units": units, "new": count.is_empty() })
        })
        .collect()
}

fn window_rows(channel: Channel, settings: &Value) -> Vec<Value> {
    let quiet = &settings["quiet_hours"];
    let mut windows: Vec<(String, Value)> = Vec::new();
    let of = |value: &Value| value.as_array().cloned().unwrap_or_default();
    windows.extend(
        of(&quiet["allowed"])
            .into_iter()
            .map(|w| (String::new(), w)),
    );
    for (country, own) in quiet["by_country"].as_object().into_iter().flatten() {
        windows.extend(of(own).into_iter().map(|w| (country.clone(), w)));
    }
    windows.push((String::new(), json!({ "days": [] })));
    let rows = windows.into_iter().enumerate().map(|(at, (country, window))| {
        let chosen = window["days"].as_array().cloned().unwrap_or_default();
        let days = DAYS.map(|day| json!({ "name": day, "field": format!("w{at}_{day}"), "on": chosen.contains(&day.into()) }));
        json!({
            "row": format!("w{at}"),
            "number": at + 1,
            "country": country,
            "by_country": channel.profile().tells_country,
            "from": text(&window["from"]),
            "to": text(&window["to"]),
            "days": days,
            "new": window["from"].is_null(),
        })
    });
    rows.collect()
}

fn template_rows(channel: Channel, settings: &Value) -> Vec<Value> {
    let empty = Map::new();
    let templates = settings["templates"].as_object().unwrap_or(&empty);
    let known = templates
        .iter()
        .map(|(language, t)| (language.clone(), t.clone()));
    let start = crate::control::texts::built_in(channel, "en");
    let begun = json!({ "subject": "", "text": "" });
    known
        .chain([(String::new(), begun)])
        .enumerate()
        .map(|(at, (language, t))| {
            let row = format!("t{at}");
            let part = |name: &str, label: &str| {
                json!({
                    "id": format!("{row}_{name}"),
                    "label": label,
                    "line": name == "subject",
                    "value": text(&t[name]),
                    "wrong": null,
                })
            };
            json!({
                "subject": part("subject", "Subject"),
                "text": part("text", "Text"),
                "html": part("html", "HTML"),
                "row": row,
                "language": language,
                "new": language.is_empty() && text(&t["text"]).is_empty(),
                "email": channel.profile().parts == Parts::SubjectAndHtml,
                "begin_subject": start.subject,
                "begin_text": start.text,
            })
        })
        .collect()
}

/// Puts the faults of texts beside the fields that they are about.
pub fn mark(model: &mut Value, faults: &[Fault]) {
    for row in model["texts"]["rows"].as_array_mut().into_iter().flatten() {
        let language = text(&row["language"]);
        for part in ["subject", "text", "html"] {
            let field = format!("/settings/templates/{language}/{part}");
            let fault = faults.iter().find(|fault| fault.field == field);
            row[part]["wrong"] = json!(fault.map(|fault| &fault.detail));
        }
    }
}
