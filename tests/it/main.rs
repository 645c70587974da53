//! The integration tests: one binary, so that they share one server and are linked once.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helpers too"
)]

mod architecture;
mod database;
mod doctor;
mod dry_run;
mod monitoring;
mod postgres;
mod queue;
