//! `unread restored` and `unread moved`: a person decides for a database of which it is not sure that it is the one that sent.

mod kept;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::Args;
use unread::app;
use unread::clock::Clock;
use unread::config::Config;
use unread::control::restored::{RestoreResult, RestoredRequest, lost_time, restored};
use unread::control::{ControlError, hold};
use unread::jobs::context::Context;
use unread::metrics::Metrics;
use unread::{complain, say};

use self::kept::FoundJournal;
use super::{Tools, by};

#[derive(Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub struct RestoredCommand {
    /// When the backup was made, 2026-01-05T14:00:00Z; an earlier moment is safe, a later one is not
    #[arg(long, value_name = "TIME", required_unless_present = "nothing_lost")]
    lost_from: Option<DateTime<Utc>>,
    /// When the last message was sent before the restore, if that was later than a process or the journal last knew the database
    #[arg(long, value_name = "TIME")]
    until: Option<DateTime<Utc>>,
    /// Go on without opt-outs, complaints and erasures of the lost time
    #[arg(long, conflicts_with = "journal")]
    no_journal: bool,
    /// Take what the journal has, although something of the lost time is missing in it
    #[arg(long, conflicts_with = "no_journal")]
    incomplete_journal: bool,
    /// Read the journal from this file, one line or one post on a line, as the receiver of `UNREAD_JOURNAL_URL` has it; `-` is standard input
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// A backup was restored and this cannot have been detected: no process that knew the database is still running, no journal file was kept
    #[arg(long)]
    unnoticed: bool,
    /// No backup was restored, the database was only down, or another installation's process used it by mistake: send what is held and still in
    /// time
    #[arg(long, conflicts_with_all = ["lost_from", "until", "no_journal", "incomplete_journal", "journal", "unnoticed"])]
    nothing_lost: bool,
}

/// Nothing is held, so there is nothing to decide.
const NOTHING_HELD: u8 = 4;

pub async fn run(config: &Config, wish: RestoredCommand) -> anyhow::Result<ExitCode> {
    let tools = Tools::open(config).await?;
    let decided = match wish.lost_from {
        Some(lost_from) => take_up(config, &tools, lost_from, wish).await,
        None => hold::nothing_lost(&tools.pool, &Clock::System, by())
            .await
            .map(|()| say!("Nothing is on hold any more."))
            .map_err(spoken),
    };
    let refused = decided
        .as_ref()
        .is_err_and(|error| matches!(error.downcast_ref(), Some(ControlError::Conflict(_))));
    let nothing_held = refused && unread::db::holds::active(&tools.pool).await?.is_empty();
    tools.close().await?;
    match decided {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if nothing_held => {
            complain!("unread: {error:#}");
            Ok(ExitCode::from(NOTHING_HELD))
        }
        Err(error) => Err(error),
    }
}

async fn take_up(
    config: &Config,
    tools: &Tools,
    lost_from: DateTime<Utc>,
    wish: RestoredCommand,
) -> anyhow::Result<()> {
    let ctx = app::context(
        config,
        &tools.pool,
        &Clock::System,
        &tools.hasher,
        &Metrics::new(),
    )?;
    let journal = match &wish.journal {
        _ if wish.no_journal => None,
        Some(file) => Some(FoundJournal::elsewhere(file, config, &tools.pool).await?),
        None => FoundJournal::here(config)?,
    };
    let (no_journal, incomplete) = (wish.no_journal, wish.incomplete_journal);
    let mut wish = RestoredRequest {
        lost_from,
        lost_until: wish.until,
        journal: None,
        remembered: app::journal::remembered(config)?,
        unnoticed: wish.unnoticed,
    };
    if let Some(journal) = journal {
        let lost = lost_time(&ctx, &wish, by().now).await.map_err(spoken)?;
        journal.covers((lost.from, lost.until), &tools.hasher, incomplete)?;
        wish.journal = Some(journal.entries());
    } else if !no_journal {
        bail!("{}", without_journal(&ctx, &wish).await?);
    }
    let done = restored(&ctx, &wish, by()).await.map_err(spoken)?;
    print(&done, wish.journal.is_some());
    Ok(())
}

/// What is lost without a journal.
async fn without_journal(ctx: &Context, wish: &RestoredRequest) -> anyhow::Result<String> {
    let lost = lost_time(ctx, wish, by().now).await.map_err(spoken)?;
    let hours = kept::hours(lost.from, lost.until);
    Ok(format!(
        "there is no journal here, so opt-outs, complaints and erasures of {hours} hours ({} to {}) are lost: those people would get \
         messages. Name a journal (UNREAD_JOURNAL_FILE with UNREAD_SECRET, or --journal), or add --no-journal to go on without",
        lost.from, lost.until
    ))
}

fn print(done: &RestoreResult, with_journal: bool) {
    if let Some(lost) = done.lost {
        say!("Lost: what was done from {} to {}.", lost.from, lost.until);
    }
    for (channel, count) in &done.unknown {
        say!("{count} {channel} reminders may have been sent and are not sent again.");
    }
    if done.looked_up > 0 {
        say!(
            "{} of them are looked up at their provider; those it does not have are sent if they have not expired.",
            done.looked_up
        );
    }
    if with_journal {
        say!(
            "From the journal: {} addresses opted out, {} allowed again, {} conversations erased again.",
            done.suppressed,
            done.lifted,
            done.erased
        );
    }
    say!("Nothing is on hold any more.");
}

/// Takes over a database that was moved.
pub async fn moved(config: &Config) -> anyhow::Result<()> {
    let tools = Tools::open(config).await?;
    let decided = match app::journal::remembered(config) {
        Ok(seen) => hold::moved(&tools.pool, &Clock::System, seen.as_ref(), by())
            .await
            .map_err(spoken),
        Err(error) => Err(error),
    };
    tools.close().await?;
    decided?;
    say!("This database takes over: nothing is on hold.");
    Ok(())
}

fn spoken(error: ControlError) -> anyhow::Error {
    match error {
        ControlError::Internal(error) => error,
        refused => super::spoken(refused),
    }
}
