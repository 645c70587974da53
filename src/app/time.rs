//! One time for every process: this machine's clock is kept right by the database's.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock::Clock;
use crate::db;

/// How often a process compares its clock with the database's.
const CLOCK_WATCH: Duration = Duration::from_secs(10);

/// A machine's clock that is off by more is worth a word.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(2);

/// Keeps this process's clock by the database's.
pub(super) async fn keep_time(
    pool: PgPool,
    clock: Clock,
    shutdown: CancellationToken,
) -> &'static str {
    let mut warned = false;
    loop {
        let off = clock.now() - clock.machine();
        if off.abs() > CLOCK_TOLERANCE && !warned {
            warned = true;
            warn!(
                "This machine's clock and the database server's differ by {} s; the database's counts. Synchronise both (NTP)",
                off.num_seconds()
            );
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(CLOCK_WATCH) => {}
        }
        set_clock_right(&pool, &clock).await;
    }
    "clock"
}

/// Compares once. A database that is away leaves the clock as it was.
pub(super) async fn set_clock_right(pool: &PgPool, clock: &Clock) {
    let asked = clock.machine();
    match db::server::now(pool).await {
        Ok(shown) => {
            clock.set_right(asked, shown, clock.machine());
        }
        Err(error) => tracing::debug!("The database's clock cannot be read: {error}"),
    }
}
