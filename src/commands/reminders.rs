//! `unread reminders`.

use std::process::ExitCode;

use clap::Subcommand;
use unread::clock::Clock;
use unread::config::Config;
use unread::domain::ids::ReminderId;
use unread::{complain, control, say};

use super::{BY, Tools, accounts};

#[derive(Subcommand)]
pub enum Reminders {
    /// Send a reminder again that is unknown, undelivered, failed, expired or was cancelled by a person; everything is checked again
    SendAgain { id: i64 },
    /// Cancel a reminder that waits
    Cancel { id: i64 },
}

pub async fn run(config: &Config, what: Reminders) -> anyhow::Result<ExitCode> {
    let tools = Tools::open(config).await?;
    let (pool, clock) = (&tools.pool, &Clock::System);
    let accounts = accounts(config);
    let (id, done, answer) = match what {
        Reminders::SendAgain { id } => (
            id,
            "is sent again, if the message is still unread",
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
            say!("Reminder {id} {done}.");
            Ok(ExitCode::SUCCESS)
        }
        Err(control::ControlError::Internal(error)) => Err(error),
        Err(refused) => {
            complain!("unread: {refused}");
            Ok(ExitCode::FAILURE)
        }
    }
}
