//! What a template may say: the variables, documented for the editor, and their values for one reminder.

use handlebars::Context;
use serde_json::json;

use crate::channel::clean;
use crate::domain::ids::Channel;

/// A value that templates may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: &'static str,
    /// What it stands for, for the person writing a template.
    pub what: &'static str,
    pub sample: &'static str,
}

const fn variable(name: &'static str, what: &'static str, sample: &'static str) -> Variable {
    Variable { name, what, sample }
}

/// All variables, in the order in which an editor should offer them.
pub const VARIABLES: &[Variable] = &[
    variable(
        "link",
        "The way back into the conversation. Every reminder should have it",
        "https://r.acme.example/m/7Kq2ZxT9",
    ),
    variable(
        "first_name",
        "The visitor's first name; often unknown, so write {{#if first_name}}…{{/if}} around it",
        "Dana",
    ),
    variable("brand", "The brand's name", "Acme"),
    variable(
        "agent",
        "The agent's name; may be unknown, so write {{#if agent}}…{{/if}} around it",
        "Sam",
    ),
    variable("skill", "The name of the skill; may be unknown", "Support"),
    variable("count", "How many messages are unread", "1"),
    variable(
        "several",
        "Whether more than one message is unread: {{#if several}}messages{{else}}a message{{/if}}",
        "",
    ),
    variable(
        "since_minutes",
        "Minutes since the first unread message",
        "10",
    ),
    variable(
        "unsubscribe_link",
        "Where these reminders can be stopped. Every e-mail should have it",
        "https://reminders.example.com/u/o7RkV2mQx1",
    ),
    variable("channel", "email or sms", "email"),
];

/// What is known when a reminder is written. Names are cleaned here; a first name that does not look like one is left out.
#[derive(Clone)]
pub struct Vars<'a> {
    pub first_name: Option<&'a str>,
    pub brand: &'a str,
    pub agent: Option<&'a str>,
    pub skill: Option<&'a str>,
    pub count: u32,
    pub since_minutes: i64,
    pub link: &'a str,
    pub unsubscribe_link: &'a str,
}

impl Vars<'_> {
    /// The values of [`VARIABLES`]' samples, for previews and checks.
    pub fn sample() -> Vars<'static> {
        Vars {
            first_name: Some(sample("first_name")),
            agent: Some(sample("agent")),
            skill: Some(sample("skill")),
            ..Vars::sample_without_names()
        }
    }

    /// The same, with everything unknown that may be unknown.
    pub(super) fn sample_without_names() -> Vars<'static> {
        Vars {
            first_name: None,
            brand: sample("brand"),
            agent: None,
            skill: None,
            count: 1,
            since_minutes: 10,
            link: sample("link"),
            unsubscribe_link: sample("unsubscribe_link"),
        }
    }

    pub(super) fn context(&self, channel: Channel) -> Context {
        let name = |raw: Option<&str>| clean::line(raw.unwrap_or_default(), clean::MAX_NAME);
        let values = json!({
            "first_name": self.first_name.and_then(clean::first_name).unwrap_or_default(),
            "brand": name(Some(self.brand)),
            "agent": name(self.agent),
            "skill": name(self.skill),
            "count": self.count,
            "several": self.count > 1,
            "since_minutes": self.since_minutes,
            "link": self.link,
            "unsubscribe_link": self.unsubscribe_link,
            "channel": channel.as_str(),
        });
        Context::from(values)
    }
}

fn sample(name: &str) -> &'static str {
    let found = VARIABLES.iter().find(|v| v.name == name);
    found.map_or("", |v| v.sample)
}
