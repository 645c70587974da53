//! What a provider reports about a message it took: by callback, or found in its list. One way for both, so that they agree.

use chrono::TimeDelta;
use sqlx::PgPool;

use super::advance;
use crate::channel::adapter::{Failed, Report};
use crate::channel::codes;
use crate::clock::Clock;
use crate::db;
use crate::db::circuits::Proof;
use crate::db::provider_reports;
use crate::db::suppressions::Source;
use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::outcome::{Outcome, Refusal, Retryable};
use crate::domain::reminder::ReminderState;

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

/// What a reminder's messages are called: the same on every attempt, so that a mailbox keeps one copy. Before the `@` of a Message-ID.
pub fn message_name(reminder: ReminderId, token: &str) -> String {
    format!("rem.{reminder}.{}", proof(token))
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

/// Applies a report in one short transaction: the states, the suppression it asks for, and the circuit. `attempt` is how its address names
/// the attempt; `speaks_for` says whose messages it may be about. False if the message is not ours, or none of theirs.
pub async fn apply(
    (pool, clock): (&PgPool, &Clock),
    channel: Channel,
    attempt: Option<&str>,
    report: &Report,
    speaks_for: &(dyn Fn(&AccountId, &str) -> bool + Sync),
) -> sqlx::Result<bool> {
    let now = clock.now();
    let (state, reason) = ended(report);
    let row = provider_reports::ProviderReport {
        channel,
        attempt: attempt.and_then(parse_attempt),
        provider_id: &report.provider_id,
        state,
        reason,
    };
    let mut tx = pool.begin().await?;
    let Some(reported) = provider_reports::apply(&mut tx, &row, now).await? else {
        return Ok(false);
    };
    // What has been changed so far is undone with the transaction.
    if !speaks_for(&reported.account, &reported.sender) {
        return Ok(false);
    }
    let provider = channel.provider();
    let key = (provider, reported.sender.as_str());
    let outcome = report.failure.as_ref().map(|failed| &failed.outcome);
    if !reported.news {
        tracing::debug!(
            reminder = reported.reminder.0,
            status = report.status,
            "A report comes after another that said how the message ended, and changes nothing"
        );
    } else if let Some(outcome) = outcome {
        let suppression = outcome.suppression();
        let hash = reported
            .recipient_hash
            .and_then(|hash| hash.try_into().ok());
        if let (Some(suppression), Some(hash)) = (suppression, hash) {
            let why = (suppression, Source::Provider);
            let account = std::slice::from_ref(&reported.account);
            db::suppressions::add(&mut tx, account, channel, &hash, why, now).await?;
        }
        if let Some(probe_after) = pause(outcome) {
            let code = outcome.code();
            if db::circuits::open(&mut tx, key, code, Proof::Report, now + probe_after, now).await?
            {
                let diagnosis = codes::explain(provider, code);
                tracing::error!(%provider, code, "Sending is paused: {diagnosis}");
            }
        }
    } else if report.gets_through {
        // Whatever held this sender's messages back is fixed.
        db::circuits::succeeded(&mut tx, key, Proof::Report, now).await?;
    }
    if reported.news && report.failure.is_some() {
        let of = (&reported.account, reported.conversation.as_str());
        advance::schedule(&mut tx, clock, [of]).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// The state of the reminder that follows, and why it is not the one that was hoped for.
fn ended(report: &Report) -> (ReminderState, Option<Cause>) {
    match &report.failure {
        None => (report.state, None),
        Some(Failed {
            outcome:
                Outcome::Refused {
                    class: Refusal::Expired,
                    ..
                },
            ..
        }) => (ReminderState::Expired, Some(Reason::TooLate.into())),
        Some(failed) => (report.state, Some(Cause::parse(&failed.reason))),
    }
}

/// How long a sender pauses whose messages fail for a reason of ours.
fn pause(outcome: &Outcome) -> Option<TimeDelta> {
    match outcome {
        Outcome::NotAccepted {
            class: Retryable::Config,
            ..
        } => Some(TimeDelta::minutes(1)),
        Outcome::NotAccepted {
            class: Retryable::Quota,
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
        let id = format!("{}@shop.example", message_name(ReminderId(9), TOKEN));
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
