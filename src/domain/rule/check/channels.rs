//! The settings of channels.

use chrono::NaiveTime;
use serde_json::Value;

use super::{Problems, RuleProblem, check_kind};
use crate::domain::channel::Parts;
use crate::domain::ids::Channel;
use crate::domain::quiet::Window;
use crate::domain::rule::settings::{
    CHANNELS, LONGEST_HTML, LONGEST_PREHEADER, LONGEST_SUBJECT, LONGEST_TEXT, MOST_COUNTRIES,
    MOST_LANGUAGES, MOST_WINDOWS, MOST_WINDOWS_IN_ALL, channel_names,
};
use crate::domain::rule::{ChannelSettings, Template};

/// Of a window.
const MOST_DAYS: usize = 7;

/// The names that somebody has written which there are not.
pub(super) fn check_names<'a>(
    of: Option<Channel>,
    known: &[&str],
    given: impl Iterator<Item = &'a String>,
    problems: &mut Problems,
) {
    for key in given.filter(|key| !known.contains(&key.as_str())) {
        problems.count(|| {
            let field = match of {
                Some(channel) => format!("{CHANNELS}.{channel}.{key}"),
                None => key.clone(),
            };
            let moved = of.is_none() && channel_names().contains(&key.as_str());
            let message = if moved {
                format!(
                    "belongs to a channel: write {CHANNELS}.email.{key} or {CHANNELS}.sms.{key}"
                )
            } else {
                format!("there is no such setting; there are {}", known.join(", "))
            };
            RuleProblem::new(field, message)
        });
    }
}

/// The settings of channels, one at a time.
pub(super) fn check_channels(given: Option<&Value>, problems: &mut Problems) {
    let Some(given) = given else { return };
    let Value::Object(given) = given else {
        problems.push(RuleProblem::new(
            CHANNELS,
            "must be a table with a table for each channel",
        ));
        return;
    };
    for (word, given) in given {
        let Ok(channel) = word.parse::<Channel>() else {
            problems.count(|| {
                let known = Channel::ALL.map(Channel::as_str).join(", ");
                RuleProblem::new(
                    format!("{CHANNELS}.{word}"),
                    format!("there is no such channel; there are {known}"),
                )
            });
            continue;
        };
        let Value::Object(given) = given else {
            problems.push(RuleProblem::new(
                format!("{CHANNELS}.{channel}"),
                "must be a table",
            ));
            continue;
        };
        let known = channel_names();
        check_names(Some(channel), &known, given.keys(), problems);
        let defaults =
            serde_json::to_value(ChannelSettings::default_for(channel)).unwrap_or_default();
        for (key, value) in given
            .iter()
            .filter(|(key, _)| known.contains(&key.as_str()))
        {
            let mut alone = defaults.clone();
            alone[key] = value.clone();
            check_kind::<ChannelSettings>(&format!("{CHANNELS}.{channel}"), &alone, problems);
        }
    }
}

impl ChannelSettings {
    pub(super) fn check(&self, channel: Channel, problems: &mut Problems) {
        let path = |name: &str| format!("{CHANNELS}.{channel}.{name}");
        self.check_quiet_hours(&path("quiet_hours"), problems);
        let is_sender = channel.profile().is_sender;
        if self.sender.as_deref().is_some_and(|own| !is_sender(own)) {
            problems.push(RuleProblem::new(path("sender"), channel.names().no_sender));
        }
        if self.templates.len() > MOST_LANGUAGES {
            let message = format!("give at most {MOST_LANGUAGES} languages");
            problems.push(RuleProblem::new(path("templates"), message));
            return;
        }
        for (language, template) in &self.templates {
            check_template(language, template, channel, problems);
        }
    }

    fn check_quiet_hours(&self, path: &str, problems: &mut Problems) {
        check_windows(
            &format!("{path}.allowed"),
            &self.quiet_hours.allowed,
            problems,
        );
        let by_country = &self.quiet_hours.by_country;
        if by_country.len() > MOST_COUNTRIES {
            let message = format!("give at most {MOST_COUNTRIES} countries");
            problems.push(RuleProblem::new(format!("{path}.by_country"), message));
            return;
        }
        let in_all: usize = by_country.values().map(Vec::len).sum();
        if in_all.saturating_add(self.quiet_hours.allowed.len()) > MOST_WINDOWS_IN_ALL {
            let message = format!("give at most {MOST_WINDOWS_IN_ALL} windows in all");
            problems.push(RuleProblem::new(path, message));
        }
        for (country, windows) in by_country {
            let field = format!("{path}.by_country.{country}");
            if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
                problems.push(RuleProblem::new(
                    &field,
                    "a country is two capital letters, for example US",
                ));
            }
            check_windows(&field, windows, problems);
        }
    }
}

fn check_windows(field: &str, windows: &[Window], problems: &mut Problems) {
    if windows.len() > MOST_WINDOWS {
        let message = format!("give at most {MOST_WINDOWS} windows");
        problems.push(RuleProblem::new(field, message));
        return;
    }
    for (i, window) in windows.iter().enumerate() {
        if window.days.len() > MOST_DAYS {
            problems.push(RuleProblem::new(
                format!("{field}[{i}].days"),
                "name each day of the week once",
            ));
        }
        if window.to != NaiveTime::MIN && window.from >= window.to {
            problems.push(RuleProblem::new(
                format!("{field}[{i}]"),
                "\"from\" must be before \"to\" (00:00 is the end of the day); for a window across midnight write two",
            ));
        }
    }
}

fn check_template(language: &str, t: &Template, channel: Channel, problems: &mut Problems) {
    let field = format!("{CHANNELS}.{channel}.templates.{language}");
    let subtags =
        |s: &str| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric());
    if language.len() > 35 || !language.split('-').all(subtags) {
        problems.push(RuleProblem::new(
            &field,
            "a language is a tag like en or pt-BR",
        ));
    }
    let mut check = |part: &str, text: Option<&str>, longest: usize, wanted: Requirement| {
        let message = match (text, wanted) {
            (None, Requirement::Needed) => "is missing".to_owned(),
            (Some(text), Requirement::Needed) if text.trim().is_empty() => "is empty".to_owned(),
            (Some(_), Requirement::Never) => "is for e-mail only".to_owned(),
            (Some(text), _) if text.chars().count() > longest => {
                format!("must be {longest} characters or less")
            }
            _ => return,
        };
        problems.push(RuleProblem::new(format!("{field}.{part}"), message));
    };
    let (subject, optional) = match channel.profile().parts {
        Parts::SubjectAndHtml => (Requirement::Needed, Requirement::Optional),
        Parts::TextAlone => (Requirement::Never, Requirement::Never),
    };
    check("subject", t.subject.as_deref(), LONGEST_SUBJECT, subject);
    let preheader = t.preheader.as_deref();
    check("preheader", preheader, LONGEST_PREHEADER, optional);
    check("text", Some(&t.text), LONGEST_TEXT, Requirement::Needed);
    check("html", t.html.as_deref(), LONGEST_HTML, optional);
}

#[derive(Clone, Copy)]
enum Requirement {
    Needed,
    Optional,
    Never,
}
