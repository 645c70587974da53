//! A rule in plain words, for the person who writes it: what happens to whom and when, and nothing about how.
//!
//! Every setting of the table is heard in it as soon as it is not the channel's default and has an effect; a test goes over the table.

use std::fmt::Write as _;

use chrono::{NaiveTime, TimeDelta, Weekday};

use super::{RuleSettings, Step, When};
use crate::domain::ids::Channel;
use crate::domain::quiet::Window;
use crate::domain::rule::InQuietHours;

/// Sentences that say what a rule does. `place` is where it applies: "Customer care".
pub fn summary(place: &str, enabled: bool, settings: &RuleSettings) -> Vec<String> {
    if !enabled {
        let off = format!("Off: customers in {place} get no reminders.");
        return vec![off];
    }
    let mut said = vec![sequence(place, settings)];
    if settings.used().count() > 1 {
        said.push("Never two messages at once. Before each one, we check that the agent's message is still unread.".to_owned());
    }
    said.push(format!(
        "At most {} per conversation and {} per customer per day, at least {} apart.",
        settings.caps.per_conversation_24h,
        settings.caps.per_consumer_24h,
        span(settings.caps.gap)
    ));
    if settings.debounce != RuleSettings::default_for(&[]).debounce {
        said.push(pause(settings.debounce));
    }
    if settings.remind_in_queue {
        said.push("Also while the conversation is waiting for an agent.".to_owned());
    }
    if settings.holdout_percent > 0 {
        said.push(format!(
            "{}% of conversations get no reminders, as a control group to measure results.",
            settings.holdout_percent
        ));
    }
    let several = settings.used().count() > 1;
    for channel in settings.used() {
        let of_channel = of_channel(channel, settings);
        said.extend(of_channel.into_iter().map(|sentence| {
            if several {
                format!("{}: {}", channel.names().label, lower_first(&sentence))
            } else {
                sentence
            }
        }));
    }
    said
}

/// A sentence that goes on behind a colon.
fn lower_first(sentence: &str) -> String {
    let mut letters = sentence.chars();
    let first = letters.next().map(char::to_lowercase);
    first.into_iter().flatten().chain(letters).collect()
}

/// What is of one channel.
fn of_channel(channel: Channel, settings: &RuleSettings) -> Vec<String> {
    let own = &settings.channels[channel];
    let mut said = vec![
        hours(channel, settings),
        lateness(channel, settings),
        format!("At most {} per address per day.", own.per_address_24h),
    ];
    if own.resend_unknown {
        said.push("If the mail server's answer is lost, the e-mail is sent again.".to_owned());
    }
    if let Some(sender) = &own.sender {
        said.push(format!("Sent from {sender}."));
    }
    said.push(if own.templates.is_empty() {
        "With the standard text.".to_owned()
    } else {
        let languages: Vec<&str> = own.templates.keys().map(String::as_str).collect();
        format!("With your own text in {}.", listed(&languages))
    });
    said
}

fn sequence(place: &str, settings: &RuleSettings) -> String {
    let mut said = format!("When an agent's message in {place} stays unread, the customer gets");
    let mut before: Option<&Step> = None;
    for step in &settings.steps {
        let (message, after) = (step.channel.names().a_message, span(step.after));
        let _ = match (before, step.when) {
            (None, _) => write!(said, " {message} after {after}"),
            (Some(before), When::IfNotReached) if before.after == step.after => {
                write!(said, ", or {message} if that does not reach them")
            }
            (Some(_), When::IfNotReached) => {
                write!(
                    said,
                    ", or {message} after {after} if that does not reach them"
                )
            }
            (Some(before), When::Always) if before.channel == step.channel => {
                write!(
                    said,
                    "; if it is still unread, another {} after {after}",
                    step.channel.names().message
                )
            }
            (Some(_), When::Always) => {
                write!(said, "; if it is still unread, {message} after {after}")
            }
        };
        before = Some(step);
    }
    said + "."
}

/// How long the agent must have been quiet.
fn pause(debounce: TimeDelta) -> String {
    if debounce.is_zero() {
        return "Also while the agent may still be typing.".to_owned();
    }
    format!(
        "Not before the agent has been quiet for {}.",
        span(debounce)
    )
}

fn hours(channel: Channel, settings: &RuleSettings) -> String {
    let quiet = &settings.channels[channel].quiet_hours;
    if quiet.allowed.is_empty() && quiet.by_country.is_empty() {
        return "At any hour.".to_owned();
    }
    let mut said = format!("Only {}", hours_said(&quiet.allowed));
    if channel.profile().tells_country {
        for (country, allowed) in &quiet.by_country {
            let _ = write!(said, "; to {country} numbers only {}", hours_said(allowed));
        }
    }
    said += ", in the customer's own time zone";
    said += if channel.profile().tells_country {
        " (if LivePerson does not know it, that of the phone number, or else "
    } else {
        " (if LivePerson does not know it, "
    };
    let _ = match settings.time_zone {
        Some(zone) => write!(said, "{zone})."),
        None => write!(said, "the account's)."),
    };
    said += match settings.in_quiet_hours {
        InQuietHours::Move => " Outside these hours, reminders wait until they open again.",
        InQuietHours::Drop => " Outside these hours, reminders are not sent.",
    };
    said
}

fn lateness(channel: Channel, settings: &RuleSettings) -> String {
    let own = &settings.channels[channel];
    let (max_age, latest) = (own.max_age, settings.latest(channel));
    let max_age_said = span(max_age);
    if !own.quiet_hours.is_any() || settings.in_quiet_hours == InQuietHours::Drop {
        let late = span(max_age.min(latest));
        return format!("Not sent if more than {late} late.");
    }
    format!(
        "Not sent if more than {max_age_said} late. Time outside these hours does not count, but nothing is sent more than {} after it \
         was due.",
        span(latest)
    )
}

/// When sending is allowed: "between 09:00 and 20:00", "on Mon to Fri between 09:00 and 20:00 and on Sat between 10:00 and 14:00".
pub fn hours_said(windows: &[Window]) -> String {
    if windows.is_empty() {
        return "at any hour".to_owned();
    }
    let one = |window: &Window| {
        let clock = |time: NaiveTime| time.format("%H:%M").to_string();
        let end = if window.to == NaiveTime::MIN {
            "24:00".to_owned()
        } else {
            clock(window.to)
        };
        let span = format!("between {} and {end}", clock(window.from));
        if window.days.is_empty() || window.days.len() == 7 {
            span
        } else {
            format!("on {} {span}", days(&window.days))
        }
    };
    let all: Vec<String> = windows.iter().map(one).collect();
    listed(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Days of the week, runs of three or more as "Mon to Fri".
fn days(days: &[Weekday]) -> String {
    let mut numbers: Vec<u32> = days.iter().map(Weekday::num_days_from_monday).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let runs = numbers.chunk_by(|a, b| a + 1 == *b);
    let name = |n: &u32| {
        Weekday::try_from(u8::try_from(*n).unwrap_or_default())
            .map_or(String::new(), |day| day.to_string())
    };
    let said: Vec<String> = runs
        .flat_map(|run| match run {
            [first, .., last] if run.len() > 2 => {
                vec![format!("{} to {}", name(first), name(last))]
            }
            few => few.iter().map(name).collect(),
        })
        .collect();
    listed(&said.iter().map(String::as_str).collect::<Vec<_>>())
}

/// "a", "a and b", "a, b and c".
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// A span of whole minutes: "10 minutes", "1 hour 30 minutes", "24 hours", "3 days".
pub fn span(span: TimeDelta) -> String {
    let minutes = span.num_minutes();
    let count = |n: i64, one: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    };
    match (minutes / 60, minutes % 60) {
        (0, minutes) => count(minutes, "minute"),
        (hours, 0) if hours >= 48 && hours % 24 == 0 => count(hours / 24, "day"),
        (hours, 0) => count(hours, "hour"),
        (hours, minutes) => format!("{} {}", count(hours, "hour"), count(minutes, "minute")),
    }
}

#[cfg(test)]
mod tests {
    use Weekday::{Fri, Mon, Sat, Sun, Thu, Tue, Wed};

    use super::*;

    #[test]
    fn the_defaults_read_as_a_person_would_say_them() {
        let sms = RuleSettings::default_for(&[Channel::Sms]);
        assert_eq!(
            summary("Customer care", true, &sms),
            [
                "When an agent's message in Customer care stays unread, the customer gets a text message after 10 minutes; if it is still \
                 unread, another text message after 24 hours.",
                "At most 2 per conversation and 3 per customer per day, at least 2 hours apart.",
                "Only between 09:00 and 20:00; to US numbers only on Mon to Sat between 09:00 and 20:00 and on Sun between 12:00 and \
                 20:00, in the customer's own time zone (if LivePerson does not know it, that of the phone number, or else the \
                 account's). Outside these hours, reminders wait until they open again.",
                "Not sent if more than 1 hour late. Time outside these hours does not count, but nothing is sent more than 17 hours after \
                 it was due.",
                "At most 2 per address per day.",
                "With the standard text.",
            ]
        );
        let both = RuleSettings::default_for(&[Channel::Email, Channel::Sms]);
        let said = summary("Orders", true, &both);
        assert_eq!(
            said[..2],
            [
                "When an agent's message in Orders stays unread, the customer gets an e-mail after 10 minutes, or a text message if that \
                 does not reach them; if it is still unread, an e-mail after 24 hours, or a text message if that does not reach them.",
                "Never two messages at once. Before each one, we check that the agent's message is still unread.",
            ]
        );
        assert!(
            said.contains(&"E-mail: at any hour.".to_owned()),
            "{said:?}"
        );
        assert_eq!(
            summary("Orders", false, &both),
            ["Off: customers in Orders get no reminders."]
        );
    }

    type Change = fn(&mut RuleSettings);

    #[test]
    fn what_is_not_the_default_is_said() {
        let said = |change: Change| {
            let mut settings = RuleSettings::default_for(&[Channel::Email]);
            change(&mut settings);
            summary("Orders", true, &settings)
        };
        let cases: [(Change, &str); 5] = [
            (
                |s| s.debounce = TimeDelta::minutes(5),
                "Not before the agent has been quiet for 5 minutes.",
            ),
            (
                |s| s.debounce = TimeDelta::zero(),
                "Also while the agent may still be typing.",
            ),
            (
                |s| s.holdout_percent = 10,
                "10% of conversations get no reminders, as a control group to measure results.",
            ),
            (
                |s| s.remind_in_queue = true,
                "Also while the conversation is waiting for an agent.",
            ),
            (
                |s| s.channels[Channel::Email].resend_unknown = true,
                "If the mail server's answer is lost, the e-mail is sent again.",
            ),
        ];
        let usual = said(|_| ());
        for (change, sentence) in cases {
            assert!(!usual.contains(&sentence.to_owned()), "{usual:?}");
            let said = said(change);
            assert!(said.contains(&sentence.to_owned()), "{said:?}");
        }
    }

    #[test]
    fn spans_and_days_are_said_shortly() {
        for (minutes, said) in [
            (1, "1 minute"),
            (10, "10 minutes"),
            (60, "1 hour"),
            (90, "1 hour 30 minutes"),
            (1440, "24 hours"),
            (4320, "3 days"),
        ] {
            assert_eq!(span(TimeDelta::minutes(minutes)), said);
        }
        assert_eq!(days(&[Fri, Mon, Tue, Wed, Thu]), "Mon to Fri");
        assert_eq!(days(&[Sat, Sun]), "Sat and Sun");
        assert_eq!(days(&[Mon, Wed, Fri, Sat, Sun]), "Mon, Wed and Fri to Sun");
    }
}
