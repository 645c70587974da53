//! The integration tests: one binary, so that they share one server and are linked once.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helpers too"
)]

mod architecture;
mod database;
mod limits;
mod postgres;
mod queue;
