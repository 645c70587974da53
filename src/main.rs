//! The command line: which role to play, and exit codes (0 well, 1 failed, 2 wrong settings or usage, 3 done but for lines of a list that were
//! left out, 4 `restored`: nothing is held).

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod commands;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use unread::app::RoleSet;
use unread::clock::Clock;
use unread::config::{Config, ConfigError, ProcessRole};
use unread::dry_run::{DatabaseUnusable, DryRunOptions, ReportForm};
use unread::{complain, doctor, dry_run, local_probe, printed, say, telemetry};

use commands::backup::{self, Backup, RestoreCommand};
use commands::diagnostics;
use commands::erase::{self, Erase};
use commands::live::{self, LiveCommand};
use commands::reminders::{self, Reminders};
use commands::restored::{self, RestoredCommand};
use commands::roles::{migrate, play};
use commands::rules::{self, Rules};
use commands::suppressions::{self, Suppressions};
use commands::users::{self, Users};

/// Reminds web-messaging visitors, by e-mail or SMS, of agent messages they have not read.
#[derive(Parser)]
#[command(version = unread::version::LONG.as_str(), arg_required_else_help = true)]
struct Cli {
    /// Settings file (TOML); default: unread.toml in the working folder, if there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the whole product alive: own PostgreSQL, sandbox, every role; nothing is kept
    #[cfg(feature = "demo")]
    Demo {
        /// Play the scripted people on a fast clock, compare what happened with what should, and end
        #[arg(long)]
        once: bool,
        /// With --once: print JSON instead of a table
        #[arg(long, requires = "once")]
        json: bool,
    },
    /// Run every role in one process; without `DATABASE_URL` on a PostgreSQL of its own
    Run,
    /// Run the web role: badge, dashboard, links, webhooks
    Web,
    /// Run the worker role: scans and deliveries
    Worker,
    /// Run the scheduler role: enqueues scans and upkeep
    Scheduler,
    /// Bring the database up to date
    Migrate {
        /// Change nothing; wait until another process has brought it up to date
        #[arg(long)]
        wait: bool,
    },
    /// Try every connection that the settings describe, and say what to fix
    Doctor {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Print what a request for support needs, without secrets: build, machine, which settings are set, what doctor finds
    Diagnostics,
    /// Exit with 0 if the service on this machine is ready, else 1: the health check of a container without a shell
    Health,
    /// Change what the service on this machine logs, until it ends
    LogLevel {
        /// error, warn, info, debug or trace; also by part: `info,unread::jobs=debug`
        level: String,
    },
    /// Read the accounts as they are now and print who would be reminded and when, and who would not and why
    Scan {
        /// Send and store nothing (the only way there is: the service scans by itself)
        #[arg(long, required = true)]
        dry_run: bool,
        /// Only this account
        #[arg(long, value_name = "ID")]
        account: Option<unread::domain::ids::AccountId>,
        /// Rules to try, as a TOML file; left out: those in the database, else the defaults
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
        /// Print JSON Lines: an object for each conversation, one for each account at its end
        #[arg(long)]
        json: bool,
    },
    /// Import or export reminder rules as a TOML file
    Rules {
        #[command(subcommand)]
        what: Rules,
    },
    /// Go live, per account and channel; until then no messages are sent
    Live {
        #[command(subcommand)]
        what: LiveCommand,
    },
    /// End the hold of a database that was restored from a backup: no one is reminded twice, opt-outs are restored from the journal
    Restored(RestoredCommand),
    /// Take over a database that was moved to another server, with everything in it, while nothing ran
    Moved,
    /// Look after single reminders
    Reminders {
        #[command(subcommand)]
        what: Reminders,
    },
    /// Addresses that must not be written to
    Suppressions {
        #[command(subcommand)]
        what: Suppressions,
    },
    /// The people who may log in to the dashboard
    Users {
        #[command(subcommand)]
        what: Users,
    },
    /// Write the whole database into a file, while the service runs or while it does not
    Backup(Backup),
    /// Bring a backup back into an empty database, while no process of the installation runs
    Restore(RestoreCommand),
    /// Erase a consumer: conversations, decisions, and what reminders know of the person
    Erase(Erase),
    /// Play LivePerson, Twilio and a mail server on loopback, and print where as JSON
    #[cfg(feature = "demo")]
    Sandbox(commands::sandbox::Ports),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // An error only says that there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain!("unread: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (role, file) = (cli.command.role(), cli.config.clone());
    let ended = runtime.block_on(run(cli)).and_then(|code| {
        printed::finish().context("printing")?;
        Ok(code)
    });
    ended.unwrap_or_else(|error| failed(&error, role, file.as_deref()))
}

/// Says why: a process that keeps a log in a line of it, a command in plain words.
fn failed(error: &anyhow::Error, role: ProcessRole, file: Option<&Path>) -> ExitCode {
    let problems = error.downcast_ref::<ConfigError>();
    let code = problems.map_or(ExitCode::FAILURE, |_| ExitCode::from(2));
    match problems {
        _ if role.keeps_log() => {
            let format = Config::log_format(file);
            telemetry::last_words(format, &format!("{error:#}"), Clock::System.now());
        }
        Some(problems) => complain!("{problems}"),
        None => complain!("unread: {error:#}"),
    }
    code
}

impl Command {
    /// Which settings the command cannot do without.
    fn role(&self) -> ProcessRole {
        match self {
            #[cfg(feature = "demo")]
            Self::Demo { .. } => ProcessRole::Demo,
            Self::Run => ProcessRole::Run,
            // Going live tries the connections itself, and says what is missing; what was sent in a lost time is looked up.
            Self::Live { .. } | Self::Restored(_) => ProcessRole::Live,
            Self::Web => ProcessRole::Web,
            Self::Worker => ProcessRole::Worker,
            Self::Scheduler => ProcessRole::Scheduler,
            Self::Migrate { .. }
            | Self::Moved
            | Self::Rules { .. }
            | Self::Reminders { .. }
            | Self::Suppressions { .. }
            | Self::Users { .. }
            | Self::Backup(_)
            | Self::Restore(_)
            | Self::Erase(_) => ProcessRole::Migrate,
            Self::Doctor { .. } | Self::Diagnostics => ProcessRole::Doctor,
            Self::Health | Self::LogLevel { .. } => ProcessRole::Beside,
            Self::Scan { .. } => ProcessRole::Scan,
            #[cfg(feature = "demo")]
            Self::Sandbox(_) => ProcessRole::Sandbox,
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let role = cli.command.role();
    let config = match Config::load(cli.config.as_deref(), role) {
        Err(problems) if role == ProcessRole::Doctor => {
            let json = matches!(cli.command, Command::Doctor { json: true });
            return print_report(&doctor::of_settings(&problems), json);
        }
        config => config?,
    };
    let mut log = config.log.clone();
    // What a demonstration does it prints for people; its log would only hide that.
    if role == ProcessRole::Demo && log.level_is_preset {
        "warn".clone_into(&mut log.level);
    }
    let _log = telemetry::start_log(&log, role.as_str())?;
    // Whoever runs a command beside the service has read them when that started; doctor has them in its table.
    if role.keeps_log() || role == ProcessRole::Demo {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
    }
    let shutdown = CancellationToken::new();
    let stop = telemetry::shutdown_signal()?;
    let token = shutdown.clone();
    tokio::spawn(async move {
        stop.await;
        token.cancel();
    });
    match cli.command {
        #[cfg(feature = "demo")]
        Command::Demo { once: false, .. } => unread::demo::live(&config, shutdown).await?,
        #[cfg(feature = "demo")]
        Command::Demo { once: true, json } => {
            return commands::demo::once(&config, json, shutdown).await;
        }
        Command::Run => play(&config, RoleSet::ALL, true, shutdown).await?,
        Command::Web => play(&config, RoleSet::WEB, false, shutdown).await?,
        Command::Worker => play(&config, RoleSet::WORKER, false, shutdown).await?,
        Command::Scheduler => play(&config, RoleSet::SCHEDULER, false, shutdown).await?,
        Command::Migrate { wait } => {
            tokio::select! {
                done = migrate(&config, wait) => done?,
                () = shutdown.cancelled() => return Ok(ExitCode::FAILURE),
            }
        }
        Command::Doctor { json } => {
            let Some(findings) = examined(&config, &shutdown).await else {
                return Ok(ExitCode::FAILURE);
            };
            doctor::keep_if_possible(&config, &findings, Clock::System.now()).await;
            return print_report(&findings, json);
        }
        Command::Diagnostics => {
            let Some(findings) = examined(&config, &shutdown).await else {
                return Ok(ExitCode::FAILURE);
            };
            diagnostics::print(&config, cli.config.as_deref(), &findings);
        }
        Command::Health => local_probe::is_ready(&config).await?,
        Command::LogLevel { level } => {
            local_probe::set_log_level(&config, &level).await?;
            say!("The service on this machine logs {level} until it ends.");
        }
        Command::Scan {
            account,
            rules,
            json,
            ..
        } => {
            let options = DryRunOptions {
                account,
                rules,
                form: ReportForm::of(json),
            };
            return tried(&config, &options, shutdown).await;
        }
        Command::Rules { what } => rules::run(&config, what).await?,
        Command::Live { what } => return live::run(&config, what).await,
        Command::Restored(wish) => return restored::run(&config, wish).await,
        Command::Moved => restored::moved(&config).await?,
        Command::Reminders { what } => return reminders::run(&config, what).await,
        Command::Suppressions { what } => return suppressions::run(&config, what).await,
        Command::Users { what } => users::run(&config, what).await?,
        Command::Backup(what) => {
            tokio::select! {
                done = backup::write(&config, &what) => done?,
                () = shutdown.cancelled() => return Ok(ExitCode::FAILURE),
            }
        }
        Command::Restore(what) => {
            tokio::select! {
                done = backup::restore(&config, &what) => done?,
                () = shutdown.cancelled() => return Ok(ExitCode::FAILURE),
            }
        }
        Command::Erase(whom) => erase::run(&config, &whom).await?,
        #[cfg(feature = "demo")]
        Command::Sandbox(wish) => commands::sandbox::run(wish, shutdown).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A dry run. Exit code 3: there is a database, and it cannot be used.
async fn tried(
    config: &Config,
    options: &DryRunOptions,
    shutdown: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let done = tokio::select! {
        done = dry_run::run(config, options, &Clock::System, printed::Output, &dry_run::show) => done,
        () = shutdown.cancelled() => return Ok(ExitCode::FAILURE),
    };
    let Err(error) = done else {
        return Ok(ExitCode::SUCCESS);
    };
    let Some(unusable) = error.downcast_ref::<DatabaseUnusable>() else {
        return Err(error);
    };
    complain!("unread: {unusable}");
    Ok(ExitCode::from(3))
}

/// What doctor finds; `None`: it was stopped.
async fn examined(
    config: &Config,
    shutdown: &CancellationToken,
) -> Option<Vec<doctor::DoctorFinding>> {
    let progress = |part: &str| complain!("Trying: {part} …");
    tokio::select! {
        findings = doctor::examine(config, &Clock::System, &progress) => Some(findings),
        () = shutdown.cancelled() => None,
    }
}

fn print_report(lines: &[doctor::DoctorFinding], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        say!("{}", serde_json::to_string_pretty(lines)?);
    } else {
        printed::text(&doctor::table(lines));
    }
    Ok(if doctor::healthy(lines) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
