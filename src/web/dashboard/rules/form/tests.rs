use chrono::TimeDelta;
use serde_json::{Value, json};

use super::words::said;
use super::*;
use crate::domain::ids::Channel;
use crate::domain::rule::settings::{Input, LeftOut, SETTINGS};
use crate::domain::rule::{RuleSettings, Template};

/// What a browser sends for the form of these settings.
fn sent(channel: Channel, settings: &RuleSettings) -> FormFields {
    let model = model(channel, &json!(settings));
    let mut pairs = Vec::new();
    let mut send = |name: &str, value: &Value| pairs.push((name.to_owned(), text(value)));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    for step in model["steps"]["rows"].as_array().unwrap() {
        send("step", &step["count"]);
        let chosen = step["units"].as_array().unwrap().iter();
        for unit in chosen.filter(|unit| unit["chosen"] == true) {
            send("step_unit", &unit["name"]);
        }
    }
    for window in model["windows"]["rows"].as_array().unwrap() {
        let row = window["row"].as_str().unwrap();
        for name in ["from", "to", "country"] {
            send(&format!("{row}_{name}"), &window[name]);
        }
        let days = window["days"].as_array().unwrap().iter();
        for day in days.filter(|day| day["on"] == true) {
            send(&word(&day["field"]), &json!("on"));
        }
    }
    for template in model["texts"]["rows"].as_array().unwrap() {
        let row = template["row"].as_str().unwrap();
        send(&format!("{row}_language"), &template["language"]);
        for name in ["subject", "text", "html"] {
            send(&word(&template[name]["id"]), &template[name]["value"]);
        }
    }
    for group in ["when", "hours", "limits", "sender"] {
        for field in model[group]["fields"].as_array().unwrap() {
            let choices = field["choices"].as_array();
            let chosen = choices.map(|all| {
                let mut chosen = all.iter().filter(|choice| choice["chosen"] == true);
                chosen.next().expect("something is always chosen")["word"].clone()
            });
            send(
                &word(&field["name"]),
                &chosen.unwrap_or_else(|| field["value"].clone()),
            );
        }
        let switches = model[group]["switches"].as_array().unwrap().iter();
        for switch in switches.filter(|switch| switch["on"] == true) {
            send(&word(&switch["name"]), &json!("on"));
        }
    }
    FormFields(pairs)
}

#[test]
fn a_form_that_nobody_has_changed_says_what_was_stored_of_every_setting() {
    for channel in Channel::ALL {
        let defaults = RuleSettings::default_for(channel);
        for setting in SETTINGS.iter().filter(|setting| setting.is_of(channel)) {
            let mut values: Vec<_> = setting.examples(channel).into_iter().map(Some).collect();
            if setting.left_out != LeftOut::Never {
                values.push(None);
            }
            for value in values {
                let stored = setting.changed(channel, &defaults, value);
                let fields = sent(channel, &stored);
                let read = settings(channel, json!(stored), &fields);
                assert_eq!(RuleSettings::parse(channel, read).as_ref(), Ok(&stored));
                // It is the form that says so, not what is stored.
                let read = settings(channel, json!(defaults), &fields);
                assert_eq!(RuleSettings::parse(channel, read), Ok(stored));
            }
        }
    }
}

/// A number that is gone by accident must not become another one without a word.
#[test]
fn an_emptied_number_is_a_fault_unless_empty_means_something() {
    for channel in Channel::ALL {
        let stored = RuleSettings::default_for(channel);
        for setting in SETTINGS.iter().filter(|setting| setting.is_of(channel)) {
            if !matches!(setting.input, Input::Number(_)) {
                continue;
            }
            let FormFields(mut pairs) = sent(channel, &stored);
            pairs.retain(|(name, _)| name != setting.name);
            pairs.push((setting.name.to_owned(), String::new()));
            let read = settings(channel, json!(stored), &FormFields(pairs));
            let is_fault = RuleSettings::parse(channel, read).is_err();
            let means = matches!(setting.left_out, LeftOut::Means(_));
            assert_eq!(is_fault, !means, "{}", setting.name);
        }
    }
}

/// A file of another time may hold one; it would be refused, and the page has no field for it.
#[test]
fn a_setting_that_the_channel_does_not_have_is_dropped() {
    let mut stored = json!(RuleSettings::default_for(Channel::Sms));
    stored["resend_unknown"] = true.into();
    let fields = sent(Channel::Sms, &RuleSettings::default_for(Channel::Sms));
    let read = settings(Channel::Sms, stored, &fields);
    assert!(RuleSettings::parse(Channel::Sms, read).is_ok());
}

#[test]
fn every_setting_has_a_field_or_rows_of_its_own() {
    for channel in Channel::ALL {
        let fields = sent(channel, &RuleSettings::default_for(channel));
        let model = model(channel, &json!(RuleSettings::default_for(channel)));
        for setting in SETTINGS.iter().filter(|setting| setting.is_of(channel)) {
            let name = match setting.input {
                Input::Steps => "step",
                Input::Hours => "w0_from",
                Input::Texts => "t0_text",
                // One that is off is not sent.
                Input::Switch => {
                    let shown = model.to_string();
                    let name = json!(setting.name).to_string();
                    assert!(shown.contains(&name), "{name}");
                    continue;
                }
                _ => setting.name,
            };
            assert!(fields.has(name), "{name}");
        }
    }
}

#[test]
fn every_field_is_rendered_with_its_name_its_label_and_its_value() {
    for channel in Channel::ALL {
        let mut stored = RuleSettings::default_for(channel);
        stored.caps.gap = TimeDelta::minutes(77);
        stored.latest = Some(TimeDelta::minutes(88));
        stored.remind_in_queue = true;
        stored.sender = Some("a \"quoted\" one".to_owned());
        let model = model(channel, &json!(stored));
        let mut pages = String::new();
        for group in ["when", "hours", "limits", "sender"] {
            let rendered = crate::web::templates::rendered("rule_settings.hbs", &model[group]);
            pages += &rendered.unwrap();
        }
        for setting in SETTINGS.iter().filter(|setting| setting.is_of(channel)) {
            if matches!(setting.input, Input::Steps | Input::Hours | Input::Texts) {
                continue;
            }
            let escaped = setting.label.replace('\'', "&#x27;");
            assert!(pages.contains(&escaped), "{}: {pages}", setting.label);
            let name = format!("name=\"{}\"", setting.name);
            assert_eq!(pages.matches(&name).count(), 1, "{name}: {pages}");
        }
        for shown in [
            "value=\"77\"",
            "value=\"88\"",
            "value=\"a &quot;quoted&quot; one\"",
            "name=\"remind_in_queue\" checked",
            "<option value=\"move\" selected>waits until then</option>",
        ] {
            assert!(pages.contains(shown), "{shown} is not in {pages}");
        }
    }
}

#[test]
fn what_a_form_does_not_have_stays_as_it_is_stored() {
    let mut stored = RuleSettings::default_for(Channel::Sms);
    stored.holdout_percent = 7;
    stored.sender = Some("+12025550143".to_owned());
    let mut fields = sent(Channel::Sms, &stored);
    let left_out = ["holdout_percent", "sender"];
    fields
        .0
        .retain(|(name, _)| !left_out.contains(&name.as_str()));
    let read = settings(Channel::Sms, json!(stored), &fields);
    assert_eq!(
        RuleSettings::parse(Channel::Sms, read).as_ref(),
        Ok(&stored)
    );
    fields.0.push(("sender".to_owned(), " ".to_owned()));
    assert_eq!(
        settings(Channel::Sms, json!(stored), &fields)["sender"],
        Value::Null
    );
}

#[test]
fn settings_and_their_values_are_called_what_a_person_calls_them() {
    for (field, name) in [
        (
            "/settings/debounce_minutes",
            "Wait after the agent's last message",
        ),
        ("/settings/steps/1/after_minutes", "Steps"),
        ("/settings/caps/gap_minutes", "Apart by at least"),
        ("caps", "Limits"),
        ("quiet_hours.allowed", "Hours"),
        (
            "/settings/quiet_hours/by_country/US/0",
            "Hours for US numbers",
        ),
        ("templates.pt-BR.text", "Words pt-BR, text"),
        ("enabled", "On or off"),
        ("/to", "Test message to"),
        ("/code", "Code of the test message"),
        ("/settings", "settings"),
        ("of_the_future", "of the future"),
    ] {
        assert_eq!(label(field), name, "{field}");
    }
    let window = json!([{ "days": ["Mon"], "from": "09:00", "to": "12:00" }]);
    for (path, value, words) in [
        ("enabled", json!(true), "yes"),
        (
            "steps",
            json!([{ "after_minutes": 10 }, { "after_minutes": 2880 }]),
            "after 10 minutes, after 2 days",
        ),
        ("debounce_minutes", json!(90), "1 hour 30 minutes"),
        (
            "latest_minutes",
            Value::Null,
            "24 hours for e-mail, 17 hours for SMS; longer if it may be late by more",
        ),
        ("holdout_percent", json!(10), "10 percent"),
        ("holdout_percent", Value::Null, "0 percent"),
        ("in_quiet_hours", json!("drop"), "is not sent"),
        ("time_zone", json!("Asia/Kolkata"), "Asia/Kolkata"),
        (
            "quiet_hours.allowed",
            window,
            "on Mon between 09:00 and 12:00",
        ),
        ("quiet_hours.allowed", json!([]), "at any hour"),
        ("templates.de", json!({ "text": "Hallo" }), "Hallo"),
        ("templates.de", Value::Null, "nothing"),
        ("of_the_future", json!(["a"]), "[\"a\"]"),
    ] {
        assert_eq!(said(path, &value), words, "{path}");
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
            let stored = RuleSettings::default_for(channel);
            let mut fields = sent(channel, &stored);
            for (at, value) in &changes {
                let at = at.index(fields.0.len());
                fields.0[at].1.clone_from(value);
            }
            fields.0.extend(more.iter().cloned());
            let read = settings(channel, json!(stored), &fields);
            let _ = model(channel, &read);
            if let Ok(parsed) = RuleSettings::parse(channel, read) {
                let again = RuleSettings::parse(channel, json!(parsed));
                proptest::prop_assert_eq!(again.ok(), Some(parsed));
            }
        }
    }
}

#[test]
fn a_fault_of_a_text_stands_beside_it() {
    let mut stored = RuleSettings::default_for(Channel::Email);
    let template = Template {
        subject: Some("Neues".to_owned()),
        text: "Hallo\n  Welt".to_owned(),
        html: None,
    };
    stored.templates.insert("de".to_owned(), template);
    let mut model = model(Channel::Email, &json!(stored));
    let fault = crate::control::Fault {
        field: "/settings/templates/de/subject".to_owned(),
        detail: "is too <long>".to_owned(),
    };
    mark(&mut model, &[fault]);
    let rows = json!({ "form": model, "variables": [] });
    let page = crate::web::templates::rendered("rule_texts.hbs", &rows).unwrap();
    assert_eq!(page.matches("aria-invalid").count(), 1, "{page}");
    let marked = "id=\"t0_subject\" name=\"t0_subject\" aria-invalid=\"true\" aria-describedby=\"t0_subject_fault\"";
    assert!(page.contains(marked), "{page}");
    assert!(
        page.contains("id=\"t0_subject_fault\">is too &lt;long&gt;<"),
        "{page}"
    );
    // The lines of a text are not set in with those of the page.
    assert!(
        page.contains("data-words>Hallo\n  Welt</textarea>"),
        "{page}"
    );
}

#[test]
fn what_does_not_fit_is_told_and_kept() {
    let stored = RuleSettings::default_for(Channel::Sms);
    let mut fields = sent(Channel::Sms, &stored);
    for (name, value) in &mut fields.0 {
        if name == "debounce_minutes" {
            "soon".clone_into(value);
        }
    }
    let read = settings(Channel::Sms, json!(stored), &fields);
    let model = model(Channel::Sms, &read);
    let shown = model["when"]["fields"].as_array().unwrap().iter();
    let mut shown = shown.filter(|field| field["name"] == "debounce_minutes");
    assert_eq!(shown.next().unwrap()["value"], "soon");
    let problems = RuleSettings::parse(Channel::Sms, read).unwrap_err();
    assert_eq!(problems[0].field, "debounce_minutes");
}
