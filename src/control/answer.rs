//! Why somebody was reminded, or was not: one sentence for whoever has the customer on the phone. Pure: what is known goes in.

use chrono::{DateTime, Utc};

use super::labels;
use super::story::waits_until;
use crate::db::consumers::Conversation;
use crate::db::reports::{LoggedDecision, Reminder};
use crate::domain::contact::Suppression;
use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::Channel;
use crate::domain::read_state::ReadStatus;
use crate::domain::reminder::ReminderState;

/// The word for somebody of whom nothing is known; the other words are those of decisions and of reminders' states.
pub const NEVER_SEEN: &str = "never_seen";
/// The word for a channel that is not set up.
pub const CHANNEL_OFF: &str = "channel_off";

/// What the sentence is about.
#[derive(Clone, Copy, Debug)]
pub enum HeadlineEvent<'a> {
    /// There is, or was, a reminder.
    Reminder(&'a Reminder),
    /// There never was one; this was decided instead.
    Decided(Reason, DateTime<Utc>),
    Nothing,
}

/// Everything that the sentence depends on.
#[derive(Clone, Copy, Debug)]
pub struct HeadlineFacts<'a> {
    pub event: HeadlineEvent<'a>,
    /// `None`: nothing tells one.
    pub channel: Option<Channel>,
    pub skill: Option<&'a str>,
    /// What forbids to write to the address now, and since when.
    pub suppression: Option<(Suppression, DateTime<Utc>)>,
    /// What keeps a reminder that waits from going at its moment: [`is_obstacle`](crate::domain::obstacles::is_obstacle).
    pub obstacle: Option<Reason>,
    /// The channel has settings.
    pub set_up: bool,
}

/// The sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headline {
    pub text: String,
    /// A reminder's state, a decision's reason, [`NEVER_SEEN`] or [`CHANNEL_OFF`].
    pub reason: String,
    /// When that was, or will be.
    pub when: Option<DateTime<Utc>>,
}

pub fn headline(known: &HeadlineFacts<'_>) -> Headline {
    match known.event {
        HeadlineEvent::Reminder(reminder) => of_reminder(known, reminder),
        HeadlineEvent::Decided(reason, at) => of_decision(known, reason, at),
        HeadlineEvent::Nothing => of_nothing(known),
    }
}

fn said(text: String, reason: impl Into<String>, when: Option<DateTime<Utc>>) -> Headline {
    Headline {
        text,
        reason: reason.into(),
        when,
    }
}

fn of_nothing(known: &HeadlineFacts<'_>) -> Headline {
    match known.suppression {
        Some((suppression, since)) => said(
            format!(
                "No reminder goes to this address: {}. It appears in no conversation.",
                forbids(suppression)
            ),
            suppression.as_str(),
            Some(since),
        ),
        None => said(
            "Never seen: there is no conversation with this customer.".to_owned(),
            NEVER_SEEN,
            None,
        ),
    }
}

fn of_decision(known: &HeadlineFacts<'_>, reason: Reason, at: DateTime<Utc>) -> Headline {
    let by = by(known);
    if reason == Reason::Scheduled {
        let text = format!("A reminder{by} is scheduled.");
        return said(text, reason.as_str(), Some(at));
    }
    if reason == Reason::NoRule && !known.set_up {
        let text = format!("No reminder was sent{by}: that channel is not set up here.");
        return said(text, CHANNEL_OFF, Some(at));
    }
    let besides = known
        .suppression
        .filter(|(why, _)| Reason::from(*why) != reason);
    let besides = besides.map(|(why, _)| format!(" Besides, {}.", forbids(why)));
    let text = format!(
        "No reminder was sent{by}: {}.{}",
        clause(reason, known),
        besides.unwrap_or_default()
    );
    said(text, reason.as_str(), Some(at))
}

fn of_reminder(known: &HeadlineFacts<'_>, reminder: &Reminder) -> Headline {
    let by = by(known);
    let code = reminder.reason.as_ref().map_or("", Cause::as_str);
    let trouble = || labels::explain_code(reminder.channel, code);
    let text = match reminder.state {
        ReminderState::Scheduled => return of_waiting(known, reminder),
        ReminderState::Sending => format!("A reminder{by} is being sent right now."),
        ReminderState::Sent | ReminderState::Delivered => {
            let delivered = if reminder.state == ReminderState::Delivered {
                ", and it was delivered"
            } else {
                ""
            };
            let back = reminder
                .returned_at
                .map_or("", |_| ". The customer came back");
            format!("A reminder was sent{by}{delivered}{back}.")
        }
        ReminderState::Undelivered => {
            format!("A reminder was sent{by} and did not arrive. {}", trouble())
        }
        ReminderState::Unknown => format!("A reminder may have been sent{by}. {}", trouble()),
        ReminderState::Failed => format!("No reminder was sent{by}. {}", trouble()),
        ReminderState::Cancelled | ReminderState::Expired => {
            let reason = reminder.reason.as_ref().and_then(Cause::reason);
            let reason = reason.unwrap_or(Reason::TooLate);
            let text = format!("No reminder was sent{by}: {}.", clause(reason, known));
            return said(text, reason.as_str(), reminder.final_at);
        }
    };
    let when = reminder.sent_at.or(reminder.final_at);
    said(text, reminder.state.as_str(), when)
}

/// A reminder whose moment is still to come.
fn of_waiting(known: &HeadlineFacts<'_>, reminder: &Reminder) -> Headline {
    let by = by(known);
    let when = reminder.next_at;
    if let Some((suppression, _)) = known.suppression {
        let why = forbids(suppression);
        let text = format!("The reminder{by} that is scheduled will not be sent: {why}.");
        return said(text, suppression.as_str(), when);
    }
    if let Some(obstacle) = known.obstacle {
        let text = match obstacle {
            Reason::NotLive => format!(
                "The reminder{by} that is scheduled will not be sent: the channel is no longer live."
            ),
            Reason::Held => format!(
                "The reminder{by} is on hold, like all others: this may not be the database that sends. Your server administrator needs \
                 to decide."
            ),
            _ => format!("The reminder{by} is on hold: your team has paused reminders."),
        };
        return said(text, obstacle.as_str(), when);
    }
    match reminder.reason.as_ref().and_then(Cause::reason) {
        None | Some(Reason::Scheduled | Reason::Due) => {
            let text = format!("A reminder{by} is scheduled.");
            said(text, Reason::Scheduled.as_str(), when)
        }
        Some(reason) => {
            let why = match waits_until(reminder) {
                Some(until) => format!("It waits for the allowed hours, until {until}."),
                None => labels::because(reason).to_owned(),
            };
            let text = format!("A reminder{by} is postponed. {why}");
            said(text, reason.as_str(), when)
        }
    }
}

/// " by e-mail"
fn by(known: &HeadlineFacts<'_>) -> String {
    known.channel.map_or(String::new(), |channel| {
        format!(" by {}", labels::channel(channel))
    })
}

/// What forbids to write to an address now, to stand after a colon.
fn forbids(suppression: Suppression) -> &'static str {
    match suppression {
        Suppression::OptedOut => "the customer has opted out",
        Suppression::BadAddress => "the address does not work",
        Suppression::Complaint => "the customer has reported a message as spam",
        Suppression::Blocked => "the address is blocked",
    }
}

/// Why none was sent, to stand after a colon. In the past tense: it stays true.
fn clause(reason: Reason, known: &HeadlineFacts<'_>) -> String {
    let said = match reason {
        Reason::Scheduled => "it was not due yet",
        Reason::Due => "it was cleared to send but had not been sent",
        Reason::NoAgentMessage => {
            "no agent had written, so there was nothing to remind the customer about"
        }
        Reason::Read => "the customer had read the message",
        Reason::Answered => "the customer had answered",
        Reason::Closed => "the conversation had been closed",
        Reason::Gone => "the conversation no longer existed at LivePerson",
        Reason::NewEpisode => "the customer had come back, and the agent wrote again after that",
        Reason::NoRule => {
            return format!(
                "there was no rule for {}",
                known.skill.unwrap_or("the skill")
            );
        }
        Reason::RuleOff => "the rule was off",
        Reason::NotLive => "the channel had not gone live",
        Reason::BeforeLive => "the message was from before the channel went live",
        Reason::NewerRule => "the rule was saved by a newer version of unread",
        Reason::AllStepsDone => "every step of the rule had been sent or was not needed",
        Reason::StepRemoved => "the rule was changed and no longer had this step",
        Reason::Superseded => "another message was going out first",
        Reason::Reached => "an earlier message reached the customer",
        Reason::AwaitingReport => {
            "it was not known in time whether an earlier message reached the customer"
        }
        Reason::NotConfigured => "the channel was not set up on this installation",
        Reason::InQueue => "the conversation was waiting for an agent",
        Reason::Debounce => "the agent went on writing until it was too late",
        Reason::Clicked => "the customer had just opened the link of an earlier reminder",
        Reason::NoAddress => known
            .channel
            .map_or("no usable address was known", |c| c.names().none_known),
        Reason::OptedOut => "the customer had opted out",
        Reason::BadAddress => "the address had turned out not to work",
        Reason::Complaint => "the customer had reported a message as spam",
        Reason::Blocked => "your team had blocked the address",
        Reason::Gap => "the last reminder to the customer was too recent",
        Reason::CapConversation => "the conversation had reached the rule's daily limit",
        Reason::CapConsumer => "the customer had reached the rule's daily limit",
        Reason::CapAddress => "the address had reached the rule's daily limit",
        Reason::QuietHours => "it expired before the allowed hours began where the customer is",
        Reason::TooLate => "it expired: too late to be useful",
        Reason::Undecided => {
            "LivePerson's record was incomplete, so we could not tell whether the message was unread"
        }
        Reason::Unchecked => {
            "LivePerson did not answer, so we could not check whether the message was still unread"
        }
        Reason::Paused => "your team had paused reminders until it was too late",
        Reason::Held => {
            "all sending was on hold until it was too late, because this might not have been the database that sends"
        }
        Reason::CircuitOpen => "the sender had a problem until it was too late",
        Reason::RateLimit => "the provider's limit held it back until it was too late",
        Reason::Retry => "the provider did not accept the message in time",
        Reason::HeldOut => "the conversation was in the control group, which gets no reminders",
        Reason::ByOperator => "your team cancelled it",
        Reason::Erased => "the customer's data was erased",
    };
    said.to_owned()
}

/// Of everything that is known of somebody, what the question is about: the conversation with something unread, else the newest.
pub fn conversation_of(conversations: &[Conversation]) -> Option<&Conversation> {
    let is_unread = |c: &Conversation| c.open && c.read_state == ReadStatus::Unread;
    conversations
        .iter()
        .max_by_key(|c| (is_unread(c), c.started_at))
}

/// What became of a conversation: its present or last episode's reminder that reached the customer, is on its way, or came last; else
/// what was decided. `channel` is that of the address that was asked for; `decisions` are the conversation's, newest first.
pub fn event<'a>(
    channel: Option<Channel>,
    conversation: Option<&Conversation>,
    reminders: &'a [Reminder],
    decisions: &[LoggedDecision],
) -> (HeadlineEvent<'a>, Option<Channel>) {
    if let Some(reminder) = reminder_of(channel, conversation, reminders) {
        return (HeadlineEvent::Reminder(reminder), Some(reminder.channel));
    }
    let now = conversation.and_then(|c| reason_of(c, channel));
    let said = |d: &&LoggedDecision| d.reminder.is_none();
    let newest = decisions.iter().find(said);
    let reason = now.or_else(|| newest.and_then(|d| reason_in(d, channel)));
    let seen_at = conversation.map(|c| c.seen_at);
    let same = |d: &&LoggedDecision| said(d) && reason_in(d, channel) == reason;
    let at = decisions.iter().find(same).map(|d| d.at).or(seen_at);
    if let (Some(reason), Some(at)) = (reason, at) {
        let of_step = conversation.and_then(|c| c.channel);
        // The rule's steps go over other channels: that there is no address is said of those.
        let passed = channel
            .is_some_and(|channel| conversation.is_some_and(|c| c.passed_over[channel].is_some()));
        let asked = channel.filter(|_| reason != Reason::NoAddress || passed);
        return (HeadlineEvent::Decided(reason, at), asked.or(of_step));
    }
    match conversation {
        // Neither rule nor address.
        Some(c) => (HeadlineEvent::Decided(unexplained(c), c.seen_at), channel),
        None => (HeadlineEvent::Nothing, channel),
    }
}

fn unexplained(conversation: &Conversation) -> Reason {
    if conversation.open {
        Reason::NoRule
    } else {
        Reason::Gone
    }
}

/// Why there is, or is not, a reminder now: of the channel that was asked for, if its steps are passed over.
fn reason_of(conversation: &Conversation, channel: Option<Channel>) -> Option<Reason> {
    let passed = channel.and_then(|channel| conversation.passed_over[channel].as_ref());
    passed.or(conversation.reason.as_ref())?.reason()
}

/// The same as a scan once decided it.
fn reason_in(decision: &LoggedDecision, channel: Option<Channel>) -> Option<Reason> {
    let passed = channel.and_then(|channel| decision.passed_over[channel].as_ref());
    passed.unwrap_or(&decision.reason).reason()
}

fn reminder_of<'a>(
    channel: Option<Channel>,
    conversation: Option<&Conversation>,
    reminders: &'a [Reminder],
) -> Option<&'a Reminder> {
    let last = reminders.iter().map(|r| r.episode_since).max()?;
    let unread_since = conversation.and_then(|c| c.unread_since);
    if unread_since.is_some_and(|since| since > last) {
        // The unread message is another one.
        return None;
    }
    let episode = || reminders.iter().filter(|r| r.episode_since == last);
    let reached = |r: &&Reminder| {
        matches!(
            r.state,
            ReminderState::Sent
                | ReminderState::Delivered
                | ReminderState::Undelivered
                | ReminderState::Unknown
        )
    };
    let newest = |r: &&'a Reminder| (r.sent_at, r.step, r.id);
    if let Some(reached) = episode().filter(reached).max_by_key(newest) {
        return Some(reached);
    }
    let under_way =
        |r: &&Reminder| matches!(r.state, ReminderState::Scheduled | ReminderState::Sending);
    let asked = |r: &&Reminder| channel.is_none_or(|c| r.channel == c);
    let of_channel = || episode().filter(asked);
    of_channel()
        .filter(under_way)
        .max_by_key(newest)
        .or_else(|| of_channel().max_by_key(newest))
        .or_else(|| episode().filter(under_way).max_by_key(newest))
}

#[cfg(test)]
mod tests;
