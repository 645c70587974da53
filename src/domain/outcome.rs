//! What a provider did with an attempt, and what follows from it.
//!
//! A reminder is worth something for minutes, so its deadline ends the tries, not their number alone. What was certainly not
//! sent is tried again; what may have been sent is not. Our own misconfiguration costs a reminder no try: it pauses the sender.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::channel::UnknownPolicy;
use super::contact::Suppression;
use super::ids::Channel;

/// The four outcomes of handing a reminder to a provider, as far as they can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider accepted it.
    Accepted { provider_id: Option<String> },
    /// The provider will never take this message to this recipient.
    Refused { class: Refusal, code: String },
    /// Certainly not sent; may be tried again.
    NotAccepted {
        class: Retryable,
        code: String,
        retry_after: Option<Duration>,
    },
    /// It may have been sent: the answer was lost.
    Unknown { code: String },
}

/// An outcome without what the provider said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    Accepted,
    Refused,
    NotAccepted,
    Unknown,
}

impl OutcomeKind {
    pub const ALL: [Self; 4] = [
        Self::Accepted,
        Self::Refused,
        Self::NotAccepted,
        Self::Unknown,
    ];

    /// The word in SQL, metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::NotAccepted => "not_accepted",
            Self::Unknown => "unknown",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Why a provider refuses for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The address does not exist or cannot receive: suppress it.
    BadRecipient,
    /// The recipient has opted out at the provider: suppress it.
    OptedOut,
    /// The provider knows this recipient as one whom nobody may text (a known litigant): suppress it for good, whatever its owner
    /// says by text.
    Blocked,
    /// This sender cannot reach this recipient; another might.
    SenderRecipientPair,
    /// Policy or spam rules: not again, but not the recipient's fault.
    Policy,
    /// The provider let the message expire.
    Expired,
    /// Anything else that is final for this message.
    Other,
}

/// Why an attempt got nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retryable {
    /// A passing fault: network, 4xx in SMTP, 429, busy.
    Transient,
    /// Greylisting and the like: the next try makes sense only after a minute.
    Slow,
    /// The provider asks all of us to slow down (429 and its like in SMTP): the shared limit is held.
    Throttled,
    /// Mailbox full, phone switched off: at most one more try.
    RecipientSoft,
    /// A policy of the recipient's side refuses us: a closed group, a mailbox for insiders. It is this recipient's matter, and counts
    /// tries, until a different recipient meets it too; then it is about us.
    RecipientPolicy,
    /// *We* are misconfigured (credentials, sender, TLS, content): opens a circuit, costs no attempt.
    Config,
    /// The provider's quota is used up: opens a circuit for longer.
    Quota,
    /// Not handed over after all: what the attempt was based on had grown old, or was no longer so. Decided anew, and costs no try.
    NotTried,
}

impl Outcome {
    /// An attempt that was begun and not made, to be decided anew after `wait`.
    pub fn not_tried(code: &str, wait: Duration) -> Self {
        Self::NotAccepted {
            class: Retryable::NotTried,
            code: code.to_owned(),
            retry_after: Some(wait),
        }
    }

    /// Which of the four it is.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Self::Accepted { .. } => OutcomeKind::Accepted,
            Self::Refused { .. } => OutcomeKind::Refused,
            Self::NotAccepted { .. } => OutcomeKind::NotAccepted,
            Self::Unknown { .. } => OutcomeKind::Unknown,
        }
    }

    /// The word in SQL and metrics.
    pub fn as_str(&self) -> &'static str {
        self.kind().as_str()
    }

    /// What the provider, or the phase in which it failed, said; empty for an accepted message.
    pub fn code(&self) -> &str {
        match self {
            Self::Accepted { .. } => "",
            Self::Refused { code, .. }
            | Self::NotAccepted { code, .. }
            | Self::Unknown { code } => code,
        }
    }

    /// For how long the provider wants to be left alone by everybody, if the outcome says so.
    pub fn throttled(&self) -> Option<Duration> {
        match self {
            Self::NotAccepted {
                class: Retryable::Throttled,
                retry_after,
                ..
            } => Some(
                retry_after
                    .unwrap_or(THROTTLED)
                    .clamp(THROTTLED, LONGEST_HOLD),
            ),
            _ => None,
        }
    }

    /// Why the address must not be written to any more, if the outcome says so.
    pub fn suppression(&self) -> Option<Suppression> {
        match self {
            Self::Refused { class, .. } => match class {
                Refusal::BadRecipient => Some(Suppression::BadAddress),
                Refusal::OptedOut => Some(Suppression::OptedOut),
                Refusal::Blocked => Some(Suppression::Blocked),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The code of an attempt that was not made because the rule's text cannot be read or filled in.
pub const UNWRITTEN: &str = "template";

/// One finished attempt and what the retry policy needs to know beside its outcome.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    pub channel: Channel,
    pub outcome: &'a Outcome,
    /// Earlier attempts of this reminder that count: all but those with the obstacle `Config`, `Quota` or `NotTried`.
    pub earlier: u32,
    /// One of them met [`Retryable::RecipientSoft`].
    pub soft_before: bool,
    /// One of them may have been sent and was not settled since.
    pub maybe_sent_before: bool,
    /// The rule's `resend_unknown`.
    pub resend_unknown: bool,
    /// The reminder's.
    pub deadline: DateTime<Utc>,
    pub now: DateTime<Utc>,
    /// From 0 to 1, drawn by the caller: spreads the tries of reminders that failed together.
    pub jitter: f64,
}

/// What becomes of the reminder after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterAttempt {
    Sent {
        provider_id: Option<String>,
    },
    /// Certainly not sent: scheduled again.
    Retry {
        at: DateTime<Utc>,
    },
    /// The fault is ours or the provider's quota: open the circuit of this sender until then. The attempt does not count, and the
    /// reminder waits as long as its deadline lets it.
    OpenCircuit {
        until: DateTime<Utc>,
    },
    /// It may have been sent: ask the provider then.
    Settle {
        at: DateTime<Utc>,
    },
    Expired,
    Failed {
        code: String,
    },
    /// It may have been sent, and nobody can say.
    Unknown,
    /// Cancelled: the provider knows that the recipient opted out, or must not be written to.
    OptedOut,
}

/// The waits between tries. With the first try there are at most eight.
const WAITS: [Duration; 7] = [
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(2),
    Duration::from_mins(5),
    Duration::from_mins(10),
    Duration::from_mins(10),
];
/// Greylisting wants a minute, and so do others who may meet the same policy.
const SLOW: Duration = Duration::from_mins(1);
/// "Slow down" without a word for how long.
const THROTTLED: Duration = Duration::from_secs(10);
/// However long a provider asks all of us to wait; it can ask again.
const LONGEST_HOLD: Duration = Duration::from_mins(15);
/// A full mailbox, or a phone that is switched off, is not another one after ten seconds.
const SOFT: Duration = Duration::from_mins(5);
/// A try closer to the deadline than this would reach the recipient past it.
const LAST_CALL: TimeDelta = TimeDelta::seconds(30);
/// Twilio's list shows a message a little after it was made, and its answer may still come.
const SETTLE: TimeDelta = TimeDelta::seconds(90);
/// How often an open circuit lets one message probe.
const PROBE: Duration = Duration::from_mins(1);
const QUOTA_PROBE: Duration = Duration::from_hours(1);
/// However long a provider asks us to wait.
const LONGEST_WAIT: Duration = Duration::from_hours(7 * 24);

/// The retry policy.
pub fn next_state(attempt: &Attempt<'_>) -> AfterAttempt {
    match attempt.outcome {
        Outcome::Accepted { provider_id } => AfterAttempt::Sent {
            provider_id: provider_id.clone(),
        },
        Outcome::Refused { class, code } => match class {
            Refusal::OptedOut | Refusal::Blocked => AfterAttempt::OptedOut,
            Refusal::Expired => attempt.ends_as(AfterAttempt::Expired),
            _ => attempt.fails(code),
        },
        Outcome::NotAccepted {
            class,
            code,
            retry_after,
        } => {
            let asked = retry_after.unwrap_or_default();
            match class {
                Retryable::Transient => attempt.retry(asked, code),
                Retryable::Slow | Retryable::RecipientPolicy => {
                    attempt.retry(asked.max(SLOW), code)
                }
                Retryable::Throttled => attempt.retry(asked.max(THROTTLED), code),
                Retryable::RecipientSoft if attempt.soft_before => attempt.fails(code),
                Retryable::RecipientSoft => attempt.retry(asked.max(SOFT), code),
                Retryable::Config => attempt.hold(asked.max(PROBE)),
                Retryable::Quota => attempt.hold(asked.max(QUOTA_PROBE)),
                Retryable::NotTried => attempt.decide_anew(asked),
            }
        }
        Outcome::Unknown { code } => match attempt.channel.profile().unknown {
            UnknownPolicy::Settled => AfterAttempt::Settle {
                at: attempt.now + SETTLE,
            },
            UnknownPolicy::Final if attempt.resend_unknown && !attempt.maybe_sent_before => {
                match attempt.retry(Duration::ZERO, code) {
                    retry @ AfterAttempt::Retry { .. } => retry,
                    _ => AfterAttempt::Unknown,
                }
            }
            UnknownPolicy::Final => AfterAttempt::Unknown,
        },
    }
}

impl Attempt<'_> {
    /// The next try after the usual wait, and not before `at_least`; or the end, if there are no tries or no time left.
    fn retry(&self, at_least: Duration, code: &str) -> AfterAttempt {
        let Some(wait) = usize::try_from(self.earlier)
            .ok()
            .and_then(|n| WAITS.get(n))
        else {
            return self.fails(code);
        };
        let spread = wait.mul_f64(0.8 + 0.4 * self.jitter.clamp(0.0, 1.0));
        let at = self.now + bounded(spread.max(at_least));
        if at > self.deadline - LAST_CALL {
            return self.ends_as(AfterAttempt::Expired);
        }
        AfterAttempt::Retry { at }
    }

    /// The decision will say what becomes of it, also close to the deadline and past it.
    fn decide_anew(&self, wait: Duration) -> AfterAttempt {
        let at = self.now + bounded(wait);
        AfterAttempt::Retry {
            at: at.min(self.deadline.max(self.now)),
        }
    }

    fn hold(&self, wait: Duration) -> AfterAttempt {
        AfterAttempt::OpenCircuit {
            until: self.now + bounded(wait),
        }
    }

    fn fails(&self, code: &str) -> AfterAttempt {
        self.ends_as(AfterAttempt::Failed {
            code: code.to_owned(),
        })
    }

    /// "Failed" and "expired" say that nothing was sent. Where an earlier attempt may have been, they would be a lie.
    fn ends_as(&self, end: AfterAttempt) -> AfterAttempt {
        if self.maybe_sent_before {
            AfterAttempt::Unknown
        } else {
            end
        }
    }
}

fn bounded(wait: Duration) -> TimeDelta {
    TimeDelta::from_std(wait.min(LONGEST_WAIT)).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests;
