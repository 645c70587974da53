//! The ledger of reminders and their attempts: every change of state of promise 2 (never twice) and 3 (never lost).
//!
//! A reminder moves only by compare-and-set on its state, and each change is one statement for a whole batch. Nothing here
//! decides; it writes down what `domain` decided.

mod attempts;
mod due;
mod operator;
mod scan;

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};

use crate::domain::reached::StepReminder;

pub use attempts::{
    BEGIN, BegunAttempt, Forbidden, NewAttempt, Recorded, begin, begun, forbidden, record,
};
pub use due::{
    DueReminder, OtherReminder, RecheckedReminder, Transition, apply, call_up, lock_keys,
    lock_owed, note_hours, others, owed,
};
pub use operator::{cancel, lock_conversations, may_restart, pending_beside, restart, state};
pub use scan::{
    EndedEpisode, ExistingReminder, NewReminder, Replaced, cancel_ended, existing, mark_returns,
    schedule, supersede,
};

/// The columns of a reminder by which it is known what became of its step.
impl FromRow<'_, PgRow> for StepReminder {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            step: row.try_get("step")?,
            channel: row.try_get("channel")?,
            state: row.try_get("state")?,
            reason: row.try_get("reason")?,
            tried: row.try_get("tried")?,
            sent_at: row.try_get("sent_at")?,
            final_at: row.try_get("final_at")?,
            clicked: row.try_get("clicked")?,
            said_no: row.try_get("said_no")?,
        })
    }
}
