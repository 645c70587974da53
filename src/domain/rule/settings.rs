//! Every setting of a rule: its name, what it is called, what it does and what it may be.
//!
//! To add one: a field of [`super::RuleSettings`] with its default, a row here, its words in `summary`; then `make docs`. What `check`
//! accepts, the fields of the editor, the names in lists of changes, the comments in a file of rules and docs/rule-settings.md all come
//! from this table, and tests hold it and the rest together.

#[cfg(test)]
mod examples;
#[cfg(test)]
mod reference;
mod table;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::domain::channel::UnknownPolicy;
use crate::domain::ids::Channel;

pub use table::SETTINGS;

/// A setting.
pub struct Setting {
    /// Its path in files, in the API and in the editor's form: `caps.gap_minutes`. Of a setting that each channel has, the path among those
    /// of a channel: `max_age_minutes`, for `channels.sms.max_age_minutes`.
    pub name: &'static str,
    pub of: Of,
    pub group: Group,
    /// What it is called wherever a person reads of it.
    pub label: &'static str,
    /// What it does, in sentences.
    pub help: &'static str,
    pub input: Input,
    pub left_out: LeftOut,
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

/// Whose a setting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Rule,
    EachChannel,
    /// Of the channels where this becomes of an attempt whose outcome nobody knows. Elsewhere only its default is accepted, and this says
    /// why.
    ChannelsWhereUnknownIs(UnknownPolicy, &'static str),
}

/// The longest time that can be set, 90 days: LivePerson closes long before.
pub const LONGEST_MINUTES: i64 = 90 * 24 * 60;

pub const MOST_STEPS: usize = 8;
/// Of a step's id, as somebody may write it; those that a rule gives go on from there.
pub const HIGHEST_STEP_ID: i16 = 9_999;
pub const MOST_WINDOWS: usize = 50;
/// In all: a year of each list of hours is walked when it is said what a rule cannot do.
pub const MOST_WINDOWS_IN_ALL: usize = 200;
pub const MOST_COUNTRIES: usize = 50;
pub const MOST_LANGUAGES: usize = 50;
pub const LONGEST_SUBJECT: usize = 500;
pub const LONGEST_PREHEADER: usize = 500;
pub const LONGEST_TEXT: usize = 10_000;
pub const LONGEST_HTML: usize = 100_000;

/// The table in which the channels have their settings.
pub const CHANNELS: &str = "channels";

impl Setting {
    /// Where there is one: of the rule (`None`), or of each of these channels.
    pub fn places(&self) -> impl Iterator<Item = Option<Channel>> {
        let of_rule = (self.of == Of::Rule).then_some(None);
        let channels = Channel::ALL
            .into_iter()
            .filter(|channel| self.is_of(*channel));
        of_rule.into_iter().chain(channels.map(Some))
    }

    /// Whether this channel has one of its own.
    pub fn is_of(&self, channel: Channel) -> bool {
        match self.of {
            Of::Rule => false,
            Of::EachChannel => true,
            Of::ChannelsWhereUnknownIs(unknown, _) => channel.profile().unknown == unknown,
        }
    }

    /// Its whole path, of the rule or of a channel.
    pub fn path(&self, of: Option<Channel>) -> String {
        match of {
            None => self.name.to_owned(),
            Some(channel) => format!("{CHANNELS}.{channel}.{}", self.name),
        }
    }

    /// Its value among settings in JSON; `Null` if it is left out.
    pub fn value<'a>(&self, of: Option<Channel>, settings: &'a Value) -> &'a Value {
        self.path(of)
            .split('.')
            .fold(settings, |at, part| &at[part])
    }

    /// Puts a value in its place; `None` leaves it out.
    pub fn put(
        &self,
        of: Option<Channel>,
        settings: &mut Map<String, Value>,
        value: Option<Value>,
    ) {
        let path = self.path(of);
        let (tables, name) = path.rsplit_once('.').unwrap_or(("", &path));
        let mut place = settings;
        for table in tables.split('.').filter(|table| !table.is_empty()) {
            let inner = place.entry(table).or_insert_with(|| Map::new().into());
            let Value::Object(inner) = inner else {
                return;
            };
            place = inner;
        }
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
            Self::Words => "Message",
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
            Self::TimeZone => {
                "a time zone such as Europe/Berlin, or an offset such as UTC+05:30".to_owned()
            }
            Self::Text(what) => (*what).to_owned(),
            Self::Steps => format!(
                "1 to {MOST_STEPS} steps, each with channel, after_minutes of 1 to {LONGEST_MINUTES} (90 days), not less than in the one \
                 before, and when: always (left out) or if_not_reached; id names a step that is there already"
            ),
            Self::Hours => format!(
                "allowed: windows of days, from and to; by_country: other windows for phone numbers of a country. At most {MOST_WINDOWS} \
                 windows in a list, {MOST_WINDOWS_IN_ALL} in all, {MOST_COUNTRIES} countries"
            ),
            Self::Texts => format!(
                "up to {MOST_LANGUAGES} languages, each with text and, for e-mail, subject and perhaps preheader and html; at most \
                 {LONGEST_TEXT}, {LONGEST_SUBJECT}, {LONGEST_PREHEADER} and {LONGEST_HTML} characters"
            ),
        }
    }
}

/// The setting that a path is of or leads into, and whose: `caps.gap_minutes`, `steps[1].after_minutes`, `channels.sms.templates.en.text`.
pub fn find(path: &str) -> Option<(&'static Setting, Option<Channel>)> {
    let (of, path) = split(path);
    let leads_there = |setting: &&Setting| {
        let rest = path.strip_prefix(setting.name);
        let here = of.map_or(setting.of == Of::Rule, |channel| setting.is_of(channel));
        here && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    SETTINGS
        .iter()
        .find(leads_there)
        .map(|setting| (setting, of))
}

/// A path without the channel that it begins with, and that channel.
pub fn split(path: &str) -> (Option<Channel>, &str) {
    let of_channel = || {
        let rest = path.strip_prefix(CHANNELS)?.strip_prefix('.')?;
        let (channel, rest) = rest.split_once('.').unwrap_or((rest, ""));
        Some((Some(channel.parse().ok()?), rest))
    };
    of_channel().unwrap_or((None, path))
}

/// What a setting is called, or several that are one table in files; with its channel, where each has one.
pub fn label(path: &str) -> Option<String> {
    let (of, rest) = split(path);
    let of_table = || {
        let in_it = |setting: &&Setting| {
            let inner = setting.name.strip_prefix(rest);
            inner.is_some_and(|inner| inner.starts_with('.'))
        };
        let inner = SETTINGS.iter().find(in_it).filter(|_| of.is_none());
        inner.map(|inner| inner.group.heading())
    };
    let name = find(path)
        .map(|(setting, _)| setting.label)
        .or_else(of_table)?;
    Some(match of {
        Some(channel) => format!("{}: {}", channel.names().label, name),
        None => name.to_owned(),
    })
}

/// The names at the top of a rule's settings, where several may share a table: `caps`.
pub fn top_names() -> Vec<&'static str> {
    names(|setting| setting.of == Of::Rule, &[CHANNELS])
}

/// The names of a channel's settings.
pub fn channel_names() -> Vec<&'static str> {
    names(|setting| setting.of != Of::Rule, &[])
}

fn names(belongs: impl Fn(&Setting) -> bool, more: &[&'static str]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for setting in SETTINGS.iter().filter(|setting| belongs(setting)) {
        let top = setting.name.split('.').next().unwrap_or_default();
        if !names.contains(&top) {
            names.push(top);
        }
    }
    names.extend(more);
    names
}
