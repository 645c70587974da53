//! The background jobs.
pub mod queue;
