//! The only SQL of the project outside the queue: free functions named by intent, one file per noun.
//!
//! Statements are set-based: a page of conversations or a batch of reminders costs a constant number of them. They are plain
//! strings checked by tests against a real server, not by macros at build time: building must not need a database, nor a
//! generated copy of its answers.

pub mod accounts;
pub mod audit;
pub mod changes;
pub mod circuits;
pub mod conversations;
pub mod decisions;
pub mod drafts;
pub mod erase;
pub mod forecast;
pub mod idempotency;
pub mod instance;
pub mod ledger;
pub mod limits;
pub mod links;
pub mod pages;
pub mod pauses;
pub mod reports;
pub mod rulebook;
pub mod rules;
pub mod scans;
pub mod server;
pub mod sessions;
pub mod setup;
pub mod slots;
pub mod sso;
pub mod suppressions;
pub mod tokens;
pub mod upkeep;
pub mod users;

use std::time::Duration;

use sqlx::Connection as _;
use sqlx::PgConnection;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

static MIGRATOR: Migrator = sqlx::migrate!();

/// Opens a pool; it connects when first used.
///
/// A process that stands still in the middle of a transaction (a frozen machine) would hold its locks for as long: the server
/// ends such a transaction.
pub fn pool(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|conn, _| {
            Box::pin(async {
                sqlx::query("set idle_in_transaction_session_timeout = '30s'")
                    .execute(conn)
                    .await
                    .map(drop)
            })
        })
        .connect_lazy_with(options.application_name("unread"))
}

/// Whether the database answers. Asks on a connection of its own, so that the error says what is wrong and not that a pool is
/// empty.
pub async fn ping(pool: &PgPool) -> sqlx::Result<()> {
    let options = pool.connect_options();
    let asked = tokio::time::timeout(Duration::from_secs(5), async {
        PgConnection::connect_with(&options).await?.close().await
    });
    asked
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut))
}

/// Brings the ledger's tables up to date. The queue's are migrated by `jobs::queue`.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    MIGRATOR.run(pool).await
}

#[derive(Debug, thiserror::Error)]
pub enum SchemaProblem {
    #[error(
        "the database is not migrated (migration {missing} is missing): run `unread migrate` first"
    )]
    Behind { missing: i64 },
    #[error(
        "the database was migrated by a newer version of unread (migration {unknown}): use that version"
    )]
    Ahead { unknown: i64 },
    #[error("the database cannot be read: {0}")]
    Unreachable(#[from] sqlx::Error),
}

/// Whether the database has exactly the migrations that this program knows.
pub async fn check_schema(pool: &PgPool) -> Result<(), SchemaProblem> {
    let known: Vec<i64> = MIGRATOR.iter().map(|m| m.version).collect();
    let table: Option<String> = sqlx::query_scalar("select to_regclass('_sqlx_migrations')::text")
        .fetch_one(pool)
        .await?;
    let applied: Vec<i64> = match table {
        Some(_) => {
            sqlx::query_scalar("select version from _sqlx_migrations where success")
                .fetch_all(pool)
                .await?
        }
        None => Vec::new(),
    };
    if let Some(missing) = known.iter().find(|v| !applied.contains(v)) {
        return Err(SchemaProblem::Behind { missing: *missing });
    }
    if let Some(unknown) = applied.iter().find(|v| !known.contains(v)) {
        return Err(SchemaProblem::Ahead { unknown: *unknown });
    }
    Ok(())
}
