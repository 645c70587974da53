//! What a provider did with an attempt, and what follows from it.

use std::time::Duration;

/// The four outcomes of handing a reminder to a provider, as far as they can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it.
    Accepted { provider_id: Option<String> },
    /// The provider will never take this message to this recipient.
    Refused { class: Refusal, code: String },
    /// Certainly not sent; may be tried again.
    NotAccepted {
        class: Obstacle,
        code: String,
        retry_after: Option<Duration>,
    },
    /// It may have been sent: the answer was lost.
    Unknown { code: String },
}

/// Why a provider refuses for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The address does not exist or cannot receive: suppress it.
    BadRecipient,
    /// The recipient has opted out at the provider (21610): suppress it.
    OptedOut,
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
pub enum Obstacle {
    /// A passing fault: network, 4xx in SMTP, 429, busy.
    Transient,
    /// Greylisting and the like: the next try makes sense only after a minute.
    Slow,
    /// Mailbox full, phone switched off: at most one more try.
    RecipientSoft,
    /// *We* are misconfigured (credentials, sender, TLS, content): opens a circuit, costs no attempt.
    Config,
    /// The provider's quota is used up: opens a circuit for longer.
    Quota,
}
