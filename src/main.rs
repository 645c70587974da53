//! The command line: which role to play, and exit codes (0 well, 1 failed, 2 wrong settings or usage).

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;
use unread::app::{self, Database, Parts, Start};
use unread::clock::Clock;
use unread::config::{Config, ConfigError, Role};
use unread::control::consumers::Who;
use unread::domain::contact::{Address, Suppression};
use unread::domain::ids::{AccountId, ReminderId};
use unread::hashing::Hasher;
use unread::postgres::Durability;
use unread::sandbox::{Options, Sandbox, Script};
use unread::secret::Secret;
use unread::suppressions_file::{self, Defaults};
use unread::{beside, control, db, demo, doctor, dry_run, rules_file, telemetry};

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
    /// Try every connection that the settings describe, and say what to mend
    Doctor {
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Exit with 0 if the service on this machine is ready, else 1: the health check of a container without a shell
    Health,
    /// Change what the service on this machine logs, until it ends
    LogLevel {
        /// error, warn, info, debug or trace; also by part: `info,unread::jobs=debug`
        level: String,
    },
    /// Read the accounts as they are now and print who would be reminded when, and who not and why
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
    },
    /// Import or export reminder rules as a TOML file
    Rules {
        #[command(subcommand)]
        what: Rules,
    },
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
    /// Erase a consumer: conversations, decisions, and what reminders know of the person
    Erase(Erase),
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

#[derive(Subcommand)]
enum Reminders {
    /// Start a reminder anew that is unknown, undelivered, failed, expired or was cancelled by a person; everything is checked again
    SendAgain { id: i64 },
    /// Cancel a reminder that waits
    Cancel { id: i64 },
}

#[derive(Subcommand)]
enum Suppressions {
    /// Store a CSV file: one address a line, or named columns (docs/data-protection.md). Nothing is stored if a line is wrong
    Import {
        /// `-` for standard input
        file: PathBuf,
        #[arg(long)]
        account: Option<AccountId>,
        /// For lines that name no reason: `opted_out`, `bad_address`, complaint or blocked
        #[arg(long, default_value = "opted_out", value_parser = reason)]
        reason: Suppression,
    },
    /// Write all as CSV: hashes, no addresses
    Export {
        /// `-` for standard output
        file: PathBuf,
    },
    /// Suppress an e-mail address or phone number
    Add {
        address: String,
        #[arg(long)]
        account: Option<AccountId>,
        #[arg(long, default_value = "blocked", value_parser = reason)]
        reason: Suppression,
    },
    /// Let an address be written to again
    Remove {
        address: String,
        #[arg(long)]
        account: Option<AccountId>,
    },
}

#[derive(Subcommand)]
enum Users {
    /// Add a person and print a link with which a password is chosen, once, within two days
    Add {
        /// What the person logs in with; an e-mail address will do
        name: String,
        /// viewer, editor or administrator
        #[arg(long, default_value = "viewer")]
        role: unread::domain::access::Role,
        /// Read the password from standard input instead
        #[arg(long)]
        password_stdin: bool,
    },
    /// Print everybody
    List,
    /// Remove a person and end the person's sessions
    Remove { name: String },
    /// Print a link with which the person chooses a new password, once, within two days
    Password { name: String },
}

fn reason(word: &str) -> Result<Suppression, String> {
    Suppression::parse(word)
        .ok_or_else(|| "opted_out, bad_address, complaint or blocked".to_owned())
}

#[derive(clap::Args)]
#[group(required = true, multiple = false, args = ["consumer", "email", "phone"])]
struct Erase {
    #[arg(long)]
    account: Option<AccountId>,
    /// LivePerson's consumer id, or the brand's own customer id
    #[arg(long)]
    consumer: Option<String>,
    #[arg(long)]
    email: Option<String>,
    #[arg(long)]
    phone: Option<String>,
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

impl Command {
    /// Which settings the command cannot do without.
    fn role(&self) -> Role {
        match self {
            Self::Demo { .. } => Role::Demo,
            Self::Run => Role::Run,
            Self::Web => Role::Web,
            Self::Worker => Role::Worker,
            Self::Scheduler => Role::Scheduler,
            Self::Migrate
            | Self::Rules { .. }
            | Self::Reminders { .. }
            | Self::Suppressions { .. }
            | Self::Users { .. }
            | Self::Erase(_) => Role::Migrate,
            Self::Doctor { .. } | Self::Health | Self::LogLevel { .. } => Role::Doctor,
            Self::Scan { .. } => Role::Scan,
            Self::Sandbox { .. } => Role::Sandbox,
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let role = cli.command.role();
    let config = match Config::load(cli.config.as_deref(), role) {
        Err(problems) if role == Role::Doctor => {
            let json = matches!(cli.command, Command::Doctor { json: true });
            return tell(&doctor::of_settings(&problems), json);
        }
        config => config?,
    };
    let _log = telemetry::start_log(&config.log)?;
    // Whoever runs a command beside the service has read them when that started; doctor has them in its table.
    if matches!(
        role,
        Role::Run | Role::Web | Role::Worker | Role::Scheduler | Role::Demo
    ) {
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
        Command::Demo { once: false, .. } => demo::live(&config, shutdown).await?,
        Command::Demo { once: true, json } => return demo_once(&config, json, shutdown).await,
        Command::Run => play(&config, Parts::ALL, true, shutdown).await?,
        Command::Web => play(&config, Parts::WEB, false, shutdown).await?,
        Command::Worker => play(&config, Parts::WORKER, false, shutdown).await?,
        Command::Scheduler => play(&config, Parts::SCHEDULER, false, shutdown).await?,
        Command::Migrate => migrate(&config).await?,
        Command::Doctor { json } => {
            let progress = |part: &str| eprintln!("Trying: {part} …");
            let lines = tokio::select! {
                lines = doctor::examine(&config, &Clock::System, &progress) => lines,
                () = shutdown.cancelled() => return Ok(ExitCode::FAILURE),
            };
            return tell(&lines, json);
        }
        Command::Health => beside::is_ready(&config).await?,
        Command::LogLevel { level } => {
            beside::set_log_level(&config, &level).await?;
            println!("The service on this machine logs {level} until it ends.");
        }
        Command::Scan { account, rules, .. } => {
            let wanted = dry_run::Wanted { account, rules };
            let out = std::io::stdout().lock();
            tokio::select! {
                done = dry_run::run(&config, &wanted, &Clock::System, out, &dry_run::show) => done?,
                () = shutdown.cancelled() => return Ok(ExitCode::FAILURE),
            };
        }
        Command::Rules { what } => rules(&config, what).await?,
        Command::Reminders { what } => return reminders(&config, what).await,
        Command::Suppressions { what } => suppressions(&config, what).await?,
        Command::Users { what } => users(&config, what).await?,
        Command::Erase(whom) => erase(&config, &whom).await?,
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

fn tell(lines: &[doctor::Line], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        println!("{}", serde_json::to_string_pretty(lines)?);
    } else {
        print!("{}", doctor::table(lines));
    }
    Ok(if doctor::healthy(lines) {
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
            let text = read(&file)?;
            let (entries, changed) =
                app::import_rules(&pool, &rules_file::parse(&text)?, &Clock::System).await?;
            println!("{entries} rules read, {changed} changed.");
        }
    }
    pool.close().await;
    database.close().await
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("reading standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

/// A migrated database, for commands that do one thing and end.
struct Tools {
    database: Database,
    pool: sqlx::PgPool,
    hasher: Hasher,
}

impl Tools {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let database = Database::open(config, Durability::Durable).await?;
        let pool = db::pool(database.options.clone(), 2);
        db::check_schema(&pool).await?;
        let hasher = app::hasher(config, &pool).await?;
        Ok(Self {
            database,
            pool,
            hasher,
        })
    }

    async fn close(self) -> anyhow::Result<()> {
        self.pool.close().await;
        self.database.close().await
    }
}

/// How the audit trail calls who runs a command.
const BY: &str = "command line";

async fn reminders(config: &Config, what: Reminders) -> anyhow::Result<ExitCode> {
    let tools = Tools::open(config).await?;
    let (pool, clock) = (&tools.pool, &Clock::System);
    let accounts: Vec<AccountId> = config.accounts.iter().map(|a| a.id.clone()).collect();
    let (id, done, answer) = match what {
        Reminders::SendAgain { id } => (
            id,
            "is sent again, if it is still owed",
            control::reminders::send_again(pool, clock, BY, &accounts, ReminderId(id)).await,
        ),
        Reminders::Cancel { id } => (
            id,
            "is cancelled",
            control::reminders::cancel(pool, clock, BY, &accounts, ReminderId(id)).await,
        ),
    };
    tools.close().await?;
    match answer {
        Ok(()) => {
            println!("Reminder {id} {done}.");
            Ok(ExitCode::SUCCESS)
        }
        Err(control::Error::Internal(error)) => Err(error),
        Err(refused) => {
            eprintln!("unread: {refused}");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn suppressions(config: &Config, what: Suppressions) -> anyhow::Result<()> {
    let tools = Tools::open(config).await?;
    let now = Clock::System.now();
    let address = |raw: &str, region: Option<&str>| -> anyhow::Result<Address> {
        suppressions_file::address(raw, region)
            .context("that is no e-mail address and no phone number")
    };
    match what {
        Suppressions::Export { file } if file.as_os_str() == "-" => {
            export(&tools.pool, &mut std::io::stdout().lock()).await?;
        }
        Suppressions::Export { file } => {
            let out = std::fs::File::create(&file)
                .with_context(|| format!("writing {}", file.display()))?;
            let mut out = std::io::BufWriter::new(out);
            let count = export(&tools.pool, &mut out).await?;
            std::io::Write::flush(&mut out)?;
            println!("{count} suppressions written.");
        }
        Suppressions::Import {
            file,
            account,
            reason,
        } => {
            let account = app::account(config, account.as_ref())?;
            let defaults = Defaults {
                account: &account.id,
                region: account.default_region.as_deref(),
                reason,
                now,
            };
            let text = read(&file)?;
            let accounts: Vec<AccountId> = config.accounts.iter().map(|a| a.id.clone()).collect();
            let (pool, hasher) = (&tools.pool, &tools.hasher);
            let done =
                control::suppressions::import(pool, hasher, BY, &text, &defaults, &accounts).await;
            let done = done.map_err(spoken)?;
            println!(
                "{} lines read, {} suppressions new or changed.",
                done.lines, done.changed
            );
        }
        Suppressions::Add {
            address: raw,
            account,
            reason,
        } => {
            let account = app::account(config, account.as_ref())?;
            let address = address(&raw, account.default_region.as_deref())?;
            let hash = tools.hasher.address(&address);
            let which = (&account.id, address.channel(), &hash);
            control::suppressions::add(&tools.pool, &Clock::System, BY, which, reason).await?;
            println!("Suppressed.");
        }
        Suppressions::Remove {
            address: raw,
            account,
        } => {
            let account = app::account(config, account.as_ref())?;
            let address = address(&raw, account.default_region.as_deref())?;
            let hash = tools.hasher.address(&address);
            let which = (&account.id, address.channel(), &hash);
            match control::suppressions::remove(&tools.pool, &Clock::System, BY, which).await {
                Ok(()) => println!("It may be written to again."),
                Err(control::Error::NotFound(_)) => println!("It was not suppressed."),
                Err(error) => return Err(error.into()),
            }
        }
    }
    tools.close().await
}

/// Writes all suppressions as CSV, page by page. Returns how many.
async fn export(pool: &sqlx::PgPool, out: &mut impl std::io::Write) -> anyhow::Result<usize> {
    out.write_all(suppressions_file::HEADER.as_bytes())?;
    let (mut last, mut count) = (None, 0);
    while let Some((lines, row)) = control::suppressions::export(pool, last.as_ref()).await? {
        out.write_all(lines.as_bytes())?;
        count += lines.lines().count();
        last = Some(row);
    }
    Ok(count)
}

/// A fault of a file is told by its line, without the name that the API has for it.
fn spoken(error: control::Error) -> anyhow::Error {
    match error {
        control::Error::Invalid(faults) => {
            let lines: Vec<String> = faults.into_iter().map(|fault| fault.detail).collect();
            anyhow::anyhow!(lines.join("\n"))
        }
        other => other.into(),
    }
}

/// By whom the audit trail says that the command line was used.
const COMMAND: &str = "unread users";

async fn users(config: &Config, what: Users) -> anyhow::Result<()> {
    let tools = Tools::open(config).await?;
    let (pool, now) = (&tools.pool, Clock::System.now());
    let told = |name: &str, link: &control::users::Link| -> anyhow::Result<()> {
        let url = control::users::address_of(&config.web.public_url, link)?;
        println!(
            "{name} chooses a password at {url} (works once, until {})",
            link.expires_at.format("%Y-%m-%d %H:%M UTC")
        );
        Ok(())
    };
    match what {
        Users::Add {
            name,
            role,
            password_stdin: true,
        } => {
            let password = Secret::new(read(Path::new("-"))?.trim_end_matches(['\r', '\n']));
            control::users::add_with_password(pool, &name, role, &password, COMMAND, now).await?;
            println!("{name} can log in as {role}.");
        }
        Users::Add { name, role, .. } => {
            let (user, link) = control::users::add(pool, &name, role, COMMAND, now).await?;
            told(&user.name, &link)?;
        }
        Users::List => {
            for user in control::users::list(pool).await? {
                let seen = user.seen_at.map_or("never logged in".to_owned(), |at| {
                    format!("last seen {}", at.format("%Y-%m-%d %H:%M UTC"))
                });
                println!("{:<32} {:<14} {seen}", user.name, user.role.as_str());
            }
        }
        Users::Remove { name } => {
            let user = control::users::named(pool, &name).await?;
            control::users::remove(pool, user.id, COMMAND, now).await?;
            println!("{} is removed.", user.name);
        }
        Users::Password { name } => {
            let user = control::users::named(pool, &name).await?;
            let link = control::users::new_link(pool, user.id, COMMAND, now).await?;
            told(&user.name, &link)?;
        }
    }
    tools.close().await
}

async fn erase(config: &Config, whom: &Erase) -> anyhow::Result<()> {
    let tools = Tools::open(config).await?;
    let account = app::account(config, whom.account.as_ref())?;
    let region = account.default_region.as_deref();
    let who = match (&whom.consumer, whom.email.as_ref().or(whom.phone.as_ref())) {
        (Some(id), _) => Who::Consumer(id.clone()),
        (None, Some(raw)) => Who::address(&tools.hasher, raw, region)
            .map_err(|_| anyhow::anyhow!("that is no e-mail address and no phone number"))?,
        (None, None) => anyhow::bail!("name the consumer: --consumer, --email or --phone"),
    };
    let erased =
        control::consumers::erase(&tools.pool, &Clock::System, BY, &account.id, &who).await?;
    println!(
        "Erased: {} conversations, {} decisions; {} reminders made anonymous, {} of them cancelled. Opt-outs stay, as keyed hashes.",
        erased.conversations, erased.decisions, erased.reminders, erased.cancelled
    );
    if erased.still_open > 0 {
        println!(
            "{} conversations are open at LivePerson and are not read again. Delete them there, too.",
            erased.still_open
        );
    }
    if erased.in_flight > 0 {
        println!(
            "{} reminders are being sent at this moment and cannot be called back.",
            erased.in_flight
        );
    }
    tools.close().await
}
