mod generated;

use chrono::TimeDelta;

use super::*;
use crate::domain::rule::settings::{Input, LeftOut, Of, SETTINGS};
use crate::domain::rule::{KnownSteps, Template, When};

const BOTH: [Channel; 2] = [Channel::Email, Channel::Sms];

fn rules_of(text: &str) -> Vec<RuleEntry> {
    parse(text, &BOTH).unwrap().rules
}

fn problems(text: &str) -> Vec<String> {
    let error = parse(text, &BOTH).expect_err("there are problems");
    error.0.into_iter().map(|problem| problem.place).collect()
}

fn entry(skill: Option<i64>, settings: RuleSettings) -> RuleEntry {
    RuleEntry {
        account: "12345678".parse().unwrap(),
        skill: skill.map(SkillId),
        enabled: true,
        settings,
    }
}

#[test]
fn what_is_left_out_is_the_default() {
    let text = "version = 2\n[[rule]]\naccount = \"12345678\"\n\
         [[rule]]\naccount = 12345678\nskill = -1\nenabled = false\ncaps.gap_minutes = 5\nchannels.sms.max_age_minutes = 30\n";
    for channels in [&BOTH[..], &BOTH[1..], &[]] {
        let file = parse(text, channels).unwrap();
        let defaults = RuleSettings::default_for(if channels.is_empty() {
            &Channel::ALL
        } else {
            channels
        });
        let mut changed = defaults.clone();
        changed.caps.gap = TimeDelta::minutes(5);
        changed.channels[Channel::Sms].max_age = TimeDelta::minutes(30);
        let off = RuleEntry {
            enabled: false,
            ..entry(Some(-1), changed)
        };
        assert_eq!(file.rules, [entry(None, defaults), off], "{channels:?}");
        assert_eq!(file.merged, [""; 0]);
    }
    assert_eq!(rules_of("version = 2"), []);
    assert_eq!(rules_of(""), []);
}

#[test]
fn quiet_hours_that_are_given_are_given_whole() {
    let rules = rules_of(
        "version = 2\n[[rule]]\naccount = \"1\"\n[rule.channels.sms.quiet_hours]\nallowed = [{ from = \"08:00\", to = \"21:00\" }]",
    );
    let quiet_hours = &rules[0].settings.channels[Channel::Sms].quiet_hours;
    assert_eq!(quiet_hours.allowed.len(), 1);
    assert!(quiet_hours.by_country.is_empty());
}

#[test]
fn a_step_that_names_no_id_has_none_yet() {
    let rules = rules_of(
        "version = 2\n[[rule]]\naccount = \"1\"\nsteps = [\n{ id = 7, channel = \"sms\", after_minutes = 5 },\n\
         { channel = \"email\", after_minutes = 5, when = \"if_not_reached\" }]",
    );
    let steps: Vec<_> = rules[0]
        .settings
        .steps
        .iter()
        .map(|s| (s.id, s.channel, s.when))
        .collect();
    assert_eq!(
        steps,
        [
            (7, Channel::Sms, When::Always),
            (0, Channel::Email, When::IfNotReached)
        ]
    );
}

#[test]
fn steps_without_an_id_are_those_that_the_rule_has() {
    let present = RuleSettings::default_for(&BOTH).steps;
    let known = KnownSteps {
        ever: present.iter().map(|step| (step.id, step.channel)).collect(),
        present,
        elsewhere: Vec::new(),
    };
    let mut written = RuleSettings::default_for(&BOTH);
    for step in &mut written.steps {
        step.id = 0;
        step.after += TimeDelta::minutes(5);
    }
    let page = print(&[entry(None, written.clone())]);
    let per_channel = "[[rule]]\naccount = \"1\"\nchannel = \"sms\"\n[[rule]]\naccount = \"1\"\nchannel = \"email\"";
    for text in [page.as_str(), per_channel] {
        let mut settings = rules_of(text).remove(0).settings;
        settings.number_steps(&known);
        let ids: Vec<_> = settings.steps.iter().map(|step| step.id).collect();
        assert_eq!(ids, [1, 2, 3, 4], "{text}");
    }
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    let text = "version = 2\n[[rule]]\naccount = \"no spaces\"\nchannel = \"sms\"\nskill = \"x\"\nenabled = 1\ntime_zone = \"Mars\"\ncolour = \"blue\"\n\
        [[rule]]\naccount = \"1\"\nmax_age_minutes = 5\nchannels.sms.max_age_minutes = -1\nsteps = [{ after_hours = 1 }]\n\
        [[rule]]\naccount = \"2\"\n[[rule]]\naccount = \"2\"\n[[rule]]\n";
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
            "rule 2, channels.sms.max_age_minutes",
            "rule 2, max_age_minutes",
            "rule 2, steps[0].after_hours",
            "rule 4",
            "rule 5, account",
        ]
    );
}

#[test]
fn a_file_that_is_no_list_of_rules_or_of_no_known_version_is_told_so() {
    let rule = "[[rule]]\naccount = \"1\"\n";
    assert_eq!(problems("[[rule]]\naccount = x\n"), ["line 2"]);
    assert_eq!(
        problems("version = 2\n[[rules]]\naccount = \"1\"\n"),
        ["rules"]
    );
    assert_eq!(problems("rule = 1"), ["rule"]);
    #[rustfmt::skip]
    let versions = [
        (rule.to_owned(), "version: is missing: write version = 2 in the first line"),
        (format!("version = 3\n{rule}"), "version: 3 is not known here: this program reads version 2,"),
        (format!("version = 1\n{rule}"), "version: 1 is not known here"),
        (format!("version = \"2\"\n{rule}"), "version: \"2\" is not known here"),
        (format!("version = 2\n{rule}channel = \"sms\""), "rule 1, channel: is not of version 2, where a rule is over all channels"),
    ];
    for (text, told) in versions {
        let error = parse(&text, &BOTH).unwrap_err();
        assert_eq!(error.0.len(), 1, "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn a_printed_file_reads_well() {
    let mut settings = RuleSettings::default_for(&BOTH);
    settings.steps.truncate(2);
    settings.channels[Channel::Sms].templates.insert(
        "en".to_owned(),
        Template {
            subject: None,
            preheader: None,
            text: "{{brand}} wrote:\n{{link}}".to_owned(),
            html: None,
        },
    );
    let page = print(&[entry(Some(77), settings)]);
    let (head, rules) = page.split_once("\n\n[[rule]]\n").unwrap();
    let said = head
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    assert_eq!(said.collect::<Vec<_>>(), ["version = 2"]);
    assert_eq!(
        rules,
        r#"account = "12345678"
skill = 77
enabled = true
steps = [
    { id = 1, channel = "email", after_minutes = 10, when = "always" },
    { id = 2, channel = "sms", after_minutes = 10, when = "if_not_reached" },
]
debounce_minutes = 2
remind_in_queue = false
in_quiet_hours = "move"

[rule.caps]
gap_minutes = 120
per_conversation_24h = 2
per_consumer_24h = 3

[rule.channels.email]
max_age_minutes = 360
per_address_24h = 4
resend_unknown = false

[rule.channels.email.quiet_hours]
allowed = []

[rule.channels.sms]
max_age_minutes = 60
per_address_24h = 2

[rule.channels.sms.quiet_hours]
allowed = [
    { days = [], from = "09:00", to = "20:00" },
]

[rule.channels.sms.quiet_hours.by_country]
US = [
    { days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], from = "09:00", to = "20:00" },
    { days = ["Sun"], from = "12:00", to = "20:00" },
]

[rule.channels.sms.templates.en]
text = """
{{brand}} wrote:
{{link}}"""
"#
    );
}

#[test]
fn a_channel_is_printed_if_a_step_uses_it_or_somebody_has_changed_it() {
    let printed = |settings: &RuleSettings| {
        let page = print(&[entry(None, settings.clone())]);
        BOTH.map(|channel| page.contains(&format!("[rule.channels.{channel}]")))
    };
    let mut settings = RuleSettings::default_for(&[Channel::Email]);
    assert_eq!(printed(&settings), [true, false]);
    settings.channels[Channel::Sms].sender = Some("+15005550006".to_owned());
    assert_eq!(printed(&settings), [true, true]);
    assert_eq!(printed(&RuleSettings::default_for(&BOTH)), [true, true]);
    let mut unnumbered = RuleSettings::default_for(&BOTH);
    unnumbered.steps[0].id = 0;
    let page = print(&[entry(None, unnumbered.clone())]);
    assert!(
        page.contains("    { channel = \"email\", after_minutes = 10"),
        "{page}"
    );
    assert_eq!(rules_of(&page), [entry(None, unnumbered)]);
}

#[test]
fn the_legend_explains_every_setting() {
    let legend = print(&[]);
    assert!(legend.lines().all(|line| line.len() <= 120), "{legend}");
    for setting in SETTINGS {
        let name = match setting.of {
            Of::Rule => setting.name.to_owned(),
            _ => format!("channels.….{}", setting.name),
        };
        let heading = format!("# {name}: {}", setting.label);
        assert!(legend.lines().any(|line| line == heading), "{heading}");
    }
}

#[test]
fn every_setting_is_printed_and_read_back_with_every_value_and_without_one() {
    let defaults = RuleSettings::default_for(&Channel::ALL);
    for setting in SETTINGS {
        for of in setting.places() {
            let mut values: Vec<_> = setting.examples(of).into_iter().map(Some).collect();
            if setting.left_out != LeftOut::Never {
                values.push(None);
            }
            for value in values {
                let rule = entry(None, setting.changed(of, &defaults, value.clone()));
                let page = print(std::slice::from_ref(&rule));
                let read = parse(&page, &Channel::ALL).map(|file| file.rules);
                assert_eq!(read, Ok(vec![rule.clone()]), "{}", setting.name);
                let file: Table = page.parse().unwrap();
                let file = serde_json::to_value(file).unwrap();
                let stored = serde_json::to_value(&rule.settings).unwrap();
                let (printed, stored) = (
                    setting.value(of, &file["rule"][0]),
                    setting.value(of, &stored),
                );
                // 0 of a hundred is left out.
                let is_there = value.is_some()
                    && !(setting.left_out == LeftOut::Zero && value == Some(0.into()));
                assert_eq!(printed, stored, "{page}");
                assert_eq!(!printed.is_null(), is_there, "{}: {page}", setting.name);
                let is_table = matches!(setting.input, Input::Hours | Input::Texts);
                assert_eq!(printed.is_object(), is_table && is_there, "{page}");
            }
        }
    }
}
