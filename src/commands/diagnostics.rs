//! What a request for support should have with it: which build, which machine, which settings are set, and what doctor finds. No secret is
//! in it: of settings the names alone.

use std::path::Path;

use unread::clock::Clock;
use unread::config::{self, Config};
use unread::doctor::{self, DoctorFinding};
use unread::printed;
use unread::version;

/// Prints it.
pub fn print(config: &Config, file: Option<&Path>, findings: &[DoctorFinding]) {
    let mut text = format!(
        "unread {}\n{} {}, {}\n{} accounts, channels: {}\n\nSettings that are set (their values are left out):\n",
        *version::LONG,
        std::env::consts::OS,
        std::env::consts::ARCH,
        Clock::System.now().format("%Y-%m-%dT%H:%M:%SZ"),
        config.accounts.len(),
        channels(config),
    );
    for name in config::names_given(file) {
        text.extend(["  ", name, "\n"]);
    }
    text += "\nWhat `unread doctor` finds:\n\n";
    text += &doctor::table(findings);
    printed::text(&text);
}

fn channels(config: &Config) -> String {
    let channels = config.channels_anywhere();
    let names: Vec<&str> = channels.iter().map(|c| c.names().inside).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
