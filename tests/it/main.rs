//! The integration tests: one binary, so that they share one server and are linked once.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helpers too"
)]

mod access;
mod alarms;
mod answers;
mod architecture;
mod backup;
mod badge;
mod baseline;
mod brands;
mod chaos;
mod chromium;
mod columns;
mod commands;
mod connections;
mod counts;
mod crates;
mod dashboard;
mod database;
mod docs;
mod docs_names;
mod doctor;
mod doctor_ways;
mod dry_run;
mod folders;
mod hanging;
mod harness;
mod headlines;
mod hints;
mod hostile;
mod hosts;
mod image;
mod imports;
mod incidents;
mod keys;
mod last_look;
mod limits;
mod live;
mod liveperson_faults;
mod lost_commits;
mod mail_reports;
mod mail_tokens;
mod manifests;
mod migrations;
mod monitoring;
mod opt_outs;
mod outages;
mod pages;
mod people;
mod person;
mod phones;
mod pipeline;
mod plans;
mod postgres;
#[cfg(feature = "test-channel")]
mod probe;
mod process;
mod providers;
mod queue;
mod reach;
mod recent_passes;
mod refusals;
mod rehearsal;
mod restored;
mod roles;
mod rules;
mod scan_order;
mod scans;
mod sequence;
mod tables;
mod telemetry;
mod two_roles;
mod upgrade;
mod visitors;
mod web;
mod wire;
mod words;
