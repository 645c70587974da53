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

fn subject(settings: &RuleSettings) -> Subject<'_> {
    Subject {
        settings,
        zone: zone("America/New_York"),
        texts: &[],
        senders: &[],
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

/// Every subset of the channels.
fn subsets() -> Vec<Vec<Channel>> {
    let all = Channel::ALL;
    let subset = |bits: usize| {
        let chosen = all
            .into_iter()
            .enumerate()
            .filter(|(at, _)| bits >> at & 1 == 1);
        chosen.map(|(_, channel)| channel).collect()
    };
    (1..1 << all.len()).map(subset).collect()
}

#[test]
fn the_defaults_contradict_nothing_wherever_the_account_is() {
    for channels in subsets() {
        let settings = RuleSettings::default_for(&channels);
        assert_eq!(settings.validate(), [], "{channels:?}");
        for name in [
            "America/New_York",
            "Europe/Berlin",
            "Australia/Lord_Howe",
            "Africa/Casablanca",
            "Asia/Kolkata",
        ] {
            let subject = Subject {
                zone: zone(name),
                ..subject(&settings)
            };
            assert_eq!(contradictions(&subject), [], "{channels:?} in {name}");
        }
    }
}

#[test]
fn what_a_rule_cannot_keep_is_told_with_the_setting_and_a_figure() {
    let night = |to: &str| json!({"allowed": [{"from": "09:00", "to": to}]});
    let weekdays = json!({"allowed": [{"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "from": "09:00", "to": "18:00"}]});
    let sundays = json!({"allowed": [], "by_country": {"US": [{"days": ["Sun"], "from": "12:00", "to": "20:00"}]}});
    let steps = |channel: Channel, minutes: &[i64]| -> Value {
        minutes
            .iter()
            .map(|m| json!({"channel": channel, "after_minutes": m}))
            .collect()
    };
    let both = |sms_when: &str, minutes: i64| {
        json!([
            {"channel": "email", "after_minutes": 10}, {"channel": "sms", "after_minutes": minutes, "when": sms_when}
        ])
    };
    let e = |given: Value| json!({"channels": {"email": given}});
    let s = |given: Value| json!({"channels": {"sms": given}});
    let with = |steps: Value, mut more: Value| {
        more["steps"] = steps;
        more
    };
    let caps = |gap: i64, conversation: u32, consumer: u32| json!({"caps": {"gap_minutes": gap, "per_conversation_24h": conversation, "per_consumer_24h": consumer}});
    let always_open = json!({"quiet_hours": {}});
    #[rustfmt::skip]
    let cases: [(&str, Channel, Value, &[&str]); 23] = [
        ("seventeen hours of night and of patience, less a minute", Sms, s(json!({"quiet_hours": night("16:01")})), &[]),
        ("seventeen hours of night and of patience", Sms, s(json!({"quiet_hours": night("16:00")})), &["hours channels.sms.quiet_hours.allowed 0"]),
        ("a week-end", Email, e(json!({"quiet_hours": weekdays})), &["hours channels.email.quiet_hours.allowed 23.2"]),
        ("a week-end, waited for", Email, e(json!({"quiet_hours": weekdays, "latest_minutes": 4000})), &[]),
        ("what falls outside is dropped", Email, json!({"in_quiet_hours": "drop", "channels": {"email": {"quiet_hours": weekdays}}}), &["drops channels.email.quiet_hours.allowed 73.2"]),
        ("numbers of one country", Sms, s(json!({"quiet_hours": sundays})), &["hours channels.sms.quiet_hours.by_country.US 85.1"]),
        ("an e-mail has no country", Email, e(json!({"quiet_hours": sundays, "latest_minutes": 60})), &["max_age channels.email.latest_minutes 360"]),
        ("the agent types for longer", Email, json!({"debounce_minutes": 15}), &["debounce steps[0].after_minutes 15"]),
        ("apart, as far as they must be", Email, json!({"steps": steps(Email, &[10, 130])}), &[]),
        ("closer than the gap", Email, json!({"steps": steps(Email, &[10, 30])}), &["late steps[1].after_minutes 100"]),
        ("closer than the gap, and not useful for long", Email, with(steps(Email, &[10, 30]), e(json!({"max_age_minutes": 60}))), &["never steps[1].after_minutes 100"]),
        ("the third waits for the second, which is never sent", Email,
            with(steps(Email, &[10, 30, 130]), e(json!({"max_age_minutes": 60}))), &["never steps[1].after_minutes 100"]),
        ("more steps than a day has room for", Email, with(steps(Email, &[10, 200, 400]), caps(60, 2, 9)), &["never steps[2].after_minutes 100"]),
        ("the same, of a customer", Email, with(steps(Email, &[10, 200, 400]), caps(60, 9, 2)), &["never steps[2].after_minutes 100"]),
        ("the same, of an address", Sms, with(steps(Sms, &[10, 200, 400]), json!({"caps": {"gap_minutes": 60, "per_conversation_24h": 9, "per_consumer_24h": 9}, "channels": {"sms": always_open}})),
            &["never steps[2].after_minutes 100"]),
        ("days apart", Email, with(steps(Email, &[10, 200, 3000]), caps(60, 2, 2)), &[]),
        ("in the night both wait, and then one makes the other late", Email,
            with(steps(Email, &[10, 180]), e(json!({"max_age_minutes": 60, "quiet_hours": night("20:00")}))), &["lost steps[1].after_minutes 46.8"]),
        ("with enough time in the morning", Email,
            with(steps(Email, &[10, 180]), e(json!({"max_age_minutes": 180, "quiet_hours": night("20:00")}))), &[]),
        ("closer than the gap: only the night is long enough", Sms,
            json!({"steps": steps(Sms, &[10, 30])}), &["lost steps[1].after_minutes 94.7"]),
        ("two channels: the gap is the customer's", Email, with(both("always", 30), s(json!({"quiet_hours": {}}))), &["never steps[1].after_minutes 100"]),
        ("only if not reached: nobody gets both", Email, with(both("if_not_reached", 30), s(always_open.clone())), &[]),
        ("further apart than the gap", Email, with(both("always", 200), s(always_open.clone())), &[]),
        ("hours of a channel that no step uses say nothing", Email, s(json!({"quiet_hours": night("09:01")})), &[]),
    ];
    for (what, channel, given, expected) in cases {
        let settings = RuleSettings::parse(&[channel], given).unwrap();
        let told = told(&subject(&settings));
        assert_eq!(told, expected, "{what}");
    }
}

#[test]
fn texts_and_senders_are_told_in_their_own_words() {
    let facts = |channel, language: &str, part, without: &[&'static str], says| TextFacts {
        channel,
        language: language.to_owned(),
        part,
        without_fallback: without.to_vec(),
        says_how_to_stop: says,
    };
    let texts = Channel::ALL.map(|channel| {
        [
            facts(channel, "de", "subject", &["agent"], false),
            facts(channel, "de", "text", &[], true),
            facts(channel, "en", "text", &["first_name", "skill"], false),
        ]
    });
    let texts = texts.concat();
    let fault = SenderFault {
        domain: "shop.example".to_owned(),
        check: "SPF".to_owned(),
        found: "no record".to_owned(),
        fix: Some("Publish one.".to_owned()),
        looked_at: now(),
    };
    let senders = Channel::ALL.map(|channel| (channel, fault.clone()));
    let all = |channel: Channel| {
        let settings = RuleSettings::default_for(&[channel]);
        told(&Subject {
            texts: &texts,
            senders: &senders,
            ..subject(&settings)
        })
    };
    assert_eq!(
        all(Email),
        [
            "no_fallback channels.email.templates.de.subject",
            "no_fallback channels.email.templates.en.text",
            "no_fallback channels.email.templates.en.text",
            "no_unsubscribe_link channels.email.templates.en.text",
            "sender channels.email.sender",
        ]
    );
    assert_eq!(
        all(Sms)[3..],
        ["no_stop_word channels.sms.templates.en.text"],
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
        Contradiction::MaxAge { channel: Sms, max_age: minutes(360), latest: minutes(60) },
        Contradiction::Hours { channel: Sms, country: None, quiet: minutes(780), latest: minutes(60), lost: share(5_000), clock_change: false },
        Contradiction::Hours { channel: Sms, country: country.clone(), quiet: minutes(780), latest: minutes(60), lost: share(5), clock_change: true },
        Contradiction::Drops { channel: Sms, country, lost: share(5_000) },
        Contradiction::Debounce { step: 1, after: minutes(1), debounce: minutes(2) },
        Contradiction::Late { step: 2, after: minutes(30), by: minutes(100), limit: StepLimit::PerConversation(2) },
        lost(share(10_080)),
        lost(share(2_000)),
        Contradiction::Lost { step: 3, share: share(10_080), limit: StepLimit::PerConsumer(2) },
        Contradiction::NoStopWord { channel: Sms, language: language() },
        Contradiction::NoUnsubscribeLink { channel: Email, language: language(), part: "html" },
        Contradiction::NoFallback { channel: Email, language: language(), part: "text", variable: "agent" },
        Contradiction::Sender(Email, SenderFault {
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
        "About 50% of the text messages that fall due in a week are never sent: none may be sent for up to 13 hours at a stretch, and each \
         expires 1 hour after it was due. Allow more hours, or allow more lateness."
    );
    assert!(said[2].starts_with("Less than 1% of the text messages that fall due in a week in which the clocks change are never sent to US numbers"));
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
