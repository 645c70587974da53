//! Every statement on `apalis.jobs` and `apalis.workers`, and nothing else.
//!
//! Two rules keep them free of deadlocks and of lost rows. Whoever changes several rows for a caller locks them in the
//! order of their keys, and everybody else uses `skip locked` and comes back later. And whoever decides by a row's state
//! decides by what the *locking* read returned: a second look in the same statement would still see the old version.

mod held;
mod schedule;
mod workers;

use anyhow::Context;
use apalis_postgres::PostgresStorage;
use sqlx::PgPool;

pub use held::{FETCH, fetch_without};
pub(super) use held::{Outcome, Row, RowClaim, fetch, hand_back, settle};
pub use schedule::Depth;
pub(super) use schedule::{cancel, dead, depth, missing, one_per_key, purge_dead, schedule};
pub(super) use workers::{heartbeat, remove_workers, rescue};

/// The channel to LISTEN on; the payload is the queue's name.
pub(super) const CHANNEL: &str = "unread_queue";

/// Rows per fetch or settlement: enough to make the round trip cheap, few enough to keep the statement short.
pub(super) const BATCH: usize = 200;

pub(super) async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    PostgresStorage::<()>::setup(pool)
        .await
        .context("migrating apalis' tables")?;
    let mut ours = sqlx::migrate!();
    // A history of its own: the project's other migrations know nothing of these, nor apalis of ours.
    ours.dangerous_set_table_name("apalis._unread_migrations");
    ours.run(pool)
        .await
        .context("preparing apalis' tables for jobs")
}
