//! How a test went, in plain words.

use super::Sent;
use crate::channel::codes;
use crate::domain::ids::Channel;
use crate::domain::outcome::{Outcome, Refusal, Retryable};

pub(super) fn sent_message(channel: Channel, outcome: &Outcome) -> Sent {
    let provider = channel.provider();
    let (accepted, said, code) = match outcome {
        Outcome::Accepted { .. } => (true, "Sent. Check your inbox or phone.", None),
        Outcome::Refused { class, code } => {
            let said = match class {
                Refusal::BadRecipient => {
                    "The provider says that this address cannot receive messages."
                }
                Refusal::OptedOut => {
                    "This address has opted out of your messages with the provider."
                }
                Refusal::Blocked => "The provider does not allow text messages to this number.",
                Refusal::Policy => {
                    "The provider refused the message because of its content or destination."
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
            "The recipient's side does not accept it: a closed group, a restricted mailbox, or a policy against your sender.",
            Some(code),
        ),
        Outcome::NotAccepted { code, .. } => (
            false,
            "The provider is not accepting it right now. Try again in a minute.",
            Some(code),
        ),
        Outcome::Unknown { code } => (
            false,
            "The connection broke while the message was being sent: it may or may not arrive.",
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
