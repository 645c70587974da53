//! Why an address is on a provider's list, as mail servers' replies tell it.

use crate::channel::smtp::{Reply, SmtpPhase, StepFault, classify};
use crate::domain::contact::Suppression;
use crate::domain::outcome::{Outcome, Refusal, Retryable};

/// Why a row suppresses nobody, although it was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// An ordinary message, a subscriber, a person who has not said no.
    NotAnOptOut,
    /// A failure that passes: a full mailbox, a server that was away.
    Temporary,
    /// A refusal of the sender or of the content, or without a reason, which says nothing of the mailbox.
    AboutTheSender,
    /// The address is empty, or a placeholder such as "N/A".
    NoAddress,
    /// It was in force until a moment that has passed.
    Expired,
}

impl Skip {
    pub const ALL: [Self; 5] = [
        Self::NotAnOptOut,
        Self::Temporary,
        Self::AboutTheSender,
        Self::NoAddress,
        Self::Expired,
    ];

    /// The word in the API and the audit trail.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAnOptOut => "not_an_opt_out",
            Self::Temporary => "temporary_failure",
            Self::AboutTheSender => "about_the_sender",
            Self::NoAddress => "no_address",
            Self::Expired => "expired",
        }
    }

    /// For people, after a number: "12 …".
    pub fn label(self) -> &'static str {
        match self {
            Self::NotAnOptOut => "that are not opt-outs",
            Self::Temporary => "about temporary failures",
            Self::AboutTheSender => {
                "refused because of the sender or the content, or without a reason"
            }
            Self::NoAddress => "without an address",
            Self::Expired => "no longer in force",
        }
    }
}

/// What a list says of an address.
pub type ListedReason = Result<Suppression, Skip>;

/// What a reason in somebody's own words says, if it is a mail server's reply or sounds like one.
pub fn of_text(text: &str) -> Option<ListedReason> {
    let text_lower = text.to_lowercase();
    let names_a_fault = NO_MAILBOX.iter().any(|phrase| text_lower.contains(phrase));
    (basic_code(text).is_some() || names_a_fault).then(|| of_reply("", text))
}

/// By what a text without a code is known as a mail server's, or a provider's word about a mailbox.
const NO_MAILBOX: &[&str] = &[
    "user unknown",
    "unknown user",
    "no such user",
    "unknown recipient",
    "recipient unknown",
    "mailbox unavailable",
    "mailbox not found",
    "mailbox disabled",
    "does not exist",
    "doesn't exist",
    "invalid recipient",
    "invalid mailbox",
    "account disabled",
    "account is disabled",
    "address rejected: undeliverable",
    "no mailbox",
    "domain mentioned in email address is unknown",
    "domain not found",
    "rfc compliant",
];

/// Providers' own words, which no mail server says.
const BAD_TO_THE_PROVIDER: &[&str] = &[
    "previously bounced",
    "address not rfc compliant",
    "address is not rfc compliant",
    "unable to route",
];

/// What passes.
const PASSING: &[&str] = &[
    "timed out",
    "timeout",
    "try again",
    "temporar",
    "greylist",
    "connection refused",
];

/// A list of bounces has what mail servers answered: a status (`5.1.1`) or a code (`550`), and their text. It is judged like an answer
/// to ourselves, so that no list silences an address that sending would not silence. A bare code says nothing: lists of what was
/// blocked have the same columns as lists of what bounced.
pub fn of_reply(status: &str, text: &str) -> ListedReason {
    let reply = reply(status, text);
    if reply.class() == 4 {
        return Err(Skip::Temporary);
    }
    // The domain has no way to it (RFC 3463, X.4.4): what sending learns from the name service, and providers report as a status.
    let has_no_route = reply.subject() == (4, 4);
    match classify(SmtpPhase::Rcpt, &StepFault::Reply(reply)) {
        Outcome::Refused {
            class: Refusal::BadRecipient,
            ..
        } => Ok(Suppression::BadAddress),
        Outcome::Refused {
            class: Refusal::Other,
            ..
        } if has_no_route => Ok(Suppression::BadAddress),
        Outcome::Refused {
            class: Refusal::Other,
            ..
        } => of_provider(text),
        Outcome::NotAccepted {
            class: Retryable::Transient | Retryable::Slow | Retryable::RecipientSoft,
            ..
        } => Err(Skip::Temporary),
        _ => Err(Skip::AboutTheSender),
    }
}

/// What a provider says where no mail server said anything.
fn of_provider(text: &str) -> ListedReason {
    let text_lower = text.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text_lower.contains(phrase));
    if basic_code(text).is_none() && says(BAD_TO_THE_PROVIDER) {
        Ok(Suppression::BadAddress)
    } else if says(PASSING) {
        Err(Skip::Temporary)
    } else {
        Err(Skip::AboutTheSender)
    }
}

/// Whether it is empty, or a basic code.
pub fn says_nothing(text: &str) -> bool {
    let text = text.trim();
    text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit())
}

/// What the server had said. The text's own codes are the server's; the status beside it is the provider's, and often a general one.
fn reply(status: &str, text: &str) -> Reply {
    let status = status.trim();
    let code = basic_code(text).or_else(|| basic_code(status));
    let code = code.unwrap_or_else(|| {
        let class = [text, status].map(|from| class_of(from.trim_start()));
        if class.into_iter().flatten().next() == Some('4') {
            450
        } else {
            550
        }
    });
    let body: Vec<&str> = bare(text).lines().map(without_basic_code).collect();
    let body = body.join("\n");
    let reply = Reply::new(code, &body);
    // X.0.0 says no more than the code.
    let says_more = |reply: &Reply| reply.enhanced.is_some() && reply.subject() != (0, 0);
    let with_status = Reply::new(code, &format!("{} {body}", without_basic_code(status)));
    if !says_more(&reply) && says_more(&with_status) {
        with_status
    } else {
        reply
    }
}

/// Delivery reports have the protocol before a reply (RFC 3464, 2.3.6): `smtp; 550 …`.
fn bare(text: &str) -> &str {
    let text = text.trim();
    match text.split_at_checked(5) {
        Some((head, rest)) if head.eq_ignore_ascii_case("smtp;") => rest.trim_start(),
        _ => text,
    }
}

/// The three digits that a reply of refusal begins with.
fn basic_code(text: &str) -> Option<u16> {
    let (digits, rest) = bare(text).split_at_checked(3)?;
    let is_code = digits.starts_with(['4', '5']) && digits.bytes().all(|b| b.is_ascii_digit());
    let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | ','));
    digits.parse().ok().filter(|_| is_code && ends)
}

fn without_basic_code(line: &str) -> &str {
    let line = bare(line);
    match basic_code(line) {
        Some(_) => line[3..].trim_start_matches(['-', ' ', ':', '\t']),
        None => line,
    }
}

/// The class of an enhanced code that stands first.
fn class_of(text: &str) -> Option<char> {
    let mut chars = text.trim_start_matches(['#', '(', '[']).chars();
    let class = chars.next().filter(|class| matches!(class, '4' | '5'));
    class.filter(|_| chars.next() == Some('.'))
}

#[cfg(test)]
mod tests;
