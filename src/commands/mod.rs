//! Commands that do one thing and end: what they take and what they print. What they change, [`unread::control`] changes.

pub mod erase;
pub mod reminders;
pub mod roles;
pub mod rules;
pub mod sandbox;
pub mod suppressions;
pub mod users;

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use unread::app::{self, Database};
use unread::clock::Clock;
use unread::config::Config;
use unread::control::Error;
use unread::control::rules::By;
use unread::db;
use unread::domain::ids::AccountId;
use unread::hashing::Hasher;
use unread::postgres::Durability;

/// How the audit trail calls who runs a command.
const BY: &str = "command line";

fn by() -> By<'static> {
    By {
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

fn accounts(config: &Config) -> Vec<AccountId> {
    config.accounts.iter().map(|a| a.id.clone()).collect()
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
fn spoken(error: Error) -> anyhow::Error {
    match error {
        Error::Invalid(faults) => {
            let lines = faults.into_iter().map(|fault| match fault.field.as_str() {
                "/file" => fault.detail,
                place => format!("{place}: {}", fault.detail),
            });
            anyhow::anyhow!(lines.collect::<Vec<_>>().join("\n"))
        }
        other => other.into(),
    }
}
