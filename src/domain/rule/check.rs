//! Reading settings that a person wrote: every problem at once, each naming its field and the fix.
//!
//! What is left out comes from the channel's defaults. `caps` is filled in field by field; every other setting is taken whole,
//! because half of somebody's steps or quiet hours mixed with half of ours is what nobody meant.

use std::fmt;

use chrono::{NaiveTime, TimeDelta};
use serde_json::{Map, Value};

use super::settings::{
    Applies, Input, LONGEST_HTML, LONGEST_SUBJECT, LONGEST_TEXT, MOST_COUNTRIES, MOST_LANGUAGES,
    MOST_STEPS, MOST_WINDOWS, MOST_WINDOWS_IN_ALL, SETTINGS, top_names,
};
use super::{RuleSettings, Template};
use crate::domain::channel::Parts;
use crate::domain::ids::Channel;
use crate::domain::quiet::Window;

/// What is wrong with one setting, in words for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleProblem {
    /// Path of the setting as in files and in the API, e.g. `steps[1].after_minutes`.
    pub field: String,
    pub message: String,
}

impl RuleProblem {
    /// Both may repeat what somebody wrote, but not pages of it.
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: clipped(field.into(), LONGEST_FIELD),
            message: clipped(message.into(), LONGEST_MESSAGE),
        }
    }
}

fn clipped(mut text: String, longest: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(longest) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// So many problems are told; of more only the number. Who looks at settings is not made to pay for each of a million.
const MOST_PROBLEMS: usize = 20;
const LONGEST_FIELD: usize = 100;
const LONGEST_MESSAGE: usize = 500;

/// Of a window.
const MOST_DAYS: usize = 7;

/// Problems as they are found: the first are told, the rest are counted.
#[derive(Default)]
struct Problems {
    told: Vec<RuleProblem>,
    more: usize,
}

impl Problems {
    fn push(&mut self, problem: RuleProblem) {
        self.count(|| problem);
    }

    /// The same, where putting it into words is work.
    fn count(&mut self, problem: impl FnOnce() -> RuleProblem) {
        if self.told.len() < MOST_PROBLEMS {
            self.told.push(problem());
        } else {
            self.more += 1;
        }
    }

    fn into_vec(mut self) -> Vec<RuleProblem> {
        if self.more > 0 {
            let message = format!("there are {} more problems like these", self.more);
            self.told.push(RuleProblem::new("settings", message));
        }
        self.told
    }
}

impl RuleSettings {
    /// Reads settings over the defaults of the channel and validates them. Durations are whole minutes.
    pub fn parse(channel: Channel, given: Value) -> Result<Self, Vec<RuleProblem>> {
        let Value::Object(given) = given else {
            return Err(vec![RuleProblem::new("settings", "must be an object")]);
        };
        let Ok(Value::Object(defaults)) = serde_json::to_value(Self::default_for(channel)) else {
            unreachable!("settings are an object");
        };
        let mut problems = Problems::default();
        let known = top_names();
        for (key, value) in &given {
            if !known.contains(&key.as_str()) {
                problems.count(|| {
                    let known = known.join(", ");
                    RuleProblem::new(key, format!("there is no such setting; there are {known}"))
                });
                continue;
            }
            // One at a time first: serde's own message does not say which setting it is about.
            let alone = overlay(&defaults, [(key.clone(), value.clone())]);
            if let Err(error) = serde_json::from_value::<Self>(alone) {
                problems.push(RuleProblem::new(key, error.to_string()));
            }
        }
        let problems = problems.into_vec();
        if !problems.is_empty() {
            return Err(problems);
        }
        let settings: Self = serde_json::from_value(overlay(&defaults, given))
            .map_err(|error| vec![RuleProblem::new("settings", error.to_string())])?;
        match settings.validate(channel) {
            problems if problems.is_empty() => Ok(settings),
            problems => Err(problems),
        }
    }

    /// What is wrong with well-formed settings; empty if nothing is.
    pub fn validate(&self, channel: Channel) -> Vec<RuleProblem> {
        let mut problems = Problems::default();
        self.check_steps(&mut problems);
        self.check_table(channel, &mut problems);
        self.check_quiet_hours(&mut problems);
        self.check_sender(channel, &mut problems);
        if self.templates.len() > MOST_LANGUAGES {
            let message = format!("give at most {MOST_LANGUAGES} languages");
            problems.push(RuleProblem::new("templates", message));
            return problems.into_vec();
        }
        for (language, template) in &self.templates {
            check_template(language, template, channel, &mut problems);
        }
        problems.into_vec()
    }

    fn check_steps(&self, problems: &mut Problems) {
        if self.steps.is_empty() || self.steps.len() > MOST_STEPS {
            problems.push(RuleProblem::new(
                "steps",
                format!("give 1 to {MOST_STEPS} steps"),
            ));
        }
        let looked_at = self.steps.iter().take(MOST_STEPS);
        let mut before = TimeDelta::zero();
        for (i, step) in looked_at.enumerate() {
            let field = format!("steps[{i}].after_minutes");
            if step.after < TimeDelta::minutes(1) {
                problems.push(RuleProblem::new(field, "must be 1 or more"));
            } else if step.after <= before {
                problems.push(RuleProblem::new(
                    field,
                    "must be more than in the step before",
                ));
            }
            before = step.after;
        }
    }

    /// What the table of settings says: the bounds of numbers, and on which channels a setting can be used.
    fn check_table(&self, channel: Channel, problems: &mut Problems) {
        let json = |settings: &Self| serde_json::to_value(settings).unwrap_or_default();
        let (all, defaults) = (json(self), json(&Self::default_for(channel)));
        for setting in SETTINGS {
            let value = setting.value(&all);
            match (&setting.applies, &setting.input, value.as_i64()) {
                (Applies::WhereUnknownIs(..), ..)
                    if !setting.is_of(channel) && value == setting.value(&defaults) => {}
                (Applies::WhereUnknownIs(_, why), ..) if !setting.is_of(channel) => {
                    problems.push(RuleProblem::new(setting.name, *why));
                }
                (_, Input::Number(number), Some(given)) if !number.allows(given) => {
                    let message = match (number.bounds(), number.instead) {
                        (bounds, "") => format!("must be {bounds}"),
                        (bounds, instead) => format!("must be {bounds}; {instead}"),
                    };
                    problems.push(RuleProblem::new(setting.name, message));
                }
                _ => {}
            }
        }
    }

    fn check_quiet_hours(&self, problems: &mut Problems) {
        check_windows("quiet_hours.allowed", &self.quiet_hours.allowed, problems);
        let by_country = &self.quiet_hours.by_country;
        if by_country.len() > MOST_COUNTRIES {
            let message = format!("give at most {MOST_COUNTRIES} countries");
            problems.push(RuleProblem::new("quiet_hours.by_country", message));
            return;
        }
        let in_all: usize = by_country.values().map(Vec::len).sum();
        if in_all.saturating_add(self.quiet_hours.allowed.len()) > MOST_WINDOWS_IN_ALL {
            let message = format!("give at most {MOST_WINDOWS_IN_ALL} windows in all");
            problems.push(RuleProblem::new("quiet_hours", message));
        }
        for (country, windows) in by_country {
            let field = format!("quiet_hours.by_country.{country}");
            if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
                problems.push(RuleProblem::new(
                    &field,
                    "a country is two capital letters, for example US",
                ));
            }
            check_windows(&field, windows, problems);
        }
    }

    fn check_sender(&self, channel: Channel, problems: &mut Problems) {
        let is_sender = channel.profile().is_sender;
        if self.sender.as_deref().is_some_and(|own| !is_sender(own)) {
            problems.push(RuleProblem::new("sender", channel.names().no_sender));
        }
    }
}

/// `defaults` with the given settings in their place.
fn overlay(
    defaults: &Map<String, Value>,
    given: impl IntoIterator<Item = (String, Value)>,
) -> Value {
    let mut settings = defaults.clone();
    for (key, value) in given {
        match (key.as_str(), settings.get_mut(&key), value) {
            ("caps", Some(Value::Object(caps)), Value::Object(given)) => caps.extend(given),
            (_, _, value) => drop(settings.insert(key, value)),
        }
    }
    Value::Object(settings)
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
    let field = format!("templates.{language}");
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
    let (subject, html) = match channel.profile().parts {
        Parts::SubjectAndHtml => (Requirement::Needed, Requirement::Optional),
        Parts::TextAlone => (Requirement::Never, Requirement::Never),
    };
    check("subject", t.subject.as_deref(), LONGEST_SUBJECT, subject);
    check("text", Some(&t.text), LONGEST_TEXT, Requirement::Needed);
    check("html", t.html.as_deref(), LONGEST_HTML, html);
}

#[derive(Clone, Copy)]
enum Requirement {
    Needed,
    Optional,
    Never,
}
