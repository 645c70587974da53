//! The token of a mailbox, for all connections of a process: asked for once, renewed before it ends, replaced once it is refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::TokenGrant;
use super::answer::TokenFault;
use super::request;
use crate::clock::Clock;
use crate::secret::Secret;

/// How long before its end a token is renewed. One of a short life is renewed half-way.
const EARLY: Duration = Duration::from_mins(5);

/// How long a token that still holds is used as it is after it could not be renewed.
const PAUSE: Duration = Duration::from_secs(30);

/// A token as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    pub token: Secret,
    /// From when it was asked for.
    pub life: Duration,
}

/// Tokens for one mailbox.
pub struct Tokens {
    grant: TokenGrant,
    mailbox: String,
    http: reqwest::Client,
    state: Mutex<TokenState>,
    /// One asks, the others wait for what it gets.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct TokenState {
    held: Option<Held>,
    /// The last failure, for those who waited while it happened.
    failed: Option<(Instant, TokenFault)>,
}

#[derive(Clone)]
struct Held {
    token: Arc<Secret>,
    renew_at: Instant,
    ends_at: Instant,
}

impl Tokens {
    pub fn new(grant: TokenGrant, mailbox: &str) -> Result<Self, reqwest::Error> {
        Ok(Self {
            http: request::client(&grant)?,
            grant,
            mailbox: mailbox.to_owned(),
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        })
    }

    pub fn grant(&self) -> &TokenGrant {
        &self.grant
    }

    /// A token that is good for a while.
    pub async fn token(&self) -> Result<Arc<Secret>, TokenFault> {
        let waiting_since = Instant::now();
        let fresh = |held: &Held| Instant::now() < held.renew_at;
        if let Some(held) = self.held().filter(fresh) {
            return Ok(held.token);
        }
        // While one renews it, and where it cannot be renewed, the one there is serves until it ends.
        let usable = || self.held().filter(|held| Instant::now() < held.ends_at);
        let asking = match (self.asking.try_lock(), usable()) {
            (Ok(asking), _) => asking,
            (Err(_), Some(held)) => return Ok(held.token),
            (Err(_), None) => self.asking.lock().await,
        };
        if let Some(held) = self.held().filter(fresh) {
            return Ok(held.token);
        }
        let asked = self.ask(waiting_since).await;
        drop(asking);
        match (asked, usable()) {
            (Err(_), Some(held)) => Ok(held.token),
            (asked, _) => asked,
        }
    }

    /// A token in place of one that the server refuses: the one that has come since, or a new one.
    pub async fn instead_of(&self, refused: &Arc<Secret>) -> Result<Arc<Secret>, TokenFault> {
        let waiting_since = Instant::now();
        let _asking = self.asking.lock().await;
        match self.held() {
            Some(held) if !Arc::ptr_eq(&held.token, refused) => Ok(held.token),
            _ => {
                self.forget(refused);
                self.ask(waiting_since).await
            }
        }
    }

    /// The server refuses this one: nobody else need try it. What a permission that was granted meanwhile gives is in a new one only.
    pub fn forget(&self, refused: &Arc<Secret>) {
        let mut state = self.state();
        let is_held = |held: &Held| Arc::ptr_eq(&held.token, refused);
        if state.held.as_ref().is_some_and(is_held) {
            state.held = None;
        }
    }

    /// Asks for a new one; who waited while the last request failed shares its failure.
    async fn ask(&self, waiting_since: Instant) -> Result<Arc<Secret>, TokenFault> {
        let failed = self.state().failed.clone();
        if let Some((_, fault)) = failed.filter(|(at, _)| *at > waiting_since) {
            return Err(fault);
        }
        let began = Instant::now();
        let now = Clock::System.now().timestamp();
        let fetched = request::fetch(&self.http, &self.grant, &self.mailbox, now).await;
        let mut state = self.state();
        match fetched {
            Ok(AccessToken { token, life }) => {
                let token = Arc::new(token);
                state.failed = None;
                state.held = Some(Held {
                    token: token.clone(),
                    renew_at: began + life.saturating_sub(EARLY.min(life / 2)),
                    ends_at: began + life,
                });
                Ok(token)
            }
            Err(fault) => {
                let failed_at = Instant::now();
                state.failed = Some((failed_at, fault.clone()));
                if let Some(held) = &mut state.held {
                    held.renew_at = held.ends_at.min(failed_at + PAUSE);
                }
                Err(fault)
            }
        }
    }

    fn held(&self) -> Option<Held> {
        self.state().held.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, TokenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
