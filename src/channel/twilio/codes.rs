//! What Twilio's error codes and HTTP statuses mean.
//!
//! Twilio says that codes may change and should not be programmed against; so a code only sharpens what the HTTP status (of a
//! request) or the message status (of a delivery) already says, and an unknown code never suppresses a recipient.
//!
//! [`Obstacle::Config`] opens a circuit for the sender. Codes that depend on one recipient or one text (a country that is not
//! enabled, a trial account's unverified number, a body that is too long) are therefore refusals here: a visitor must not be
//! able to stop everybody's reminders by entering an odd number.

use std::time::Duration;

use crate::domain::outcome::{Obstacle, Outcome, Refusal};
use crate::domain::sms_status::MessageStatus;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Refused(Refusal),
    Not(Obstacle),
    Unknown,
}

use Verdict::{Not, Refused};

fn known(code: u32) -> Option<Verdict> {
    let verdict = match code {
        21211 | 21265 | 21614 | 21635 | 30005 | 30006 => Refused(Refusal::BadRecipient),
        21610 => Refused(Refusal::OptedOut),
        // A known litigant: not an opt-out of theirs, which START would lift, but for good.
        30640 => Refused(Refusal::Blocked),
        // From here, to there, not: country not enabled, To equals From, trial account, sender ID unknown in the country.
        21266 | 21408 | 21608 | 21612 | 21657 => Refused(Refusal::SenderRecipientPair),
        14107 | 30007 | 30450 | 30610 => Refused(Refusal::Policy),
        30036 => Refused(Refusal::Expired),
        // One text, one request: parameters, body, validity. And 30410, which Twilio itself does not repeat.
        20001 | 21602 | 21604 | 21617 | 21619 | 30010 | 30045 | 30410 | 35115 | 90007 => {
            Refused(Refusal::Other)
        }
        10001
        | 20003
        | 20404
        | 21601
        | 21603
        | 21606
        | 21609
        | 21659..=21661
        | 21703..=21705
        | 30002
        | 30018
        | 30024
        | 30032..=30035
        | 30037 => Not(Obstacle::Config),
        30023 | 30027 | 63038 => Not(Obstacle::Quota),
        30003 | 30004 | 30008 => Not(Obstacle::RecipientSoft),
        20429 => Not(Obstacle::Throttled),
        21611 | 21730 | 30001 | 30017 | 30022 | 30047 | 63017 => Not(Obstacle::Slow),
        20500 | 20503 => Verdict::Unknown,
        _ => return None,
    };
    Some(verdict)
}

/// The outcome of a create request that was answered with anything but a readable success.
pub(super) fn of_answer(status: u16, error: Option<u32>, retry_after: Option<Duration>) -> Outcome {
    let verdict = match status {
        // Documented as never processed.
        429 => Not(Obstacle::Throttled),
        401 => Not(Obstacle::Config),
        408 | 500.. | 200..=299 => Verdict::Unknown,
        _ => error.and_then(known).unwrap_or(match status {
            // Redirects (a wrong base URL), forbidden, no such account.
            300..=399 | 403 | 404 => Not(Obstacle::Config),
            _ => Refused(Refusal::Other),
        }),
    };
    let code = match error {
        Some(error) => format!("http {status} {error}"),
        None => format!("http {status}"),
    };
    outcome(verdict, code, retry_after)
}

/// What it means that a message Twilio had accepted did not arrive: `undelivered`, `failed` or `canceled`, with the error code if
/// one was given. To be decided on like a failed attempt.
pub fn of_delivery(status: MessageStatus, error: Option<u32>) -> Outcome {
    let verdict = error.and_then(known).unwrap_or(match status {
        MessageStatus::Undelivered => Not(Obstacle::RecipientSoft),
        _ => Refused(Refusal::Other),
    });
    let code = match error {
        Some(error) => format!("{} {error}", status.as_str()),
        None => status.as_str().to_owned(),
    };
    outcome(verdict, code, None)
}

fn outcome(verdict: Verdict, code: String, retry_after: Option<Duration>) -> Outcome {
    match verdict {
        Refused(class) => Outcome::Refused { class, code },
        Not(class) => Outcome::NotAccepted {
            class,
            code,
            retry_after,
        },
        Verdict::Unknown => Outcome::Unknown { code },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict_of(class: &str) -> Option<Verdict> {
        Some(match class {
            "bad_recipient" => Refused(Refusal::BadRecipient),
            "opted_out" => Refused(Refusal::OptedOut),
            "blocked" => Refused(Refusal::Blocked),
            "pair" => Refused(Refusal::SenderRecipientPair),
            "policy" => Refused(Refusal::Policy),
            "expired" => Refused(Refusal::Expired),
            "content" => Refused(Refusal::Other),
            "config" => Not(Obstacle::Config),
            "quota" => Not(Obstacle::Quota),
            "recipient_soft" => Not(Obstacle::RecipientSoft),
            "transient" => Not(Obstacle::Transient),
            "slow" => Not(Obstacle::Slow),
            "throttled" => Not(Obstacle::Throttled),
            "unknown" => Verdict::Unknown,
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
            assert_eq!(known(code), verdict_of(row[1]), "{row:?}");
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
                outcome(verdict_of(row[2]).unwrap(), code, None),
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
                class: Obstacle::RecipientSoft,
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
