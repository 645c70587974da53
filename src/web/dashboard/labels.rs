//! How pages tell times, channels and the like.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::control;
use crate::domain::ids::{Channel, SkillId};

/// A moment for the template `time.hbs`: relative to now, and absolute with its zone. A script turns the latter into the reader's own
/// zone.
#[derive(Debug, Serialize)]
pub struct Moment {
    iso: String,
    text: String,
    relative: String,
}

pub fn time(at: DateTime<Utc>, now: DateTime<Utc>) -> Moment {
    Moment {
        iso: at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        text: at.format("%Y-%m-%d %H:%M UTC").to_string(),
        relative: relative(at, now),
    }
}

pub fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if at > now {
        format!("in {}", span(at - now))
    } else {
        ago(now - at)
    }
}

pub fn ago(past: TimeDelta) -> String {
    if past < TimeDelta::seconds(5) {
        return "just now".to_owned();
    }
    format!("{} ago", span(past))
}

pub fn span(span: TimeDelta) -> String {
    match span.num_seconds().max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}

pub fn channel(channel: Channel) -> &'static str {
    channel.names().label
}

/// A channel to choose, or to head a column.
#[derive(Debug, Serialize)]
pub struct ChannelChoice {
    word: Channel,
    label: &'static str,
    chosen: bool,
}

pub type ChannelChoices = [ChannelChoice; Channel::ALL.len()];

/// The channels to choose from.
pub fn channels(chosen: Option<Channel>) -> ChannelChoices {
    Channel::ALL.map(|word| ChannelChoice {
        word,
        label: channel(word),
        chosen: chosen == Some(word),
    })
}

/// What tells a conversation's customer from another in a list: nothing that names them. An erased one has nothing left.
pub fn short_id(conversation: &str) -> String {
    if control::reminders::is_erased(conversation) {
        return "erased".to_owned();
    }
    let mut last: Vec<char> = conversation
        .chars()
        .rev()
        .filter(|c| c.is_alphanumeric())
        .take(4)
        .collect();
    last.reverse();
    last.into_iter().collect()
}

/// The same in a heading.
pub fn customer(conversation: &str) -> String {
    if control::reminders::is_erased(conversation) {
        return "an erased customer".to_owned();
    }
    format!("customer {}", short_id(conversation))
}

/// A skill by its name, if one is known.
pub fn skill(name: Option<&str>, id: SkillId) -> String {
    match name {
        Some(name) => name.to_owned(),
        None if id == SkillId::UNASSIGNED => "Unassigned".to_owned(),
        None => format!("Skill {id}"),
    }
}

/// "1 conversation", "2 conversations".
pub fn counted(count: u64, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    }
}

/// `cap_conversation` → `cap conversation`.
pub fn words(word: &str) -> String {
    word.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_both_ways() {
        let at = |minute| DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        assert_eq!(relative(at(0), at(5)), "5 min ago");
        assert_eq!(relative(at(180), at(0)), "in 3 h");
        assert_eq!(relative(at(0), at(0)), "just now");
        assert_eq!(time(at(0), at(5)).text, "1970-01-01 00:00 UTC");
    }
}
