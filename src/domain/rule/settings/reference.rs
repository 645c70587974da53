//! docs/rule-settings.md, made of the table.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Group, Input, LeftOut, SETTINGS, Setting};
use crate::domain::ids::Channel;
use crate::domain::rule::{RuleSettings, hours_said, span};

const INTRODUCTION: &str = "\
# Rule settings

<!-- Written by `make docs` from src/domain/rule/settings.rs. -->

A rule says when and how reminders go out, for one skill (or as the account's default) and one channel. Its settings have these names in
files of rules and in the API (`settings.caps.gap_minutes`); the dashboard's editor shows them by their labels. What is left out is the
channel's default, in the last columns. Bounds are included.

Beside them, a rule has `enabled`: whether it is switched on. A skill's own rule that is switched off takes the skill out of the default.
";

fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for group in Group::ALL {
        let channels = Channel::ALL.map(|channel| format!(" `{channel}` |"));
        let _ = write!(
            page,
            "\n## {}\n\n| setting | what it does | what it may be |{}\n|---|---|---|{}\n",
            group.heading(),
            channels.concat(),
            "---|".repeat(channels.len())
        );
        for setting in SETTINGS.iter().filter(|setting| setting.group == group) {
            let left_out = match setting.left_out {
                LeftOut::Never | LeftOut::Zero => String::new(),
                LeftOut::Means(what) => format!(" Left out: {what}."),
            };
            let defaults = Channel::ALL.map(|channel| format!(" {} |", default(setting, channel)));
            let _ = writeln!(
                page,
                "| **{}**<br>`{}` | {}{left_out} | {} |{}",
                setting.label,
                setting.name,
                setting.help,
                setting.input.takes(),
                defaults.concat()
            );
        }
    }
    page
}

fn default(setting: &Setting, channel: Channel) -> String {
    if !setting.is_of(channel) {
        return "not there".to_owned();
    }
    let settings = RuleSettings::default_for(channel);
    let json = serde_json::to_value(&settings).unwrap();
    let value = setting.value(&json);
    match (&setting.input, setting.left_out) {
        (_, LeftOut::Zero) if value.is_null() => "0".to_owned(),
        (_, LeftOut::Means(_)) if value.is_null() => "left out".to_owned(),
        (Input::Steps, _) => {
            let after = settings.steps.iter();
            let after = after.map(|step| format!("after {}", span(step.after)));
            after.collect::<Vec<_>>().join(", ")
        }
        (Input::Hours, _) => {
            let quiet = &settings.quiet_hours;
            let own = quiet.by_country.iter();
            let own =
                own.map(|(country, hours)| format!("; {country} numbers: {}", hours_said(hours)));
            hours_said(&quiet.allowed) + &own.collect::<String>()
        }
        (Input::Texts, _) => "the built-in words".to_owned(),
        _ => format!("`{value}`").replace('"', ""),
    }
}

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rule-settings.md")
}

#[test]
fn the_page_is_made_of_the_table() {
    let text = std::fs::read_to_string(page()).unwrap();
    assert_eq!(text, reference(), "run `make docs`");
}

#[test]
#[ignore = "writes docs/rule-settings.md; run it with `make docs`"]
fn write_the_page() {
    std::fs::write(page(), reference()).unwrap();
}
