//! docs/rule-settings.md, made of the table.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Group, Input, LeftOut, Of, SETTINGS, Setting};
use crate::domain::ids::Channel;
use crate::domain::rule::{RuleSettings, When, hours_said, span};

const INTRODUCTION: &str = "# Rule settings

<!-- Written by `make docs` from src/domain/rule/settings.rs. -->

A rule says when, over \
                            which channels and how reminders go out, for one skill or as the account's default. Its settings have these \
                            names
in files of rules and in the API (`settings.caps.gap_minutes`); the dashboard's editor shows them by \
                            their labels. What is left out is the
default. Bounds are included. A setting that each channel has is \
                            written with its channel, as in `channels.sms.max_age_minutes`.

Beside them, a rule has `enabled`: whether \
                            it is active. A skill's own rule that is off takes the skill out of the default.
";

fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    for group in Group::ALL {
        let _ = write!(page, "\n## {}\n", group.heading());
        for of_rule in [true, false] {
            let in_table =
                |setting: &&Setting| setting.group == group && (setting.of == Of::Rule) == of_rule;
            let settings: Vec<&Setting> = SETTINGS.iter().filter(in_table).collect();
            if settings.is_empty() {
                continue;
            }
            let columns = if of_rule {
                "default |".to_owned()
            } else {
                Channel::ALL
                    .map(|channel| format!("default of `{channel}` |"))
                    .join(" ")
            };
            let count = columns.matches('|').count();
            let _ = write!(
                page,
                "\n| setting | what it does | what it may be | {columns}\n|---|---|---|{}\n",
                "---|".repeat(count)
            );
            for setting in settings {
                let left_out = match setting.left_out {
                    LeftOut::Never | LeftOut::Zero => String::new(),
                    LeftOut::Means(what) => format!(" Left out: {what}."),
                };
                let defaults = if of_rule {
                    format!(" {} |", default(setting, None))
                } else {
                    Channel::ALL
                        .map(|channel| format!(" {} |", default(setting, Some(channel))))
                        .concat()
                };
                let name = if of_rule {
                    setting.name.to_owned()
                } else {
                    format!("channels.….{}", setting.name)
                };
                let _ = writeln!(
                    page,
                    "| **{}**<br>`{name}` | {}{left_out} | {} |{defaults}",
                    setting.label,
                    setting.help,
                    setting.input.takes(),
                );
            }
        }
    }
    page
}

fn default(setting: &Setting, of: Option<Channel>) -> String {
    if of.is_some_and(|channel| !setting.is_of(channel)) {
        return "not available".to_owned();
    }
    let settings = RuleSettings::default_for(&Channel::ALL);
    let json = serde_json::to_value(&settings).unwrap();
    let value = setting.value(of, &json);
    match (&setting.input, setting.left_out, of) {
        (_, LeftOut::Zero, _) if value.is_null() => "0".to_owned(),
        (_, LeftOut::Means(_), _) if value.is_null() => "left out".to_owned(),
        (Input::Steps, ..) => {
            let steps = settings.steps.iter().map(|step| {
                let when = match step.when {
                    When::Always => "",
                    When::IfNotReached => " if not reached",
                };
                format!(
                    "{} after {}{when}",
                    step.channel.names().label,
                    span(step.after)
                )
            });
            format!(
                "of the channels that are configured: {}",
                steps.collect::<Vec<_>>().join(", ")
            )
        }
        (Input::Hours, _, Some(channel)) => {
            let quiet = &settings.channels[channel].quiet_hours;
            let own = quiet.by_country.iter();
            let own =
                own.map(|(country, hours)| format!("; {country} numbers: {}", hours_said(hours)));
            hours_said(&quiet.allowed) + &own.collect::<String>()
        }
        (Input::Texts, ..) => "the standard text".to_owned(),
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
