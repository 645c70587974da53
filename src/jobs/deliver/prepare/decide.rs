//! The decision about each reminder of a batch.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch_state::BatchState;
use super::begin::DecidedReminder;
use super::candidate::Candidate;
use super::check::LivePersonCheck;
use super::{DeliveryBatch, UNCHECKED_PAUSE};
use crate::db;
use crate::domain::decide::{Decision, Reason};
use crate::domain::read_state::{ReadState, read_state};
use crate::domain::rule::{self, Rule};

impl DeliveryBatch<'_> {
    /// Decides about each, with what is known now about all of them.
    pub(super) async fn decide<'c>(
        &self,
        tx: &mut PgConnection,
        candidates: Vec<Candidate<'c>>,
        rules: &'c [Rule],
        checked: &LivePersonCheck,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Vec<DecidedReminder<'c>>> {
        let mut batch_state =
            BatchState::open(tx, self.ctx, self.account, &candidates, rules).await?;
        let mut decided = Vec::with_capacity(candidates.len());
        let mut looked = Vec::new();
        for mut candidate in candidates {
            let rule = rule::pick(rules, candidate.skill());
            let stored = candidate.owed.deadline;
            candidate.read_hours(rule, self.account.time_zone, now);
            let owed = &candidate.owed;
            let decision = match checked {
                _ if owed.early => Decision::Postpone(owed.next_at, Reason::Scheduled),
                LivePersonCheck::Unchecked { pause } => {
                    postpone(now + *pause, owed.deadline, Reason::Unchecked)
                }
                LivePersonCheck::Fresh {
                    unreadable,
                    incomplete,
                    ..
                } if candidate.record.is_none()
                    && (*incomplete || unreadable.contains(&owed.conversation)) =>
                {
                    postpone(now + UNCHECKED_PAUSE, owed.deadline, Reason::Undecided)
                }
                LivePersonCheck::Fresh { .. } => {
                    batch_state.decide(&candidate, rule, (self.ctx, self.account), now)
                }
            };
            let sender = rule
                .map(|rule| self.ctx.sender(rule, owed.channel))
                .unwrap_or_default();
            let has_turn = || candidate.has_turn_of(&sender);
            let decision = match decision {
                Decision::Send(contact) => {
                    match batch_state
                        .circuit(tx, owed, &sender, now, has_turn())
                        .await?
                    {
                        None => Decision::Send(contact),
                        Some(probe_at) => postpone(probe_at, owed.deadline, Reason::CircuitOpen),
                    }
                }
                other => other,
            };
            let first = batch_state.is_first(&candidate);
            if matches!(decision, Decision::Send(_)) && has_turn() {
                batch_state.count(&candidate, now);
            }
            looked.extend(candidate.changed_hours(stored, rule, &decision));
            let episode = match (&decision, candidate.record) {
                (Decision::Send(_), Some(record)) => {
                    match read_state(record, self.account.count_bots) {
                        ReadState::Unread(episode) => Some(episode),
                        ReadState::Read(_) | ReadState::Undecided => None,
                    }
                }
                _ => None,
            };
            decided.push(DecidedReminder {
                candidate,
                rule,
                sender,
                decision,
                episode,
                first,
            });
        }
        if !looked.is_empty() {
            let noted = db::ledger::note_hours(tx, &looked).await;
            noted.context("noting hours")?;
        }
        Ok(decided)
    }
}

/// Postpones within the deadline; what cannot wait so long has expired.
pub(super) fn postpone(at: DateTime<Utc>, deadline: DateTime<Utc>, reason: Reason) -> Decision {
    if at < deadline {
        Decision::Postpone(at, reason)
    } else {
        Decision::Expire(reason)
    }
}
