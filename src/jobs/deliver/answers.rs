//! The answers of a batch other than "send", and what they write.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::db;
use crate::db::decisions::NewDecision;
use crate::db::ledger::{DueReminder, Transition};
use crate::domain::decide::{Decision, Reason, Stage, Verdict};
use crate::domain::ids::{Channel, ReminderId};
use crate::domain::reached::{Standing, StepReminder};
use crate::domain::reminder::ReminderState;
use crate::jobs::advance;
use crate::jobs::context::{Account, Context};
use crate::jobs::names::{self, DueDelivery};
use crate::jobs::queue::When;

/// What a batch writes.
#[derive(Default)]
pub struct BatchWrites {
    others: Vec<Transition>,
    log: Vec<NewDecision>,
    schedule: Vec<(Channel, ReminderId, DateTime<Utc>)>,
    /// Conversations whose reminder ended without having reached anybody: what follows need not wait for a scan.
    advance: Vec<String>,
}

impl BatchWrites {
    pub fn other(&mut self, owed: &DueReminder, decision: &Decision) {
        let (state, verdict, reason, until) = match decision {
            Decision::Send(_) => return,
            Decision::Cancel(reason) => (ReminderState::Cancelled, Verdict::Cancel, *reason, None),
            Decision::Expire(reason) => (ReminderState::Expired, Verdict::Expire, *reason, None),
            Decision::Postpone(at, reason) => (
                ReminderState::Scheduled,
                Verdict::Postpone,
                *reason,
                Some(*at),
            ),
        };
        if let Some(at) = until {
            self.schedule.push((owed.channel, owed.id, at));
            if reason == Reason::Scheduled {
                return;
            }
        }
        if until.is_none() && not_reached(state, reason) {
            self.advance.push(owed.conversation.clone());
        }
        self.log.push(NewDecision {
            reminder: owed.id,
            verdict,
            reason,
            until,
        });
        self.others.push(Transition {
            reminder: owed.id,
            state,
            reason,
            next_at: until,
        });
    }

    /// Writes everything down.
    pub async fn write(
        self,
        tx: &mut PgConnection,
        ctx: &Context,
        account: &Account,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        db::ledger::apply(tx, &self.others, now)
            .await
            .context("applying answers")?;
        db::decisions::log(tx, Stage::Deliver, &self.log, now)
            .await
            .context("logging decisions")?;
        let deliveries = self
            .schedule
            .iter()
            .map(|(channel, reminder, at)| DueDelivery {
                channel: *channel,
                account: &account.id,
                reminder: *reminder,
                at: *at,
            });
        names::schedule_deliveries(tx, &ctx.clock, When::At, deliveries).await?;
        let advance = self
            .advance
            .iter()
            .map(|conversation| (&account.id, conversation.as_str()));
        advance::schedule(tx, &ctx.clock, advance).await?;
        Ok(())
    }
}

/// Whether a later step may be there for who was not reached by this one.
fn not_reached(state: ReminderState, reason: Reason) -> bool {
    let reminder = StepReminder::untried(state, reason);
    matches!(reminder, Standing::NotReached { .. } | Standing::PassedOver)
}
