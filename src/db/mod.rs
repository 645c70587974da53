//! The only SQL of the project outside the queue: free functions named by intent, one file per noun.
//!
//! Statements are set-based: a page of conversations or a batch of reminders costs a constant number of them. They are plain
//! strings checked by tests against a real server, not by macros at build time: building must not need a database, nor a
//! generated copy of its answers.

pub mod accounts;
pub mod audit;
pub mod beats;
pub mod changes;
pub mod circuits;
pub mod columns;
pub mod consumers;
pub mod conversations;
pub mod decisions;
pub mod dismissals;
pub mod drafts;
pub mod erase;
pub mod forecast;
pub mod heartbeat;
pub mod hints;
pub mod holds;
pub mod idempotency;
pub mod incidents;
pub mod instance;
pub mod journal;
pub mod known;
pub mod ledger;
pub mod limits;
pub mod links;
pub mod live;
pub mod migrations;
pub mod open_badges;
pub mod opt_outs;
pub mod past;
pub mod pauses;
pub mod pending_logins;
pub mod provider_reports;
pub mod recent_passes;
pub mod refusals;
pub mod rekey;
pub mod reminder_counts;
pub mod reminders;
pub mod reports;
pub mod restore;
pub mod restored;
pub mod rule_list;
pub mod rules;
pub mod scans;
pub mod schedule_ticks;
mod schema;
pub mod second_factors;
pub mod sender_checks;
pub mod server;
pub mod servers;
pub mod sessions;
pub mod setup;
pub mod sso;
pub mod statistics;
pub mod suppressions;
pub mod test_messages;
pub mod tokens;
pub mod unreadable;
pub mod upkeep;
pub mod users;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};

pub use schema::{
    CARRY_OVER, Schema, SchemaProblem, check_schema, migrate, missing_migrations, newest_migration,
};

/// Opens a pool; it connects when first used.
pub fn pool(options: PgConnectOptions, connections: u32) -> PgPool {
    pool_with_key(options, connections, 0, None)
}

/// The same, and what is suppressed over it is marked with the name of the key that addresses are hashed with. So many connections are `kept`
/// open once they are made, however little there is to do: where the server has no more to give, others cannot take them.
pub fn pool_with_key(
    options: PgConnectOptions,
    connections: u32,
    kept: u32,
    key_id: Option<String>,
) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .min_connections(kept.min(connections))
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(move |conn, _| {
            let key_id = key_id.clone();
            Box::pin(async move {
                sqlx::raw_sql(SESSION).execute(&mut *conn).await?;
                if let Some(key_id) = key_id {
                    sqlx::query("select set_config('unread.address_key', $1, false)")
                        .bind(key_id)
                        .execute(conn)
                        .await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(options.application_name(restore::APPLICATION))
}

/// Opens a pool for migrations. A statement that waits for a lock keeps everybody waiting behind it, who asks for the same table: it gives up
/// soon, and is tried again. That it is long is no news.
pub fn pool_for_migrations(options: PgConnectOptions) -> PgPool {
    let options = options.disable_statement_logging();
    PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|conn, _| {
            Box::pin(async move {
                let session = format!("{SESSION}; set lock_timeout = '{MIGRATION_LOCK_TIMEOUT}'");
                sqlx::raw_sql(sqlx::AssertSqlSafe(session))
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .connect_lazy_with(options.application_name(restore::APPLICATION))
}

/// So long a migration may keep others waiting while it waits itself.
const MIGRATION_LOCK_TIMEOUT: &str = "2s";

/// Whether a statement has waited too long for a lock, or two that waited for each other were told apart.
pub fn is_locked_out(error: &anyhow::Error) -> bool {
    let mut causes = error.chain();
    causes.any(|cause| match cause.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Database(error)) => {
            matches!(error.code().as_deref(), Some("55P03" | "40P01"))
        }
        _ => false,
    })
}

/// What each session begins with.
///
/// A process that stands still in the middle of a transaction (a frozen machine) would hold its locks for as long: the server ends
/// such a transaction.
///
/// A connection keeps the plan of a statement until its tables are analysed anew, and one that was made while a table was small reads all
/// of it. `statistics::refresh` has a table analysed when it has grown; until then it helps that a page found by an index is said to cost
/// little more than the next one of the table, which is what it costs on a disk without a moving head, and in memory. To plan each
/// statement anew would cost more than most of them.
///
/// What has no index to go by is read from end to end, at a price that may have the server compile the statement (`jit`) and divide it
/// among processes that it starts for that (`max_parallel_workers_per_gather`): both take longer than any of ours.
const SESSION: &str = "set idle_in_transaction_session_timeout = '30s'; set random_page_cost = 1.1; set jit = off; \
     set max_parallel_workers_per_gather = 0";

/// This transaction's commit does not wait for the disk. For what a crash of the server may forget.
pub async fn without_waiting_for_the_disk(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("set local synchronous_commit = off")
        .execute(conn)
        .await
        .map(drop)
}

/// Several statements that all see the database as it is at one moment. They can change nothing.
pub async fn one_moment(pool: &PgPool) -> sqlx::Result<sqlx::Transaction<'static, sqlx::Postgres>> {
    pool.begin_with("begin isolation level repeatable read read only")
        .await
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

/// Why no connection could be made when it was last tried; empty while they can.
static NO_CONNECTION: Mutex<String> = Mutex::new(String::new());

/// Remembers why no connection can be made, or that they can (`None`). Returns whether that is news.
pub fn note_reachable(why_not: Option<&sqlx::Error>) -> bool {
    let now = why_not.map(ToString::to_string).unwrap_or_default();
    let mut known = NO_CONNECTION.lock().unwrap_or_else(PoisonError::into_inner);
    let is_news = *known != now;
    *known = now;
    is_news
}

/// What an error says. A pool that has no connection to give knows no reason: then the one that connections were last refused for.
pub fn explain(error: &sqlx::Error) -> String {
    let why = NO_CONNECTION.lock().unwrap_or_else(PoisonError::into_inner);
    match error {
        sqlx::Error::PoolTimedOut if !why.is_empty() => format!("no connection: {why}"),
        sqlx::Error::PoolTimedOut => "all connections of this process are in use".to_owned(),
        error => error.to_string(),
    }
}

/// The same for an error that has others behind it.
pub fn explain_all(error: &anyhow::Error) -> String {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<sqlx::Error>());
    match causes.find(|cause| matches!(cause, sqlx::Error::PoolTimedOut)) {
        Some(timed_out) => format!("{error:#} ({})", explain(timed_out)),
        None => format!("{error:#}"),
    }
}

/// Whether an error means that there is no server to talk to, or not for us: whatever was asked is not at fault.
pub fn is_away(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut) => true,
        // Connection exceptions, too many connections, and the server's going down or coming up.
        Some(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
            code.starts_with("08") || code.starts_with("57P0") || code == "53300"
        }),
        _ => false,
    }
}
