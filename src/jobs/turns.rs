//! Turns under a provider's rate, shared by all workers.
//!
//! Whoever waits is asked for together (see `jobs::batch`): a turn each would be a commit each on one and the same row, one
//! after the other, with a connection held by every sender that stands in line for it.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgPool;

use super::batch::Batcher;
use crate::db;

/// Turns reserved together at most.
const MOST: usize = 100;

#[derive(Clone)]
pub struct Turns {
    desk: Batcher<Turn, Duration>,
}

struct Turn {
    key: String,
    per_second: f64,
}

impl Turns {
    /// Needs a tokio runtime: a task keeps the desk.
    pub fn new(pool: PgPool) -> Self {
        Self {
            // The turn of somebody who is gone passes unused: sending is slower for a moment, never faster than allowed.
            desk: Batcher::new(MOST, 1, move |turns| reserve(pool.clone(), turns), drop),
        }
    }

    /// Waits for a turn under `key` at `per_second`.
    pub async fn wait(&self, key: String, per_second: f64) {
        // Without an answer sending goes on: a limit is manners, the reminder is a promise.
        let wait = self.desk.ask(Turn { key, per_second }).await;
        tokio::time::sleep(wait.unwrap_or_default()).await;
    }
}

/// How long each of these has to wait.
async fn reserve(pool: PgPool, turns: Vec<Turn>) -> Vec<Duration> {
    let mut wanted: HashMap<&str, (u32, f64)> = HashMap::new();
    for turn in &turns {
        let (count, per_second) = wanted.entry(&turn.key).or_default();
        *count += 1;
        *per_second = turn.per_second;
    }
    let mut waits = HashMap::new();
    for (key, (count, per_second)) in wanted {
        match db::limits::reserve(&pool, key, count, per_second, per_second).await {
            Ok(reserved) => {
                waits.insert(key, reserved.into_iter());
            }
            Err(error) => {
                tracing::warn!("The rate limit cannot be read; sending goes on: {error}");
            }
        }
    }
    let mut next = |turn: &Turn| waits.get_mut(turn.key.as_str())?.next();
    turns
        .iter()
        .map(|turn| next(turn).unwrap_or_default())
        .collect()
}
