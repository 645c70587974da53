//! What a template may say: the variables, documented for the editor, and their values for one reminder.

use std::fmt;

use url::Url;

use crate::channel::clean;
use crate::domain::ids::Channel;

/// A value that templates may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateVariable {
    pub name: &'static str,
    /// What it is called where no code is shown.
    pub label: &'static str,
    /// What it stands for, for the person writing a template.
    pub what: &'static str,
    pub sample: &'static str,
}

const fn variable(
    (name, label): (&'static str, &'static str),
    what: &'static str,
    sample: &'static str,
) -> TemplateVariable {
    TemplateVariable {
        name,
        label,
        what,
        sample,
    }
}

/// All variables, in the order in which an editor should offer them.
pub const VARIABLES: &[TemplateVariable] = &[
    variable(
        ("link", "Link"),
        "The link back to the conversation. Every reminder should have it",
        "https://unread.example.com/r/7Kq2ZxT94mPw8RvB3nYd6L",
    ),
    variable(
        ("first_name", "First name"),
        "The customer's first name; often unknown, so write {{#if first_name}}…{{/if}} around it",
        "Dana",
    ),
    variable(("brand", "Brand"), "The brand's name", "Acme"),
    variable(
        ("agent", "Agent"),
        "The agent's name; may be unknown, so write {{#if agent}}…{{/if}} around it",
        "Sam",
    ),
    variable(
        ("skill", "Skill"),
        "The name of the skill; may be unknown",
        "Support",
    ),
    variable(
        ("count", "Number of messages"),
        "How many messages are unread",
        "1",
    ),
    variable(
        ("several", "Messages"),
        "Whether more than one message is unread: {{#if several}}messages{{else}}a message{{/if}}",
        "",
    ),
    variable(
        ("since_minutes", "Minutes waiting"),
        "Minutes since the first unread message",
        "10",
    ),
    variable(
        ("unsubscribe_link", "Unsubscribe link"),
        "The link to opt out. An e-mail without it gets one at the end",
        "https://unread.example.com/u/7Kq2ZxT94mPw8RvB3nYd6L",
    ),
    variable(("channel", "Channel"), "email or sms", "email"),
];

/// Those of which nothing may be known. A text needs something in their place.
pub(super) const MAY_BE_MISSING: [&str; 3] = ["first_name", "agent", "skill"];

/// What is known when a reminder is written; empty is unknown. Names are cleaned here, and a first name that does not look like one
/// is left out.
#[derive(Clone)]
pub struct Vars {
    pub first_name: String,
    pub brand: String,
    pub agent: String,
    pub skill: String,
    pub count: u32,
    pub since_minutes: u64,
    pub link: String,
    pub unsubscribe_link: String,
}

impl Vars {
    /// The values of [`VARIABLES`]' samples.
    pub(super) fn sample() -> Self {
        Self {
            first_name: sample("first_name"),
            brand: sample("brand"),
            agent: sample("agent"),
            skill: sample("skill"),
            count: 1,
            since_minutes: 10,
            link: sample("link"),
            unsubscribe_link: sample("unsubscribe_link"),
        }
    }

    /// The same, with everything unknown that may be unknown: first name, agent and skill.
    #[must_use]
    pub fn without_names(self) -> Self {
        Self {
            first_name: String::new(),
            agent: String::new(),
            skill: String::new(),
            ..self
        }
    }

    /// The same, with links of this installation.
    pub(super) fn linking_to(self, public_url: &Url) -> Self {
        let word = |sample: &str| sample.rsplit('/').next().unwrap_or_default().to_owned();
        Self {
            link: link(public_url, "r", &word(&self.link)),
            unsubscribe_link: link(public_url, "u", &word(&self.unsubscribe_link)),
            ..self
        }
    }

    /// The values of [`VARIABLES`], in their order.
    pub(super) fn values(&self, channel: Channel) -> Vec<Value> {
        let text = |text: &str| Value::Text(text.to_owned());
        let name = |raw: &str| Value::Text(clean::line(raw, clean::MAX_NAME));
        let value = |variable: &TemplateVariable| match variable.name {
            "link" => text(&self.link),
            "first_name" => Value::Text(clean::first_name(&self.first_name).unwrap_or_default()),
            "brand" => name(&self.brand),
            "agent" => name(&self.agent),
            "skill" => name(&self.skill),
            "count" => Value::Number(self.count.into()),
            "several" => Value::Flag(self.count > 1),
            "since_minutes" => Value::Number(self.since_minutes),
            "unsubscribe_link" => text(&self.unsubscribe_link),
            "channel" => text(channel.as_str()),
            other => unreachable!("{other} has a value; a test fills in every variable"),
        };
        VARIABLES.iter().map(value).collect()
    }
}

/// The value of a variable.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Number(u64),
    Flag(bool),
}

impl Value {
    /// What `{{#if …}}` goes by.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0,
            Self::Flag(flag) => *flag,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

/// A link of a reminder: `r` leads back to the conversation, `u` to the page that unsubscribes.
pub fn link(public_url: &Url, kind: &str, token: &str) -> String {
    let base = public_url.as_str().trim_end_matches('/');
    format!("{base}/{kind}/{token}")
}

fn sample(name: &str) -> String {
    let found = VARIABLES.iter().find(|v| v.name == name);
    found.map_or(String::new(), |v| v.sample.to_owned())
}
