//! LivePerson's limit for one account, shared by all processes, and who goes first under it.
//!
//! A re-check reserves the next turn and waits for it. Everything else takes a turn only at the moment at which one is free and
//! reserves none: so a re-check stands behind other re-checks and at most one turn of something else, and whoever gives up waiting
//! leaves nothing behind that others would have to wait out. Calls for people have a limit of their own as well, a fifth of the
//! account's, and are refused where they would have to wait for longer than a person should.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::PgPool;

use crate::db::limits;
use crate::domain::ids::AccountId;
use crate::liveperson::{Purpose, TooBusy, Turnstile};
use crate::metrics::Metrics;

/// A person is told to come back rather than wait for longer.
const PERSON_WAITS: Duration = Duration::from_secs(5);
/// The share of the account's rate that people may use.
const SHARE_OF_PEOPLE: f64 = 0.2;
/// Calls for people at once: what one look at an account takes.
const PEOPLE_AT_ONCE: f64 = 5.0;
/// What a caller waits when the database does not say for how long.
const UNKNOWN: Duration = Duration::from_secs(1);

pub struct SharedTurnstile {
    pool: PgPool,
    key: String,
    per_second: f64,
    metrics: Metrics,
}

impl SharedTurnstile {
    pub fn new(pool: PgPool, account: &AccountId, per_second: f64, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            pool,
            key: format!("liveperson:{account}"),
            per_second,
            metrics,
        })
    }

    /// The next turn that no other re-check has.
    async fn next_turn(&self) {
        loop {
            let reserved = limits::reserve(&self.pool, &self.key, self.per_second).await;
            tokio::time::sleep(reserved.unwrap_or_else(|error| unknown(&error))).await;
            // A 429 that another process met while we waited holds us too, and those who waited with us must not all go at its end.
            match limits::held(&self.pool, &self.key).await {
                Ok(held) if !held.is_zero() => {}
                _ => return,
            }
        }
    }

    /// A turn that is free, when there is one.
    async fn free_turn(&self) {
        loop {
            let taken = limits::take_free(&self.pool, &self.key, self.per_second).await;
            match taken {
                Ok(None) => return,
                Ok(Some(wait)) => tokio::time::sleep(wait).await,
                Err(error) => return tokio::time::sleep(unknown(&error)).await,
            }
        }
    }

    /// A turn of those that people may have.
    async fn turn_of_people(&self) {
        let key = format!("people:{}", self.key);
        let per_second = self.per_second * SHARE_OF_PEOPLE;
        loop {
            let pass = limits::pass(&self.pool, &key, per_second, PEOPLE_AT_ONCE).await;
            let wait = pass.unwrap_or_else(|error| unknown(&error));
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait).await;
        }
    }
}

fn unknown(error: &sqlx::Error) -> Duration {
    tracing::warn!("The rate limit cannot be read; one call per second meanwhile: {error}");
    UNKNOWN
}

impl Turnstile for SharedTurnstile {
    fn pass(&self, purpose: Purpose) -> BoxFuture<'_, Result<(), TooBusy>> {
        Box::pin(async move {
            let started = Instant::now();
            match purpose {
                Purpose::Recheck => self.next_turn().await,
                Purpose::Background => self.free_turn().await,
                Purpose::Person => {
                    let turn = async {
                        self.turn_of_people().await;
                        self.free_turn().await;
                    };
                    let in_time = tokio::time::timeout(PERSON_WAITS, turn).await;
                    in_time.map_err(|_| TooBusy(PERSON_WAITS))?;
                }
            }
            self.metrics.waited("liveperson", started.elapsed());
            Ok(())
        })
    }

    fn hold(&self, pause: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = limits::hold(&self.pool, &self.key, pause).await {
                tracing::warn!("The pause that LivePerson asked for cannot be shared: {error}");
            }
        })
    }
}
