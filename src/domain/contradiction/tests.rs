use serde_json::{Value, json};

use super::Channel::{Email, Sms};
use super::*;
use crate::domain::rule::RuleSettings;

fn now() -> DateTime<Utc> {
    "2026-01-14T10:00:00Z".parse().unwrap()
}

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

fn subject(channel: Channel, settings: &RuleSettings) -> Subject<'_> {
    Subject {
        channel,
        settings,
        zone: zone("America/New_York"),
        texts: &[],
        sender: &[],
        now: now(),
    }
}

/// `kind field figure` of each.
fn told(subject: &Subject<'_>) -> Vec<String> {
    let found = contradictions(subject);
    let line = |it: &Contradiction| {
        let figure = it
            .figure()
            .map_or(String::new(), |figure| format!(" {}", figure.value()));
        format!("{} {}{figure}", it.kind(), it.field())
    };
    found.iter().map(line).collect()
}

#[test]
fn the_defaults_contradict_nothing_wherever_the_account_is() {
    for channels in [
        vec![],
        vec![Channel::Email],
        vec![Channel::Sms],
        Channel::ALL.to_vec(),
    ] {
        for channel in channels {
            let settings = RuleSettings::default_for(channel);
            for name in [
                "America/New_York",
                "Europe/Berlin",
                "Australia/Lord_Howe",
                "Africa/Casablanca",
                "Asia/Kolkata",
            ] {
                let subject = Subject {
                    zone: zone(name),
                    ..subject(channel, &settings)
                };
                assert_eq!(contradictions(&subject), [], "{channel} in {name}");
            }
        }
    }
}

#[test]
fn what_a_rule_cannot_keep_is_told_with_the_setting_and_a_figure() {
    let night = |to: &str| json!({"allowed": [{"from": "09:00", "to": to}]});
    let weekdays = json!({"allowed": [{"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "from": "09:00", "to": "18:00"}]});
    let sundays = json!({"allowed": [], "by_country": {"US": [{"days": ["Sun"], "from": "12:00", "to": "20:00"}]}});
    let steps = |minutes: &[i64]| -> Value {
        minutes
            .iter()
            .map(|m| json!({"after_minutes": m}))
            .collect()
    };
    let caps = |gap: i64, conversation: u32, recipient: u32| json!({"gap_minutes": gap, "per_conversation_24h": conversation, "per_recipient_24h": recipient});
    #[rustfmt::skip]
    let cases: [(&str, Channel, Value, &[&str]); 18] = [
        ("seventeen hours of night and of patience, less a minute", Sms, json!({"quiet_hours": night("16:01")}), &[]),
        ("seventeen hours of night and of patience", Sms, json!({"quiet_hours": night("16:00")}), &["hours quiet_hours.allowed 0"]),
        ("a week-end", Email, json!({"quiet_hours": weekdays}), &["hours quiet_hours.allowed 23.2"]),
        ("a week-end, waited for", Email, json!({"quiet_hours": weekdays, "latest_minutes": 4000}), &[]),
        ("what falls outside is dropped", Email, json!({"quiet_hours": weekdays, "in_quiet_hours": "drop"}), &["drops quiet_hours.allowed 73.2"]),
        ("numbers of one country", Sms, json!({"quiet_hours": sundays}), &["hours quiet_hours.by_country.US 85.1"]),
        ("an e-mail has no country", Email, json!({"quiet_hours": sundays, "latest_minutes": 60}), &["max_age latest_minutes 360"]),
        ("the agent types for longer", Email, json!({"debounce_minutes": 15}), &["debounce steps[0].after_minutes 15"]),
        ("apart, as far as they must be", Email, json!({"steps": steps(&[10, 130])}), &[]),
        ("closer than the gap", Email, json!({"steps": steps(&[10, 30])}), &["late steps[1].after_minutes 100"]),
        ("closer than the gap, and not useful for long", Email, json!({"steps": steps(&[10, 30]), "max_age_minutes": 60}), &["never steps[1].after_minutes 100"]),
        ("the third waits for the second, which is never sent", Email,
            json!({"steps": steps(&[10, 30, 130]), "max_age_minutes": 60}), &["never steps[1].after_minutes 100"]),
        ("more steps than a day has room for", Email, json!({"steps": steps(&[10, 200, 400]), "caps": caps(60, 2, 9)}), &["never steps[2].after_minutes 100"]),
        ("the same, of a customer", Email, json!({"steps": steps(&[10, 200, 400]), "caps": caps(60, 9, 2)}), &["never steps[2].after_minutes 100"]),
        ("days apart", Email, json!({"steps": steps(&[10, 200, 3000]), "caps": caps(60, 2, 2)}), &[]),
        ("in the night both wait, and then one makes the other late", Email,
            json!({"steps": steps(&[10, 180]), "max_age_minutes": 60, "quiet_hours": night("20:00")}), &["lost steps[1].after_minutes 46.8"]),
        ("with enough time in the morning", Email,
            json!({"steps": steps(&[10, 180]), "max_age_minutes": 180, "quiet_hours": night("20:00")}), &[]),
        ("closer than the gap: only the night is long enough", Sms,
            json!({"steps": steps(&[10, 30])}), &["lost steps[1].after_minutes 94.7"]),
    ];
    for (what, channel, given, expected) in cases {
        let settings = RuleSettings::parse(channel, given).unwrap();
        let told = told(&subject(channel, &settings));
        assert_eq!(told, expected, "{what}");
    }
}

#[test]
fn texts_and_senders_are_told_in_their_own_words() {
    let facts = |language: &str, part, without: &[&'static str], says| TextFacts {
        language: language.to_owned(),
        part,
        without_fallback: without.to_vec(),
        says_how_to_stop: says,
    };
    let texts = [
        facts("de", "subject", &["agent"], false),
        facts("de", "text", &[], true),
        facts("en", "text", &["first_name", "skill"], false),
    ];
    let sender = [SenderFault {
        domain: "shop.example".to_owned(),
        check: "SPF".to_owned(),
        found: "no record".to_owned(),
        fix: Some("Publish one.".to_owned()),
        looked_at: now(),
    }];
    let all = |channel, settings: &RuleSettings| {
        told(&Subject {
            texts: &texts,
            sender: &sender,
            ..subject(channel, settings)
        })
    };
    let names = [
        "no_fallback templates.de.subject",
        "no_fallback templates.en.text",
        "no_fallback templates.en.text",
    ];
    let email = all(Channel::Email, &RuleSettings::default_for(Channel::Email));
    assert_eq!(email[..3], names);
    assert_eq!(
        email[3..],
        ["no_unsubscribe_link templates.en.text", "sender sender"]
    );
    let sms = all(Channel::Sms, &RuleSettings::default_for(Channel::Sms));
    assert_eq!(
        sms[3..],
        ["no_stop_word templates.en.text"],
        "a number has no domain"
    );
}

#[test]
fn every_kind_is_a_sentence_of_its_own() {
    let share = |minutes| LostShare {
        minutes,
        of: 10_080,
    };
    let minutes = TimeDelta::minutes;
    let lost = |share| Contradiction::Lost {
        step: 2,
        share,
        limit: StepLimit::Gap(minutes(120)),
    };
    let country = Some("US".to_owned());
    let language = || "en".to_owned();
    #[rustfmt::skip]
    let all = [
        Contradiction::MaxAge { max_age: minutes(360), latest: minutes(60) },
        Contradiction::Hours { country: None, quiet: minutes(780), latest: minutes(60), lost: share(5_000), clock_change: false },
        Contradiction::Hours { country: country.clone(), quiet: minutes(780), latest: minutes(60), lost: share(5), clock_change: true },
        Contradiction::Drops { country, lost: share(5_000) },
        Contradiction::Debounce { step: 1, after: minutes(1), debounce: minutes(2) },
        Contradiction::Late { step: 2, after: minutes(30), by: minutes(100), limit: StepLimit::PerConversation(2) },
        lost(share(10_080)),
        lost(share(2_000)),
        Contradiction::Lost { step: 3, share: share(10_080), limit: StepLimit::PerRecipient(2) },
        Contradiction::NoStopWord { language: language() },
        Contradiction::NoUnsubscribeLink { language: language(), part: "html" },
        Contradiction::NoFallback { language: language(), part: "text", variable: "agent" },
        Contradiction::Sender(SenderFault {
            domain: "shop.example".to_owned(), check: "DMARC".to_owned(), found: "no record.".to_owned(), fix: None, looked_at: now(),
        }),
    ];
    let mut said: Vec<String> = all.iter().map(Contradiction::sentence).collect();
    for sentence in &said {
        assert!(
            sentence.ends_with('.') && !sentence.contains("..") && !sentence.contains("  "),
            "{sentence}"
        );
    }
    assert_eq!(
        said[1],
        "About 50% of what falls due in a week is never sent: nothing may be sent for up to 13 hours on end, and a reminder is given up 1 hour \
         after it was due. Allow more hours, or let reminders go later than that."
    );
    assert!(said[2].starts_with("Less than 1% of what falls due in a week in which the clocks change is never sent to US numbers"));
    assert!(
        said[11].contains("{{#if agent}}…{{else}}…{{/if}}"),
        "{}",
        said[11]
    );
    said.sort_unstable();
    said.dedup();
    assert_eq!(said.len(), all.len());
    let notes = all
        .iter()
        .filter(|it| it.level() == ContradictionLevel::Note)
        .count();
    assert_eq!(notes, 2);
}
