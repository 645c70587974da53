//! The rules: what is unread, what is owed, when it may be sent, what follows from an outcome.
//!
//! Pure code: no I/O, no clock, no logging, no async. Every function takes values and `now` and returns values, so that what a
//! customer would argue about can be read and tested here without a database.

pub mod access;
pub mod backup;
pub mod channel;
pub mod contact;
pub mod contradiction;
pub mod conversation;
pub mod decide;
pub mod device;
pub mod effect;
pub mod heartbeat;
pub mod hold;
pub mod ids;
pub mod incident;
pub mod language;
pub mod live;
pub mod local_time;
pub mod obstacles;
pub mod opt_out;
pub mod outcome;
pub mod owed;
pub mod pause;
pub mod plain_error;
pub mod quiet;
pub mod reached;
pub mod read_state;
pub mod refusals;
pub mod reminder;
pub mod round;
pub mod rule;
#[cfg(test)]
mod sample;
pub mod schedule;
pub mod test_message;
pub mod timeline;
pub mod totp;
pub mod user_agent;
pub mod week;
pub mod zone;
