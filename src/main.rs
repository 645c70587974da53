//! The command line: which role to play, and exit codes (0 well, 1 failed, 2 wrong settings or usage).

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use unread::app::{self, Database, Parts, Start};
use unread::clock::Clock;
use unread::config::{Config, ConfigError, Role};
use unread::postgres::Durability;
use unread::sandbox::{Options, Sandbox, Script};
use unread::{db, demo, rules_file, telemetry};

/// Reminds web-messaging visitors, by e-mail or SMS, of agent messages they have not read.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
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
    Migrate,
    /// Import or export reminder rules as a TOML file
    Rules {
        #[command(subcommand)]
        what: Rules,
    },
    /// Play LivePerson, Twilio and a mail server on loopback, and print where as JSON
    Sandbox {
        #[arg(long, default_value_t = 0)]
        liveperson_port: u16,
        #[arg(long, default_value_t = 0)]
        smtp_port: u16,
        #[arg(long, default_value_t = 0)]
        twilio_port: u16,
        #[arg(long, default_value_t = 0)]
        mailbox_port: u16,
        /// Nobody in it, for tests that bring their own people
        #[arg(long)]
        empty: bool,
        /// Where inbound SMS are posted: the service's /twilio/inbound
        #[arg(long, value_name = "URL")]
        inbound_url: Option<String>,
    },
}

#[derive(Subcommand)]
enum Rules {
    /// Store the rules of a file; rules that the file does not name are left alone
    Import {
        /// `-` for standard input
        file: PathBuf,
    },
    /// Print all rules
    Export,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // An error only says that there is a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("unread: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => {
            if let Some(problems) = error.downcast_ref::<ConfigError>() {
                eprintln!("{problems}");
                ExitCode::from(2)
            } else {
                eprintln!("unread: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let role = match &cli.command {
        Command::Demo { .. } => Role::Demo,
        Command::Run => Role::Run,
        Command::Web => Role::Web,
        Command::Worker => Role::Worker,
        Command::Scheduler => Role::Scheduler,
        Command::Migrate | Command::Rules { .. } => Role::Migrate,
        Command::Sandbox { .. } => Role::Sandbox,
    };
    let config = Config::load(cli.config.as_deref(), role)?;
    telemetry::start_log(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let shutdown = CancellationToken::new();
    let stop = telemetry::shutdown_signal()?;
    let token = shutdown.clone();
    tokio::spawn(async move {
        stop.await;
        token.cancel();
    });
    match cli.command {
        Command::Demo { once: false, .. } => demo::live(&config, shutdown).await?,
        Command::Demo { once: true, json } => return demo_once(&config, json, shutdown).await,
        Command::Run => play(&config, Parts::ALL, true, shutdown).await?,
        Command::Web => {
            play(
                &config,
                Parts {
                    web: true,
                    ..Parts::NONE
                },
                false,
                shutdown,
            )
            .await?;
        }
        Command::Worker => {
            play(
                &config,
                Parts {
                    worker: true,
                    ..Parts::NONE
                },
                false,
                shutdown,
            )
            .await?;
        }
        Command::Scheduler => {
            play(
                &config,
                Parts {
                    scheduler: true,
                    ..Parts::NONE
                },
                false,
                shutdown,
            )
            .await?;
        }
        Command::Migrate => migrate(&config).await?,
        Command::Rules { what } => rules(&config, what).await?,
        Command::Sandbox {
            liveperson_port,
            smtp_port,
            twilio_port,
            mailbox_port,
            empty,
            inbound_url,
        } => {
            let script = if empty { Script::Empty } else { Script::Live };
            let smtp = demo::smtp_options();
            let ports = Options {
                liveperson_port,
                smtp_port,
                twilio_port,
                mailbox_port,
                ..Options::default()
            };
            let sandbox = Sandbox::start(Options {
                smtp,
                script,
                ..ports
            })
            .await?;
            if let Some(url) = inbound_url {
                sandbox.twilio().account().set_inbound_url(&url);
            }
            println!("{}", serde_json::to_string_pretty(sandbox.endpoints())?);
            shutdown.cancelled().await;
            sandbox.stop().await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn play(
    config: &Config,
    parts: Parts,
    migrate: bool,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let stopping = shutdown.clone();
    let database = Database::open(config, Durability::Durable).await?;
    let start = Start {
        parts,
        clock: Clock::System,
        migrate,
        demo: None,
        shutdown,
    };
    let running = match app::start(config, &database, start).await {
        Ok(running) => running,
        Err(error) => {
            database.close().await?;
            // Asked to stop while still waiting for the database: that is no failure.
            return if stopping.is_cancelled() {
                Ok(())
            } else {
                Err(error)
            };
        }
    };
    if let Some(address) = running.web {
        tracing::info!("Listening on {address}");
    }
    let ended = running.finish().await;
    database.close().await?;
    ended
}

async fn demo_once(
    config: &Config,
    json: bool,
    shutdown: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let rows = demo::once(config, shutdown).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", demo::table(&rows));
    }
    let agree = rows.iter().all(|row| row.agree);
    Ok(if agree {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    let database = Database::open(config, Durability::Durable).await?;
    let pool = db::pool(database.options.clone(), 2);
    app::migrate_when_up(&pool).await?;
    println!("The database is up to date.");
    pool.close().await;
    database.close().await
}

async fn rules(config: &Config, what: Rules) -> anyhow::Result<()> {
    let database = Database::open(config, Durability::Durable).await?;
    let pool = db::pool(database.options.clone(), 2);
    db::check_schema(&pool).await?;
    match what {
        Rules::Export => print!("{}", rules_file::print(&app::export_rules(&pool).await?)),
        Rules::Import { file } => {
            let mut text = String::new();
            if file.as_os_str() == "-" {
                std::io::stdin()
                    .read_to_string(&mut text)
                    .context("reading standard input")?;
            } else {
                text = std::fs::read_to_string(&file)
                    .with_context(|| format!("reading {}", file.display()))?;
            }
            let (entries, changed) =
                app::import_rules(&pool, &rules_file::parse(&text)?, &Clock::System).await?;
            println!("{entries} rules read, {changed} changed.");
        }
    }
    pool.close().await;
    database.close().await
}
