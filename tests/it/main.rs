//! The integration tests: one binary, so that they share one server and are linked once.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helpers too"
)]

mod access;
mod answers;
mod architecture;
mod badge;
mod chaos;
mod chromium;
mod commands;
mod counts;
mod dashboard;
mod database;
mod doctor;
mod dry_run;
mod harness;
mod hostile;
mod imports;
mod last_look;
mod limits;
mod liveperson_faults;
mod lost_commits;
mod manifests;
mod monitoring;
mod opt_outs;
mod pages;
mod people;
mod person;
mod phones;
mod pipeline;
mod postgres;
mod process;
mod providers;
mod queue;
mod reach;
mod refusals;
mod roles;
mod rules;
mod scan_order;
mod scans;
mod tables;
mod telemetry;
mod upgrade;
mod web;
mod wire;
