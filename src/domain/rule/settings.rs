//! Every setting of a rule: its name, what it is called, what it does and what it may be.
//!
//! To add one: a field of [`super::RuleSettings`] with its default, a row here, its words in `summary`; then `make docs`. What `check`
//! accepts, the fields of the editor, the names in lists of changes, the comments in a file of rules and docs/rule-settings.md all come
//! from this table, and tests hold it and the rest together.

#[cfg(test)]
mod examples;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::domain::channel::UnknownPolicy;
use crate::domain::ids::Channel;

/// A setting.
pub struct Setting {
    /// Its path in files, in the API and in the editor's form: `caps.gap_minutes`.
    pub name: &'static str,
    pub group: Group,
    /// What it is called wherever a person reads of it.
    pub label: &'static str,
    /// What it does, in sentences.
    pub help: &'static str,
    pub input: Input,
    pub left_out: LeftOut,
    pub applies: Applies,
}

/// What belongs together in the editor and on the page of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    When,
    Hours,
    Limits,
    Words,
    Sender,
}

/// What is written there.
pub enum Input {
    Number(Number),
    Switch,
    /// One of several words, each with what it means.
    Choice(&'static [(&'static str, &'static str)]),
    TimeZone,
    /// Any text; what it may be, in words.
    Text(&'static str),
    /// A list of waits.
    Steps,
    /// Windows of a week, for everybody and by country.
    Hours,
    /// Texts by language.
    Texts,
}

/// A whole number and its bounds, which are included.
pub struct Number {
    pub unit: Unit,
    pub min: i64,
    pub max: i64,
    /// What to do instead where something beyond is meant; `""` where nothing is.
    pub instead: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Minutes,
    Percent,
    Reminders,
}

/// What it means that a setting is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It never is: it has the channel's default then.
    Never,
    /// It is 0.
    Zero,
    /// Something else, in words.
    Means(&'static str),
}

/// On which channels a setting can be used.
pub enum Applies {
    Everywhere,
    /// Where this becomes of an attempt whose outcome nobody knows. Elsewhere only its default is accepted, and this says why.
    WhereUnknownIs(UnknownPolicy, &'static str),
}

/// The longest time that can be set, 90 days: LivePerson closes long before.
pub const LONGEST_MINUTES: i64 = 90 * 24 * 60;
/// What waits longer is about something else by then.
const WEEK: i64 = 7 * 24 * 60;

pub const MOST_STEPS: usize = 8;
pub const MOST_WINDOWS: usize = 50;
/// In all: a year of each list of hours is walked when it is said what a rule cannot do.
pub const MOST_WINDOWS_IN_ALL: usize = 200;
pub const MOST_COUNTRIES: usize = 50;
pub const MOST_LANGUAGES: usize = 50;
pub const LONGEST_SUBJECT: usize = 500;
pub const LONGEST_TEXT: usize = 10_000;
pub const LONGEST_HTML: usize = 100_000;

/// All of them, in the order of a file (where tables come after what is not one) and of the editor.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "steps", group: Group::When, label: "Steps",
        help: "When to remind. Each time counts from the first message that is unread.",
        input: Input::Steps, left_out: LeftOut::Never, applies: Applies::Everywhere,
    },
    Setting {
        name: "debounce_minutes", group: Group::When, label: "Wait after the agent's last message",
        help: "No reminder goes before that: the agent may still be typing.",
        input: minutes(0, LONGEST_MINUTES), left_out: LeftOut::Never, applies: Applies::Everywhere,
    },
    Setting {
        name: "max_age_minutes", group: Group::When, label: "Late by at most",
        help: "What is later than that is not sent any more, after an outage for instance. Time outside the hours does not count.",
        input: minutes(1, LONGEST_MINUTES), left_out: LeftOut::Never, applies: Applies::Everywhere,
    },
    Setting {
        name: "latest_minutes", group: Group::When, label: "Never sent later than",
        help: "Counted from when it is due, whatever the hours.",
        input: minutes(1, WEEK),
        left_out: LeftOut::Means("24 hours for e-mail, 17 hours for SMS; longer if it may be late by more"),
        applies: Applies::Everywhere,
    },
    Setting {
        name: "caps.gap_minutes", group: Group::Limits, label: "Apart by at least",
        help: "Between two reminders in one conversation.",
        input: minutes(0, WEEK), left_out: LeftOut::Never, applies: Applies::Everywhere,
    },
    Setting {
        name: "caps.per_conversation_24h", group: Group::Limits, label: "At most a day in one conversation",
        help: "Counted over the last 24 hours.",
        input: PER_DAY, left_out: LeftOut::Never, applies: Applies::Everywhere,
    },
    Setting {
        name: "caps.per_recipient_24h", group: Group::Limits, label: "At most a day to one person",
        help: "Counted over the last 24 hours, by address.",
        input: PER_DAY, left_out: LeftOut::Never, applies: Applies::Everywhere,
    },
    Setting {
        name: "quiet_hours", group: Group::Hours, label: "Hours",
        help: "Reminders are sent only in these hours, by the visitor's own clock. Without any: at any hour. No day chosen means every \
               day; 00:00 as the end means midnight.",
        input: Input::Hours, left_out: LeftOut::Never, applies: Applies::Everywhere,
    },
    Setting {
        name: "in_quiet_hours", group: Group::Hours, label: "What falls outside the hours",
        help: "What becomes of a reminder that is due then.",
        input: Input::Choice(&[("move", "waits until then"), ("drop", "is not sent")]),
        left_out: LeftOut::Never, applies: Applies::Everywhere,
    },
    Setting {
        name: "time_zone", group: Group::Hours, label: "Zone of visitors whose own is not known",
        help: "LivePerson mostly knows it, else the phone number shows it.",
        input: Input::TimeZone, left_out: LeftOut::Means("the account's"), applies: Applies::Everywhere,
    },
    Setting {
        name: "remind_in_queue", group: Group::When, label: "Also while the conversation waits for an agent",
        help: "Without it, a reminder waits until an agent has the conversation again.",
        input: Input::Switch, left_out: LeftOut::Never, applies: Applies::Everywhere,
    },
    Setting {
        name: "resend_unknown", group: Group::Sender, label: "If the mail server's answer is lost, send once more",
        help: "The same mail may then arrive twice.",
        input: Input::Switch, left_out: LeftOut::Never,
        applies: Applies::WhereUnknownIs(UnknownPolicy::Final, "is for e-mail only: an SMS is settled with the provider instead"),
    },
    Setting {
        name: "holdout_percent", group: Group::Limits, label: "Share without reminders",
        help: "With 10, one conversation in ten gets none, and the page Effect shows how many come back by themselves.",
        // More than half would be no reminder any more.
        input: Input::Number(Number { unit: Unit::Percent, min: 0, max: 50, instead: "" }),
        left_out: LeftOut::Zero, applies: Applies::Everywhere,
    },
    Setting {
        name: "sender", group: Group::Sender, label: "Sender",
        help: "Whom reminders of this rule come from, if not the usual one.",
        input: Input::Text("an e-mail address; for SMS a phone number, a short code or a Messaging Service"),
        left_out: LeftOut::Means("the channel's"), applies: Applies::Everywhere,
    },
    Setting {
        name: "templates", group: Group::Words, label: "Words",
        help: "Without words of your own, the built-in ones are used. A language is a tag such as en or pt-BR; readers of a language \
               that is not here get en.",
        input: Input::Texts, left_out: LeftOut::Never, applies: Applies::Everywhere,
    },
];

/// None is what the switch is for.
const PER_DAY: Input = Input::Number(Number {
    unit: Unit::Reminders,
    min: 1,
    max: 24,
    instead: "to send nothing, switch the rule off",
});

const fn minutes(min: i64, max: i64) -> Input {
    Input::Number(Number {
        unit: Unit::Minutes,
        min,
        max,
        instead: "",
    })
}

impl Setting {
    pub fn is_of(&self, channel: Channel) -> bool {
        match self.applies {
            Applies::Everywhere => true,
            Applies::WhereUnknownIs(unknown, _) => channel.profile().unknown == unknown,
        }
    }

    /// Its value among settings in JSON; `Null` if it is left out.
    pub fn value<'a>(&self, settings: &'a Value) -> &'a Value {
        let path = self.name.split('.');
        path.fold(settings, |at, part| &at[part])
    }

    /// Puts a value in its place; `None` leaves it out.
    pub fn put(&self, settings: &mut Map<String, Value>, value: Option<Value>) {
        let (place, name) = match self.name.split_once('.') {
            None => (settings, self.name),
            Some((table, name)) => {
                let table = settings.entry(table).or_insert_with(|| Map::new().into());
                let Value::Object(table) = table else {
                    return;
                };
                (table, name)
            }
        };
        match value {
            Some(value) => drop(place.insert(name.to_owned(), value)),
            None => drop(place.remove(name)),
        }
    }
}

impl Group {
    pub const ALL: [Self; 5] = [
        Self::When,
        Self::Hours,
        Self::Limits,
        Self::Words,
        Self::Sender,
    ];

    pub fn heading(self) -> &'static str {
        match self {
            Self::When => "When",
            Self::Hours => "Hours",
            Self::Limits => "Limits",
            Self::Words => "Words",
            Self::Sender => "Sender",
        }
    }
}

impl Unit {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minutes => "minutes",
            Self::Percent => "percent",
            Self::Reminders => "reminders",
        }
    }
}

impl Number {
    pub fn allows(&self, number: i64) -> bool {
        (self.min..=self.max).contains(&number)
    }

    /// "1 to 10080 (7 days)"
    pub fn bounds(&self) -> String {
        let bounds = format!("{} to {}", self.min, self.max);
        match self.unit {
            Unit::Minutes => format!("{bounds} ({} days)", self.max / (24 * 60)),
            Unit::Percent | Unit::Reminders => bounds,
        }
    }
}

impl Input {
    /// What may be written there, for people who write files.
    pub fn takes(&self) -> String {
        match self {
            Self::Number(number) => format!("{}, {}", number.unit.as_str(), number.bounds()),
            Self::Switch => "true or false".to_owned(),
            Self::Choice(choices) => {
                let choices = choices.iter();
                let words: Vec<String> = choices
                    .map(|(word, means)| format!("\"{word}\": {means}"))
                    .collect();
                words.join("; ")
            }
            Self::TimeZone => "a zone like Europe/Berlin, or a distance like UTC+05:30".to_owned(),
            Self::Text(what) => (*what).to_owned(),
            Self::Steps => format!(
                "1 to {MOST_STEPS} steps, each with after_minutes of 1 to {LONGEST_MINUTES} (90 days), each later than the one before"
            ),
            Self::Hours => format!(
                "allowed: windows of days, from and to; by_country: other windows for phone numbers of a country. At most {MOST_WINDOWS} \
                 windows in a list, {MOST_WINDOWS_IN_ALL} in all, {MOST_COUNTRIES} countries"
            ),
            Self::Texts => format!(
                "up to {MOST_LANGUAGES} languages, each with text and, for e-mail, subject and perhaps html; at most {LONGEST_TEXT}, \
                 {LONGEST_SUBJECT} and {LONGEST_HTML} characters"
            ),
        }
    }
}

/// The setting that a path is of or leads into: `caps.gap_minutes`, `steps[1].after_minutes`, `templates.en.text`.
pub fn find(path: &str) -> Option<&'static Setting> {
    let leads_there = |setting: &&Setting| {
        let rest = path.strip_prefix(setting.name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    SETTINGS.iter().find(leads_there)
}

/// What a setting is called, or several that are one table in files.
pub fn label(path: &str) -> Option<&'static str> {
    let of_table = || {
        let in_it = |setting: &&Setting| {
            let rest = setting.name.strip_prefix(path);
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        SETTINGS
            .iter()
            .find(in_it)
            .map(|inner| inner.group.heading())
    };
    find(path).map(|setting| setting.label).or_else(of_table)
}

/// The names at the top of a rule's settings, where several may share a table: `caps`.
pub fn top_names() -> Vec<&'static str> {
    let mut names = Vec::new();
    for setting in SETTINGS {
        let top = setting.name.split('.').next().unwrap_or_default();
        if !names.contains(&top) {
            names.push(top);
        }
    }
    names
}
