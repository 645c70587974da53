//! `unread` reminds web-messaging customers, by e-mail or SMS, of agent messages they have not read.
//!
//! # Glossary
//!
//! One word for one thing, in code, tables, metrics, pages and docs.
//!
//! - *account*: a LivePerson site; *skill*: a routing group in it; *conversation*: our snapshot of an open one.
//! - *consumer*: who is reminded. Pages for managers and for the public say "customer". A *person* is somebody who uses the dashboard.
//! - *episode*: the agent's messages that the consumer has neither read nor answered, known by the first of them.
//! - *rule*: what holds for a skill, or for the account where the skill has none; *step*: one entry of its sequence over all channels; *rung*: a
//!   step that is always sent, with those after it that are sent only if it did not *reach* the consumer.
//! - *reminder*: one message owed to one consumer for one step of one episode: a row of the *ledger*.
//! - *attempt*: one try to hand a reminder to a provider; *outcome*: what came of it; an *unknown* one is *settled* later.
//! - *decision*: a recorded answer to "should this be sent now?", with one *reason* out of a closed set.
//! - *channel*: e-mail or SMS; *provider*: what carries it; *sender*: whom a message comes from.
//! - *scan*: one pass over the open conversations of skills; *re-check*: the look at one conversation, by its id, before an attempt;
//!   *advance*: the look at one whose step has turned out not to have reached its consumer.
//! - *suppression*: an address that is not written to on a channel; *opt-out*: the consumer's own no.
//! - *circuit*: a sender that is paused because we are misconfigured or throttled; *pause*: what a person has paused.
//! - *hold*: all sending waits for a person, since the database may not be the one that sent. *Live*: a channel that may send at all.
//! - *diagnosis*: what a provider's code means, with its *remedy*; *incident*: trouble that people are told of.
//! - *job*: a row of the queue, due at a time; *claim*: a worker has taken it; *lease*: for how long; *dead letter*: it was given up.
//! - *schedule tick*: one turn of a schedule, taken by one process; *rate limiter*: what spaces calls; *turn*: a place reserved there.
//! - *reminder counts*: what happened, by the hour; *count deltas*: not added up yet (*rolled up* by the sweep).
//! - *hold-out bucket*: a conversation's number from 0 to 99; those below the rule's share get no reminder.
//! - *forecast*: what will be sent; *preview*: how a text, or going live, would look.

pub mod app;
pub mod backup;
mod batch;
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
pub mod local_probe;
pub mod metrics;
pub mod printed;
pub mod rules_file;
pub mod scheduler;
pub mod secret;
pub mod signed_post;
pub mod standstill;
pub mod suppressions_file;
pub mod telemetry;
pub mod version;
pub mod web;
pub mod worker;

pub use embedded_postgres as postgres;
pub use unread_clock as clock;
#[cfg(feature = "demo")]
pub use unread_sandbox as sandbox;
pub use unread_trace as trace;
