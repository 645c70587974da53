use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The problems of settings given over the defaults of a rule on one channel, as `field: message`.
fn problems(channel: Channel, given: Value) -> Vec<String> {
    match RuleSettings::parse(&[channel], given) {
        Ok(_) => vec![],
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as json! makes it")]
fn of(channel: Channel, given: Value) -> Value {
    json!({ "channels": { (channel.as_str()): given } })
}

#[test]
fn the_defaults_are_valid_and_survive_a_round_trip() {
    for channels in [&[Channel::Email][..], &[Channel::Sms], &Channel::ALL] {
        let settings = RuleSettings::default_for(channels);
        assert_eq!(settings.validate(), []);
        let stored = serde_json::to_value(&settings).unwrap();
        assert_eq!(RuleSettings::parse(&[], stored), Ok(settings.clone()));
        assert_eq!(RuleSettings::parse(channels, json!({})), Ok(settings));
    }
}

/// Nobody with an address and a number gets both at once: of each rung only the first step is always sent.
#[test]
fn the_default_over_two_channels_is_two_rungs() {
    let settings = RuleSettings::default_for(&[Channel::Sms, Channel::Email]);
    let steps = settings.steps.iter();
    let steps: Vec<_> = steps
        .map(|step| (step.id, step.channel, step.after.num_minutes(), step.when))
        .collect();
    assert_eq!(
        steps,
        [
            (1, Channel::Email, 10, When::Always),
            (2, Channel::Sms, 10, When::IfNotReached),
            (3, Channel::Email, 1440, When::Always),
            (4, Channel::Sms, 1440, When::IfNotReached),
        ]
    );
    assert_eq!(
        settings.used().collect::<Vec<_>>(),
        [Channel::Email, Channel::Sms]
    );
    assert_eq!(settings.place_of(3, Channel::Email), Some(2));
    assert_eq!(
        settings.place_of(3, Channel::Sms),
        None,
        "an id has one channel"
    );
}

#[test]
fn what_is_given_replaces_the_default_and_the_rest_stays() {
    let given = json!({
        "steps": [{"channel": "sms", "after_minutes": 5}],
        "time_zone": "America/New_York",
        "caps": {"gap_minutes": 30},
        "channels": {"sms": {"sender": "+12025550143"}},
    });
    let settings = RuleSettings::parse(&Channel::ALL, given).unwrap();
    assert_eq!(
        settings.steps,
        [Step {
            id: 0,
            channel: Channel::Sms,
            after: TimeDelta::minutes(5),
            when: When::Always,
        }]
    );
    assert_eq!(
        settings.time_zone,
        Some("America/New_York".parse().unwrap())
    );
    assert_eq!(settings.caps.gap, TimeDelta::minutes(30));
    assert_eq!(settings.caps.per_consumer_24h, 3);
    let sms = &settings.channels[Channel::Sms];
    assert_eq!(sms.sender.as_deref(), Some("+12025550143"));
    assert_eq!(
        sms.per_address_24h, 2,
        "the SMS default, not that of e-mail"
    );
    assert_eq!(sms.max_age, TimeDelta::hours(1));
    assert_eq!(sms.quiet_hours, QuietHours::sms_default());
    let email = ChannelSettings::default_for(Channel::Email);
    assert_eq!(settings.channels[Channel::Email], email);
}

#[test]
fn malformed_settings_are_all_told_by_field() {
    let given = json!({
        "steps": [{"after": 5}],
        "time_zone": "Mars/Base",
        "debounce_minutes": 1.5,
        "colour": "red",
        "sender": "help@example.com",
        "channels": {
            "sms": {
                "max_age_minutes": 999_999,
                "quiet_hours": {"allowed": [{"from": "9", "to": "20:00"}]},
                "colour": "red",
            },
            "email": 7,
            "post": {},
        },
    });
    let found = RuleSettings::parse(&[Channel::Sms], given).unwrap_err();
    let mut fields: Vec<_> = found.iter().map(|p| p.field.as_str()).collect();
    fields.sort_unstable();
    let mut expected = [
        "channels.email",
        "channels.post",
        "channels.sms.colour",
        "channels.sms.max_age_minutes",
        "channels.sms.quiet_hours.allowed[0].from",
        "colour",
        "debounce_minutes",
        "sender",
        "steps[0].after",
        "time_zone",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    let message = |field: &str| {
        let problem = found.iter().find(|problem| problem.field == field);
        problem.unwrap().message.as_str()
    };
    let hours = message("channels.sms.quiet_hours.allowed[0].from");
    assert!(
        hours.contains("\"9\" is not a time of day like \"09:00\""),
        "{hours}"
    );
    let moved = message("sender");
    assert_eq!(
        moved,
        "belongs to a channel: write channels.email.sender or channels.sms.sender"
    );
    assert_eq!(
        problems(Channel::Sms, json!([])),
        ["settings: must be an object"]
    );
}

#[test]
fn every_setting_is_known_by_its_name() {
    // serde names all fields of a struct in the refusal of one that there is not.
    fn known<T: serde::de::DeserializeOwned>() -> Vec<String> {
        let refused = serde_json::from_value::<T>(json!({ "?": 0 }))
            .err()
            .unwrap();
        let named = refused.to_string();
        let (_, named) = named.split_once("expected one of ").unwrap();
        let named = named.split('`').skip(1).step_by(2);
        let mut named: Vec<String> = named.map(str::to_owned).collect();
        named.sort_unstable();
        named
    }
    let told = |given: Value| {
        let told = problems(Channel::Sms, given).remove(0);
        let (_, told) = told.split_once("there are ").unwrap();
        let mut told: Vec<String> = told.split(", ").map(str::to_owned).collect();
        told.sort_unstable();
        told
    };
    assert_eq!(told(json!({ "?": 0 })), known::<RuleSettings>());
    assert_eq!(
        told(of(Channel::Sms, json!({ "?": 0 }))),
        known::<ChannelSettings>()
    );
}

#[test]
fn every_value_of_a_wrong_kind_is_told_with_its_place_and_in_plain_words() {
    let given = json!({
        "steps": [
            {"channel": "mail", "after_minutes": 5},
            {"channel": "sms", "after_minutes": "10"},
            {"id": 2.5, "channel": "sms", "after_minutes": 10},
            {"channel": "sms", "after": 10},
            {"channel": "sms"},
            {"channel": "sms", "after_minutes": 10, "when": "never"},
            5,
        ],
        "in_quiet_hours": "wait",
        "remind_in_queue": "yes",
        "holdout_percent": 300,
        "caps": {"gap_minutes": "two hours", "per_consumer_24h": -1, "gapp": 3},
        "channels": {
            "email": {
                "max_age_minutes": true,
                "sender": 5,
                "templates": {"en": {"subject": "s"}, "de": "Hallo"},
            },
            "sms": {"quiet_hours": {"windows": []}},
        },
    });
    let mut found = problems(Channel::Sms, given);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "caps.gap_minutes: must be a whole number",
            "caps.gapp: is not known here; there are gap_minutes, per_conversation_24h, per_consumer_24h",
            "caps.per_consumer_24h: must not be negative",
            "channels.email.max_age_minutes: must be a whole number",
            "channels.email.sender: must be text",
            "channels.email.templates.de: must be a table of names and values",
            "channels.sms.quiet_hours.windows: is not known here; there are allowed, by_country",
            "holdout_percent: is too large or too small a number",
            "in_quiet_hours: must be move or drop",
            "remind_in_queue: must be true or false",
            "steps[0].channel: must be email or sms",
            "steps[1].after_minutes: must be a whole number",
            "steps[2].id: must be a whole number",
            "steps[3].after: is not known here; there are id, channel, after_minutes, when",
            "steps[4].after_minutes: is missing",
            "steps[5].when: must be always or if_not_reached",
            "steps[6]: must be a table of names and values",
        ]
    );
    let steps = problems(Channel::Sms, json!({"steps": "email", "caps": 5}));
    assert_eq!(
        steps,
        [
            "caps: must be a table of names and values",
            "steps: must be a list",
        ]
    );
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
    let email = |given: Value| of(Channel::Email, given);
    #[rustfmt::skip]
    let cases = [
        (many(100_000, json!(0)), 21, "settings: there are 99980 more problems like these"),
        (email(many(100_000, json!(0))), 21, "settings: there are 99980 more problems like these"),
        (json!({"channels": many(100_000, json!(0))}), 21, "settings: there are 99980 more problems like these"),
        (email(json!({"templates": many(100_000, text)})), 1, "channels.email.templates: give at most 50 languages"),
        (json!({"steps": vec![json!({"channel": "email", "after_minutes": 5}); 100_000]}), 8,
            "steps[7].after_minutes: must be more than in the step before, or the step must be sent only if the customer was not reached (when = \"if_not_reached\")"),
        (email(json!({"quiet_hours": {"by_country": pairs(676, &json!([window]))}})), 1, "channels.email.quiet_hours.by_country: give at most 50 countries"),
        (email(json!({"quiet_hours": {"by_country": pairs(50, &json!([window, window, window, window]))}})), 21, "settings: there are 180 more problems like these"),
        (email(json!({"quiet_hours": {"by_country": pairs(50, &json!([open, open, open, open, open]))}})), 1, "channels.email.quiet_hours: give at most 200 windows in all"),
        (email(json!({"quiet_hours": {"allowed": vec![window; 100_000]}})), 2, "channels.email.quiet_hours: give at most 200 windows in all"),
        (email(json!({"quiet_hours": {"allowed": [{"days": days, "from": "09:00", "to": "20:00"}]}})), 1, "channels.email.quiet_hours.allowed[0].days: name each day of the week once"),
        (email(json!({"sender": long})), 1, "channels.email.sender: must be an e-mail address, for example help@example.com"),
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
        json!({ "channels": { long.clone(): 0 } }),
        email(json!({ "templates": { long.clone(): { "subject": "s", "text": "t" } } })),
        email(json!({ "quiet_hours": { "by_country": { long.clone(): [] } } })),
    ] {
        for told in problems(Channel::Email, given) {
            assert!(told.len() < 1_000, "{} bytes", told.len());
        }
    }
}

#[test]
fn impossible_settings_are_told_with_their_fix() {
    let step = |m: i64| json!({"channel": "email", "after_minutes": m});
    let named = |id: i64, m: i64| json!({"id": id, "channel": "email", "after_minutes": m});
    let caps_message = "must be 1 to 24; to send nothing, turn the rule off";
    let window_message = "\"from\" must be before \"to\" (00:00 is the end of the day); for a window across midnight write two";
    let email = |given: Value| of(Channel::Email, given);
    #[rustfmt::skip]
    let cases = [
        (json!({"steps": []}), "steps: give 1 to 8 steps".to_owned()),
        (json!({"steps": (1..=9).map(step).collect::<Vec<_>>()}), "steps: give 1 to 8 steps".to_owned()),
        (json!({"steps": [step(0)]}), "steps[0].after_minutes: must be 1 or more".to_owned()),
        (json!({"steps": [step(9), step(9)]}),
            "steps[1].after_minutes: must be more than in the step before, or the step must be sent only if the customer was not reached (when = \"if_not_reached\")".to_owned()),
        (json!({"steps": [step(9), step(8)]}), "steps[1].after_minutes: must not be less than in the step before".to_owned()),
        (json!({"steps": [{"channel": "email", "after_minutes": 5, "when": "if_not_reached"}]}),
            "steps[0].when: the first step has no step before it that could have reached the customer: it must be \"always\"".to_owned()),
        (json!({"steps": [named(3, 5), named(3, 9)]}), "steps[1].id: another step has this id; leave it out for a new step".to_owned()),
        (json!({"steps": [named(-1, 5)]}), "steps[0].id: must be 1 to 9999; leave it out for a new step".to_owned()),
        (json!({"steps": [named(10_000, 5)]}), "steps[0].id: must be 1 to 9999; leave it out for a new step".to_owned()),
        (json!({"time_zone": "CST"}), "time_zone: \"CST\" is not a time zone; write one such as Europe/Berlin, or an offset such as \
                                       UTC+05:30".to_owned()),
        (json!({"caps": {"per_consumer_24h": 0}}), format!("caps.per_consumer_24h: {caps_message}")),
        (json!({"caps": {"per_conversation_24h": 25}}), format!("caps.per_conversation_24h: {caps_message}")),
        (json!({"caps": {"gap_minutes": 10_081}}), "caps.gap_minutes: must be 0 to 10080 (7 days)".to_owned()),
        (email(json!({"latest_minutes": 0})), "channels.email.latest_minutes: must be 1 to 10080 (7 days)".to_owned()),
        (email(json!({"latest_minutes": 10_081})), "channels.email.latest_minutes: must be 1 to 10080 (7 days)".to_owned()),
        (email(json!({"max_age_minutes": 0})), "channels.email.max_age_minutes: must be 1 to 129600 (90 days)".to_owned()),
        (email(json!({"per_address_24h": 0})), format!("channels.email.per_address_24h: {caps_message}")),
        (email(json!({"quiet_hours": {"allowed": [{"from": "20:00", "to": "09:00"}]}})), format!("channels.email.quiet_hours.allowed[0]: {window_message}")),
        (email(json!({"quiet_hours": {"by_country": {"US": [{"from": "09:00", "to": "09:00"}]}}})), format!("channels.email.quiet_hours.by_country.US[0]: {window_message}")),
        (email(json!({"quiet_hours": {"by_country": {"usa": []}}})), "channels.email.quiet_hours.by_country.usa: a country is two capital letters, for example US".to_owned()),
        (email(json!({"sender": "help"})), "channels.email.sender: must be an e-mail address, for example help@example.com".to_owned()),
        (email(json!({"templates": {"en": {"text": "Hi"}}})), "channels.email.templates.en.subject: is missing".to_owned()),
        (email(json!({"templates": {"en": {"subject": "s", "text": " "}}})), "channels.email.templates.en.text: is empty".to_owned()),
        (email(json!({"templates": {"en us": {"subject": "s", "text": "t"}}})), "channels.email.templates.en us: a language is a tag like en or pt-BR".to_owned()),
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
        let settings =
            RuleSettings::parse(&[Channel::Email], json!({ "time_zone": given })).unwrap();
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
        let settings = RuleSettings::parse(&[channel], of(channel, given)).unwrap();
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
            problems(Channel::Sms, of(Channel::Sms, json!({"sender": sender}))),
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
            problems(Channel::Sms, of(Channel::Sms, json!({"sender": sender}))).len(),
            1,
            "{sender}"
        );
    }
    let given = json!({"resend_unknown": true, "templates": {"en": {"subject": "s", "text": "t", "html": "h"}}});
    let expected = [
        "channels.sms.resend_unknown: is for e-mail only: an SMS is settled with the provider instead",
        "channels.sms.templates.en.subject: is for e-mail only",
        "channels.sms.templates.en.html: is for e-mail only",
    ];
    assert_eq!(problems(Channel::Sms, of(Channel::Sms, given)), expected);
}

#[test]
fn a_language_falls_back_to_its_primary_then_to_english() {
    let text = |text: &str| Template {
        subject: None,
        preheader: None,
        text: text.to_owned(),
        html: None,
    };
    let tags = ["en", "pt", "pt-BR", "he", "zh-Hant"].map(|tag| (tag.to_owned(), text(tag)));
    let settings = ChannelSettings {
        templates: tags.into(),
        ..ChannelSettings::default_for(Channel::Sms)
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
                .template_for(language, None)
                .map(|(tag, t)| (tag, t.text.as_str())),
            Some((expected, expected)),
            "{language:?}"
        );
    }
    assert_eq!(
        ChannelSettings::default_for(Channel::Sms).template_for(Some("pt-BR"), None),
        None
    );
}

#[test]
fn a_skill_has_its_own_rule_or_the_default() {
    let rule = |id, skill: Option<i64>, enabled| Rule {
        id,
        skill: skill.map(SkillId),
        enabled,
        ..Rule::sample(RuleSettings::default_for(&Channel::ALL))
    };
    let rules = [rule(1, None, true), rule(2, Some(7), false)];
    let picked = |rules: &[Rule], skill| pick(rules, SkillId(skill)).map(|r| r.id);
    assert_eq!(
        picked(&rules, 7),
        Some(2),
        "disabled, and still the skill's own"
    );
    assert_eq!(picked(&rules, 8), Some(1));
    assert_eq!(picked(&rules[1..], 8), None);
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_valid_and_stored_unchanged(
        steps in prop::collection::vec((-1..20_i64, any::<bool>(), 0..3000_i64, any::<bool>()), 0..10), debounce in -1..200_i64,
        max_age in -1..2000_i64, cap in 0..30_u32, latest in prop::option::of(-1..12_000_i64),
    ) {
        let steps: Vec<_> = steps
            .iter()
            .map(|(id, sms, minutes, always)| json!({
                "id": id, "channel": if *sms { "sms" } else { "email" }, "after_minutes": minutes,
                "when": if *always { "always" } else { "if_not_reached" },
            }))
            .collect();
        let given = json!({
            "steps": steps, "debounce_minutes": debounce, "caps": {"per_consumer_24h": cap},
            "channels": {"sms": {"max_age_minutes": max_age, "latest_minutes": latest, "per_address_24h": cap}},
        });
        match RuleSettings::parse(&Channel::ALL, given) {
            Ok(settings) => {
                prop_assert_eq!(settings.validate(), []);
                let stored = serde_json::to_value(&settings).unwrap();
                prop_assert_eq!(RuleSettings::parse(&Channel::ALL, stored), Ok(settings));
            }
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }
}
