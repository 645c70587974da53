//! Should this reminder be sent now? The heart of the program.
//!
//! Asked before every try, with a record fetched for it. The order of the questions is the design: what makes a reminder
//! pointless comes before what forbids it, and what forbids it before what only delays it, so that the recorded reason is the
//! one a person would give.

mod answer;
mod reason;
#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};

use super::contact::{Contact, Suppression};
use super::conversation::{Queue, Record};
use super::ids::Channel;
use super::local_time::LocalTime;
use super::reached::{DoneStep, Rung, is_past, rung_of};
use super::read_state::{ReadState, read_state};
use super::rule::{Caps, InQuietHours, Rule, StepId, When};

pub use answer::{Cause, Stage, Verdict};
pub use reason::Reason;

/// The answer to "should this be sent now?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Send(Contact),
    /// Never: what it would remind of is gone, or it is not wanted.
    Cancel(Reason),
    /// Not now; ask again at this moment.
    Postpone(DateTime<Utc>, Reason),
    /// Too late to be of use; the reason says what held it up.
    Expire(Reason),
}

/// Who wants a reminder to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    Rule,
    /// Somebody has asked for it once more: it is sent whatever other steps have done.
    Person,
}

/// Everything that the answer depends on.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The episode the reminder is for: the id of its first message.
    pub episode: &'a str,
    pub step: StepId,
    pub channel: Channel,
    /// The other steps of the episode that have, or had, a reminder.
    pub other_steps: &'a [DoneStep],
    pub asked_by: AskedBy,
    /// Past which moment it is not sent any more: [`LocalTime::deadline`] by what is known now.
    pub deadline: DateTime<Utc>,
    /// By whose clock the rule's hours are read.
    pub local: &'a LocalTime,
    /// The rule that [`pick`](super::rule::pick) gives for the skill the conversation has now, as it stands now.
    pub rule: Option<&'a Rule>,
    /// The conversation, fetched by id just now; `None`: LivePerson does not know it.
    pub record: Option<&'a Record>,
    /// The account counts messages of bots.
    pub count_bots: bool,
    /// How to reach the consumer on the reminder's channel.
    pub contact: Option<Contact>,
    /// Whether, and why, that address must not be written to on this channel.
    pub suppression: Option<Suppression>,
    /// Whether the consumer has said no on any channel since the episode began.
    pub said_no: Option<Suppression>,
    /// A person has paused the rule, its channel, its account or everything.
    pub paused: bool,
    /// Sending is held, because the database may not be the one that sent.
    pub held: bool,
    pub history: &'a History,
    /// The newest click on a link of this episode's reminders, on any channel.
    pub clicked_at: Option<DateTime<Utc>>,
    /// The conversation's lot, 0 to 99, which never changes: those below the rule's hold-out share get no reminder.
    pub holdout_bucket: u8,
    pub now: DateTime<Utc>,
}

/// When *other* reminders were, or may have been, sent: in the last 24 hours, or in the rule's gap if that is longer. Oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// To the consumer, on any channel and about any conversation of the account.
    pub consumer: Vec<Earlier>,
    /// To the same address on the same channel, by any account.
    pub address: Vec<DateTime<Utc>>,
}

/// A message to the consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Earlier {
    pub at: DateTime<Utc>,
    /// About the same conversation.
    pub same_conversation: bool,
    /// It did not arrive.
    pub came_back: bool,
}

/// A partial record is whole again soon, and an update complete.
const AFTER_UNDECIDED: TimeDelta = TimeDelta::seconds(60);
/// How often to look whether a conversation has left the queue.
const AFTER_IN_QUEUE: TimeDelta = TimeDelta::minutes(5);
/// How often to look whether a pause or a hold has ended unheard: ending one wakes what it keeps.
const AFTER_PAUSED: TimeDelta = TimeDelta::minutes(10);
/// The last re-check before the deadline; less is not worth holding.
const SHORTEST_HOLD: TimeDelta = TimeDelta::seconds(30);
const DAY: TimeDelta = TimeDelta::hours(24);

/// Should this reminder be sent now?
pub fn decide(facts: &Facts<'_>) -> Decision {
    use Decision::{Cancel, Expire, Send};
    let now = facts.now;
    if now >= facts.deadline {
        return Expire(Reason::TooLate);
    }
    let Some(rule) = facts.rule else {
        return Cancel(Reason::NoRule);
    };
    if !rule.enabled {
        return Cancel(Reason::RuleOff);
    }
    let Some(place) = rule.settings.place_of(facts.step, facts.channel) else {
        return Cancel(Reason::StepRemoved);
    };
    let step = &rule.settings.steps[place];
    let Some(record) = facts.record else {
        return Cancel(Reason::Gone);
    };
    let episode = match read_state(record, facts.count_bots) {
        ReadState::Read(reason) => return Cancel(reason.into()),
        ReadState::Undecided => return facts.postpone(now + AFTER_UNDECIDED, Reason::Undecided),
        ReadState::Unread(episode) if episode.first_message != facts.episode => {
            return Cancel(Reason::NewEpisode);
        }
        ReadState::Unread(episode) => episode,
    };
    // As the schedule asks it: an answer that differs would have the step scheduled and cancelled in turns.
    let is_past = is_past(&rule.settings, place, &episode, facts.other_steps);
    let Some(episode) = rule.concerns(facts.channel, &episode) else {
        return Cancel(Reason::BeforeLive);
    };
    let settings = &rule.settings;
    if record.queue == Queue::Waiting && !settings.remind_in_queue {
        return facts.postpone(now + AFTER_IN_QUEUE, Reason::InQueue);
    }
    let Some(contact) = &facts.contact else {
        return Cancel(Reason::NoAddress);
    };
    if let Some(suppression) = facts.suppression.or(facts.said_no) {
        return Cancel(suppression.into());
    }
    if settings.newer.holds() {
        // A process of the version that stored the rule may be the next to ask.
        return facts.postpone(now + AFTER_UNDECIDED, Reason::NewerRule);
    }
    if rule.live[facts.channel].is_none() {
        return Cancel(Reason::NotLive);
    }
    let was_sent = |done: &DoneStep| done.sent.is_some();
    let by_person = facts.asked_by == AskedBy::Person;
    if is_past && !by_person {
        return Cancel(Reason::Superseded);
    }
    match rung_of(settings, place, facts.other_steps, now) {
        _ if by_person => {}
        Rung::Free { .. } => {}
        Rung::Reached => return Cancel(Reason::Reached),
        Rung::Open { until } => {
            let until = until.filter(|until| *until > now);
            let until = until.unwrap_or(now + AFTER_UNDECIDED);
            return facts.postpone(until, Reason::AwaitingReport);
        }
    }
    if let Some(reason) = facts.kept_back() {
        // Held to the end: it may be over at any moment.
        let hold = ((facts.deadline - now) / 2).clamp(SHORTEST_HOLD, AFTER_PAUSED);
        return facts.postpone(now + hold, reason);
    }
    let quiet_agent = episode.last_at + settings.debounce;
    if quiet_agent > now {
        return facts.postpone(quiet_agent, Reason::Debounce);
    }
    // Who followed the link is about to read: LivePerson says so before the time is over, and the next look will see it.
    let clicked_until = facts.clicked_at.map(|at| at + settings.debounce);
    if let Some(until) = clicked_until.filter(|until| *until > now) {
        return facts.postpone(until, Reason::Clicked);
    }
    let own = &settings.channels[facts.channel];
    let limits = Limits {
        caps: settings.caps,
        per_address_24h: own.per_address_24h,
        when: step.when,
    };
    if let Some((free, reason)) = limits.full_until(facts.history, now) {
        return facts.postpone(free, reason);
    }
    match facts.local.hours(own).allowed_at(now) {
        // Last, so that who is held out and who is written to differ in nothing else.
        // Who was reminded of it before is none of them.
        Some(at)
            if at <= now
                && facts.holdout_bucket < settings.holdout_percent
                && !facts.other_steps.iter().any(was_sent) =>
        {
            Cancel(Reason::HeldOut)
        }
        Some(at) if at <= now => Send(contact.clone()),
        _ if settings.in_quiet_hours == InQuietHours::Drop => Cancel(Reason::QuietHours),
        Some(at) => facts.postpone(at, Reason::QuietHours),
        None => Expire(Reason::QuietHours),
    }
}

impl Facts<'_> {
    /// What a person must end.
    fn kept_back(&self) -> Option<Reason> {
        if self.held {
            Some(Reason::Held)
        } else {
            self.paused.then_some(Reason::Paused)
        }
    }

    /// Waiting until the deadline is waiting in vain.
    fn postpone(&self, until: DateTime<Utc>, reason: Reason) -> Decision {
        if until < self.deadline {
            Decision::Postpone(until, reason)
        } else {
            Decision::Expire(reason)
        }
    }
}

/// What limits a step's reminders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub caps: Caps,
    pub per_address_24h: u32,
    pub when: When,
}

impl Limits {
    /// Until when, and why, they forbid another reminder; `None` if they allow it now.
    pub fn full_until(
        &self,
        history: &History,
        now: DateTime<Utc>,
    ) -> Option<(DateTime<Utc>, Reason)> {
        let Caps {
            gap,
            per_conversation_24h,
            per_consumer_24h,
        } = self.caps;
        // Who was not reached may be written to at once, by the step that is there for that.
        let is_apart = |sent: &&Earlier| !(sent.came_back && self.when == When::IfNotReached);
        let last = history
            .consumer
            .iter()
            .filter(is_apart)
            .map(|sent| sent.at)
            .max();
        let arrived = history.consumer.iter().filter(|sent| !sent.came_back);
        let to_consumer: Vec<_> = arrived.clone().map(|sent| sent.at).collect();
        let in_conversation: Vec<_> = arrived
            .filter(|sent| sent.same_conversation)
            .map(|sent| sent.at)
            .collect();
        [
            (last.map(|sent| sent + gap), Reason::Gap),
            (
                full_until(&in_conversation, per_conversation_24h, now),
                Reason::CapConversation,
            ),
            (
                full_until(&to_consumer, per_consumer_24h, now),
                Reason::CapConsumer,
            ),
            (
                full_until(&history.address, self.per_address_24h, now),
                Reason::CapAddress,
            ),
        ]
        .into_iter()
        .find_map(|(until, reason)| Some((until.filter(|u| *u > now)?, reason)))
    }
}

/// When the oldest of the last `most` messages is a day old; a cap of nothing is full for ever.
fn full_until(sent: &[DateTime<Utc>], most: u32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if most == 0 {
        return Some(DateTime::<Utc>::MAX_UTC);
    }
    let oldest = sent.len().checked_sub(usize::try_from(most).ok()?)?;
    Some(sent[oldest] + DAY).filter(|until| *until > now)
}
