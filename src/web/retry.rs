//! What somebody has said once is not forgotten because the database is away at that moment.
//!
//! Twilio posts an answer to an SMS once, and a mail program its one-click POST. If it cannot be written down, the asker is told so,
//! but this process goes on trying.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::error::PublicError;
use crate::clock::Backoff;
use crate::db;

/// What waits in memory for the database at most; more is told to come again, as all of it is.
static WAITING: Semaphore = Semaphore::const_new(1_000);

/// A database that is away for longer is a disaster of another kind.
const PATIENCE: Duration = Duration::from_hours(1);

/// Does it. If the database is away, says so, and does it when the database is back. It may then have been done twice.
pub async fn until_database_returns<T, F, Fut>(act: F) -> Result<T, PublicError>
where
    F: Fn() -> Fut + Send + 'static,
    Fut: Future<Output = anyhow::Result<T>> + Send,
    T: Send,
{
    let done = act().await;
    if done.as_ref().is_err_and(db::is_away)
        && let Ok(place) = WAITING.try_acquire()
    {
        tokio::spawn(async move {
            let _place = place;
            let began = tokio::time::Instant::now();
            let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
            while began.elapsed() < PATIENCE {
                tokio::time::sleep(backoff.pause()).await;
                match act().await {
                    Err(error) if db::is_away(&error) => {}
                    Err(error) => {
                        tracing::error!("An opt-out or answer could not be stored: {error:#}");
                        return;
                    }
                    Ok(_) => {
                        tracing::info!(
                            "An opt-out or answer from while the database was away is stored"
                        );
                        return;
                    }
                }
            }
            tracing::error!("An opt-out or answer is lost: the database was away for too long");
        });
    }
    Ok(done?)
}
