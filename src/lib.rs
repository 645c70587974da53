//! `unread` reminds web-messaging visitors, by e-mail or SMS, of agent messages they have not read.

pub mod app;
pub mod backup;
mod batch;
pub mod beside;
pub mod channel;
pub mod config;
pub mod control;
pub mod db;
#[cfg(feature = "demo")]
pub mod demo;
pub mod doctor;
pub mod domain;
pub mod dry_run;
pub mod hashing;
pub mod jobs;
pub mod journal;
pub mod liveperson;
pub mod metrics;
pub mod printed;
pub mod rules_file;
pub mod scheduler;
pub mod secret;
pub mod standstill;
pub mod suppressions_file;
pub mod telemetry;
pub mod web;
pub mod worker;

pub use embedded_postgres as postgres;
pub use unread_clock as clock;
#[cfg(feature = "demo")]
pub use unread_sandbox as sandbox;
