//! What a provider reports about a message it took: by callback, or found in its list. One way for both, so that they agree.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use crate::channel::twilio::of_delivery;
use crate::db;
use crate::db::circuits::Proof;
use crate::db::reports::Report;
use crate::db::suppressions::Source;
use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::{Channel, Provider, ReminderId};
use crate::domain::outcome::{Obstacle, Outcome, Refusal};
use crate::domain::reminder::ReminderState;
use crate::domain::sms_status::MessageStatus;
use crate::domain::trouble::Trouble;

/// So many letters of a reminder's token go into names that come back to us: enough to tell ours from a stranger's.
const PROOF: usize = 8;

fn proof(token: &str) -> &str {
    token.get(..PROOF).unwrap_or(token)
}

/// How an attempt is called in a callback's address.
pub fn attempt_name(attempt: i64, token: &str) -> String {
    format!("{attempt}-{}", proof(token))
}

/// An attempt's id and its proof, from such a name. Anything else is nobody's.
fn parse_attempt(name: &str) -> Option<(i64, &str)> {
    let (id, token) = name.split_once('-')?;
    is_proof(token).then_some(())?;
    Some((id.parse().ok()?, token))
}

/// The Message-ID of a reminder's e-mail: the same on every attempt, so that a mailbox keeps one copy.
pub fn message_id(reminder: ReminderId, token: &str, domain: &str) -> String {
    format!("rem.{reminder}.{}@{domain}", proof(token))
}

/// The reminder's id and proof, from a Message-ID of ours with or without angle brackets.
pub fn parse_message_id(raw: &str) -> Option<(i64, &str)> {
    let raw = raw.trim();
    let raw = raw.strip_prefix('<').unwrap_or(raw);
    let (local, _) = raw.split_once('@')?;
    let (id, token) = local.strip_prefix("rem.")?.split_once('.')?;
    is_proof(token).then_some(())?;
    Some((id.parse().ok()?, token))
}

fn is_proof(token: &str) -> bool {
    token.len() == PROOF && token.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// A status of an SMS.
#[derive(Clone, Copy, Debug)]
pub struct SmsReport<'a> {
    /// The attempt as the callback's address names it.
    pub attempt: Option<&'a str>,
    pub sid: &'a str,
    pub status: MessageStatus,
    pub error_code: Option<u32>,
}

/// Applies a report in one short transaction: the states, the suppression it asks for, and the circuit. False if the message is
/// not ours.
pub async fn sms(pool: &PgPool, report: SmsReport<'_>, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let state = report.status.reminder_state();
    let failure = matches!(state, ReminderState::Undelivered | ReminderState::Failed)
        .then(|| of_delivery(report.status, report.error_code));
    let number = report.error_code.map(|code| code.to_string());
    let (state, reason) = match &failure {
        None => (state, None),
        Some(Outcome::Refused {
            class: Refusal::Expired,
            ..
        }) => (ReminderState::Expired, Some(Reason::TooLate.into())),
        // Twilio's number says it all; without one, its word for the status.
        Some(outcome) => {
            let code = number.as_deref().unwrap_or(outcome.code());
            (state, Some(Cause::parse(code)))
        }
    };
    let row = Report {
        attempt: report.attempt.and_then(parse_attempt),
        provider_id: report.sid,
        state,
        reason,
    };
    let mut tx = pool.begin().await?;
    let Some(reported) = db::reports::apply(&mut tx, &row, now).await? else {
        return Ok(false);
    };
    if !reported.news {
        tracing::debug!(
            reminder = reported.reminder.0,
            status = report.status.as_str(),
            "A report comes after another that said how the message ended, and changes nothing"
        );
    } else if let Some(outcome) = &failure {
        let suppression = outcome.suppression();
        let hash = reported
            .recipient_hash
            .and_then(|hash| hash.try_into().ok());
        if let (Some(suppression), Some(hash)) = (suppression, hash) {
            let why = (suppression, Source::Provider);
            let account = std::slice::from_ref(&reported.account);
            db::suppressions::add(&mut tx, account, Channel::Sms, &hash, why, now).await?;
        }
        if let Some(probe_after) = pause(outcome) {
            let (key, code) = ((Provider::Twilio, reported.sender.as_str()), outcome.code());
            if db::circuits::open(&mut tx, key, code, Proof::Report, now + probe_after, now).await?
            {
                let trouble = Trouble::of(Provider::Twilio, code);
                tracing::error!(provider = %Provider::Twilio, code, "Sending is paused: {trouble}");
            }
        }
    } else if matches!(
        report.status,
        MessageStatus::Sent | MessageStatus::Delivered | MessageStatus::Read
    ) {
        // A carrier took it: whatever held this sender's messages back is mended.
        let key = (Provider::Twilio, reported.sender.as_str());
        db::circuits::succeeded(&mut tx, key, Proof::Report, now).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// How long a sender pauses whose messages fail for a reason of ours.
fn pause(outcome: &Outcome) -> Option<TimeDelta> {
    match outcome {
        Outcome::NotAccepted {
            class: Obstacle::Config,
            ..
        } => Some(TimeDelta::minutes(1)),
        Outcome::NotAccepted {
            class: Obstacle::Quota,
            ..
        } => Some(TimeDelta::hours(1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "aB3dE6gH9jK2mN5pQ8sT1v";

    #[test]
    fn names_come_back_as_they_went_out() {
        assert_eq!(
            parse_attempt(&attempt_name(17, TOKEN)),
            Some((17, "aB3dE6gH"))
        );
        let id = message_id(ReminderId(9), TOKEN, "shop.example");
        assert_eq!(id, "rem.9.aB3dE6gH@shop.example");
        assert_eq!(parse_message_id(&id), Some((9, "aB3dE6gH")));
        assert_eq!(
            parse_message_id(&format!(" <{id}> ")),
            Some((9, "aB3dE6gH"))
        );
    }

    #[test]
    fn a_stranger_s_name_is_nobody_s() {
        for name in [
            "",
            "17",
            "17-",
            "x-aB3dE6gH",
            "17-aB3dE6g%",
            "17-aB3dE6gHH",
            "99999999999999999999-aB3dE6gH",
        ] {
            assert_eq!(parse_attempt(name), None, "{name}");
        }
        for id in [
            "",
            "rem.9@x",
            "conv.9.aB3dE6gH@x",
            "rem.x.aB3dE6gH@x",
            "rem.9.aB3dE6gH",
        ] {
            assert_eq!(parse_message_id(id), None, "{id}");
        }
    }

    proptest! {
        #[test]
        fn fuzz_names(any in any::<String>(), id in any::<i64>(), proof in "[0-9A-Za-z%_-]{0,10}") {
            for name in [any.clone(), format!("{id}-{proof}"), format!("{any}-{proof}")] {
                if let Some((_, proof)) = parse_attempt(&name) {
                    prop_assert!(is_proof(proof));
                }
            }
            for id in [any.clone(), format!("<rem.{id}.{proof}@{any}>"), format!("rem.{any}.{proof}@x")] {
                if let Some((_, proof)) = parse_message_id(&id) {
                    prop_assert!(is_proof(proof));
                }
            }
        }
    }
}
