//! Commands that do one thing and end: what they take and what they print. What they change, [`unread::control`] changes.

pub mod backup;
#[cfg(feature = "demo")]
pub mod demo;
pub mod diagnostics;
pub mod erase;
pub mod live;
pub mod reminders;
pub mod restored;
pub mod roles;
pub mod rules;
#[cfg(feature = "demo")]
pub mod sandbox;
pub mod suppressions;
pub mod users;

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use unread::app::{self, Database};
use unread::clock::Clock;
use unread::config::Config;
use unread::control::ControlError;
use unread::control::accounts::Accounts;
use unread::control::rules::ChangeAuthor;
use unread::db;
use unread::domain::contact::Address;
use unread::hashing::Hasher;

/// How the audit trail calls who runs a command.
const BY: &str = "command line";

fn by() -> ChangeAuthor<'static> {
    ChangeAuthor {
        name: BY,
        now: Clock::System.now(),
    }
}

/// A migrated database to work on.
struct Tools {
    database: Database,
    pool: sqlx::PgPool,
    hasher: Hasher,
}

impl Tools {
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let database = Database::find(config).await?;
        let pool = db::pool_with_key(database.options.clone(), 2, 0, app::key_id(config));
        db::check_schema(&pool).await?;
        let hasher = app::hasher(config, &pool).await?;
        Ok(Self {
            database,
            pool,
            hasher,
        })
    }

    /// The hash of an address; what is kept of it under an older key is moved to the present one.
    async fn hash(&self, address: &Address) -> anyhow::Result<[u8; 16]> {
        let moves = self.hasher.moves(address);
        let mut conn = self.pool.acquire().await?;
        db::rekey::ledger(&mut conn, &moves, Clock::System.now()).await?;
        Ok(self.hasher.address(address))
    }

    async fn close(self) -> anyhow::Result<()> {
        self.pool.close().await;
        self.database.close().await
    }
}

/// Who runs commands sees the whole installation.
fn accounts(config: &Config) -> Accounts {
    let ids = config.accounts.iter().map(|a| a.id.clone());
    Accounts::of_installation(ids.collect())
}

/// A file's bytes; `-` is standard input.
fn read_bytes(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("reading standard input")?;
        return Ok(bytes);
    }
    std::fs::read(file).with_context(|| format!("reading {}", file.display()))
}

/// A file's text; `-` is standard input.
fn read(file: &Path) -> anyhow::Result<String> {
    let text = String::from_utf8(read_bytes(file)?);
    text.with_context(|| format!("reading {}: it is not UTF-8", file.display()))
}

/// Faults of a file are told line by line, by their place in it; the name that the API has for the file is left out.
fn spoken(error: ControlError) -> anyhow::Error {
    match error {
        ControlError::Invalid(faults) => {
            let lines = faults.into_iter().map(|fault| match fault.field.as_str() {
                "/file" => fault.detail,
                place => format!("{place}: {}", fault.detail),
            });
            anyhow::anyhow!(lines.collect::<Vec<_>>().join("\n"))
        }
        other => other.into(),
    }
}
