//! From settings, valid or not, to the fields of the form.

use serde_json::{Map, Value, json};

use super::texts::{self, OpenLanguages};
use super::{DAYS, steps, text};
use crate::control::Fault;
use crate::domain::ids::Channel;
use crate::domain::language;
use crate::domain::rule::settings::{self, Group, Input, LeftOut, SETTINGS, Setting};
use crate::domain::rule::{RuleSettings, hours_said, span};

/// The values of the form in `rule.hbs`. Channels that are neither configured nor used by a step are not shown.
pub fn model(configured: &[Channel], settings: &Value, open: &OpenLanguages) -> Value {
    let group = |group| fields(None, settings, |setting| setting.group == group);
    let parsed = RuleSettings::parse(configured, settings.clone()).ok();
    let steps = settings["steps"].as_array();
    let used = |channel: Channel| {
        steps.is_some_and(|steps| steps.iter().any(|step| step["channel"] == channel.as_str()))
    };
    let channels = Channel::ALL
        .into_iter()
        .filter(|channel| configured.contains(channel) || used(*channel));
    let channels = channels.map(|channel| {
        let texts = texts::shown(channel, &settings["channels"][channel.as_str()], open);
        of_channel(channel, (used(channel), texts), settings, parsed.as_ref())
    });
    json!({
        "steps": steps::shown(configured, settings),
        "when": group(Group::When),
        "hours": group(Group::Hours),
        "limits": group(Group::Limits),
        "limits_said": parsed.as_ref().map(limits_said),
        "more_open": false,
        "channels": channels.collect::<Vec<_>>(),
    })
}

/// A channel's part of the form.
fn of_channel(
    channel: Channel,
    (used, texts): (bool, Value),
    settings: &Value,
    parsed: Option<&RuleSettings>,
) -> Value {
    let own = &settings["channels"][channel.as_str()];
    json!({
        "word": channel,
        "label": channel.names().label,
        "used": used,
        "open": used,
        "windows": { "help": help("quiet_hours"), "rows": window_rows(channel, own), "wrong": null },
        "texts": texts,
        "more": fields(Some(channel), settings, |_| true),
        "hours_said": parsed.map(|settings| channel_hours_said(channel, settings)),
        "words_said": words_said(own),
        "more_said": parsed.map(|settings| more_said(channel, settings)),
    })
}

fn limits_said(settings: &RuleSettings) -> String {
    let caps = settings.caps;
    let (conversation, consumer) = (caps.per_conversation_24h, caps.per_consumer_24h);
    format!(
        "{} apart, max {conversation} per conversation and {consumer} per customer per day",
        span(caps.gap)
    )
}

fn channel_hours_said(channel: Channel, settings: &RuleSettings) -> String {
    let quiet = &settings.channels[channel].quiet_hours;
    let countries: Vec<&str> = quiet.by_country.keys().map(String::as_str).collect();
    match hours_said(&quiet.allowed) {
        said if countries.is_empty() || !channel.profile().tells_country => said,
        said => format!("{said}; others for {} numbers", countries.join(", ")),
    }
}

fn words_said(own: &Value) -> String {
    let languages: Vec<&String> = own["templates"]
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .collect();
    match languages[..] {
        [] => "standard text".to_owned(),
        [only] => format!("your own text in {}", language::name(only)),
        _ => format!("your own text in {} languages", languages.len()),
    }
}

fn more_said(channel: Channel, settings: &RuleSettings) -> String {
    let own = &settings.channels[channel];
    let sender = own.sender.as_deref().unwrap_or("the usual sender");
    format!(
        "not sent if more than {} late, max {} per address per day, from {sender}",
        span(own.max_age),
        own.per_address_24h
    )
}

fn help(name: &str) -> &'static str {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    setting.map_or("", |setting| setting.help)
}

/// The settings of the rule, or of a channel, that are one field each: what is written, and what is ticked.
fn fields(of: Option<Channel>, settings: &Value, wanted: impl Fn(&Setting) -> bool) -> Value {
    let own = |setting: &&Setting| setting.places().any(|place| place == of) && wanted(setting);
    let (mut fields, mut switches) = (Vec::new(), Vec::new());
    for setting in SETTINGS.iter().filter(own) {
        match setting.input {
            Input::Steps | Input::Hours | Input::Texts => {}
            Input::Switch => switches.push(field(setting, of, settings)),
            _ => fields.push(field(setting, of, settings)),
        }
    }
    json!({ "fields": fields, "switches": switches, "wrong": null })
}

/// A field for one of the templates `rule_setting_….hbs`.
fn field(setting: &Setting, of: Option<Channel>, settings: &Value) -> Value {
    let value = match (setting.value(of, settings), setting.left_out) {
        (Value::Null, LeftOut::Zero) => "0".to_owned(),
        (value, _) => text(value),
    };
    let hint = match setting.left_out {
        LeftOut::Means(what) => format!("{} Empty: {what}.", setting.help),
        LeftOut::Never | LeftOut::Zero => setting.help.to_owned(),
    };
    let path = setting.path(of);
    let mut model = json!({
        "id": path.replace('.', "_"),
        "name": path,
        "label": setting.label,
        "hint": hint,
        "wrong": null,
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

fn window_rows(channel: Channel, own: &Value) -> Vec<Value> {
    let quiet = &own["quiet_hours"];
    let mut windows: Vec<(String, String, Value)> = Vec::new();
    let mut add = |country: &str, list: &Value, place: &str| {
        let list = list.as_array().cloned().unwrap_or_default();
        let numbered = list.into_iter().enumerate();
        windows.extend(
            numbered.map(|(at, window)| (country.to_owned(), format!("{place}/{at}"), window)),
        );
    };
    add("", &quiet["allowed"], "allowed");
    for (country, own) in quiet["by_country"].as_object().into_iter().flatten() {
        add(country, own, &format!("by_country/{country}"));
    }
    windows.push((String::new(), String::new(), json!({ "days": [] })));
    let rows = windows.into_iter().enumerate().map(|(at, (country, place, window))| {
        let row = format!("{channel}_w{at}");
        let chosen = window["days"].as_array().cloned().unwrap_or_default();
        let days = DAYS.map(|day| json!({ "name": day, "field": format!("{row}_{day}"), "on": chosen.contains(&day.into()) }));
        json!({
            "row": row,
            "number": at + 1,
            "country": country,
            "by_country": channel.profile().tells_country,
            "from": text(&window["from"]),
            "to": text(&window["to"]),
            "days": days,
            "new": window["from"].is_null(),
            "place": place,
            "wrong": null,
        })
    });
    rows.collect()
}

/// Puts faults beside the fields that they are about, and opens what is folded around them.
pub fn mark(model: &mut Value, faults: &[Fault]) {
    let fault_of = |path: &str| {
        let found = faults
            .iter()
            .find(|fault| fault.field.strip_prefix("/settings/") == Some(path));
        found.map(|fault| fault.detail.clone())
    };
    steps::mark(&mut model["steps"]["rows"], fault_of);
    for group in ["when", "hours", "limits"] {
        mark_fields(&mut model[group], fault_of);
    }
    let mut more = false;
    for channel in model["channels"].as_array_mut().into_iter().flatten() {
        let own = format!("channels/{}", text(&channel["word"]));
        mark_fields(&mut channel["more"], fault_of);
        texts::mark(&mut channel["texts"], &own, fault_of);
        for row in channel["windows"]["rows"]
            .as_array_mut()
            .into_iter()
            .flatten()
        {
            let inside = format!("/settings/{own}/quiet_hours/{}", text(&row["place"]));
            let found = faults.iter().find(|fault| is_inside(&fault.field, &inside));
            row["wrong"] = json!(found.map(|fault| &fault.detail));
        }
        let inside = format!("/settings/{own}/templates");
        if faults.iter().any(|fault| is_inside(&fault.field, &inside)) {
            channel["open"] = true.into();
        }
        more |= channel["more"]["wrong"] == true;
    }
    more |= model["when"]["wrong"] == true || model["limits"]["wrong"] == true;
    model["more_open"] = more.into();
}

/// Whether a field is this one, or a part of it.
fn is_inside(field: &str, of: &str) -> bool {
    let rest = field.strip_prefix(of);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The id of the field that a fault is about, if the form has one.
pub fn place_of(model: &Value, fault: &Fault) -> Option<String> {
    let path = fault.field.strip_prefix("/settings/")?;
    let parts: Vec<&str> = path.split('/').collect();
    if let ["steps", at, ..] = parts[..] {
        return Some(format!("step-{at}-wait"));
    }
    let all = |list: &'_ Value| list.as_array().cloned().unwrap_or_default();
    if let ["channels", word, name, rest @ ..] = &parts[..] {
        let channels = all(&model["channels"]);
        let channel = channels.iter().find(|channel| channel["word"] == *word)?;
        match (*name, rest) {
            ("templates", [language, rest @ ..]) => {
                let rows = all(&channel["texts"]["rows"]);
                let row = rows.iter().find(|row| row["language"] == *language)?;
                let part = rest.first().filter(|part| !row[**part].is_null());
                return Some(format!("{}_{}", text(&row["row"]), part.unwrap_or(&"text")));
            }
            ("quiet_hours", rest) => {
                let rest = rest.join("/");
                let rows = all(&channel["windows"]["rows"]);
                let row = rows.iter().find(|row| {
                    let place = text(&row["place"]);
                    !place.is_empty() && is_inside(&rest, &place)
                });
                let row = row.map(|row| format!("{}_from", text(&row["row"])));
                return Some(row.unwrap_or_else(|| format!("{word}-hours")));
            }
            _ => {}
        }
    }
    settings::find(&path.replace('/', ".")).map(|_| path.replace(['/', '.'], "_"))
}

fn mark_fields(group: &mut Value, fault_of: impl Fn(&str) -> Option<String>) {
    let mut any = false;
    for kind in ["fields", "switches"] {
        for field in group[kind].as_array_mut().into_iter().flatten() {
            let wrong = fault_of(&text(&field["name"]).replace('.', "/"));
            any |= wrong.is_some();
            field["wrong"] = json!(wrong);
        }
    }
    group["wrong"] = json!(any);
}
