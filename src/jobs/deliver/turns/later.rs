//! Puts those off for whom there is no turn, and brings them back at shared marks.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::TurnRound;
use crate::db;
use crate::db::decisions::NewDecision;
use crate::db::ledger::Transition;
use crate::domain::decide::{Decision, Reason, Stage, Verdict};
use crate::domain::ids::{Channel, ReminderId};
use crate::domain::reminder::ReminderState;
use crate::jobs::names::{self, DueDelivery};
use crate::jobs::queue::When;

/// Who is lined up comes back so long before the estimated moment, at marks of [`MARK`]: those of one mark share their turns' statement
/// and their question to LivePerson.
const EARLY: TimeDelta = TimeDelta::milliseconds(300);
const MARK: TimeDelta = TimeDelta::milliseconds(500);

/// Nobody comes back sooner: whoever is lined up has met somebody else's turn.
const SOONEST: TimeDelta = TimeDelta::milliseconds(100);

impl TurnRound<'_> {
    /// Puts reminders off to their estimated turns, in real time from now. Logged when it is news.
    pub(super) async fn postpone(
        &self,
        tx: &mut PgConnection,
        again: HashMap<ReminderId, Duration>,
    ) -> anyhow::Result<()> {
        if again.is_empty() {
            return Ok(());
        }
        let ids: Vec<ReminderId> = again.keys().copied().collect();
        let owed = db::ledger::lock_owed(&mut *tx, &ids, None)
            .await
            .context("locking reminders")?;
        let (mut answers, mut log, mut schedule) = (Vec::new(), Vec::new(), Vec::new());
        for owed in owed {
            let turn = self.moment(again[&owed.id]);
            let back = marked((turn - EARLY).max(self.now + SOONEST), self.now);
            // Those before it may not want their turns: it is too late at the deadline, not before.
            let until = back.min(owed.deadline);
            let reason = Reason::RateLimit;
            if !owed.lined_up {
                let decision = Decision::Postpone(until, reason);
                self.ctx
                    .metrics
                    .decided_on(&owed.account, owed.channel, &decision);
                log.push(NewDecision {
                    reminder: owed.id,
                    verdict: Verdict::Postpone,
                    reason,
                    until: Some(turn.min(owed.deadline)),
                });
            }
            schedule.push((owed.channel, owed.id, until));
            answers.push(Transition {
                reminder: owed.id,
                state: ReminderState::Scheduled,
                reason,
                next_at: Some(until),
            });
        }
        db::ledger::apply(tx, &answers, self.now).await?;
        db::decisions::log(tx, Stage::Deliver, &log, self.now).await?;
        self.schedule(tx, schedule).await
    }

    pub(super) fn moment(&self, wait: Duration) -> DateTime<Utc> {
        let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
        let far = DateTime::<Utc>::MAX_UTC;
        self.now.checked_add_signed(wait).unwrap_or(far)
    }

    pub(super) async fn schedule(
        &self,
        tx: &mut PgConnection,
        reminders: Vec<(Channel, ReminderId, DateTime<Utc>)>,
    ) -> anyhow::Result<()> {
        let deliveries = reminders
            .into_iter()
            .map(|(channel, reminder, at)| DueDelivery {
                channel,
                account: &self.account.id,
                reminder,
                at,
            });
        names::schedule_deliveries(tx, &self.ctx.clock, When::At, deliveries).await?;
        Ok(())
    }
}

/// The mark before a moment, but not before or at `now`.
fn marked(at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    let past = at
        .timestamp_micros()
        .rem_euclid(MARK.num_microseconds().unwrap_or(1));
    let mark = at - TimeDelta::microseconds(past);
    if mark > now { mark } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_are_lined_up_come_back_together_at_marks_and_never_at_once() {
        let now: DateTime<Utc> = "2026-01-05T12:00:00.130Z".parse().unwrap();
        for (after, mark) in [
            (100, "12:00:00.230"),
            (380, "12:00:00.500"),
            (869, "12:00:00.500"),
            (870, "12:00:01.000"),
        ] {
            let at = now + TimeDelta::milliseconds(after);
            let marked = marked(at, now);
            assert_eq!(
                marked.format("%H:%M:%S%.3f").to_string(),
                mark,
                "{after} ms"
            );
            assert!(marked > now && marked <= at);
        }
    }
}
