//! The ways out: e-mail over SMTP, SMS over Twilio, and the texts that travel on them.
//!
//! A channel takes a finished message and answers with an [`Outcome`]: what is known, never
//! more. It decides nothing about *whether* or *when* to send, stores nothing and retries nothing; all of that is the ledger's.
//! There is no trait over the two channels: they share a result, not an input.

use futures_util::future::BoxFuture;

use crate::domain::outcome::Outcome;

pub mod clean;
#[cfg(test)]
mod fuzz;
pub mod mail_events;
pub mod optout;
pub mod render;
pub mod sms;
pub mod smtp;
pub mod twilio;
pub mod webhook;

/// Asked right before a message leaves: why it must not any more. A process may have stood still since it decided to send, or what it
/// decided by has grown old meanwhile and is asked about again.
pub type LastLook<'a> = &'a (dyn Fn() -> BoxFuture<'a, Option<Outcome>> + Send + Sync);

/// Nothing is in the way, whenever it is asked.
pub fn nothing_in_the_way<'a>() -> BoxFuture<'a, Option<Outcome>> {
    Box::pin(std::future::ready(None))
}
