//! The test channel's codes: what they mean for the attempt, what came of it, and what helps.

use crate::channel::codes::{Class, Explained};
use crate::domain::outcome::{Outcome, Refusal, Retryable};

use Class::{Not, Refused};

struct ProbeCodeRow {
    code: &'static str,
    class: Class,
    said: Explained,
}

const fn row(
    code: &'static str,
    class: Class,
    sentence: &'static str,
    remedy: &'static str,
) -> ProbeCodeRow {
    ProbeCodeRow {
        code,
        class,
        said: Explained::new(sentence, remedy),
    }
}

#[rustfmt::skip]
const CODES: &[ProbeCodeRow] = &[
    row("P10", Refused(Refusal::BadRecipient), "The endpoint does not know the customer.", "Nothing needs to be done."),
    row("P20", Not(Retryable::Config), "The endpoint refuses our signature.", "Check PROBE_SECRET."),
    row("P30", Not(Retryable::Throttled), "The endpoint asks us to slow down.", "Lower PROBE_RATE_PER_SECOND."),
    row("not connected", Not(Retryable::Transient), "The endpoint could not be reached.", "Check PROBE_URL."),
    row("no answer", Class::Unknown, "The endpoint's answer was lost, so we do not know whether it was sent.", "Check the endpoint's log."),
    row("channel is not configured", Not(Retryable::Config), "The test channel is not configured.", "Set PROBE_URL and PROBE_SECRET."),
    row("lost", Refused(Refusal::Other), "The message was lost.", "Check the endpoint's log."),
];

const OTHER: Explained = Explained::new(
    "The endpoint does not accept our messages.",
    "Check the endpoint's log.",
);

fn find(code: &str) -> Option<&'static ProbeCodeRow> {
    CODES.iter().find(|row| row.code == code)
}

pub fn explain(code: &str) -> Explained {
    find(code).map_or(OTHER, |row| row.said)
}

/// The outcome of an attempt that met this code.
pub fn of_word(code: &str) -> Outcome {
    let class = find(code).map_or(Refused(Refusal::Other), |row| row.class);
    class.outcome(code.to_owned(), None)
}
