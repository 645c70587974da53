use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The problems of settings given over the channel's defaults, as `field: message`.
fn problems(channel: Channel, given: Value) -> Vec<String> {
    match RuleSettings::parse(channel, given) {
        Ok(_) => vec![],
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_defaults_are_valid_and_survive_a_round_trip() {
    for channel in Channel::ALL {
        let settings = RuleSettings::default_for(channel);
        assert_eq!(settings.validate(channel), []);
        let stored = serde_json::to_value(&settings).unwrap();
        assert_eq!(RuleSettings::parse(channel, stored), Ok(settings.clone()));
        assert_eq!(RuleSettings::parse(channel, json!({})), Ok(settings));
    }
}

#[test]
fn what_is_given_replaces_the_default_and_the_rest_stays() {
    let given = json!({
        "steps": [{"after_minutes": 5}],
        "time_zone": "America/New_York",
        "caps": {"gap_minutes": 30},
        "sender": "+12025550143",
    });
    let settings = RuleSettings::parse(Channel::Sms, given).unwrap();
    assert_eq!(
        settings.steps,
        [Step {
            after: TimeDelta::minutes(5)
        }]
    );
    assert_eq!(
        settings.time_zone,
        Some("America/New_York".parse().unwrap())
    );
    assert_eq!(settings.caps.gap, TimeDelta::minutes(30));
    assert_eq!(
        settings.caps.per_recipient_24h, 2,
        "the SMS default, not that of e-mail"
    );
    assert_eq!(settings.max_age, TimeDelta::hours(1));
    assert_eq!(settings.quiet_hours, QuietHours::sms_default());
}

#[test]
fn malformed_settings_are_all_told_by_field() {
    let given = json!({
        "steps": [{"after": 5}],
        "time_zone": "Mars/Base",
        "debounce_minutes": 1.5,
        "max_age_minutes": 999_999,
        "quiet_hours": {"allowed": [{"from": "9", "to": "20:00"}]},
        "colour": "red",
    });
    let found = RuleSettings::parse(Channel::Sms, given).unwrap_err();
    let fields: Vec<_> = found.iter().map(|p| p.field.as_str()).collect();
    let mut expected = [
        "colour",
        "debounce_minutes",
        "max_age_minutes",
        "quiet_hours",
        "steps",
        "time_zone",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert!(
        found[3]
            .message
            .contains("\"9\" is not a time of day like \"09:00\""),
        "{}",
        found[3]
    );
    assert_eq!(
        problems(Channel::Sms, json!([])),
        ["settings: must be an object"]
    );
}

#[test]
fn every_setting_is_known_by_its_name() {
    // serde names all fields of a struct in the refusal of one that there is not.
    let refused = serde_json::from_value::<RuleSettings>(json!({ "?": 0 })).unwrap_err();
    let named = refused.to_string();
    let (_, named) = named.split_once("expected one of ").unwrap();
    let mut serde: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
    let told = problems(Channel::Sms, json!({ "?": 0 })).remove(0);
    let (_, told) = told.split_once("there are ").unwrap();
    let mut ours: Vec<&str> = told.split(", ").collect();
    serde.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, serde);
}

/// Somebody who may only look can have anything looked at.
#[test]
fn what_is_sent_by_the_hundred_thousand_is_told_in_a_few_lines() {
    let many = |n: usize, value: Value| -> Value {
        (0..n)
            .map(|n| (format!("z{n}"), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let window = json!({"from": "09:00", "to": "09:00"});
    let pairs = |n: usize, windows: &Value| -> Value {
        let letters = || (b'A'..=b'Z').map(char::from);
        let pairs = letters().flat_map(|a| letters().map(move |b| format!("{a}{b}")));
        pairs
            .take(n)
            .map(|pair| (pair, windows.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let open = json!({"from": "09:00", "to": "10:00"});
    let text = json!({"subject": "s", "text": "t"});
    let long = "x".repeat(1_000_000);
    let days = vec!["Mon"; 100_000];
    #[rustfmt::skip]
    let cases = [
        (many(100_000, json!(0)), 21, "settings: there are 99980 more problems like these"),
        (json!({"templates": many(100_000, text)}), 1, "templates: give at most 50 languages"),
        (json!({"steps": vec![json!({"after_minutes": 5}); 100_000]}), 8, "steps[7].after_minutes: must be more than in the step before"),
        (json!({"quiet_hours": {"by_country": pairs(676, &json!([window]))}}), 1, "quiet_hours.by_country: give at most 50 countries"),
        (json!({"quiet_hours": {"by_country": pairs(50, &json!([window, window, window, window]))}}), 21, "settings: there are 180 more problems like these"),
        (json!({"quiet_hours": {"by_country": pairs(50, &json!([open, open, open, open, open]))}}), 1, "quiet_hours: give at most 200 windows in all"),
        (json!({"quiet_hours": {"allowed": vec![window; 100_000]}}), 2, "quiet_hours: give at most 200 windows in all"),
        (json!({"quiet_hours": {"allowed": [{"days": days, "from": "09:00", "to": "20:00"}]}}), 1, "quiet_hours.allowed[0].days: name each day of the week once"),
        (json!({"sender": long}), 1, "sender: must be an e-mail address, for example help@example.com"),
    ];
    for (given, lines, last) in cases {
        let mut told = problems(Channel::Email, given);
        assert_eq!(told.len(), lines, "{last}");
        assert_eq!(told.pop().unwrap_or_default(), last);
    }
    for given in [
        json!({ long.clone(): 0 }),
        json!({ "time_zone": long.clone() }),
        json!({ "caps": { long.clone(): 0 } }),
        json!({ "templates": { long.clone(): { "subject": "s", "text": "t" } } }),
        json!({ "quiet_hours": { "by_country": { long.clone(): [] } } }),
    ] {
        for told in problems(Channel::Email, given) {
            assert!(told.len() < 1_000, "{} bytes", told.len());
        }
    }
}

#[test]
fn impossible_settings_are_told_with_their_fix() {
    let step = |m: i64| json!({"after_minutes": m});
    let caps_message = "must be 1 to 24; to send nothing, switch the rule off";
    let window_message = "\"from\" must be before \"to\" (00:00 is the end of the day); for a window across midnight write two";
    #[rustfmt::skip]
    let cases = [
        (json!({"steps": []}), "steps: give 1 to 8 steps".to_owned()),
        (json!({"steps": (1..=9).map(step).collect::<Vec<_>>()}), "steps: give 1 to 8 steps".to_owned()),
        (json!({"steps": [step(0)]}), "steps[0].after_minutes: must be 1 or more".to_owned()),
        (json!({"steps": [step(9), step(9)]}), "steps[1].after_minutes: must be more than in the step before".to_owned()),
        (json!({"latest_minutes": 0}), "latest_minutes: must be 1 to 10080 (7 days)".to_owned()),
        (json!({"latest_minutes": 10_081}), "latest_minutes: must be 1 to 10080 (7 days)".to_owned()),
        (json!({"time_zone": "CST"}), "time_zone: \"CST\" is no time zone; write one like Europe/Berlin, or a distance like UTC+05:30".to_owned()),
        (json!({"max_age_minutes": 0}), "max_age_minutes: must be 1 to 129600 (90 days)".to_owned()),
        (json!({"caps": {"per_recipient_24h": 0}}), format!("caps.per_recipient_24h: {caps_message}")),
        (json!({"caps": {"per_conversation_24h": 25}}), format!("caps.per_conversation_24h: {caps_message}")),
        (json!({"caps": {"gap_minutes": 10_081}}), "caps.gap_minutes: must be 0 to 10080 (7 days)".to_owned()),
        (json!({"quiet_hours": {"allowed": [{"from": "20:00", "to": "09:00"}]}}), format!("quiet_hours.allowed[0]: {window_message}")),
        (json!({"quiet_hours": {"by_country": {"US": [{"from": "09:00", "to": "09:00"}]}}}), format!("quiet_hours.by_country.US[0]: {window_message}")),
        (json!({"quiet_hours": {"by_country": {"usa": []}}}), "quiet_hours.by_country.usa: a country is two capital letters, for example US".to_owned()),
        (json!({"sender": "help"}), "sender: must be an e-mail address, for example help@example.com".to_owned()),
        (json!({"templates": {"en": {"text": "Hi"}}}), "templates.en.subject: is missing".to_owned()),
        (json!({"templates": {"en": {"subject": "s", "text": " "}}}), "templates.en.text: is empty".to_owned()),
        (json!({"templates": {"en us": {"subject": "s", "text": "t"}}}), "templates.en us: a language is a tag like en or pt-BR".to_owned()),
    ];
    for (given, expected) in cases {
        assert_eq!(
            problems(Channel::Email, given.clone()),
            [expected],
            "{given}"
        );
    }
}

#[test]
fn a_zone_is_understood_and_utc_is_none_chosen() {
    let zone = |given: &str| {
        let settings = RuleSettings::parse(Channel::Email, json!({ "time_zone": given })).unwrap();
        serde_json::to_value(&settings).unwrap()["time_zone"].clone()
    };
    assert_eq!(zone("Eastern Standard Time"), json!("America/New_York"));
    assert_eq!(zone("gmt+5:30"), json!("UTC+05:30"));
    assert_eq!(zone("UTC"), Value::Null);
    assert_eq!(zone("Etc/UTC"), json!("Etc/UTC"));
}

#[test]
fn the_latest_moment_is_the_channels_unless_something_longer_is_asked_for() {
    let latest = |channel, given| {
        let settings = RuleSettings::parse(channel, given).unwrap();
        settings.latest(channel).num_minutes()
    };
    assert_eq!(latest(Channel::Email, json!({})), 24 * 60);
    assert_eq!(latest(Channel::Sms, json!({})), 17 * 60);
    assert_eq!(latest(Channel::Sms, json!({"max_age_minutes": 2880})), 2880);
    assert_eq!(latest(Channel::Sms, json!({"latest_minutes": 90})), 90);
}

#[test]
fn sms_has_senders_and_limits_of_its_own() {
    for sender in [
        "+12025550143",
        "12345",
        "MG0123456789abcdef0123456789abcdef",
    ] {
        assert_eq!(
            problems(Channel::Sms, json!({"sender": sender})),
            [""; 0],
            "{sender}"
        );
    }
    for sender in [
        "",
        "help@example.com",
        "2025550143",
        "+02025550143",
        "MG123",
        "Brand",
    ] {
        assert_eq!(
            problems(Channel::Sms, json!({"sender": sender})).len(),
            1,
            "{sender}"
        );
    }
    let given = json!({"resend_unknown": true, "templates": {"en": {"subject": "s", "text": "t", "html": "h"}}});
    let expected = [
        "resend_unknown: is for e-mail only: an SMS is settled with the provider instead",
        "templates.en.subject: is for e-mail only",
        "templates.en.html: is for e-mail only",
    ];
    assert_eq!(problems(Channel::Sms, given), expected);
}

#[test]
fn a_language_falls_back_to_its_primary_then_to_english() {
    let text = |text: &str| Template {
        subject: None,
        text: text.to_owned(),
        html: None,
    };
    let tags = ["en", "pt", "pt-BR", "he", "zh-Hant"].map(|tag| (tag.to_owned(), text(tag)));
    let settings = RuleSettings {
        templates: tags.into(),
        ..RuleSettings::default_for(Channel::Sms)
    };
    #[rustfmt::skip]
    let cases = [
        (Some("pt-BR"), "pt-BR"),
        (Some("pt-br"), "pt-BR"),
        (Some("pt_BR"), "pt-BR"),
        (Some("pt-PT"), "pt"),
        (Some("en-GB"), "en"),
        (Some("he-IL"), "he"),
        (Some("zh-Hant-TW"), "zh-Hant"),
        (Some("zh-Hans"), "en"),
        (Some("fr-FR"), "en"),
        (Some(""), "en"),
        (None, "en"),
    ];
    for (language, expected) in cases {
        assert_eq!(
            settings
                .template_for(language)
                .map(|(tag, t)| (tag, t.text.as_str())),
            Some((expected, expected)),
            "{language:?}"
        );
    }
    assert_eq!(
        RuleSettings::default_for(Channel::Sms).template_for(Some("pt-BR")),
        None
    );
}

#[test]
fn a_skill_has_its_own_rule_or_the_default_but_never_another_channels() {
    let rule = |id, skill: Option<i64>, channel, enabled| Rule {
        live: Rule::ALWAYS,
        lost_until: None,
        id,
        account: "12345678".parse().unwrap(),
        skill: skill.map(SkillId),
        channel,
        enabled,
        version: 1,
        settings: RuleSettings::default_for(channel),
    };
    let rules = [
        rule(1, None, Channel::Email, true),
        rule(2, Some(7), Channel::Email, false),
        rule(3, Some(7), Channel::Sms, true),
    ];
    let picked = |skill, channel| pick(&rules, SkillId(skill), channel).map(|r| r.id);
    assert_eq!(
        picked(7, Channel::Email),
        Some(2),
        "disabled, and still the skill's own"
    );
    assert_eq!(picked(8, Channel::Email), Some(1));
    assert_eq!(picked(7, Channel::Sms), Some(3));
    assert_eq!(picked(8, Channel::Sms), None);
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_valid_and_stored_unchanged(
        steps in prop::collection::vec(0..3000_i64, 0..10), debounce in -1..200_i64, max_age in -1..2000_i64,
        cap in 0..30_u32, sms: bool, latest in prop::option::of(-1..12_000_i64),
    ) {
        let channel = if sms { Channel::Sms } else { Channel::Email };
        let steps: Vec<_> = steps.iter().map(|m| json!({"after_minutes": m})).collect();
        let given = json!({
            "steps": steps, "debounce_minutes": debounce, "max_age_minutes": max_age, "latest_minutes": latest, "caps": {"per_recipient_24h": cap},
        });
        match RuleSettings::parse(channel, given) {
            Ok(settings) => {
                prop_assert_eq!(settings.validate(channel), []);
                let stored = serde_json::to_value(&settings).unwrap();
                prop_assert_eq!(RuleSettings::parse(channel, stored), Ok(settings));
            }
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }
}
