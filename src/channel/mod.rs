//! The channels: e-mail over SMTP, SMS over Twilio, and the texts that travel on them.
//!
//! Each is a folder that implements the interface of [`adapter`], and is lined up in `registry.rs`. Nothing outside this part knows what a
//! provider's codes, headers and steps are.

pub mod adapter;
pub mod clean;
pub mod codes;
#[cfg(test)]
mod fuzz;
pub mod mail_events;
pub mod mail_reports;
pub mod optout;
#[cfg(feature = "test-channel")]
pub mod probe;
mod registry;
pub mod render;
pub mod sms;
pub mod smtp;
pub mod twilio;

pub use adapter::{LastCheck, nothing_in_the_way};
pub use registry::{AccountChannels, ChannelSettings, Channels, profile, sender_of};
