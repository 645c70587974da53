use chrono::TimeDelta;
use serde_json::{Value, json};

use super::*;
use crate::domain::ids::Channel;
use crate::domain::rule::settings::{Input, LeftOut, SETTINGS, Setting};
use crate::domain::rule::{RuleSettings, Template};

const BOTH: [Channel; 2] = [Channel::Email, Channel::Sms];

fn parsed(settings: Value) -> Result<RuleSettings, Vec<crate::domain::rule::RuleProblem>> {
    RuleSettings::parse(&Channel::ALL, settings)
}

/// What a browser sends for the form of these settings.
fn sent(settings: &RuleSettings) -> FormFields {
    let model = model(&Channel::ALL, &json!(settings), &OpenLanguages::default());
    let mut pairs = Vec::new();
    let mut send = |name: &str, value: &Value| pairs.push((name.to_owned(), text(value)));
    let rows = |of: &Value| of["rows"].as_array().unwrap().clone();
    let chosen = |of: &Value, word: &str| {
        let mut chosen = of
            .as_array()
            .unwrap()
            .iter()
            .filter(|choice| choice["chosen"] == true);
        chosen.next().expect("something is always chosen")[word].clone()
    };
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    for step in rows(&model["steps"]) {
        send("step_id", &step["step_id"]);
        send("step_channel", &chosen(&step["channels"], "word"));
        send("step", &step["count"]);
        send("step_unit", &chosen(&step["units"], "name"));
        send("step_when", &chosen(&step["conditions"], "word"));
    }
    let mut groups = vec![
        model["when"].clone(),
        model["hours"].clone(),
        model["limits"].clone(),
    ];
    for channel in model["channels"].as_array().unwrap() {
        send("channel", &channel["word"]);
        groups.push(channel["more"].clone());
        for window in rows(&channel["windows"]) {
            let row = word(&window["row"]);
            for name in ["from", "to", "country"] {
                send(&format!("{row}_{name}"), &window[name]);
            }
            let days = window["days"].as_array().unwrap().iter();
            for day in days.filter(|day| day["on"] == true) {
                send(&word(&day["field"]), &json!("on"));
            }
        }
        for template in rows(&channel["texts"]) {
            send(
                &format!("{}_language", word(&template["row"])),
                &template["language"],
            );
            if template["standard"] == true {
                send(
                    &format!("{}_standard", word(&template["row"])),
                    &json!("on"),
                );
            }
            for name in ["subject", "preheader", "text", "html"] {
                send(&word(&template[name]["id"]), &template[name]["value"]);
            }
        }
    }
    for group in groups {
        for field in group["fields"].as_array().unwrap() {
            let value = match field.get("choices") {
                Some(choices) => chosen(choices, "word"),
                None => field["value"].clone(),
            };
            send(&word(&field["name"]), &value);
        }
        let switches = group["switches"].as_array().unwrap().iter();
        for switch in switches.filter(|switch| switch["on"] == true) {
            send(&word(&switch["name"]), &json!("on"));
        }
    }
    FormFields(pairs)
}

fn every_setting() -> impl Iterator<Item = (&'static Setting, Option<Channel>)> {
    SETTINGS
        .iter()
        .flat_map(|setting| setting.places().map(move |of| (setting, of)))
}

#[test]
fn a_form_that_nobody_has_changed_says_what_was_stored_of_every_setting() {
    let defaults = RuleSettings::default_for(&BOTH);
    for (setting, of) in every_setting() {
        let mut values: Vec<_> = setting.examples(of).into_iter().map(Some).collect();
        if setting.left_out != LeftOut::Never {
            values.push(None);
        }
        for value in values {
            let stored = setting.changed(of, &defaults, value);
            let fields = sent(&stored);
            assert_eq!(
                parsed(settings(json!(stored), &fields)).as_ref(),
                Ok(&stored)
            );
            // It is the form that says so, not what is stored.
            assert_eq!(parsed(settings(json!(defaults), &fields)), Ok(stored));
        }
    }
}

/// A number that is gone by accident must not become another one without a word.
#[test]
fn an_emptied_number_is_a_fault_unless_empty_means_something() {
    let stored = RuleSettings::default_for(&BOTH);
    for (setting, of) in every_setting() {
        if !matches!(setting.input, Input::Number(_)) {
            continue;
        }
        let (FormFields(mut pairs), path) = (sent(&stored), setting.path(of));
        pairs.retain(|(name, _)| *name != path);
        pairs.push((path.clone(), String::new()));
        let is_fault = parsed(settings(json!(stored), &FormFields(pairs))).is_err();
        let means = matches!(setting.left_out, LeftOut::Means(_));
        assert_eq!(is_fault, !means, "{path}");
    }
}

/// A file of another time may hold one; it would be refused, and the page has no field for it.
#[test]
fn a_setting_that_the_channel_does_not_have_is_dropped() {
    let usual = RuleSettings::default_for(&BOTH);
    let mut stored = json!(usual);
    stored["channels"]["sms"]["resend_unknown"] = true.into();
    assert!(parsed(settings(stored, &sent(&usual))).is_ok());
}

#[test]
fn every_setting_has_a_field_or_rows_of_its_own() {
    let usual = RuleSettings::default_for(&BOTH);
    let (fields, shown) = (
        sent(&usual),
        model(&Channel::ALL, &json!(usual), &OpenLanguages::default()).to_string(),
    );
    for (setting, of) in every_setting() {
        let row = |name: &str| format!("{}_{name}", of.unwrap());
        let name = match setting.input {
            Input::Steps => "step".to_owned(),
            Input::Hours => row("w0_from"),
            Input::Texts => row("t0_text"),
            // One that is off is not sent.
            Input::Switch => {
                let name = json!(setting.path(of)).to_string();
                assert!(shown.contains(&name), "{name}");
                continue;
            }
            _ => setting.path(of),
        };
        assert!(fields.has(&name), "{name}");
    }
}

#[test]
fn every_field_is_rendered_with_its_name_its_label_and_its_value() {
    let mut stored = RuleSettings::default_for(&BOTH);
    stored.caps.gap = TimeDelta::minutes(77);
    stored.remind_in_queue = true;
    let sms = &mut stored.channels[Channel::Sms];
    sms.latest = Some(TimeDelta::minutes(88));
    sms.sender = Some("a \"quoted\" one".to_owned());
    let model = model(&Channel::ALL, &json!(stored), &OpenLanguages::default());
    let mut pages = String::new();
    for group in ["when", "hours", "limits"] {
        pages += &page("rule_settings.hbs", &model[group]);
    }
    for channel in model["channels"].as_array().unwrap() {
        pages += &channel_page(channel);
    }
    for (setting, of) in every_setting() {
        if matches!(setting.input, Input::Steps | Input::Hours | Input::Texts) {
            continue;
        }
        let escaped = setting.label.replace('\'', "&#x27;");
        assert!(pages.contains(&escaped), "{}: {pages}", setting.label);
        let name = format!("name=\"{}\"", setting.path(of));
        assert_eq!(pages.matches(&name).count(), 1, "{name}: {pages}");
    }
    for shown in [
        "value=\"77\"",
        "value=\"88\"",
        "value=\"a &quot;quoted&quot; one\"",
        "name=\"remind_in_queue\" checked",
        "<option value=\"move\" selected>send when they open</option>",
    ] {
        assert!(pages.contains(shown), "{shown} is not in {pages}");
    }
}

fn page(template: &str, values: &Value) -> String {
    crate::web::templates::rendered(template, values).unwrap()
}

/// What the page has of a channel, in its parts.
fn channel_page(channel: &Value) -> String {
    let mut values = channel.clone();
    values["variables"] = json!([]);
    values["may_edit"] = true.into();
    values["path"] = "/rules".into();
    page("rule_channel.hbs", &values)
        + &page("rule_hours.hbs", &values)
        + &page("rule_settings.hbs", &values["more"])
}

#[test]
fn what_a_form_does_not_have_stays_as_it_is_stored() {
    let mut stored = RuleSettings::default_for(&BOTH);
    stored.holdout_percent = 7;
    stored.channels[Channel::Sms].sender = Some("+12025550143".to_owned());
    stored.channels[Channel::Email].resend_unknown = true;
    let mut fields = sent(&stored);
    let left_out = ["holdout_percent", "channels.sms.sender"];
    fields
        .0
        .retain(|(name, _)| !left_out.contains(&name.as_str()));
    assert_eq!(
        parsed(settings(json!(stored), &fields)).as_ref(),
        Ok(&stored)
    );
    fields
        .0
        .push(("channels.sms.sender".to_owned(), " ".to_owned()));
    assert_eq!(
        settings(json!(stored), &fields)["channels"]["sms"]["sender"],
        Value::Null
    );
    // A whole channel.
    let FormFields(mut pairs) = sent(&stored);
    pairs.retain(|(name, value)| {
        !(name.starts_with("channels.email.")
            || name.starts_with("email_")
            || (name == "channel" && value == "email"))
    });
    assert_eq!(
        parsed(settings(json!(stored), &FormFields(pairs))).as_ref(),
        Ok(&stored)
    );
}

#[test]
fn a_channel_that_is_not_set_up_is_offered_only_where_it_is_used() {
    let only_email = RuleSettings::default_for(&[Channel::Email]);
    let words = |model: &Value| -> Vec<String> {
        let channels = model["channels"].as_array().unwrap().iter();
        channels.map(|channel| text(&channel["word"])).collect()
    };
    let shown = model(
        &[Channel::Email],
        &json!(only_email),
        &OpenLanguages::default(),
    );
    assert_eq!(words(&shown), ["email"]);
    assert_eq!(
        shown["steps"]["rows"][0]["channels"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let both = RuleSettings::default_for(&BOTH);
    let shown = model(&[Channel::Email], &json!(both), &OpenLanguages::default());
    assert_eq!(words(&shown), ["email", "sms"]);
    let offered = &shown["steps"]["rows"][1]["channels"];
    assert_eq!(offered[1]["label"], "SMS (not set up)", "{offered}");
}

proptest::proptest! {
    /// Whatever a form says, it is told what is wrong with it, or it is stored and shown again as it is.
    #[test]
    fn fuzz_rule_forms(
        changes in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), "(\\PC{0,12}|-?[0-9]{1,20}|[0-9]{2}:[0-9]{2})"), 0..6),
        more in proptest::collection::vec(("(do|email_add|step|step_id|step_channel|step_unit|step_when|(email|sms)_[wt][0-9]{1,2}_(from|to|Mon|country|language|standard|text|preheader|html)|channels.sms.sender|holdout_percent)", "\\PC{0,20}"), 0..6),
    ) {
        let stored = RuleSettings::default_for(&BOTH);
        let mut fields = sent(&stored);
        for (at, value) in &changes {
            let at = at.index(fields.0.len());
            fields.0[at].1.clone_from(value);
        }
        fields.0.extend(more.iter().cloned());
        let read = settings(json!(stored), &fields);
        let _ = model(&BOTH, &read, &OpenLanguages::of(&fields));
        if let Ok(settings) = parsed(read) {
            let again = parsed(json!(settings));
            proptest::prop_assert_eq!(again.ok(), Some(settings));
        }
    }
}

#[test]
fn a_fault_of_a_text_stands_beside_it() {
    let mut stored = RuleSettings::default_for(&BOTH);
    let template = Template {
        subject: Some("Neues".to_owned()),
        preheader: None,
        text: "Hallo\n  Welt".to_owned(),
        html: None,
    };
    stored.channels[Channel::Email]
        .templates
        .insert("de".to_owned(), template);
    let mut model = model(&BOTH, &json!(stored), &OpenLanguages::default());
    let fault = crate::control::Fault {
        field: "/settings/channels/email/templates/de/subject".to_owned(),
        detail: "is too <long>".to_owned(),
    };
    mark(&mut model, &[fault]);
    let page = channel_page(&model["channels"][0]);
    let marked = "aria-invalid=\"true\" aria-describedby=\"email_t1_subject_fault\"";
    let field = format!("id=\"email_t1_subject\" name=\"email_t1_subject\" {marked}");
    // The field, and the pieces in its place.
    assert_eq!(page.matches("aria-invalid").count(), 2, "{page}");
    assert_eq!(page.matches(marked).count(), 2, "{page}");
    assert!(page.contains(&field), "{page}");
    assert!(
        page.contains("id=\"email_t1_subject_fault\">is too &lt;long&gt;<"),
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
    let stored = RuleSettings::default_for(&BOTH);
    let mut fields = sent(&stored);
    let path = "channels.sms.max_age_minutes";
    for (name, value) in &mut fields.0 {
        if name == path {
            "soon".clone_into(value);
        }
    }
    let read = settings(json!(stored), &fields);
    let mut model = model(&BOTH, &read, &OpenLanguages::default());
    let problems = parsed(read).unwrap_err();
    assert_eq!(problems[0].field, path);
    let fault = crate::control::Fault {
        field: "/settings/channels/sms/max_age_minutes".to_owned(),
        detail: problems[0].message.clone(),
    };
    mark(&mut model, &[fault]);
    let sms = &model["channels"][1];
    let mut shown = sms["more"]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|field| field["name"] == path);
    let shown = shown.next().unwrap();
    assert_eq!(
        (&shown["value"], &shown["wrong"]),
        (&json!("soon"), &json!("must be a whole number"))
    );
    assert_eq!(model["more_open"], true);
}
