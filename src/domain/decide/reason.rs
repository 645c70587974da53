//! The reasons of decisions: one closed vocabulary for the decision log, metrics, logs, pages and the API.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::domain::contact::Suppression;
use crate::domain::read_state::ReadReason;

/// The closed set of reasons in the decision log, in metrics and on pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A reminder is scheduled for its due moment.
    Scheduled,
    /// Nothing stood in the way.
    Due,
    /// No agent has written yet.
    NoAgentMessage,
    /// The consumer has read the message.
    Read,
    /// The consumer has answered.
    Answered,
    /// The conversation is closed.
    Closed,
    /// LivePerson does not know the conversation any more.
    Gone,
    /// The consumer has read or answered, and the agent wrote anew: another episode.
    NewEpisode,
    /// No rule for the skill.
    NoRule,
    /// The rule, or the skill's scan, is switched off.
    RuleOff,
    /// The channel has not gone live in this account.
    NotLive,
    /// All of what is unread is from before the channel went live: it counts as read.
    BeforeLive,
    /// The rule was stored by a newer version of the program, with a setting that this one does not understand.
    NewerRule,
    /// Every step of the rule has had its reminder, or did not need one.
    AllStepsDone,
    /// The rule's sequence has this step no more.
    StepRemoved,
    /// Another step goes first; this one may come back after it.
    Superseded,
    /// An earlier step has reached the consumer, and this one is only for those who were not reached.
    Reached,
    /// Whether an earlier step has reached the consumer is not known yet.
    AwaitingReport,
    /// The step's channel is not configured.
    NotConfigured,
    /// The conversation waits for an agent: the brand owes the answer.
    InQueue,
    /// The agent may still be typing.
    Debounce,
    /// The consumer has just followed a link of this episode, which counts as seen until LivePerson has had time to say so.
    Clicked,
    /// No usable address for this channel.
    NoAddress,
    /// The consumer asked not to be written to.
    OptedOut,
    /// The address does not work.
    BadAddress,
    /// A complaint (spam report) was made for the address.
    Complaint,
    /// Blocked by an operator.
    Blocked,
    /// The minimum gap since the last reminder to the consumer.
    Gap,
    /// The most reminders per conversation and day.
    CapConversation,
    /// The most reminders per consumer and day.
    CapConsumer,
    /// The most reminders per address and day.
    CapAddress,
    /// Quiet hours at the recipient's.
    QuietHours,
    /// Past its deadline.
    TooLate,
    /// The record at LivePerson is partial: nothing can be decided from it.
    Undecided,
    /// Read state could not be checked at LivePerson.
    Unchecked,
    /// A person has paused sending.
    Paused,
    /// All sending is held until a person decides: the database may not be the one that sent.
    Held,
    /// The provider's circuit is open.
    CircuitOpen,
    /// The provider's limit: its turn comes later.
    RateLimit,
    /// The provider did not accept the attempt.
    Retry,
    /// The conversation is in the share that gets no reminder, so that the effect of reminders can be measured.
    HeldOut,
    /// Cancelled by a person.
    ByOperator,
    /// The consumer was erased.
    Erased,
}

impl Reason {
    pub const ALL: [Self; 43] = [
        Self::Scheduled,
        Self::Due,
        Self::NoAgentMessage,
        Self::Read,
        Self::Answered,
        Self::Closed,
        Self::Gone,
        Self::NewEpisode,
        Self::NoRule,
        Self::RuleOff,
        Self::NotLive,
        Self::BeforeLive,
        Self::NewerRule,
        Self::AllStepsDone,
        Self::StepRemoved,
        Self::Superseded,
        Self::Reached,
        Self::AwaitingReport,
        Self::NotConfigured,
        Self::InQueue,
        Self::Debounce,
        Self::Clicked,
        Self::NoAddress,
        Self::OptedOut,
        Self::BadAddress,
        Self::Complaint,
        Self::Blocked,
        Self::Gap,
        Self::CapConversation,
        Self::CapConsumer,
        Self::CapAddress,
        Self::QuietHours,
        Self::TooLate,
        Self::Undecided,
        Self::Unchecked,
        Self::Paused,
        Self::Held,
        Self::CircuitOpen,
        Self::RateLimit,
        Self::Retry,
        Self::HeldOut,
        Self::ByOperator,
        Self::Erased,
    ];

    /// The word in SQL, metrics, logs and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Due => "due",
            Self::NoAgentMessage => "no_agent_message",
            Self::Read => "read",
            Self::Answered => "answered",
            Self::Closed => "closed",
            Self::Gone => "gone",
            Self::NewEpisode => "new_episode",
            Self::NoRule => "no_rule",
            Self::RuleOff => "rule_off",
            Self::NotLive => "not_live",
            Self::BeforeLive => "before_live",
            Self::NewerRule => "newer_rule",
            Self::AllStepsDone => "all_steps_done",
            Self::StepRemoved => "step_removed",
            Self::Superseded => "superseded",
            Self::Reached => "reached",
            Self::AwaitingReport => "awaiting_report",
            Self::NotConfigured => "not_configured",
            Self::InQueue => "in_queue",
            Self::Debounce => "debounce",
            Self::Clicked => "clicked",
            Self::NoAddress => "no_address",
            Self::OptedOut => "opted_out",
            Self::BadAddress => "bad_address",
            Self::Complaint => "complaint",
            Self::Blocked => "blocked",
            Self::Gap => "gap",
            Self::CapConversation => "cap_conversation",
            Self::CapConsumer => "cap_consumer",
            Self::CapAddress => "cap_address",
            Self::QuietHours => "quiet_hours",
            Self::TooLate => "too_late",
            Self::Undecided => "undecided",
            Self::Unchecked => "unchecked",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::CircuitOpen => "circuit_open",
            Self::RateLimit => "rate_limit",
            Self::Retry => "retry",
            Self::HeldOut => "held_out",
            Self::ByOperator => "by_operator",
            Self::Erased => "erased",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == word)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl From<ReadReason> for Reason {
    fn from(reason: ReadReason) -> Self {
        match reason {
            ReadReason::Closed => Self::Closed,
            ReadReason::NoAgentMessage => Self::NoAgentMessage,
            ReadReason::Answered => Self::Answered,
            ReadReason::Receipt => Self::Read,
        }
    }
}

impl From<Suppression> for Reason {
    fn from(suppression: Suppression) -> Self {
        match suppression {
            Suppression::OptedOut => Self::OptedOut,
            Suppression::BadAddress => Self::BadAddress,
            Suppression::Complaint => Self::Complaint,
            Suppression::Blocked => Self::Blocked,
        }
    }
}
