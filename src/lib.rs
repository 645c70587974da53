//! `unread` reminds web-messaging visitors, by e-mail or SMS, of agent messages they have not read.

pub mod app;
pub mod beside;
pub mod channel;
pub mod clock;
pub mod config;
pub mod control;
pub mod db;
pub mod demo;
pub mod doctor;
pub mod domain;
pub mod dry_run;
pub mod hashing;
pub mod jobs;
pub mod liveperson;
pub mod metrics;
pub mod postgres;
pub mod rules_file;
pub mod sandbox;
pub mod scheduler;
pub mod secret;
pub mod suppressions_file;
pub mod telemetry;
pub mod web;
pub mod worker;
