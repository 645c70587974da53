//! One reminder's story, told to somebody who has a customer on the phone: what happened, when and why, in plain words.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::labels;
use crate::db::reports::{AttemptRow, LoggedDecision, Reminder};
use crate::domain::contact::Suppression;
use crate::domain::decide::{Cause, Reason, Stage, Verdict};
use crate::domain::local_time::clock_time;
use crate::domain::outcome::OutcomeKind;
use crate::domain::reminder::ReminderState;
use crate::domain::zone::Zone;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = StoryLine)]
pub struct StoryEntry {
    pub at: DateTime<Utc>,
    pub what: String,
    /// Why, or what it means.
    pub detail: Option<String>,
    /// A moment that the line speaks of: when it is tried again.
    pub until: Option<DateTime<Utc>>,
    pub mood: StoryTone,
}

/// Whether a line is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Mood)]
pub enum StoryTone {
    Plain,
    Good,
    Bad,
}

/// How a story begins: true when the reminder was scheduled, and true for ever.
const UNREAD: &str =
    "An agent wrote, and the customer had not read the message when the reminder was scheduled";

/// The story of a reminder, oldest line first. In the past tense: what it says stays true.
///
/// `others` are the reminders of the same episode's other steps: what became of those before it belongs to its story.
pub fn story_lines(
    reminder: &Reminder,
    others: &[&Reminder],
    decisions: &[LoggedDecision],
    attempts: &[AttemptRow],
) -> Vec<StoryEntry> {
    let mut lines = vec![
        line(reminder.episode_since, UNREAD.to_owned()),
        StoryEntry {
            until: Some(first_due(reminder, decisions)),
            ..line(
                reminder.created_at,
                format!(
                    "{} was scheduled",
                    capitalised(reminder.channel.names().a_message)
                ),
            )
        },
    ];
    lines.extend(
        others
            .iter()
            .filter_map(|other| came_before(reminder, other)),
    );
    lines.extend(
        decisions
            .iter()
            .filter_map(|decision| decided(reminder, decision)),
    );
    for attempt in attempts {
        tried(reminder, attempt, &mut lines);
    }
    if reminder.state == ReminderState::Delivered {
        let at = reminder.final_at.or(reminder.sent_at);
        lines.extend(at.map(|at| StoryEntry {
            mood: StoryTone::Good,
            ..line(at, "The message was reported as delivered".to_owned())
        }));
    }
    if reminder.state == ReminderState::Undelivered {
        let code = reminder.reason.as_ref().map_or("", Cause::as_str);
        lines.extend(reminder.final_at.map(|at| StoryEntry {
            detail: Some(labels::explain_code(reminder.channel, code)),
            mood: StoryTone::Bad,
            ..line(at, "The message did not arrive".to_owned())
        }));
    }
    for (at, what) in [
        (reminder.clicked_at, "The customer opened the link"),
        (reminder.returned_at, "The customer came back"),
    ] {
        lines.extend(at.map(|at| StoryEntry {
            mood: StoryTone::Good,
            ..line(at, what.to_owned())
        }));
    }
    // Stable: what happened at one moment stays in the order of cause and effect.
    lines.sort_by_key(|line| line.at);
    lines
}

/// What became of an earlier message about the same unread message.
fn came_before(reminder: &Reminder, other: &Reminder) -> Option<StoryEntry> {
    let at = other.sent_at.or(other.final_at)?;
    let is_before = match reminder.sent_at.or(reminder.final_at) {
        Some(own) => at <= own,
        None => true,
    };
    let message = capitalised(other.channel.names().a_message);
    let why = || {
        other.reason.as_ref().map(|reason| match reason {
            Cause::Ours(_) => labels::why(reason),
            Cause::Code(code) => labels::explain_code(other.channel, code),
        })
    };
    let (what, detail, mood) = match other.state {
        ReminderState::Sent | ReminderState::Delivered | ReminderState::Unknown => (
            format!("{message} was sent earlier"),
            None,
            StoryTone::Plain,
        ),
        ReminderState::Undelivered => (
            format!("{message} was sent earlier and did not arrive"),
            why(),
            StoryTone::Bad,
        ),
        ReminderState::Failed | ReminderState::Expired | ReminderState::Cancelled => (
            format!("{message} before it was not sent"),
            why(),
            StoryTone::Plain,
        ),
        ReminderState::Scheduled | ReminderState::Sending => return None,
    };
    is_before.then(|| StoryEntry {
        detail,
        mood,
        ..line(at, what)
    })
}

fn line(at: DateTime<Utc>, what: String) -> StoryEntry {
    StoryEntry {
        at,
        what,
        detail: None,
        until: None,
        mood: StoryTone::Plain,
    }
}

/// `due_at` moves when a person sends it again; the story begins with the moment that was meant at first.
fn first_due(reminder: &Reminder, decisions: &[LoggedDecision]) -> DateTime<Utc> {
    let restarted =
        |d: &&LoggedDecision| d.stage == Stage::Operator && d.verdict == Verdict::Schedule;
    match decisions.iter().find(restarted) {
        Some(again) => reminder.due_at.min(again.at),
        None => reminder.due_at,
    }
}

/// Until when a reminder waits for the rule's hours, by the customer's clock; `None` if it does not.
pub fn waits_until(reminder: &Reminder) -> Option<String> {
    let waits = reminder.state == ReminderState::Scheduled
        && reminder.reason == Some(Cause::Ours(Reason::QuietHours));
    let until = reminder.next_at.filter(|_| waits)?;
    Some(by_its_clock(reminder, until))
}

fn by_its_clock(reminder: &Reminder, at: DateTime<Utc>) -> String {
    let zones = Zone::split(reminder.time_zone.as_deref().unwrap_or_default());
    clock_time(at, &zones)
}

/// A reminder that waits for the rule's hours: until when by whose clock, and why by that one.
fn waits(reminder: &Reminder, decision: &LoggedDecision) -> Option<StoryEntry> {
    let waits =
        decision.verdict == Verdict::Postpone && decision.reason == Cause::Ours(Reason::QuietHours);
    let until = decision.until.filter(|_| waits)?;
    Some(StoryEntry {
        detail: Some(labels::whose_clock(reminder)),
        until: Some(until),
        ..line(
            decision.at,
            format!("Postponed until {}", by_its_clock(reminder, until)),
        )
    })
}

fn decided(reminder: &Reminder, decision: &LoggedDecision) -> Option<StoryEntry> {
    if let Some(line) = waits(reminder, decision) {
        return Some(line);
    }
    let (what, mood) = match (decision.stage, decision.verdict) {
        (Stage::Operator, Verdict::Schedule) => ("Sent again by your team", StoryTone::Plain),
        (Stage::Operator, Verdict::Cancel) => ("Cancelled", StoryTone::Plain),
        (_, Verdict::Send) => (
            "Checked again: still unread, cleared to send",
            StoryTone::Plain,
        ),
        (_, Verdict::Cancel) => ("No reminder was sent", StoryTone::Plain),
        (_, Verdict::Expire) => ("Expired", StoryTone::Bad),
        (_, Verdict::Postpone) => match decision.reason {
            Cause::Ours(Reason::Paused) => ("On hold: sending was paused", StoryTone::Plain),
            Cause::Ours(Reason::Held) => ("On hold, like all sending", StoryTone::Plain),
            _ => ("Postponed", StoryTone::Plain),
        },
        (_, Verdict::Schedule | Verdict::None) => return None,
    };
    Some(StoryEntry {
        // "Cleared to send" says no more than the line itself.
        detail: (decision.verdict != Verdict::Send).then(|| labels::why(&decision.reason)),
        until: decision
            .until
            .filter(|_| decision.verdict == Verdict::Postpone),
        mood,
        ..line(decision.at, what.to_owned())
    })
}

fn tried(reminder: &Reminder, attempt: &AttemptRow, lines: &mut Vec<StoryEntry>) {
    let message = labels::channel(reminder.channel);
    lines.push(line(
        attempt.started_at,
        format!(
            "The {message} was handed to the provider, from {}",
            attempt.sender
        ),
    ));
    let (what, mood) = match attempt.outcome {
        Some(OutcomeKind::Accepted) => ("The provider accepted it", StoryTone::Good),
        Some(OutcomeKind::Refused) => ("The provider refused it", StoryTone::Bad),
        Some(OutcomeKind::NotAccepted) => ("The provider did not accept it yet", StoryTone::Bad),
        Some(OutcomeKind::Unknown) => ("It is not known whether it was sent", StoryTone::Bad),
        None => return,
    };
    let detail = attempt.code.as_deref().filter(|_| mood == StoryTone::Bad);
    lines.push(StoryEntry {
        detail: detail
            .map(|code| format!("{} ({code})", labels::explain_code(reminder.channel, code))),
        mood,
        ..line(
            attempt.ended_at.unwrap_or(attempt.started_at),
            what.to_owned(),
        )
    });
}

/// At the beginning of a line.
fn capitalised(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

/// What is said of one that waits for somebody who must not be written to.
pub fn will_not_be_sent(why: Suppression) -> &'static str {
    match why {
        Suppression::OptedOut => "Will not be sent: opted out",
        Suppression::BadAddress => "Will not be sent: bad address",
        Suppression::Complaint => "Will not be sent: reported as spam",
        Suppression::Blocked => "Will not be sent: blocked",
    }
}

/// A reminder's state in a few words, for lists and headings.
pub fn state_words(state: ReminderState, reason: Option<&Cause>) -> &'static str {
    match state {
        ReminderState::Scheduled => waiting_words(reason),
        ReminderState::Sending => "Being sent",
        ReminderState::Sent => "Sent",
        ReminderState::Delivered => "Delivered",
        ReminderState::Undelivered => "Did not arrive",
        ReminderState::Cancelled => match reason.and_then(Cause::reason) {
            Some(Reason::Read | Reason::Answered | Reason::NewEpisode) => {
                "Not needed: read in time"
            }
            Some(Reason::ByOperator) => "Cancelled by your team",
            Some(Reason::HeldOut) => "Control group",
            Some(Reason::Erased) => "Erased",
            _ => "Not sent",
        },
        ReminderState::Expired => match reason.and_then(Cause::reason) {
            Some(Reason::QuietHours) => "Expired: no allowed hours in time",
            _ => "Expired",
        },
        ReminderState::Failed => "Failed",
        ReminderState::Unknown => "May have been sent",
    }
}

/// The same of one that waits.
fn waiting_words(reason: Option<&Cause>) -> &'static str {
    match reason {
        None | Some(Cause::Ours(Reason::Scheduled)) => "Scheduled",
        Some(Cause::Ours(Reason::QuietHours)) => "Waiting for allowed hours",
        Some(Cause::Ours(Reason::Paused)) => "On hold: paused",
        Some(Cause::Ours(Reason::Held)) => "On hold: all sending",
        Some(Cause::Ours(Reason::NotLive)) => "Will not be sent: not live",
        Some(_) => "Postponed",
    }
}

#[cfg(test)]
mod tests;
