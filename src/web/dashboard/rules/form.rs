//! The editor's form: from settings to fields, and from fields to settings. What does not fit is passed on as it was written, so
//! that [`Settings::parse`](crate::domain::rule::Settings::parse) says what is wrong with it.

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::control::Fault;
use crate::domain::ids::Channel;
use crate::domain::rule::{Settings, span};
use crate::web::State;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Rows of a kind that are looked for.
const MOST_ROWS: usize = 60;

/// The fields of a form, in their order.
pub struct Fields(Vec<(String, String)>);

impl FromRequest<State> for Fields {
    type Rejection = StatusCode;

    async fn from_request(request: Request, state: &State) -> Result<Self, StatusCode> {
        let bytes = axum::body::Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| StatusCode::BAD_REQUEST)?;
        let pairs = url::form_urlencoded::parse(&bytes);
        Ok(Self(pairs.into_owned().collect()))
    }
}

impl Fields {
    /// The value of a field, without space around it; empty if it is not there.
    pub fn one(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map_or("", |(_, value)| value.trim())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let own = self.0.iter().filter(move |(own, _)| own == name);
        own.map(|(_, value)| value.trim())
    }
}

/// A whole number, or what was written instead.
fn number(raw: &str) -> Value {
    raw.parse::<i64>().map_or_else(|_| raw.into(), Value::from)
}

/// The settings that a form says. `stored` keeps what the form does not show.
pub fn settings(channel: Channel, stored: Value, fields: &Fields) -> Value {
    let Value::Object(mut settings) = stored else {
        return stored;
    };
    let mut put = |name: &str, value: Value| settings.insert(name.to_owned(), value);
    put("steps", steps(fields));
    put("debounce_minutes", number(fields.one("debounce")));
    put("max_age_minutes", number(fields.one("max_age")));
    put("quiet_hours", quiet_hours(channel, fields));
    put("in_quiet_hours", fields.one("in_quiet_hours").into());
    put(
        "caps",
        json!({
            "gap_minutes": number(fields.one("gap")),
            "per_conversation_24h": number(fields.one("per_conversation")),
            "per_recipient_24h": number(fields.one("per_recipient")),
        }),
    );
    put("remind_in_queue", fields.has("remind_in_queue").into());
    put("resend_unknown", fields.has("resend_unknown").into());
    put("templates", templates(channel, fields));
    if fields.has("holdout_percent") {
        put("holdout_percent", number(fields.one("holdout_percent")));
    }
    for (name, value) in [
        ("sender", Value::from(fields.one("sender"))),
        ("time_zone", fields.one("time_zone").into()),
        ("latest_minutes", number(fields.one("latest"))),
    ] {
        // Empty is left out: the usual one.
        if value == "" {
            settings.remove(name);
        } else {
            settings.insert(name.to_owned(), value);
        }
    }
    Value::Object(settings)
}

fn steps(fields: &Fields) -> Value {
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

fn quiet_hours(channel: Channel, fields: &Fields) -> Value {
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
            country if country.is_empty() || channel == Channel::Email => allowed.push(window),
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

fn templates(channel: Channel, fields: &Fields) -> Value {
    let mut templates = Map::new();
    for row in 0..MOST_ROWS {
        let field = |name: &str| format!("t{row}_{name}");
        let value = |name: &str| fields.one(&field(name)).to_owned();
        let (language, text) = (value("language"), value("text"));
        if language.is_empty() && text.is_empty() {
            continue;
        }
        let mut template = json!({ "text": text.replace("\r\n", "\n") });
        if channel == Channel::Email {
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

/// The fields of the form for settings, valid or not.
pub fn model(channel: Channel, settings: &Value) -> Value {
    let caps = &settings["caps"];
    json!({
        "steps": step_rows(settings),
        "debounce": text(&settings["debounce_minutes"]),
        "max_age": text(&settings["max_age_minutes"]),
        "latest": text(&settings["latest_minutes"]),
        "usual_latest": Settings::default_for(channel).latest(channel).num_minutes(),
        "windows": window_rows(channel, settings),
        "drops": settings["in_quiet_hours"] == "drop",
        "time_zone": text(&settings["time_zone"]),
        "zones": chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).collect::<Vec<_>>(),
        "gap": text(&caps["gap_minutes"]),
        "per_conversation": text(&caps["per_conversation_24h"]),
        "per_recipient": text(&caps["per_recipient_24h"]),
        "remind_in_queue": settings["remind_in_queue"] == true,
        "resend_unknown": settings["resend_unknown"] == true,
        "sender": text(&settings["sender"]),
        "templates": template_rows(channel, settings),
        "holdout": settings.get("holdout_percent").map_or_else(|| "0".to_owned(), text),
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
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
    let empty = (steps.len() < 8).then(|| (String::new(), "hours"));
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
            "by_country": channel == Channel::Sms,
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
            json!({
                "row": format!("t{at}"),
                "language": language,
                "subject": text(&t["subject"]),
                "text": text(&t["text"]),
                "html": text(&t["html"]),
                "new": language.is_empty() && text(&t["text"]).is_empty(),
                "email": channel == Channel::Email,
                "begin_subject": start.subject,
                "begin_text": start.text,
                "wrong": { "subject": null, "text": null, "html": null },
            })
        })
        .collect()
}

/// Puts the faults of texts beside the fields that they are about.
pub fn mark(model: &mut Value, faults: &[Fault]) {
    for row in model["templates"].as_array_mut().into_iter().flatten() {
        let language = text(&row["language"]);
        for part in ["subject", "text", "html"] {
            let field = format!("/settings/templates/{language}/{part}");
            let fault = faults.iter().find(|fault| fault.field == field);
            row["wrong"][part] = json!(fault.map(|fault| &fault.detail));
        }
    }
}

/// What a setting is called on the page.
pub fn label(field: &str) -> String {
    let field = field.trim_start_matches("/settings/").replace('/', ".");
    let known = match field.split('.').next().unwrap_or_default() {
        "enabled" => "On or off",
        "steps" => "Steps",
        "debounce_minutes" => "Pause after the agent's last message",
        "max_age_minutes" => "Late by at most",
        "latest_minutes" => "At the very latest",
        "quiet_hours" => "Hours",
        "in_quiet_hours" => "Outside these hours",
        "time_zone" => "Time zone",
        "caps" => "Limits",
        "remind_in_queue" => "While waiting for an agent",
        "resend_unknown" => "If the answer is lost",
        "sender" => "Sender",
        "holdout_percent" => "Share without reminders",
        "to" | "" => "Test message to",
        "code" => "Code of the test message",
        "templates" => {
            let rest = field
                .trim_start_matches("templates")
                .trim_start_matches('.');
            return format!("Words {}", rest.replace('.', ", "));
        }
        other => return other.replace('_', " "),
    };
    known.to_owned()
}

/// A setting's value in words.
pub fn said(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(steps) if steps.iter().any(|step| step["after_minutes"].is_number()) => {
            let after = steps
                .iter()
                .filter_map(|step| step["after_minutes"].as_i64());
            let after = after.map(|minutes| format!("after {}", span(TimeDelta::minutes(minutes))));
            after.collect::<Vec<_>>().join(", ")
        }
        Value::Object(template) if template.contains_key("text") => text(&template["text"]),
        other => text(other),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser sends for the form of these settings.
    fn sent(channel: Channel, settings: &Settings) -> Fields {
        let model = model(channel, &json!(settings));
        let mut pairs = Vec::new();
        let mut send = |name: &str, value: &Value| pairs.push((name.to_owned(), text(value)));
        for step in model["steps"].as_array().unwrap() {
            send("step", &step["count"]);
            let chosen = step["units"].as_array().unwrap().iter();
            for unit in chosen.filter(|unit| unit["chosen"] == true) {
                send("step_unit", &unit["name"]);
            }
        }
        for window in model["windows"].as_array().unwrap() {
            let row = window["row"].as_str().unwrap();
            for name in ["from", "to", "country"] {
                send(&format!("{row}_{name}"), &window[name]);
            }
            let days = window["days"].as_array().unwrap().iter();
            for day in days.filter(|day| day["on"] == true) {
                send(day["field"].as_str().unwrap(), &json!("on"));
            }
        }
        for template in model["templates"].as_array().unwrap() {
            let row = template["row"].as_str().unwrap();
            for name in ["language", "subject", "text", "html"] {
                send(&format!("{row}_{name}"), &template[name]);
            }
        }
        for name in [
            "debounce",
            "max_age",
            "latest",
            "time_zone",
            "gap",
            "per_conversation",
            "per_recipient",
            "sender",
        ] {
            send(name, &model[name]);
        }
        send(
            "in_quiet_hours",
            &json!(if model["drops"] == true {
                "drop"
            } else {
                "move"
            }),
        );
        for name in ["remind_in_queue", "resend_unknown"] {
            if model[name] == true {
                send(name, &json!("on"));
            }
        }
        Fields(pairs)
    }

    #[test]
    fn a_form_that_nobody_has_changed_says_what_was_stored() {
        for channel in Channel::ALL {
            let mut stored = Settings::default_for(channel);
            stored.remind_in_queue = true;
            stored.latest = (channel == Channel::Sms).then(|| TimeDelta::hours(20));
            stored.time_zone = "UTC+05:30"
                .parse()
                .ok()
                .filter(|_| channel == Channel::Email);
            let template = crate::control::texts::built_in(channel, "de");
            stored.templates.insert("de".to_owned(), template);
            let fields = sent(channel, &stored);
            let read = settings(channel, json!(stored), &fields);
            assert_eq!(Settings::parse(channel, read).unwrap(), stored);
        }
    }

    proptest::proptest! {
        /// Whatever a form says, it is told what is wrong with it, or it is stored and shown again as it is.
        #[test]
        fn fuzz_rule_forms(
            changes in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), "(\\PC{0,12}|-?[0-9]{1,20}|[0-9]{2}:[0-9]{2})"), 0..6),
            more in proptest::collection::vec(("(step|step_unit|[wt][0-9]{1,2}_(from|to|Mon|country|language|text|html)|sender|holdout_percent)", "\\PC{0,20}"), 0..6),
        ) {
            for channel in Channel::ALL {
                let stored = Settings::default_for(channel);
                let mut fields = sent(channel, &stored);
                for (at, value) in &changes {
                    let at = at.index(fields.0.len());
                    fields.0[at].1.clone_from(value);
                }
                fields.0.extend(more.iter().cloned());
                let read = settings(channel, json!(stored), &fields);
                let _ = model(channel, &read);
                if let Ok(parsed) = Settings::parse(channel, read) {
                    let again = Settings::parse(channel, json!(parsed));
                    proptest::prop_assert_eq!(again.ok(), Some(parsed));
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_told_and_kept() {
        let stored = Settings::default_for(Channel::Sms);
        let mut fields = sent(Channel::Sms, &stored);
        for (name, value) in &mut fields.0 {
            if name == "debounce" {
                "soon".clone_into(value);
            }
        }
        let read = settings(Channel::Sms, json!(stored), &fields);
        assert_eq!(model(Channel::Sms, &read)["debounce"], "soon");
        let problems = Settings::parse(Channel::Sms, read).unwrap_err();
        assert_eq!(problems[0].field, "debounce_minutes");
    }
}
