//! How a test went, in plain words.

use super::Sent;
use crate::channel::codes;
use crate::domain::ids::Channel;
use crate::domain::outcome::{Outcome, Refusal, Retryable};

pub(super) fn sent_message(channel: Channel, outcome: &Outcome) -> Sent {
    let provider = channel.provider();
    let (accepted, said, code) = match outcome {
        Outcome::Accepted { .. } => (true, "It is on its way. Look whether it arrives.", None),
        Outcome::Refused { class, code } => {
            let said = match class {
                Refusal::BadRecipient => {
                    "The provider says that this address cannot receive messages."
                }
                Refusal::OptedOut => {
                    "This address has told the provider that it wants no messages from you."
                }
                Refusal::Blocked => {
                    "The provider knows this number as one that must not be texted."
                }
                Refusal::Policy => {
                    "The provider refused the message because of what it says or where it goes."
                }
                _ => "The provider refused the message.",
            };
            (false, said, Some(code))
        }
        Outcome::NotAccepted {
            class: Retryable::Config | Retryable::Quota,
            code,
            ..
        } => {
            let diagnosis = codes::explain(provider, code);
            let said = diagnosis.to_string();
            return Sent {
                accepted: false,
                needs_code: false,
                said,
                code: Some(code.clone()),
            };
        }
        Outcome::NotAccepted {
            class: Retryable::RecipientPolicy,
            code,
            ..
        } => (
            false,
            "The recipient's side does not take it: a closed group, a restricted mailbox, or a policy against your sender.",
            Some(code),
        ),
        Outcome::NotAccepted { code, .. } => (
            false,
            "The provider did not take it at the moment. Try again in a minute.",
            Some(code),
        ),
        Outcome::Unknown { code } => (
            false,
            "The connection broke while the message was handed over: it may or may not arrive.",
            Some(code),
        ),
    };
    Sent {
        accepted,
        needs_code: false,
        said: said.to_owned(),
        code: code.cloned(),
    }
}
