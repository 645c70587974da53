use serde_json::{Value, json};
use utoipa::PartialSchema as _;

use super::*;
use crate::domain::quiet::{QuietHours, Window};
use crate::domain::rule::{Caps, RuleSettings, summary};

/// Sent in some hours only, so that what happens outside them has a meaning.
fn base(channel: Channel) -> RuleSettings {
    let window: Window = serde_json::from_value(json!({ "from": "09:00", "to": "17:00" })).unwrap();
    RuleSettings {
        quiet_hours: QuietHours {
            allowed: vec![window],
            ..QuietHours::default()
        },
        ..RuleSettings::default_for(channel)
    }
}

#[test]
fn every_setting_has_a_row_and_every_row_a_setting() {
    for channel in Channel::ALL {
        let mut settings = RuleSettings::default_for(channel);
        for setting in SETTINGS.iter().filter(|s| s.is_of(channel)) {
            let example = setting.examples(channel).pop();
            assert!(example.is_some(), "{}", setting.name);
            settings = setting.changed(channel, &settings, example);
        }
        let settings = serde_json::to_value(settings).unwrap();
        let inner = |name: &str, value: &Value| match find(name) {
            Some(_) => vec![name.to_owned()],
            None => value
                .as_object()
                .into_iter()
                .flatten()
                .map(|(inner, _)| format!("{name}.{inner}"))
                .collect(),
        };
        let stored = settings.as_object().unwrap();
        let mut stored: Vec<String> = stored.iter().flat_map(|(n, v)| inner(n, v)).collect();
        let ours = SETTINGS.iter().filter(|s| {
            // What is not of this channel is stored with its default, if at all.
            s.is_of(channel) || !s.value(&settings).is_null()
        });
        let mut ours: Vec<&str> = ours.map(|setting| setting.name).collect();
        stored.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, stored);
    }
}

#[test]
fn what_a_setting_says_is_in_the_summary() {
    for channel in Channel::ALL {
        let base = base(channel);
        for setting in SETTINGS.iter().filter(|s| s.is_of(channel)) {
            let mut told: Vec<(Value, Vec<String>)> = Vec::new();
            let usual = serde_json::to_value(&base).unwrap();
            let usual = setting.value(&usual).clone();
            told.push((usual, summary(channel, "Orders", true, &base)));
            for value in setting.examples(channel) {
                let settings = setting.changed(channel, &base, Some(value.clone()));
                let stored = serde_json::to_value(&settings).unwrap();
                let stored = setting.value(&stored).clone();
                if told.iter().any(|(earlier, _)| *earlier == stored) {
                    continue;
                }
                let said = summary(channel, "Orders", true, &settings);
                let same = told.iter().find(|(_, earlier)| *earlier == said);
                assert_eq!(
                    same, None,
                    "{channel}: {} of {value} reads as another value does: add its words to rule/summary.rs",
                    setting.name
                );
                told.push((stored, said));
            }
        }
    }
}

#[test]
fn a_number_is_taken_within_its_bounds_and_refused_beyond() {
    for channel in Channel::ALL {
        for setting in SETTINGS.iter().filter(|s| s.is_of(channel)) {
            let Input::Number(number) = &setting.input else {
                continue;
            };
            let problems = |value: i64| {
                let defaults = serde_json::to_value(RuleSettings::default_for(channel)).unwrap();
                let Value::Object(mut given) = defaults else {
                    unreachable!("settings are an object");
                };
                setting.put(&mut given, Some(value.into()));
                RuleSettings::parse(channel, given.into())
                    .err()
                    .unwrap_or_default()
            };
            for value in [number.min, number.max] {
                assert_eq!(problems(value), [], "{} = {value}", setting.name);
            }
            for value in [number.min - 1, number.max + 1] {
                let problems = problems(value);
                assert_eq!(problems.len(), 1, "{} = {value}", setting.name);
                let named = find(&problems[0].field).map(|found| found.name);
                // What does not fit into the number itself is refused with the table that it is in.
                let table = setting.name.split('.').next();
                assert!(
                    named == Some(setting.name) || Some(problems[0].field.as_str()) == table,
                    "{} = {value}: {}",
                    setting.name,
                    problems[0]
                );
            }
        }
    }
}

#[test]
fn what_is_of_some_channels_is_refused_on_others_with_the_reason() {
    for setting in SETTINGS {
        let Applies::WhereUnknownIs(_, why) = setting.applies else {
            continue;
        };
        let (of, not_of): (Vec<_>, Vec<_>) =
            Channel::ALL.into_iter().partition(|c| setting.is_of(*c));
        for channel in not_of {
            let usual = serde_json::to_value(RuleSettings::default_for(channel)).unwrap();
            let usual = setting.value(&usual);
            let mut others = setting.examples(of[0]).into_iter();
            let other = others.find(|value| value != usual).unwrap();
            let problems =
                RuleSettings::parse(channel, json!({ (setting.name): other })).unwrap_err();
            assert_eq!(
                (problems[0].field.as_str(), problems[0].message.as_str()),
                (setting.name, why)
            );
        }
    }
}

#[test]
fn the_bounds_in_the_api_s_document_are_those_of_the_table() {
    let properties = |schema| serde_json::to_value(schema).unwrap()["properties"].clone();
    let (top, caps) = (
        properties(RuleSettings::schema()),
        properties(Caps::schema()),
    );
    for setting in SETTINGS {
        let Input::Number(number) = &setting.input else {
            continue;
        };
        let described = match setting.name.strip_prefix("caps.") {
            Some(name) => &caps[name],
            None => &top[setting.name],
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
        ("steps", Some("steps")),
        ("steps[1].after_minutes", Some("steps")),
        ("steps.1.after_minutes", Some("steps")),
        ("caps.gap_minutes", Some("caps.gap_minutes")),
        ("caps", None),
        ("quiet_hours.by_country.US", Some("quiet_hours")),
        ("in_quiet_hours", Some("in_quiet_hours")),
        ("templates.pt-BR.text", Some("templates")),
        ("sender_of_the_future", None),
        ("", None),
    ] {
        assert_eq!(find(path).map(|found| found.name), name, "{path}");
    }
    assert_eq!(label("caps"), Some("Limits"));
    assert_eq!(label("of_the_future"), None);
    assert_eq!(label(""), None);
}

#[test]
fn a_value_is_put_where_it_is_read_and_taken_away() {
    for setting in SETTINGS {
        let mut settings = Map::new();
        setting.put(&mut settings, Some(json!("x")));
        assert_eq!(setting.value(&Value::Object(settings.clone())), "x");
        setting.put(&mut settings, None);
        assert!(setting.value(&Value::Object(settings)).is_null());
    }
}
