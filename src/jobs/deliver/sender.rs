//! Senders and their limits: one row in the database for the messages themselves, which no two processes use at one moment, and what this
//! process knows beside it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::Instant;

use super::BatchFailed;
use crate::batch::Batcher;
use crate::db;
use crate::domain::ids::{AccountId, Channel, Provider};
use crate::jobs::context::Context;

/// A turn that comes later than this is not waited for: what is known about the consumer would be old by then.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Who wakes up so late for a turn takes another one.
const OVERSLEPT: Duration = Duration::from_millis(200);

/// Somebody messages come from, under a limit of its own.
#[derive(Debug)]
pub struct Sender {
    /// As the limit's row names it.
    pub key: String,
    /// The row by which the provider has this and other senders wait.
    pub pause_key: String,
    pub channel: Channel,
    /// `None`: as fast as we can.
    pub per_second: Option<f64>,
    /// Somebody is lined up for turns.
    lined_up: AtomicBool,
}

impl Sender {
    pub fn provider(&self) -> Provider {
        self.channel.provider()
    }

    /// The row of those who are let in to be looked at.
    pub fn admission(&self) -> String {
        format!("{} admitted", self.key)
    }

    pub fn has_a_line(&self) -> bool {
        self.lined_up.load(Ordering::Relaxed)
    }

    pub fn set_line(&self, lined_up: bool) {
        self.lined_up.store(lined_up, Ordering::Relaxed);
    }
}

/// The senders that this process knows, by the keys of their limits.
#[derive(Default)]
pub struct SenderRegistry(Mutex<HashMap<String, Arc<Sender>>>);

/// The key of a sender's limit.
pub fn key(channel: Channel, sender: &str) -> String {
    format!("{}:{sender}", channel.provider())
}

impl SenderRegistry {
    pub fn of(
        &self,
        ctx: &Context,
        (account, channel): (&AccountId, Channel),
        sender: &str,
    ) -> Arc<Sender> {
        let key = key(channel, sender);
        let mut senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = senders.entry(key).or_insert_with_key(|key| {
            Arc::new(Sender {
                key: key.clone(),
                pause_key: ctx.channels.pause_key(account, channel),
                channel,
                per_second: ctx.rate(account, channel),
                lined_up: AtomicBool::new(false),
            })
        });
        known.clone()
    }
}

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// The provider asked to be left alone.
    Held,
    /// It would come too late, or nobody can say when.
    Late,
}

/// Turns that are used right after: those who ask at one moment share a statement.
pub type TurnBatcher = Batcher<Arc<Sender>, Result<(Instant, Duration), BatchFailed>>;

pub fn turns(ctx: &Arc<Context>) -> TurnBatcher {
    let ctx = ctx.clone();
    Batcher::new(
        crate::liveperson::MAX_IDS,
        1,
        move |senders| reserve(ctx.clone(), senders),
        drop,
    )
}

/// The moment of each one's turn, and how long its provider has asked to be left alone.
async fn reserve(
    ctx: Arc<Context>,
    asking: Vec<Arc<Sender>>,
) -> Vec<Result<(Instant, Duration), BatchFailed>> {
    let mut counts: HashMap<&str, (&Sender, usize)> = HashMap::new();
    for sender in &asking {
        counts.entry(&sender.key).or_insert((sender, 0)).1 += 1;
    }
    let mut found = HashMap::new();
    for (key, (sender, count)) in counts {
        let now = Instant::now();
        let limit = (sender.pause_key.as_str(), key);
        let reserved = match sender.per_second {
            None => db::limits::held(&ctx.pool, &[limit.0, limit.1])
                .await
                .map(|held| (now, Duration::ZERO, held)),
            Some(rate) => db::limits::use_turns(&ctx.pool, limit, count, rate)
                .await
                .map(|turns| (now + turns.first, turns.interval, turns.held)),
        };
        let reserved = reserved.context("taking turns").map_err(BatchFailed::from);
        found.insert(key.to_owned(), reserved);
    }
    let next = |sender: &Arc<Sender>| {
        let reserved = found.get_mut(&sender.key);
        match reserved.expect("each key was asked for") {
            Ok((at, interval, held)) => {
                let mine = *at;
                *at += *interval;
                Ok((mine, *held))
            }
            Err(error) => Err(error.clone()),
        }
    };
    asking.iter().map(next).collect()
}

/// Waits for the moment at which a message may leave. No two messages of a sender have the same one, whichever process they are in.
pub async fn wait_for_turn(turns: &TurnBatcher, sender: &Arc<Sender>) -> Result<(), NoTurn> {
    loop {
        let Ok(Ok((at, held))) = turns.ask(sender.clone()).await else {
            return Err(NoTurn::Late);
        };
        if held > Duration::ZERO {
            return Err(NoTurn::Held);
        }
        if at > Instant::now() + LONGEST_WAIT {
            return Err(NoTurn::Late);
        }
        tokio::time::sleep_until(at).await;
        // A process that stood still has missed its turn: all who slept would go together.
        if at.elapsed() < OVERSLEPT {
            return Ok(());
        }
    }
}
