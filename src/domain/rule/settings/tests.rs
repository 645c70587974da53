use serde_json::{Value, json};
use utoipa::PartialSchema as _;

use super::*;
use crate::domain::quiet::{QuietHours, Window};
use crate::domain::rule::{Caps, ChannelSettings, RuleSettings, summary};

/// Over every channel and sent in some hours only, so that what is set of a channel and what happens outside its hours have a meaning.
fn base() -> RuleSettings {
    let window: Window = serde_json::from_value(json!({ "from": "09:00", "to": "17:00" })).unwrap();
    let mut settings = RuleSettings::default_for(&Channel::ALL);
    for (_, own) in settings.channels.iter_mut() {
        own.quiet_hours = QuietHours {
            allowed: vec![window.clone()],
            ..QuietHours::default()
        };
    }
    settings
}

#[test]
fn every_setting_has_a_row_and_every_row_a_setting() {
    let mut settings = RuleSettings::default_for(&Channel::ALL);
    for setting in SETTINGS {
        for of in setting.places() {
            let example = setting.examples(of).pop();
            assert!(example.is_some(), "{}", setting.name);
            settings = setting.changed(of, &settings, example);
        }
    }
    let settings = serde_json::to_value(settings).unwrap();
    let mut stored: Vec<String> = Vec::new();
    leaves("", &settings, &mut stored);
    let mut ours: Vec<String> = Vec::new();
    for setting in SETTINGS {
        ours.extend(setting.places().map(|of| setting.path(of)));
        // What is not of a channel is stored with its default, if at all.
        let not_of = Channel::ALL
            .into_iter()
            .filter(|c| setting.of != Of::Rule && !setting.is_of(*c));
        let not_of = not_of.filter(|c| !setting.value(Some(*c), &settings).is_null());
        ours.extend(not_of.map(|channel| setting.path(Some(channel))));
    }
    stored.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, stored);
}

/// The paths of settings: not into what is one setting.
fn leaves(path: &str, value: &Value, found: &mut Vec<String>) {
    let is_table =
        path.is_empty() || path == "caps" || path == CHANNELS || split(path).1.is_empty();
    match value.as_object().filter(|_| is_table) {
        Some(table) => {
            for (name, value) in table {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(&format!("{path}{dot}{name}"), value, found);
            }
        }
        None => found.push(path.to_owned()),
    }
}

#[test]
fn what_a_setting_says_is_in_the_summary() {
    let base = base();
    for setting in SETTINGS {
        for of in setting.places() {
            let mut told: Vec<(Value, Vec<String>)> = Vec::new();
            let usual = serde_json::to_value(&base).unwrap();
            let usual = setting.value(of, &usual).clone();
            told.push((usual, summary("Orders", true, &base)));
            for value in setting.examples(of) {
                let settings = setting.changed(of, &base, Some(value.clone()));
                let stored = serde_json::to_value(&settings).unwrap();
                let stored = setting.value(of, &stored).clone();
                if told.iter().any(|(earlier, _)| *earlier == stored) {
                    continue;
                }
                let said = summary("Orders", true, &settings);
                let same = told.iter().find(|(_, earlier)| *earlier == said);
                assert_eq!(
                    same,
                    None,
                    "{} of {value} reads as another value does: add its words to rule/summary.rs",
                    setting.path(of)
                );
                told.push((stored, said));
            }
        }
    }
}

#[test]
fn a_number_is_taken_within_its_bounds_and_refused_beyond() {
    for setting in SETTINGS {
        for of in setting.places() {
            let Input::Number(number) = &setting.input else {
                continue;
            };
            let path = setting.path(of);
            let problems = |value: i64| {
                let defaults =
                    serde_json::to_value(RuleSettings::default_for(&Channel::ALL)).unwrap();
                let Value::Object(mut given) = defaults else {
                    unreachable!("settings are an object");
                };
                setting.put(of, &mut given, Some(value.into()));
                RuleSettings::parse(&Channel::ALL, given.into())
                    .err()
                    .unwrap_or_default()
            };
            for value in [number.min, number.max] {
                assert_eq!(problems(value), [], "{path} = {value}");
            }
            for value in [number.min - 1, number.max + 1] {
                let problems = problems(value);
                assert_eq!(problems.len(), 1, "{path} = {value}");
                // What does not fit into the number itself is refused with the table that it is in.
                let table = path.split('.').next();
                assert!(
                    problems[0].field == path || Some(problems[0].field.as_str()) == table,
                    "{path} = {value}: {}",
                    problems[0]
                );
            }
        }
    }
}

#[test]
fn what_is_of_some_channels_is_refused_on_others_with_the_reason() {
    for setting in SETTINGS {
        let Of::ChannelsWhereUnknownIs(_, why) = setting.of else {
            continue;
        };
        let (has, has_not): (Vec<_>, Vec<_>) =
            Channel::ALL.into_iter().partition(|c| setting.is_of(*c));
        for channel in has_not {
            let usual = serde_json::to_value(RuleSettings::default_for(&Channel::ALL)).unwrap();
            let usual = setting.value(Some(channel), &usual);
            let mut others = setting.examples(Some(has[0])).into_iter();
            let other = others.find(|value| value != usual).unwrap();
            let given = json!({ "channels": { (channel.as_str()): { (setting.name): other } } });
            let problems = RuleSettings::parse(&Channel::ALL, given).unwrap_err();
            assert_eq!(
                (problems[0].field.as_str(), problems[0].message.as_str()),
                (setting.path(Some(channel)).as_str(), why)
            );
        }
    }
}

#[test]
fn the_bounds_in_the_api_s_document_are_those_of_the_table() {
    let properties = |schema| serde_json::to_value(schema).unwrap()["properties"].clone();
    let (top, caps, own) = (
        properties(RuleSettings::schema()),
        properties(Caps::schema()),
        properties(ChannelSettings::schema()),
    );
    for setting in SETTINGS {
        let Input::Number(number) = &setting.input else {
            continue;
        };
        let described = match (setting.of, setting.name.strip_prefix("caps.")) {
            (_, Some(name)) => &caps[name],
            (Of::Rule, None) => &top[setting.name],
            (_, None) => &own[setting.name],
        };
        // A minimum of 0 may go without saying.
        let min = described["minimum"].as_f64().unwrap_or_default();
        let max = described["maximum"].as_f64().unwrap_or_default();
        let told = format!("{min} to {max}");
        assert_eq!(
            told,
            format!("{} to {}", number.min, number.max),
            "{}",
            setting.name
        );
    }
}

#[test]
fn a_path_is_of_the_setting_that_it_leads_into() {
    for (path, name) in [
        ("steps", Some(("steps", None))),
        ("steps[1].after_minutes", Some(("steps", None))),
        ("steps.1.after_minutes", Some(("steps", None))),
        ("caps.gap_minutes", Some(("caps.gap_minutes", None))),
        ("caps", None),
        (
            "channels.sms.quiet_hours.by_country.US",
            Some(("quiet_hours", Some(Channel::Sms))),
        ),
        ("quiet_hours.by_country.US", None),
        ("in_quiet_hours", Some(("in_quiet_hours", None))),
        (
            "channels.email.templates.pt-BR.text",
            Some(("templates", Some(Channel::Email))),
        ),
        ("channels.email.steps", None),
        ("channels.post.sender", None),
        ("sender_of_the_future", None),
        ("", None),
    ] {
        let found = find(path).map(|(setting, of)| (setting.name, of));
        assert_eq!(found, name, "{path}");
    }
    assert_eq!(label("caps").as_deref(), Some("Limits"));
    assert_eq!(label("channels.sms.sender").as_deref(), Some("SMS: Sender"));
    assert_eq!(label("of_the_future"), None);
    assert_eq!(label(""), None);
}

#[test]
fn a_value_is_put_where_it_is_read_and_taken_away() {
    for setting in SETTINGS {
        for of in setting.places() {
            let mut settings = Map::new();
            setting.put(of, &mut settings, Some(json!("x")));
            assert_eq!(setting.value(of, &Value::Object(settings.clone())), "x");
            setting.put(of, &mut settings, None);
            assert!(setting.value(of, &Value::Object(settings)).is_null());
        }
    }
}
