//! What Twilio's error codes and HTTP statuses mean.
//!
//! Twilio says that codes may change and should not be programmed against; so a code only sharpens what the HTTP status (of a
//! request) or the message status (of a delivery) already says, and an unknown code never suppresses a recipient.
//!
//! [`Retryable::Config`] opens a circuit for the sender. Codes that depend on one recipient or one text (a country that is not
//! enabled, a trial account's unverified number, a body that is too long) are therefore refusals here: a visitor must not be
//! able to stop everybody's reminders by entering an odd number.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::MessageStatus;
use crate::channel::codes::{Class, Explained};
use crate::domain::outcome::{Outcome, Refusal, Retryable};

use Class::{Not, Refused};

/// Codes that mean the same.
struct TwilioCodeRow {
    codes: &'static [RangeInclusive<u32>],
    class: Class,
    said: Explained,
}

const fn row(
    codes: &'static [RangeInclusive<u32>],
    class: Class,
    said: Explained,
) -> TwilioCodeRow {
    TwilioCodeRow { codes, class, said }
}

/// To be read as: what came of it, and what helps.
const fn said(sentence: &'static str, remedy: &'static str) -> Explained {
    Explained::new(sentence, remedy)
}

const CREDENTIALS: Explained = said(
    "Twilio refuses our credentials.",
    "Check TWILIO_ACCOUNT_SID with TWILIO_AUTH_TOKEN, or TWILIO_API_KEY with TWILIO_API_SECRET; a rotated token stops at once.",
);
const NO_ACCOUNT: Explained = said(
    "Twilio does not know the account.",
    "Check TWILIO_ACCOUNT_SID, and TWILIO_BASE_URL if your account is in another region.",
);
const OWN_TROUBLE: Explained = said("Twilio had a problem of its own.", LOOK_UP);
const TOO_MANY: Explained = said(
    "Too many messages are queued at Twilio. We will try again more slowly.",
    LOOK_UP,
);
const OTHER: Explained = said("Twilio does not accept our messages.", LOOK_UP);
const LOOK_UP: &str =
    "Look the number up at twilio.com/docs/api/errors and fix what it says in the Twilio console.";

/// Twilio's own numbers.
#[rustfmt::skip]
const CODES: &[TwilioCodeRow] = &[
    row(&[21211..=21211, 21265..=21265, 21614..=21614, 21635..=21635, 30005..=30006], Refused(Refusal::BadRecipient),
        said("The number cannot receive text messages.", LOOK_UP)),
    row(&[21610..=21610], Refused(Refusal::OptedOut),
        said("The recipient has asked the carrier to stop messages from this sender.", LOOK_UP)),
    // A known litigant: not an opt-out of theirs, which START would lift, but for good.
    row(&[30640..=30640], Refused(Refusal::Blocked),
        said("Twilio lists the number as that of a known litigator over text messages; it is blocked permanently.", LOOK_UP)),
    // From here, to there, not: country not enabled, To equals From, trial account, sender ID unknown in the country.
    row(&[21266..=21266, 21408..=21408, 21608..=21608, 21612..=21612, 21657..=21657], Refused(Refusal::SenderRecipientPair),
        said("Twilio does not send to this number from your sender or account.", LOOK_UP)),
    row(&[30007..=30007, 30450..=30450, 30610..=30610], Refused(Refusal::Policy),
        said("The carrier has filtered the message out.", LOOK_UP)),
    row(&[14107..=14107], Refused(Refusal::Policy), OTHER),
    row(&[30036..=30036], Refused(Refusal::Expired),
        said("The phone could not be reached before the message expired.", LOOK_UP)),
    // One text, one request: parameters, body, validity. And 30410, which Twilio itself does not repeat.
    row(&[20001..=20001, 21602..=21602, 21604..=21604, 21617..=21617, 21619..=21619, 30010..=30010, 30045..=30045, 30410..=30410,
          35115..=35115, 90007..=90007], Refused(Refusal::Other), OTHER),
    row(&[20003..=20003], Not(Retryable::Config), CREDENTIALS),
    row(&[20404..=20404], Not(Retryable::Config), NO_ACCOUNT),
    row(&[10001..=10001, 30002..=30002], Not(Retryable::Config),
        said("The Twilio account is suspended or not active.", "See the Twilio console for the reason (usually billing).")),
    row(&[21603..=21603, 21606..=21606, 21659..=21661, 30018..=30018, 30037..=30037], Not(Retryable::Config),
        said("Twilio does not let us send from this number or name.",
             "Check TWILIO_FROM, TWILIO_MESSAGING_SERVICE_SID and the rule's own sender: it must be yours and able to send SMS.")),
    row(&[21703..=21705], Not(Retryable::Config),
        said("The Messaging Service has no sender that can be used.", "Add a number to its sender pool in the Twilio console.")),
    row(&[21609..=21609], Not(Retryable::Config),
        said("Twilio cannot use our address for status reports.",
             "Set UNREAD_PUBLIC_URL to the https address under which Twilio reaches this service.")),
    row(&[30032..=30032], Not(Retryable::Config),
        said("The toll-free number is not verified, so carriers block it.", "Finish the toll-free verification in the Twilio console.")),
    row(&[30024..=30024, 30033..=30035], Not(Retryable::Config),
        said("The number is not registered for business messages (A2P 10DLC), so carriers block it.",
             "Finish brand and campaign registration in the Twilio console.")),
    row(&[21601..=21601], Not(Retryable::Config), OTHER),
    row(&[30023..=30023, 30027..=30027, 63038..=63038], Not(Retryable::Quota),
        said("The daily SMS quota is used up.", "It resets tomorrow; ask Twilio for a higher limit if this happens again.")),
    row(&[30003..=30004, 30008..=30008], Not(Retryable::RecipientSoft), said("The phone was off or out of reach.", LOOK_UP)),
    row(&[20429..=20429], Not(Retryable::Throttled), TOO_MANY),
    row(&[21611..=21611, 30001..=30001, 30022..=30022], Not(Retryable::Slow), TOO_MANY),
    row(&[21730..=21730, 30017..=30017, 30047..=30047, 63017..=63017], Not(Retryable::Slow), OTHER),
    row(&[20500..=20500, 20503..=20503], Class::Unknown, OWN_TROUBLE),
];

/// HTTP statuses of an answer to a create request.
#[rustfmt::skip]
const STATUSES: &[TwilioCodeRow] = &[
    // Documented as never processed.
    row(&[429..=429], Not(Retryable::Throttled), OTHER),
    row(&[401..=401], Not(Retryable::Config), CREDENTIALS),
    row(&[403..=403], Not(Retryable::Config),
        said("Twilio does not permit this key to send.", "Give the API key access to Messages, or use another.")),
    row(&[404..=404], Not(Retryable::Config), NO_ACCOUNT),
    row(&[300..=399], Not(Retryable::Config), said("Twilio's address responds with a redirect.", "Check TWILIO_BASE_URL.")),
    row(&[200..=299, 408..=408, 600..=65_535], Class::Unknown, OTHER),
    row(&[500..=599], Class::Unknown, OWN_TROUBLE),
];

/// Codes without a number: ours.
const WORDS: &[(&str, Explained)] = &[
    (
        "no SMS number",
        said(
            "The Twilio account has no number that can send SMS.",
            "Buy one, or set TWILIO_FROM or TWILIO_MESSAGING_SERVICE_SID.",
        ),
    ),
    (
        "sender is not",
        said(
            "The rule's own sender is neither a number nor a Messaging Service.",
            "Correct the sender in the rule.",
        ),
    ),
    (
        "channel is not",
        said(
            "Twilio is not configured.",
            "Set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN for the workers, or turn off the rules for SMS.",
        ),
    ),
];

fn find(table: &'static [TwilioCodeRow], code: u32) -> Option<&'static TwilioCodeRow> {
    let of = |row: &&TwilioCodeRow| row.codes.iter().any(|codes| codes.contains(&code));
    table.iter().find(of)
}

/// What a number of Twilio's means; `None`: we do not know it.
pub fn known(code: u32) -> Option<Class> {
    find(CODES, code).map(|row| row.class)
}

/// A code in words. Its last number is Twilio's own, where there is one: `http 401 20003`, `undelivered 30034`.
pub fn explain(code: &str) -> Explained {
    let number = code.rsplit(' ').next().and_then(|n| n.parse().ok());
    let row = number.and_then(|n| find(CODES, n).or_else(|| find(STATUSES, n)));
    let word = WORDS.iter().find(|(word, _)| code.starts_with(word));
    match (row, word) {
        (Some(row), _) => row.said,
        (None, Some((_, said))) => *said,
        (None, None) => OTHER,
    }
}

/// The outcome of a create request that was answered with anything but a readable success.
pub(super) fn of_answer(status: u16, error: Option<u32>, retry_after: Option<Duration>) -> Outcome {
    let of_status = find(STATUSES, status.into()).map(|row| row.class);
    let class = match (of_status, error.and_then(known)) {
        // These hold whatever number stands beside them.
        (Some(class @ (Class::Unknown | Not(Retryable::Throttled))), _) => class,
        (Some(class), _) if status == 401 => class,
        (_, Some(class)) | (Some(class), None) => class,
        (None, None) => Refused(Refusal::Other),
    };
    let code = match error {
        Some(error) => format!("http {status} {error}"),
        None => format!("http {status}"),
    };
    class.outcome(code, retry_after)
}

/// What it means that a message Twilio had accepted did not arrive: `undelivered`, `failed` or `canceled`, with the error code if
/// one was given. To be decided on like a failed attempt.
pub fn of_delivery(status: MessageStatus, error: Option<u32>) -> Outcome {
    let class = error.and_then(known).unwrap_or(match status {
        MessageStatus::Undelivered => Not(Retryable::RecipientSoft),
        _ => Refused(Refusal::Other),
    });
    let code = match error {
        Some(error) => format!("{} {error}", status.as_str()),
        None => status.as_str().to_owned(),
    };
    class.outcome(code, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(word: &str) -> Option<Class> {
        Some(match word {
            "bad_recipient" => Refused(Refusal::BadRecipient),
            "opted_out" => Refused(Refusal::OptedOut),
            "blocked" => Refused(Refusal::Blocked),
            "pair" => Refused(Refusal::SenderRecipientPair),
            "policy" => Refused(Refusal::Policy),
            "expired" => Refused(Refusal::Expired),
            "content" => Refused(Refusal::Other),
            "config" => Not(Retryable::Config),
            "quota" => Not(Retryable::Quota),
            "recipient_soft" => Not(Retryable::RecipientSoft),
            "transient" => Not(Retryable::Transient),
            "slow" => Not(Retryable::Slow),
            "throttled" => Not(Retryable::Throttled),
            "unknown" => Class::Unknown,
            "not_listed" => return None,
            other => panic!("no class {other}"),
        })
    }

    fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
        table
            .lines()
            .filter(|l| !l.starts_with('#'))
            .map(|l| l.split('\t').collect())
    }

    #[test]
    fn every_code_of_the_table_is_known() {
        let table = include_str!("../../../tests/fixtures/channels/twilio-codes.tsv");
        let mut count = 0;
        for row in rows(table) {
            let code = row[0].parse().unwrap();
            assert_eq!(known(code), class_of(row[1]), "{row:?}");
            count += 1;
        }
        assert_eq!(count, 64);
    }

    #[test]
    fn every_error_answer_has_its_outcome() {
        let table = include_str!("../../../tests/fixtures/channels/twilio-answers.tsv");
        for row in rows(table) {
            let (status, error) = (row[0].parse().unwrap(), row[1].parse().ok());
            let got = of_answer(status, error, None);
            let code = match error {
                Some(error) => format!("http {status} {error}"),
                None => format!("http {status}"),
            };
            assert_eq!(
                got,
                class_of(row[2]).unwrap().outcome(code, None),
                "{row:?}"
            );
        }
    }

    #[test]
    fn a_delivery_failure_without_a_known_code_is_judged_by_its_status() {
        let soft = of_delivery(MessageStatus::Undelivered, Some(39999));
        assert!(matches!(
            soft,
            Outcome::NotAccepted {
                class: Retryable::RecipientSoft,
                ..
            }
        ));
        let failed = of_delivery(MessageStatus::Failed, None);
        assert_eq!(
            failed,
            Outcome::Refused {
                class: Refusal::Other,
                code: "failed".to_owned()
            }
        );
    }
}
