//! `unread suppressions`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use unread::clock::Clock;
use unread::config::Config;
use unread::control::accounts::Accounts;
use unread::control::opt_outs::OptOutReview;
use unread::control::suppressions::{BadLines, Imports, SuppressionImport};
use unread::domain::contact::{Address, Suppression};
use unread::domain::ids::{AccountId, Channel};
use unread::suppressions_file::{self, Defaults};
use unread::{app, complain, control, printed, say};

use super::{BY, Tools, accounts, read_bytes, spoken};

#[derive(Subcommand)]
pub enum Suppressions {
    /// Store a list: one address a line, or CSV as many providers export it (docs/data-protection.md). Nothing is stored if a line is
    /// not understood. Exit code 0: every line was understood; 3: stored, with lines left out; 1: nothing stored
    Import {
        /// `-` for standard input
        file: PathBuf,
        #[arg(long)]
        account: Option<AccountId>,
        /// For lines that name no reason: `opted_out`, `bad_address`, complaint or blocked
        #[arg(long, default_value = "opted_out", value_parser = reason)]
        reason: Suppression,
        /// Store the other lines although some are not understood; those are printed
        #[arg(long)]
        leave_out_bad_lines: bool,
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
    /// List doubtful opt-outs: text messages that may have meant stop. Reminders have stopped already
    Review,
    /// Keep a doubtful opt-out: it is taken off the list
    Keep {
        /// As the list has it
        hash: String,
    },
    /// Undo a doubtful opt-out: reminders may go to the address again
    Undo {
        /// As the list has it
        hash: String,
    },
    /// Let an address be written to again
    Remove {
        address: String,
        #[arg(long)]
        account: Option<AccountId>,
    },
}

fn reason(word: &str) -> Result<Suppression, String> {
    Suppression::parse(word)
        .ok_or_else(|| "opted_out, bad_address, complaint or blocked".to_owned())
}

/// What a script must not take for "everything is in".
const LEFT_OUT: u8 = 3;

pub async fn run(config: &Config, what: Suppressions) -> anyhow::Result<ExitCode> {
    let tools = Tools::open(config).await?;
    let now = Clock::System.now();
    let address = |raw: &str, region: Option<&str>| -> anyhow::Result<Address> {
        suppressions_file::address(raw, region)
            .context("that is not an e-mail address or a phone number")
    };
    match what {
        Suppressions::Review => print_doubtful(&tools.pool, &accounts(config)).await?,
        Suppressions::Keep { hash } => {
            review(&tools, &accounts(config), &hash, OptOutReview::Keep).await?;
        }
        Suppressions::Undo { hash } => {
            review(&tools, &accounts(config), &hash, OptOutReview::Undo).await?;
        }
        Suppressions::Export { file } if file.as_os_str() == "-" => {
            export(&tools.pool, &accounts(config), &mut printed::Output).await?;
        }
        Suppressions::Export { file } => {
            let out = std::fs::File::create(&file)
                .with_context(|| format!("writing {}", file.display()))?;
            let mut out = std::io::BufWriter::new(out);
            let count = export(&tools.pool, &accounts(config), &mut out).await?;
            std::io::Write::flush(&mut out)?;
            say!("Suppressions written: {count}.");
        }
        Suppressions::Import {
            file,
            account,
            reason,
            leave_out_bad_lines,
        } => {
            let account = app::account(config, account.as_ref())?;
            let defaults = Defaults {
                account: account.id.clone(),
                accounts: Vec::new(),
                region: account.default_region.clone(),
                reason,
                now,
            };
            let list = (Imports::default().begin()?, read_bytes(&file)?);
            let (pool, hasher) = (&tools.pool, &tools.hasher);
            let bad_lines = BadLines::left_out_if(leave_out_bad_lines);
            let all = &accounts(config);
            let done =
                control::suppressions::import(pool, hasher, BY, list, all, defaults, bad_lines);
            let done = done.await.map_err(spoken)?;
            tools.close().await?;
            return Ok(report(&done));
        }
        Suppressions::Add {
            address: raw,
            account,
            reason,
        } => {
            let account = app::account(config, account.as_ref())?;
            let address = address(&raw, account.default_region.as_deref())?;
            let hash = tools.hash(&address).await?;
            let own = accounts(config).named(account.id.as_str())?;
            let which = (&own, address.channel(), &hash);
            control::suppressions::add(&tools.pool, &Clock::System, BY, which, reason).await?;
            say!("Suppressed.");
        }
        Suppressions::Remove {
            address: raw,
            account,
        } => {
            let account = app::account(config, account.as_ref())?;
            let address = address(&raw, account.default_region.as_deref())?;
            let hash = tools.hash(&address).await?;
            let own = accounts(config).named(account.id.as_str())?;
            let which = (&own, address.channel(), &hash);
            match control::suppressions::remove(&tools.pool, &Clock::System, BY, which).await {
                Ok(()) => say!("It may be written to again."),
                Err(control::ControlError::NotFound(_)) => say!("It was not suppressed."),
                Err(error) => return Err(error.into()),
            }
        }
    }
    tools.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// What was read and stored; lines that were left out go to standard error.
fn report(done: &SuppressionImport) -> ExitCode {
    say!(
        "Lines read: {} ({}). With a suppression: {}; new or changed: {}.",
        done.lines,
        done.layout,
        done.taken,
        done.changed
    );
    for (skip, count) in &done.skipped {
        say!("{count} {}.", skip.label());
    }
    if done.problems.is_empty() {
        return ExitCode::SUCCESS;
    }
    say!("Lines left out: {}", done.problems.len());
    for problem in &done.problems {
        complain!("{problem}");
    }
    ExitCode::from(LEFT_OUT)
}

/// Doubtful opt-outs printed at once.
const MOST: i64 = 10_000;

async fn print_doubtful(pool: &sqlx::PgPool, accounts: &Accounts) -> anyhow::Result<()> {
    let found = control::opt_outs::to_review(pool, accounts, MOST).await?;
    if found.is_empty() {
        say!("There is nothing to review.");
    }
    for one in found {
        let accounts: Vec<&str> = one.accounts.iter().map(AccountId::as_str).collect();
        say!(
            "{}  {}  {}  {}  {}  {}",
            suppressions_file::hex(&one.hash),
            one.channel.as_str(),
            one.since.format("%Y-%m-%dT%H:%M:%SZ"),
            one.doubt.as_str(),
            one.language.as_deref().unwrap_or("-"),
            accounts.join(",")
        );
    }
    Ok(())
}

async fn review(
    tools: &Tools,
    accounts: &Accounts,
    hash: &str,
    verdict: OptOutReview,
) -> anyhow::Result<()> {
    let parsed = suppressions_file::unhex(hash).context(
        "that is not a hash of 32 hexadecimal digits, as `unread suppressions review` lists them",
    )?;
    let mut settled = 0;
    for channel in Channel::ALL {
        let address = (channel, &parsed);
        match control::opt_outs::review(&tools.pool, &Clock::System, BY, accounts, address, verdict)
            .await
        {
            Ok(count) => settled += count,
            Err(control::ControlError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::ensure!(
        settled > 0,
        "there is no doubtful opt-out with this hash: someone may have reviewed it already"
    );
    say!(
        "{}",
        match verdict {
            OptOutReview::Keep => "Kept.",
            OptOutReview::Undo => "Undone: it may be written to again.",
        }
    );
    Ok(())
}

/// Writes all suppressions as CSV, page by page. Returns how many.
async fn export(
    pool: &sqlx::PgPool,
    all: &Accounts,
    out: &mut impl std::io::Write,
) -> anyhow::Result<usize> {
    out.write_all(suppressions_file::HEADER.as_bytes())?;
    let (mut last, mut count) = (None, 0);
    while let Some((lines, row)) = control::suppressions::export(pool, all, last.as_ref()).await? {
        out.write_all(lines.as_bytes())?;
        count += lines.lines().count();
        last = Some(row);
    }
    Ok(count)
}
