//! One reminder's story, told to somebody who has a customer on the phone: what happened, when and why, in plain words.

use chrono::{DateTime, Utc};

use super::words;
use crate::db::pages::{Attempt, Decision, Reminder};
use crate::domain::decide::Reason;
use crate::domain::zone::{Zone, clock_time};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: DateTime<Utc>,
    pub what: String,
    /// Why, or what it means.
    pub detail: Option<String>,
    /// A moment that the line speaks of: when it is tried again.
    pub until: Option<DateTime<Utc>>,
    pub mood: Mood,
}

/// Whether a line is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Plain,
    Good,
    Bad,
}

impl Mood {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }
}

/// The story of a reminder, oldest line first.
pub fn tell(reminder: &Reminder, decisions: &[Decision], attempts: &[Attempt]) -> Vec<Line> {
    let mut lines = vec![
        line(
            reminder.episode_since,
            "An agent wrote, and the customer has not read it since".to_owned(),
        ),
        Line {
            until: Some(first_due(reminder, decisions)),
            ..line(
                reminder.created_at,
                format!(
                    "{} {} was scheduled",
                    nth(reminder.step),
                    words::channel(&reminder.channel)
                ),
            )
        },
    ];
    lines.extend(
        decisions
            .iter()
            .filter_map(|decision| decided(reminder, decision)),
    );
    for attempt in attempts {
        tried(reminder, attempt, &mut lines);
    }
    if reminder.state == "delivered" {
        let at = reminder.final_at.or(reminder.sent_at);
        lines.extend(at.map(|at| Line {
            mood: Mood::Good,
            ..line(at, "The message was reported as delivered".to_owned())
        }));
    }
    if reminder.state == "undelivered" {
        let code = reminder.reason.as_deref().unwrap_or_default();
        lines.extend(reminder.final_at.map(|at| Line {
            detail: Some(words::trouble(&reminder.channel, code)),
            mood: Mood::Bad,
            ..line(at, "The message did not arrive".to_owned())
        }));
    }
    for (at, what) in [
        (reminder.clicked_at, "The customer followed the link"),
        (reminder.returned_at, "The customer came back"),
    ] {
        lines.extend(at.map(|at| Line {
            mood: Mood::Good,
            ..line(at, what.to_owned())
        }));
    }
    // Stable: what happened at one moment stays in the order of cause and effect.
    lines.sort_by_key(|line| line.at);
    lines
}

fn line(at: DateTime<Utc>, what: String) -> Line {
    Line {
        at,
        what,
        detail: None,
        until: None,
        mood: Mood::Plain,
    }
}

/// `due_at` moves when a person sends it again; the story begins with the moment that was meant at first.
fn first_due(reminder: &Reminder, decisions: &[Decision]) -> DateTime<Utc> {
    let restarted = |d: &&Decision| d.stage == "operator" && d.verdict == "schedule";
    match decisions.iter().find(restarted) {
        Some(again) => reminder.due_at.min(again.at),
        None => reminder.due_at,
    }
}

/// Until when a reminder waits for the rule's hours, by the customer's clock; `None` if it does not.
pub fn waits_until(reminder: &Reminder) -> Option<String> {
    let waits = reminder.state == "scheduled" && reminder.reason.as_deref() == Some("quiet_hours");
    let until = reminder.next_at.filter(|_| waits)?;
    Some(by_its_clock(reminder, until))
}

fn by_its_clock(reminder: &Reminder, at: DateTime<Utc>) -> String {
    let zones = Zone::split(reminder.time_zone.as_deref().unwrap_or_default());
    clock_time(at, &zones)
}

/// A reminder that waits for the rule's hours: until when by whose clock, and why by that one.
fn waits(reminder: &Reminder, decision: &Decision) -> Option<Line> {
    let waits = decision.verdict == "postpone" && decision.reason == Reason::QuietHours.as_str();
    let until = decision.until.filter(|_| waits)?;
    Some(Line {
        detail: Some(words::whose_clock(reminder)),
        until: Some(until),
        ..line(
            decision.at,
            format!("It waits until {}", by_its_clock(reminder, until)),
        )
    })
}

fn decided(reminder: &Reminder, decision: &Decision) -> Option<Line> {
    if let Some(line) = waits(reminder, decision) {
        return Some(line);
    }
    let (what, mood) = match (decision.stage.as_str(), decision.verdict.as_str()) {
        ("operator", "schedule") => ("Somebody of your team had it sent again", Mood::Plain),
        ("operator", "cancel") => ("It was cancelled", Mood::Plain),
        (_, "send") => (
            "It was checked once more, and still unread: it may go",
            Mood::Plain,
        ),
        (_, "cancel") => ("No reminder was sent", Mood::Plain),
        (_, "expire") => ("It was given up", Mood::Bad),
        (_, "postpone") => ("It was put off", Mood::Plain),
        _ => return None,
    };
    Some(Line {
        // "Nothing stood in the way" says no more than the line itself.
        detail: (decision.verdict != "send").then(|| words::why(&decision.reason)),
        until: decision.until.filter(|_| decision.verdict == "postpone"),
        mood,
        ..line(decision.at, what.to_owned())
    })
}

fn tried(reminder: &Reminder, attempt: &Attempt, lines: &mut Vec<Line>) {
    let message = words::channel(&reminder.channel);
    lines.push(line(
        attempt.started_at,
        format!("The {message} was handed over, from {}", attempt.sender),
    ));
    let (what, mood) = match attempt.outcome.as_deref() {
        Some("accepted") => ("The provider took it", Mood::Good),
        Some("refused") => ("The provider refused it", Mood::Bad),
        Some("not_accepted") => ("The provider did not take it yet", Mood::Bad),
        Some(_) => ("Nobody can say whether it was sent", Mood::Bad),
        None => return,
    };
    let detail = attempt.code.as_deref().filter(|_| mood == Mood::Bad);
    lines.push(Line {
        detail: detail.map(|code| format!("{} ({code})", words::trouble(&reminder.channel, code))),
        mood,
        ..line(
            attempt.ended_at.unwrap_or(attempt.started_at),
            what.to_owned(),
        )
    });
}

fn nth(step: i16) -> String {
    match step {
        1 => "The first".to_owned(),
        2 => "The second".to_owned(),
        3 => "The third".to_owned(),
        n => format!("The {n}th"),
    }
}

/// A reminder's state in a few words, for lists and headings.
pub fn state_words(state: &str, reason: Option<&str>) -> &'static str {
    match (state, reason.unwrap_or_default()) {
        ("scheduled", "" | "scheduled") => "Waiting for its moment",
        ("scheduled", "quiet_hours") => "Waiting for the rule's hours",
        ("scheduled", _) => "Put off",
        ("sending", _) => "Being sent",
        ("sent", _) => "Sent",
        ("delivered", _) => "Delivered",
        ("undelivered", _) => "Did not arrive",
        ("cancelled", "read" | "answered" | "new_episode") => "Not needed: read in time",
        ("cancelled", "by_operator") => "Cancelled by your team",
        ("cancelled", "held_out") => "Held out",
        ("cancelled", "erased") => "Erased",
        ("cancelled", _) => "Not sent",
        ("expired", "quiet_hours") => "Not sent: no allowed hour in time",
        ("expired", _) => "Too late",
        ("failed", _) => "Failed",
        _ => "Perhaps sent",
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn reminder(state: &str) -> Reminder {
        Reminder {
            id: 7,
            account: "12345678".to_owned(),
            conversation: "c".to_owned(),
            skill: 1,
            skill_name: None,
            channel: "email".to_owned(),
            step: 1,
            state: state.to_owned(),
            reason: None,
            episode_since: at(0),
            due_at: at(10),
            deadline: at(370),
            time_zone: None,
            zone_source: None,
            sent_at: None,
            next_at: None,
            final_at: None,
            returned_at: None,
            clicked_at: None,
            created_at: at(1),
        }
    }

    fn decision(minute: i64, verdict: &str, reason: &str) -> Decision {
        Decision {
            id: 1,
            reminder: Some(7),
            at: at(minute),
            account: "12345678".to_owned(),
            conversation: "c".to_owned(),
            channel: "email".to_owned(),
            stage: "deliver".to_owned(),
            verdict: verdict.to_owned(),
            reason: reason.to_owned(),
            until: Some(at(minute + 5)),
        }
    }

    #[test]
    fn a_story_reads_from_the_agent_s_message_to_the_customer_s_return() {
        let mut sent = reminder("sent");
        sent.returned_at = Some(at(40));
        let decisions = [
            decision(10, "postpone", "unchecked"),
            decision(15, "send", "due"),
        ];
        let attempt = |number, minute, outcome: &str, code: Option<&str>| Attempt {
            reminder: 7,
            number,
            sender: "hello@shop.example".to_owned(),
            started_at: at(minute),
            ended_at: Some(at(minute)),
            outcome: Some(outcome.to_owned()),
            code: code.map(str::to_owned),
        };
        let attempts = [
            attempt(1, 15, "not_accepted", Some("rcpt 451")),
            attempt(2, 20, "accepted", None),
        ];
        let story = tell(&sent, &decisions, &attempts);
        let told: Vec<String> = story
            .iter()
            .map(|l| format!("{} {}", (l.at - at(0)).num_minutes(), l.what))
            .collect();
        assert_eq!(
            told,
            [
                "0 An agent wrote, and the customer has not read it since",
                "1 The first e-mail was scheduled",
                "10 It was put off",
                "15 It was checked once more, and still unread: it may go",
                "15 The e-mail was handed over, from hello@shop.example",
                "15 The provider did not take it yet",
                "20 The e-mail was handed over, from hello@shop.example",
                "20 The provider took it",
                "40 The customer came back",
            ]
        );
        assert_eq!(story[2].until, Some(at(15)));
        assert_eq!(
            story[5].detail.as_deref(),
            Some("The mail server asks to try again later. (rcpt 451)")
        );
    }

    #[test]
    fn no_story_speaks_in_the_ledger_s_words() {
        for state in crate::domain::reminder::ReminderState::ALL {
            let mut it = reminder(state.as_str());
            it.final_at = Some(at(20));
            for reason in crate::domain::decide::Reason::ALL {
                for verdict in ["send", "cancel", "postpone", "expire", "schedule"] {
                    for line in tell(&it, &[decision(12, verdict, reason.as_str())], &[]) {
                        let text = format!("{} {}", line.what, line.detail.unwrap_or_default());
                        assert!(!text.contains('_'), "{text}");
                    }
                }
                assert!(!state_words(state.as_str(), Some(reason.as_str())).contains('_'));
            }
        }
    }

    #[test]
    fn a_wait_for_the_rule_s_hours_is_told_by_the_clock_it_is_for() {
        let mut waiting = reminder("scheduled");
        waiting.channel = "sms".to_owned();
        waiting.reason = Some("quiet_hours".to_owned());
        waiting.next_at = Some(at(15));
        // 00:15 on Thursday, 1 January 1970, in UTC. Zones, what tells them, until when, and why.
        let zones = [
            (
                "America/New_York",
                "liveperson",
                "19:15 on Wed, America/New_York time",
                "as LivePerson tells it",
            ),
            (
                "UTC+05:30",
                "liveperson",
                "05:45 on Thu, UTC+05:30 time",
                "as LivePerson tells it",
            ),
            (
                "Pacific/Honolulu",
                "number",
                "14:15 on Wed, Pacific/Honolulu time",
                "phone number",
            ),
            (
                "America/New_York America/Chicago",
                "number",
                "18:15 on Wed, America/Chicago time",
                "all of them must allow",
            ),
            (
                "Europe/Berlin",
                "rule",
                "01:15 on Thu, Europe/Berlin time",
                "the number belongs to no place",
            ),
            (
                "Asia/Tokyo",
                "account",
                "09:15 on Thu, Asia/Tokyo time",
                "the number belongs to no place",
            ),
        ];
        for (time_zone, source, until, why) in zones {
            waiting.time_zone = Some(time_zone.to_owned());
            waiting.zone_source = Some(source.to_owned());
            assert_eq!(waits_until(&waiting).as_deref(), Some(until));
            let story = tell(&waiting, &[decision(10, "postpone", "quiet_hours")], &[]);
            let line = story.last().unwrap();
            assert_eq!(line.what, format!("It waits until {until}"));
            let detail = line.detail.as_deref().unwrap_or_default();
            assert!(detail.contains(why), "{detail}");
        }
        // Of before, or of a program that does not know zones.
        waiting.time_zone = None;
        waiting.zone_source = None;
        assert_eq!(waits_until(&waiting).as_deref(), Some("00:15 on Thu, UTC"));
        waiting.reason = Some("gap".to_owned());
        assert_eq!(waits_until(&waiting), None);
        assert_eq!(
            state_words("scheduled", Some("quiet_hours")),
            "Waiting for the rule's hours"
        );
    }
}
