//! Reading settings that a person wrote: every problem at once, each naming its field and the fix.
//!
//! What is left out comes from the defaults. `caps` and the settings of a channel are filled in one by one; every other setting is taken
//! whole, because half of somebody's steps or quiet hours mixed with half of ours is what nobody meant.

mod channels;

use std::fmt;

use chrono::TimeDelta;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::settings::{CHANNELS, HIGHEST_STEP_ID, Input, MOST_STEPS, Of, SETTINGS, top_names};
use super::{Caps, ChannelSettings, RuleSettings, Step, When};
use crate::domain::ids::Channel;
use crate::domain::plain_error::plain;

use self::channels::{check_channels, check_names};

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
    /// Reads settings and validates them. Durations are whole minutes. What is left out is the default of a rule over these channels, those
    /// that are configured.
    pub fn parse(channels: &[Channel], given: Value) -> Result<Self, Vec<RuleProblem>> {
        let Value::Object(given) = given else {
            return Err(vec![RuleProblem::new("settings", "must be an object")]);
        };
        let Ok(Value::Object(defaults)) = serde_json::to_value(Self::default_for(channels)) else {
            unreachable!("settings are an object");
        };
        let mut problems = Problems::default();
        check_names(None, &top_names(), given.keys(), &mut problems);
        // One at a time: a deserialiser stops at the first that does not fit.
        let top = given.iter().filter(|(key, _)| key.as_str() != CHANNELS);
        for (key, value) in top.filter(|(key, _)| top_names().contains(&key.as_str())) {
            match (key.as_str(), value) {
                ("steps", Value::Array(steps)) => {
                    for (i, step) in steps.iter().enumerate() {
                        check_kind::<Step>(&format!("steps[{i}]"), step, &mut problems);
                    }
                }
                ("caps", Value::Object(caps)) => {
                    for (name, value) in caps {
                        check_kind::<Caps>("caps", &json!({ name: value }), &mut problems);
                    }
                }
                (_, value) => {
                    let alone = overlay(&defaults, [(key.clone(), value.clone())]);
                    check_kind::<Self>("", &alone, &mut problems);
                }
            }
        }
        check_channels(given.get(CHANNELS), &mut problems);
        let problems = problems.into_vec();
        if !problems.is_empty() {
            return Err(problems);
        }
        let settings = deserialized::<Self>("", &overlay(&defaults, given))
            .map_err(|problem| vec![problem])?;
        match settings.validate() {
            problems if problems.is_empty() => Ok(settings),
            problems => Err(problems),
        }
    }

    /// What is wrong with well-formed settings; empty if nothing is.
    pub fn validate(&self) -> Vec<RuleProblem> {
        let mut problems = Problems::default();
        self.check_steps(&mut problems);
        self.check_table(&mut problems);
        for (channel, settings) in self.channels.iter() {
            settings.check(channel, &mut problems);
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
        let looked_at = &self.steps[..self.steps.len().min(MOST_STEPS)];
        let mut before: Option<&Step> = None;
        for (i, step) in looked_at.iter().enumerate() {
            let at = |name: &str| format!("steps[{i}].{name}");
            if step.after < TimeDelta::minutes(1) {
                problems.push(RuleProblem::new(at("after_minutes"), "must be 1 or more"));
            } else if before.is_some_and(|before| step.after < before.after) {
                let message = "must not be less than in the step before";
                problems.push(RuleProblem::new(at("after_minutes"), message));
            } else if step.when == When::Always
                && before.is_some_and(|before| step.after == before.after)
            {
                let message = "must be more than in the step before, or the step must be sent only if the customer was not reached \
                               (when = \"if_not_reached\")";
                problems.push(RuleProblem::new(at("after_minutes"), message));
            }
            if before.is_none() && step.when == When::IfNotReached {
                let message = "the first step has no step before it that could have reached the customer: it must be \"always\"";
                problems.push(RuleProblem::new(at("when"), message));
            }
            if !(0..=HIGHEST_STEP_ID).contains(&step.id) {
                let message =
                    format!("must be 1 to {HIGHEST_STEP_ID}; leave it out for a new step");
                problems.push(RuleProblem::new(at("id"), message));
            } else if step.id > 0 && looked_at[..i].iter().any(|earlier| earlier.id == step.id) {
                let message = "another step has this id; leave it out for a new step";
                problems.push(RuleProblem::new(at("id"), message));
            }
            before = Some(step);
        }
    }

    /// What the table of settings says: the bounds of numbers, and on which channels a setting can be used.
    fn check_table(&self, problems: &mut Problems) {
        let all = serde_json::to_value(self).unwrap_or_default();
        for setting in SETTINGS {
            for of in setting.places() {
                let (Input::Number(number), Some(given)) =
                    (&setting.input, setting.value(of, &all).as_i64())
                else {
                    continue;
                };
                if !number.allows(given) {
                    let message = match (number.bounds(), number.instead) {
                        (bounds, "") => format!("must be {bounds}"),
                        (bounds, instead) => format!("must be {bounds}; {instead}"),
                    };
                    problems.push(RuleProblem::new(setting.path(of), message));
                }
            }
            let Of::ChannelsWhereUnknownIs(_, why) = setting.of else {
                continue;
            };
            for channel in Channel::ALL
                .into_iter()
                .filter(|channel| !setting.is_of(*channel))
            {
                let usual =
                    serde_json::to_value(ChannelSettings::default_for(channel)).unwrap_or_default();
                if *setting.value(Some(channel), &all) != usual[setting.name] {
                    problems.push(RuleProblem::new(setting.path(Some(channel)), why));
                }
            }
        }
    }
}

/// Whether a value is of the kind of `T`; what is not is told with its place, below `place`.
fn check_kind<T: DeserializeOwned>(place: &str, value: &Value, problems: &mut Problems) {
    if let Err(problem) = deserialized::<T>(place, value) {
        problems.push(problem);
    }
}

fn deserialized<T: DeserializeOwned>(place: &str, value: &Value) -> Result<T, RuleProblem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let plain = plain(&error.inner().to_string());
        let mut field = place.to_owned();
        let within = error.path().to_string();
        let within = (within != ".").then_some(within);
        for name in within.into_iter().chain(plain.missing) {
            if !field.is_empty() && !name.starts_with('[') {
                field.push('.');
            }
            field.push_str(&name);
        }
        if field.is_empty() {
            field.push_str("settings");
        }
        RuleProblem::new(field, plain.message)
    })
}

/// `defaults` with the given settings in their place: caps and the settings of channels one by one, everything else whole.
fn overlay(
    defaults: &Map<String, Value>,
    given: impl IntoIterator<Item = (String, Value)>,
) -> Value {
    let mut settings = defaults.clone();
    for (key, value) in given {
        match (key.as_str(), settings.get_mut(&key), value) {
            ("caps", Some(Value::Object(caps)), Value::Object(given)) => caps.extend(given),
            (CHANNELS, Some(Value::Object(channels)), Value::Object(given)) => {
                for (channel, given) in given {
                    match (channels.get_mut(&channel), given) {
                        (Some(Value::Object(own)), Value::Object(given)) => own.extend(given),
                        (_, given) => drop(channels.insert(channel, given)),
                    }
                }
            }
            (_, _, value) => drop(settings.insert(key, value)),
        }
    }
    Value::Object(settings)
}
