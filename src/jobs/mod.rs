//! The background jobs: what is done when a job is due.
//!
//! Each job asks the database what is true, acts, lets `domain` decide, and records; a job that is lost, doubled or late is
//! harmless. Outside services are called with no transaction open.

pub mod advance;
pub mod context;
pub mod contradictions;
pub mod deliver;
pub mod forecast;
pub mod heartbeat;
pub mod hint;
pub mod incidents;
pub mod journal;
pub mod names;
pub mod rate_limiter;
pub mod redact;
pub mod release;
pub mod report;
pub mod round;
pub mod scan;
pub mod settle;
pub mod skills;
pub mod sweep;
pub mod tell;
pub mod way_out;
pub mod week;

pub use unread_queue as queue;
