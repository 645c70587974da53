//! The ledger of reminders and their attempts: every change of state of promise 2 (never twice) and 3 (never lost).
//!
//! A reminder moves only by compare-and-set on its state, and each change is one statement for a whole batch. Nothing here
//! decides; it writes down what `domain` decided.

mod attempts;
mod due;
mod operator;
mod scan;

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
