//! The badge for websites: whether a consumer has something unread, for every page view of a brand.
//!
//! It tells of a consumer only to who holds the consumer's token or LivePerson's unguessable id, says the same of the unknown as
//! of who has read everything, and learns of changes by notices from whichever process made them. It writes nothing but which unread conversations pages show.
//!
//! Two addresses, because pages of brands call the old one today; both are the same answer (`answer`).

mod addresses;
mod answer;
mod cache;
mod events;
mod keys;
mod lately;
mod origins;
mod reply;
mod script;
pub mod setup_check;
mod shown;
mod token;

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use chrono::TimeDelta;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use self::answer::{BadgeLookups, ConversationBatcher};
use self::cache::{Cache, Ids};
use self::events::Watchers;
use self::keys::ConsumerKeyCache;
use self::origins::Origin;
use self::shown::ShownConversations;
use self::token::TokenVerifier;
use crate::clock::Backoff;
use crate::config;
use crate::db::changes::{ConsumerKey, Listener};
use crate::web::AppState;
use crate::web::limiter::{ConnectionLimiter, Limiter};

pub use self::addresses::{PageView, express, from_memory, routes};
pub use self::script::{integrity, pinned_path, script};
pub use self::shown::tell as tell_what_is_shown;

/// Consumers remembered; with all that is kept of one, some 300 bytes each.
const REMEMBERED: usize = 50_000;

/// What the badge of one process remembers.
pub struct Badge {
    keys: ConsumerKeyCache,
    cache: Cache,
    watchers: Watchers,
    table: ConversationBatcher,
    shown: ShownConversations,
    requests: Limiter<IpAddr>,
    of_tokens: Limiter<ConsumerKey>,
    connections: ConnectionLimiter<()>,
    of_address: ConnectionLimiter<IpAddr>,
    of_consumer: ConnectionLimiter<ConsumerKey>,
    /// Event streams at once.
    streams: usize,
    shutdown: CancellationToken,
}

impl Badge {
    pub fn new(web: &config::Web, pool: &PgPool, shutdown: CancellationToken) -> Self {
        let rate = web.badge_requests_per_second;
        Self {
            keys: ConsumerKeyCache::new(),
            cache: Cache::new(REMEMBERED),
            watchers: Watchers::default(),
            table: answer::table(pool),
            shown: ShownConversations::default(),
            requests: Limiter::new(rate, rate * 10.0, REMEMBERED),
            // A page asks twice a minute; a person opens a few at once.
            of_tokens: Limiter::new(2.0, 60.0, REMEMBERED),
            connections: ConnectionLimiter::default(),
            of_address: ConnectionLimiter::default(),
            of_consumer: ConnectionLimiter::default(),
            // The rest is for page views, which are over at once.
            streams: web.connections / 4 * 3,
            shutdown,
        }
    }

    fn changed(&self, consumers: &[ConsumerKey]) {
        for consumer in consumers {
            self.cache.changed(*consumer);
            self.watchers.wake(*consumer);
        }
    }

    /// Notices may have been lost.
    fn all_changed(&self) {
        self.cache.all_changed();
        self.watchers.wake_all();
    }
}

/// An account's badge.
pub struct Site {
    origins: Vec<Origin>,
    customer_ids_need_token: bool,
    tokens: TokenVerifier,
    lookups: BadgeLookups,
}

impl Site {
    pub fn new(
        account: &config::AccountSettings,
        liveperson: &config::LivePerson,
        http: &reqwest::Client,
    ) -> Self {
        let origins = account.badge_origins.iter().cloned();
        let scans = TimeDelta::from_std(liveperson.scan_interval * 3).unwrap_or(TimeDelta::MAX);
        Self {
            origins: origins.map(Origin::new).collect(),
            customer_ids_need_token: account.badge_require_token_for_customer_ids,
            tokens: TokenVerifier::new(&account.id, &account.badge_tokens, http),
            lookups: BadgeLookups::new(
                liveperson.badge_lookups_per_second,
                scans.max(TimeDelta::minutes(5)),
            ),
        }
    }

    /// The ids that anybody may ask by.
    fn without_token(&self) -> Ids {
        if self.customer_ids_need_token {
            Ids::LivePerson
        } else {
            Ids::Both
        }
    }
}

/// How long it may be silent before the database is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(30);

/// Hears of changes until the process stops. While the database is away nothing can be heard; answers hold only for seconds.
pub async fn follow_changes(state: AppState, shutdown: CancellationToken) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15));
    let following = async {
        loop {
            let Err(error) = follow(&state, &mut backoff).await;
            tracing::warn!("Changes cannot be heard of: {error}");
            tokio::time::sleep(backoff.pause()).await;
        }
    };
    shutdown.run_until_cancelled(following).await;
}

async fn follow(state: &AppState, backoff: &mut Backoff) -> sqlx::Result<Infallible> {
    let mut listener = Listener::connect(&state.pool, SILENCE).await?;
    backoff.reset();
    state.badge.all_changed();
    loop {
        state.badge.changed(&listener.next().await?);
    }
}
