//! The large chaos run: `cargo bench --bench chaos -- --seed 1`. See docs/testing.md.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helpers too"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

#[path = "mod.rs"]
mod harness;
#[path = "../it/database/servers.rs"]
#[expect(dead_code, reason = "shared with the integration tests")]
mod servers;

/// Sends reminders while everything around is being killed, and judges what came of it.
#[derive(Parser)]
struct Cli {
    /// People with an unread message. About a quarter of them look before a reminder is even owed: there are 10,000 reminders
    #[arg(long, default_value_t = 13_500)]
    people: u32,
    /// `kill -9` of schedulers, workers and webs
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Restarts of PostgreSQL: clean, immediate and by `kill -9` in turn
    #[arg(long, default_value_t = 10)]
    restarts: u32,
    /// Seconds over which the reminders fall due
    #[arg(long, default_value_t = 300)]
    spread: u64,
    /// The longest SIGSTOP, in seconds
    #[arg(long, default_value_t = 10)]
    longest_freeze: u64,
    /// Times that all workers are killed between a provider's acceptance and our record of it
    #[arg(long, default_value_t = 24)]
    strikes: u32,
    /// Times that they are frozen there, and replaced, before they go on
    #[arg(long, default_value_t = 3)]
    zombies: u32,
    /// The longest that those stay frozen, in seconds: past a text's lease
    #[arg(long, default_value_t = 100)]
    longest_trance: u64,
    /// Share of requests that meet a fault, at LivePerson and at both providers
    #[arg(long, default_value_t = 0.05)]
    faults: f64,
    /// Share of agents' messages that LivePerson's filter by update does not show: only full passes find them
    #[arg(long, default_value_t = 0.01)]
    missed_updates: f64,
    /// Everything random comes from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Moves the leases into the past instead of waiting them out, as the small run does
    #[arg(long)]
    hurry: bool,
    /// Another build of the program, to see whether the harness catches what is wrong with it
    #[arg(long, default_value = env!("CARGO_BIN_EXE_unread"))]
    program: PathBuf,
    /// Given by `cargo bench`; without it (`cargo test --benches`) nothing is run
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if !cli.bench {
        println!("the large chaos run is started by `cargo bench --bench chaos`");
        return ExitCode::SUCCESS;
    }
    let options = harness::Options {
        program: cli.program,
        seed: cli.seed,
        people: cli.people,
        kills: cli.kills,
        restarts: cli.restarts,
        spread: Duration::from_secs(cli.spread),
        longest_freeze: Duration::from_secs(cli.longest_freeze),
        strikes: cli.strikes,
        zombies: cli.zombies,
        longest_trance: Duration::from_secs(cli.longest_trance),
        fault_share: cli.faults,
        missed_updates: cli.missed_updates,
        wait_out_leases: !cli.hurry,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let run = async {
        harness::judge_is_tried().await?;
        harness::run(&options).await
    };
    match runtime.block_on(run) {
        Ok(report) => {
            println!("{report}");
            if report.violations.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("the run failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
