//! LivePerson's limit for one account, shared by all processes, and who goes first under it.
//!
//! A re-check reserves the next turn and waits for it. Everything else takes a turn only at the moment at which one is free and
//! reserves none: so a re-check stands behind other re-checks and at most one turn of something else, and whoever gives up waiting
//! leaves nothing behind that others would have to wait out. Full passes have half of the turns, however many lanes they have. Calls for people have a limit of their own as well, a fifth of the
//! account's, and are refused where they would have to wait for longer than a person should.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::PgPool;
use tokio::runtime::Handle;

use crate::db::limits;
use crate::domain::ids::AccountId;
use crate::domain::round::FULL_SHARE;
use crate::liveperson::{Purpose, RateLimiter, TooBusy};
use crate::metrics::Metrics;

/// A person is told to come back rather than wait for longer.
const PERSON_WAITS: Duration = Duration::from_secs(5);
/// The share of the account's rate that people may use.
const SHARE_OF_PEOPLE: f64 = 0.2;
/// Calls for people at once: what one look at an account takes.
const PEOPLE_AT_ONCE: f64 = 5.0;
/// Who wakes up so late for a turn takes another one.
const OVERSLEPT: Duration = Duration::from_millis(200);
/// Not more often than so: a machine that is always late keeps no rate anyway.
const OFTEN_ENOUGH: u32 = 3;
/// What a caller waits when the database does not say for how long.
const UNKNOWN: Duration = Duration::from_secs(1);

pub struct SharedRateLimiter {
    pool: PgPool,
    key: String,
    per_second: f64,
    metrics: Metrics,
}

impl SharedRateLimiter {
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
        let mut overslept = 0;
        loop {
            let reserved = limits::reserve(&self.pool, &self.key, self.per_second).await;
            let wait = reserved.unwrap_or_else(|error| unknown(&error));
            let began = Instant::now();
            tokio::time::sleep(wait).await;
            let late = began.elapsed().saturating_sub(wait);
            // A 429 that another process met while we waited holds us too, and those who waited with us must not all go at its end.
            if let Ok(held) = limits::held(&self.pool, &[&self.key]).await
                && !held.is_zero()
            {
                continue;
            }
            // Nor all who waited while this process stood still.
            if late < OVERSLEPT || overslept == OFTEN_ENOUGH {
                return;
            }
            overslept += 1;
        }
    }

    /// A turn that is free, when there is one.
    async fn free_turn(&self) {
        self.free_turn_of(&self.key, self.per_second).await;
    }

    /// One of those that full passes may have, and then one of the account's.
    async fn turn_of_full_passes(&self) {
        let key = format!("full:{}", self.key);
        self.free_turn_of(&key, self.per_second * FULL_SHARE).await;
        self.free_turn().await;
    }

    async fn free_turn_of(&self, key: &str, per_second: f64) {
        loop {
            let taken = limits::take_free(&self.pool, key, per_second).await;
            match taken {
                Ok(None) => return,
                Ok(Some(wait)) => tokio::time::sleep(wait).await,
                Err(error) => return tokio::time::sleep(unknown(&error)).await,
            }
        }
    }

    /// A turn of those that people may have.
    async fn turn_of_people(&self) -> TurnOfPeople {
        let key = format!("people:{}", self.key);
        let per_second = self.per_second * SHARE_OF_PEOPLE;
        loop {
            let pass = limits::pass(&self.pool, &key, per_second, PEOPLE_AT_ONCE).await;
            let wait = pass.unwrap_or_else(|error| unknown(&error));
            if wait.is_zero() {
                return TurnOfPeople {
                    pool: self.pool.clone(),
                    key,
                    per_second,
                    used: false,
                };
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// A turn of those that people may have. Whoever then waits for the account's own in vain, or goes away, has made no call: it is given
/// back to the next.
struct TurnOfPeople {
    pool: PgPool,
    key: String,
    per_second: f64,
    used: bool,
}

impl TurnOfPeople {
    fn used(mut self) {
        self.used = true;
    }
}

impl Drop for TurnOfPeople {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if self.used {
            return;
        }
        let (pool, key) = (self.pool.clone(), std::mem::take(&mut self.key));
        let per_second = self.per_second;
        runtime.spawn(async move {
            let given_back = async {
                let mut conn = pool.acquire().await?;
                limits::give_back(&mut conn, &key, 1, per_second).await
            };
            if let Err(error) = given_back.await {
                tracing::debug!("A turn that was not used could not be given back: {error}");
            }
        });
    }
}

fn unknown(error: &sqlx::Error) -> Duration {
    tracing::warn!("The rate limit cannot be read; one call per second meanwhile: {error}");
    UNKNOWN
}

impl RateLimiter for SharedRateLimiter {
    fn pass(&self, purpose: Purpose) -> BoxFuture<'_, Result<(), TooBusy>> {
        Box::pin(async move {
            let started = Instant::now();
            match purpose {
                Purpose::Recheck => self.next_turn().await,
                Purpose::Background => self.free_turn().await,
                Purpose::FullPass => self.turn_of_full_passes().await,
                Purpose::Person => {
                    let turn = async {
                        let of_people = self.turn_of_people().await;
                        self.free_turn().await;
                        of_people.used();
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
