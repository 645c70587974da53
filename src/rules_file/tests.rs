use chrono::{NaiveTime, TimeDelta, Weekday};
use chrono_tz::Tz;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::domain::channel::{Parts, UnknownPolicy};
use crate::domain::quiet::{QuietHours, Window};
use crate::domain::rule::settings::{Input, LeftOut, SETTINGS};
use crate::domain::rule::{Caps, InQuietHours, Step, Template};
use crate::domain::zone::Zone;

fn problems(text: &str) -> Vec<String> {
    let error = parse(text).expect_err("there are problems");
    error.0.into_iter().map(|problem| problem.place).collect()
}

#[test]
fn what_is_left_out_is_the_channels_default() {
    let rules = parse(
        "[[rule]]\naccount = \"12345678\"\nchannel = \"sms\"\n\
         [[rule]]\naccount = 12345678\nskill = -1\nchannel = \"sms\"\nenabled = false\nmax_age_minutes = 30\ncaps.gap_minutes = 5\n",
    )
    .unwrap();
    let defaults = RuleSettings::default_for(Channel::Sms);
    assert_eq!(rules[0].settings, defaults);
    assert_eq!((rules[0].skill, rules[0].enabled), (None, true));
    assert_eq!(
        (rules[1].skill, rules[1].enabled),
        (Some(SkillId::UNASSIGNED), false)
    );
    let caps = Caps {
        gap: TimeDelta::minutes(5),
        ..defaults.caps
    };
    let expected = RuleSettings {
        max_age: TimeDelta::minutes(30),
        caps,
        ..defaults
    };
    assert_eq!(rules[1].settings, expected);
    assert_eq!(parse("").unwrap(), []);
}

#[test]
fn quiet_hours_that_are_given_are_given_whole() {
    let rules = parse(
        "[[rule]]\naccount = \"1\"\nchannel = \"sms\"\n[rule.quiet_hours]\nallowed = [{ from = \"08:00\", to = \"21:00\" }]",
    )
    .unwrap();
    let quiet_hours = &rules[0].settings.quiet_hours;
    assert_eq!(quiet_hours.allowed.len(), 1);
    assert!(quiet_hours.by_country.is_empty());
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    let text = "[[rule]]\naccount = \"no spaces\"\nchannel = \"fax\"\nskill = \"x\"\nenabled = 1\ntime_zone = \"Mars\"\nsender = \"+15005550006\"\ncolour = \"blue\"\n\
        [[rule]]\naccount = \"1\"\nchannel = \"sms\"\nmax_age_minutes = -1\nsteps = [{ after_hours = 1 }]\n\
        [[rule]]\naccount = \"1\"\nchannel = \"email\"\n[[rule]]\naccount = \"1\"\nchannel = \"email\"\n[[rule]]\n";
    let mut found = problems(text);
    found.sort();
    assert_eq!(
        found,
        [
            "rule 1, account",
            "rule 1, channel",
            "rule 1, colour",
            "rule 1, enabled",
            "rule 1, skill",
            "rule 1, time_zone",
            "rule 2, max_age_minutes",
            "rule 2, steps",
            "rule 4",
            "rule 5, account",
            "rule 5, channel",
        ]
    );
}

#[test]
fn a_file_that_is_no_list_of_rules_is_told_so() {
    assert_eq!(problems("[[rule]]\naccount = x\n"), ["line 2"]);
    assert_eq!(problems("[[rules]]\naccount = \"1\"\n"), ["rules"]);
    assert_eq!(problems("rule = 1"), ["rule"]);
}

#[test]
fn a_printed_file_reads_well() {
    let mut settings = RuleSettings::default_for(Channel::Sms);
    settings.templates.insert(
        "en".to_owned(),
        Template {
            subject: None,
            text: "{{brand}} wrote:\n{{link}}".to_owned(),
            html: None,
        },
    );
    let rule = RuleEntry {
        account: "12345678".parse().unwrap(),
        skill: Some(SkillId(77)),
        channel: Channel::Sms,
        enabled: true,
        settings,
    };
    let page = print(&[rule]);
    let (legend, rules) = page.split_once("\n\n").unwrap();
    assert!(legend.lines().all(|line| line.starts_with('#')));
    assert_eq!(
        rules,
        r#"[[rule]]
account = "12345678"
skill = 77
channel = "sms"
enabled = true
steps = [
    { after_minutes = 10 },
    { after_minutes = 1440 },
]
debounce_minutes = 2
max_age_minutes = 60
in_quiet_hours = "move"
remind_in_queue = false
resend_unknown = false

[rule.caps]
gap_minutes = 120
per_conversation_24h = 2
per_recipient_24h = 2

[rule.quiet_hours]
allowed = [
    { days = [], from = "09:00", to = "20:00" },
]

[rule.quiet_hours.by_country]
US = [
    { days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], from = "09:00", to = "20:00" },
    { days = ["Sun"], from = "12:00", to = "20:00" },
]

[rule.templates.en]
text = """
{{brand}} wrote:
{{link}}"""
"#
    );
}

#[test]
fn the_legend_explains_every_setting() {
    let legend = print(&[]);
    assert!(
        legend
            .lines()
            .all(|line| line.starts_with('#') && line.len() <= 120),
        "{legend}"
    );
    for setting in SETTINGS {
        let heading = format!("# {}: {}", setting.name, setting.label);
        assert!(legend.lines().any(|line| line == heading), "{heading}");
    }
}

#[test]
fn every_setting_is_printed_and_read_back_with_every_value_and_without_one() {
    for channel in Channel::ALL {
        let defaults = RuleSettings::default_for(channel);
        for setting in SETTINGS.iter().filter(|setting| setting.is_of(channel)) {
            let mut values: Vec<_> = setting.examples(channel).into_iter().map(Some).collect();
            if setting.left_out != LeftOut::Never {
                values.push(None);
            }
            for value in values {
                let rule = RuleEntry {
                    account: "12345678".parse().unwrap(),
                    skill: None,
                    channel,
                    enabled: true,
                    settings: setting.changed(channel, &defaults, value.clone()),
                };
                let page = print(std::slice::from_ref(&rule));
                assert_eq!(parse(&page), Ok(vec![rule.clone()]), "{}", setting.name);
                let file: Table = page.parse().unwrap();
                let file = serde_json::to_value(file).unwrap();
                let stored = serde_json::to_value(&rule.settings).unwrap();
                let (printed, stored) = (setting.value(&file["rule"][0]), setting.value(&stored));
                assert_eq!(printed, stored, "{page}");
                // 0 of a hundred is left out.
                let is_there = value.is_some()
                    && !(setting.left_out == LeftOut::Zero && value == Some(0.into()));
                assert_eq!(!printed.is_null(), is_there, "{}: {page}", setting.name);
                let is_table = matches!(setting.input, Input::Hours | Input::Texts);
                assert_eq!(printed.is_object(), is_table && is_there, "{page}");
            }
        }
    }
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let day = (0_u8..7).prop_map(|day| Weekday::try_from(day).unwrap());
    let time = |minute: u32| NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).unwrap();
    let window =
        (vec(day, 0..3), 0..1439_u32, 1..1440_u32).prop_map(move |(days, from, length)| Window {
            days,
            from: time(from),
            to: time((from + length).min(1439)),
        });
    vec(window, 0..3)
}

prop_compose! {
    fn settings_of(channel: Channel)(
        steps in vec(1_i64..2000, 1..4),
        minutes in (0_i64..60, 1_i64..600, 0_i64..600),
        allowed in windows(),
        by_country in btree_map("[A-Z]{2}", windows(), 0..2),
        flags in (any::<bool>(), any::<bool>(), any::<bool>()),
        counts in (1_u32..10, 1_u32..10),
        zone in prop::option::of(prop::sample::select(vec![Tz::America__New_York, Tz::Asia__Kolkata])), latest in prop::option::of(1..10_080_i64),
        texts in btree_map("[a-z]{2}(-[A-Z]{2})?", text(), 0..3),
    ) -> RuleSettings {
        let mut after = steps;
        after.sort_unstable();
        after.dedup();
        let profile = channel.profile();
        let has_parts = profile.parts == Parts::SubjectAndHtml;
        RuleSettings {
            steps: after.into_iter().map(|after| Step { after: TimeDelta::minutes(after) }).collect(),
            debounce: TimeDelta::minutes(minutes.0),
            max_age: TimeDelta::minutes(minutes.1),
            quiet_hours: QuietHours { allowed, by_country },
            in_quiet_hours: if flags.0 { InQuietHours::Move } else { InQuietHours::Drop },
            time_zone: zone.map(Zone::Named),
            latest: latest.map(TimeDelta::minutes),
            caps: Caps {
                gap: TimeDelta::minutes(minutes.2),
                per_conversation_24h: counts.0,
                per_recipient_24h: counts.1,
            },
            remind_in_queue: flags.1,
            holdout_percent: if flags.0 { 10 } else { 0 },
            resend_unknown: profile.unknown == UnknownPolicy::Final && flags.2,
            sender: flags.2.then(|| "+15005550006".to_owned()).filter(|own| (profile.is_sender)(own)),
            templates: texts.into_iter().map(|(tag, text)| {
                let subject = has_parts.then(|| "Hello".to_owned());
                (tag, Template { subject, html: has_parts.then(|| text.clone()), text })
            }).collect(),
            // A setting that is new is printed and read in a test of its own.
            ..RuleSettings::default_for(channel)
        }
    }
}

/// Texts that are hard to quote.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "\"", "\"\"\"", "'", "'''", "\\", "\n", "\r\n", "\t", "#", "{{link}}", "é", "\u{1}",
    ]);
    vec(piece, 1..8).prop_map(|pieces| format!("x{}", pieces.concat()))
}

fn rules() -> impl Strategy<Value = Vec<RuleEntry>> {
    let key = (
        "[0-9]{4,8}",
        option::of(-1_i64..100),
        prop::sample::select(Channel::ALL.to_vec()),
    );
    let rule = (key, any::<bool>()).prop_flat_map(|((account, skill, channel), enabled)| {
        settings_of(channel).prop_map(move |settings| RuleEntry {
            account: account.parse().unwrap(),
            skill: skill.map(SkillId),
            channel,
            enabled,
            settings,
        })
    });
    vec(rule, 0..4).prop_map(|mut rules| {
        rules.sort_by_key(|rule| (rule.account.clone(), rule.skill, rule.channel));
        rules.dedup_by_key(|rule| (rule.account.clone(), rule.skill, rule.channel));
        rules
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back_and_printed_the_same(rules in rules()) {
        let page = print(&rules);
        let back = parse(&page).map_err(|error| TestCaseError::fail(format!("{error}\n{page}")))?;
        prop_assert_eq!(&back, &rules);
        prop_assert_eq!(print(&back), page);
    }

    #[test]
    fn fuzz_rules_file(
        text in "(?s).{0,200}", rules in rules(),
        changes in vec((any::<prop::sample::Index>(), any::<char>()), 0..8),
    ) {
        let _ = parse(&text);
        let _ = parse(&format!("[[rule]]\n{text}"));
        let mut page: Vec<char> = print(&rules).chars().collect();
        for (at, letter) in changes {
            if !page.is_empty() {
                let at = at.index(page.len());
                page[at] = letter;
            }
        }
        let _ = parse(&page.into_iter().collect::<String>());
    }
}
