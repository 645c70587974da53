//! The issuer's published keys: fetched when needed, kept for a while, fetched again when a token names a key that is not there.
//!
//! Tokens come from anybody, so what they can make us fetch is bounded: one fetch at a time, and not more than one in half a
//! minute. When the issuer cannot be reached, the keys we have go on being good for a day.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::RsaPublicKeyComponents;
use serde::Deserialize;
use url::Url;

/// How long keys are taken as the issuer's current ones.
const FRESH: Duration = Duration::from_hours(1);

/// How long they are good when the issuer cannot be reached.
const USABLE: Duration = Duration::from_hours(24);

/// Between two fetches.
const PAUSE: Duration = Duration::from_secs(30);

const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BODY: usize = 64 << 10;
const MAX_KEYS: usize = 32;

pub type RsaKey = RsaPublicKeyComponents<Vec<u8>>;

pub struct Jwks {
    issuer: KeySource,
    held: Arc<Mutex<CachedKeys>>,
    /// One fetches, the others wait for it.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

/// Where the keys come from.
#[derive(Clone)]
struct KeySource {
    /// What the keys are for, with the setting to correct.
    purpose: &'static str,
    url: Url,
    http: reqwest::Client,
}

#[derive(Default)]
struct CachedKeys {
    keys: Vec<(Option<String>, Arc<RsaKey>)>,
    fetched_at: Option<Instant>,
    tried_at: Option<Instant>,
}

impl CachedKeys {
    /// The only key there is need not be named, neither by the token nor by the set (RFC 7517, 4.5: `kid` is optional). Names that
    /// are there must be the same: another one is that of a key which is not here yet.
    fn key(&self, kid: Option<&str>) -> Option<Arc<RsaKey>> {
        match (kid, &self.keys[..]) {
            (None, [(_, only)]) | (Some(_), [(None, only)]) => Some(only.clone()),
            (None, _) => None,
            (Some(kid), keys) => keys
                .iter()
                .find(|(own, _)| own.as_deref() == Some(kid))
                .map(|(_, key)| key.clone()),
        }
    }

    fn younger_than(&self, age: Duration, now: Instant) -> bool {
        self.fetched_at
            .is_some_and(|at| now.saturating_duration_since(at) < age)
    }
}

impl Jwks {
    pub fn new(url: Url, http: reqwest::Client, purpose: &'static str) -> Self {
        Self {
            issuer: KeySource { purpose, url, http },
            held: Arc::default(),
            fetching: Arc::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, CachedKeys> {
        lock(&self.held)
    }

    fn key_younger_than(
        &self,
        age: Duration,
        kid: Option<&str>,
        now: Instant,
    ) -> Option<Arc<RsaKey>> {
        let held = self.held();
        held.key(kid).filter(|_| held.younger_than(age, now))
    }

    /// The key that a token names, if the issuer has published it.
    pub async fn key(&self, kid: Option<&str>, now: Instant) -> Option<Arc<RsaKey>> {
        if let Some(key) = self.key_younger_than(FRESH, kid, now) {
            return Some(key);
        }
        // While one asks whether a key of an hour ago is still good, it is.
        let fetching = self.fetching.clone();
        let one = match (
            fetching.clone().try_lock_owned(),
            self.key_younger_than(USABLE, kid, now),
        ) {
            (Ok(one), _) => one,
            (Err(_), Some(key)) => return Some(key),
            (Err(_), None) => fetching.lock_owned().await,
        };
        if let Some(key) = self.key_younger_than(FRESH, kid, now) {
            return Some(key);
        }
        self.fetch(one, now).await;
        self.key_younger_than(USABLE, kid, now)
    }

    /// Whether a key is still the one of that name, by keys that need not be fetched anew. A key that was fetched again is another.
    pub fn has(&self, kid: Option<&str>, key: &Arc<RsaKey>, now: Instant) -> bool {
        let own = self.key_younger_than(FRESH, kid, now);
        own.is_some_and(|own| Arc::ptr_eq(&own, key))
    }

    /// The key that has come in the place of this one, which did not fit a signature: issuers whose only key has no name, or always the
    /// same one, change it without a token's saying so.
    pub async fn instead_of(
        &self,
        unfit: &Arc<RsaKey>,
        kid: Option<&str>,
        now: Instant,
    ) -> Option<Arc<RsaKey>> {
        let another = || {
            let key = self.key_younger_than(FRESH, kid, now);
            key.filter(|key| !Arc::ptr_eq(key, unfit))
        };
        let one = self.fetching.clone().lock_owned().await;
        if let Some(key) = another() {
            return Some(key);
        }
        self.fetch(one, now).await;
        another()
    }

    /// Fetches the keys, unless that was tried a moment ago.
    async fn fetch(&self, one: tokio::sync::OwnedMutexGuard<()>, now: Instant) {
        {
            let mut held = self.held();
            let tried_at = held.tried_at;
            if tried_at.is_some_and(|at| now.saturating_duration_since(at) < PAUSE) {
                return;
            }
            held.tried_at = Some(now);
        }
        let (issuer, held) = (self.issuer.clone(), self.held.clone());
        // In a task of its own: whoever made us ask may hang up, and it is the only fetch for a while.
        let fetched = tokio::spawn(async move {
            let _one = one;
            match issuer.fetch().await {
                Ok(keys) => {
                    let mut held = lock(&held);
                    held.keys = keys;
                    held.fetched_at = Some(now);
                }
                Err(error) => {
                    tracing::warn!(
                        "The keys for {} cannot be fetched: {error:#}",
                        issuer.purpose
                    );
                }
            }
        });
        let _ = fetched.await;
    }
}

fn lock(held: &Mutex<CachedKeys>) -> MutexGuard<'_, CachedKeys> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KeySource {
    async fn fetch(&self) -> anyhow::Result<Vec<(Option<String>, Arc<RsaKey>)>> {
        let asked = self.http.get(self.url.clone()).timeout(TIMEOUT).send();
        let mut answer = asked
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(reqwest::Error::without_url)?;
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            ensure!(
                body.len() + part.len() <= MAX_BODY,
                "the answer is too long"
            );
            body.extend_from_slice(&part);
        }
        let keys = parse(&body).context("the answer is not a key set")?;
        ensure!(
            !keys.is_empty(),
            "there is no RSA key for RS256 in the answer"
        );
        Ok(keys)
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct JsonWebKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// The keys that can check RS256; others may stand beside them.
fn parse(body: &[u8]) -> serde_json::Result<Vec<(Option<String>, Arc<RsaKey>)>> {
    let set: Set = serde_json::from_slice(body)?;
    let keys = set.keys.into_iter().filter_map(|key| {
        let key: JsonWebKey = serde_json::from_value(key).ok()?;
        let fits = key.kty == "RSA"
            && key
                .purpose
                .as_deref()
                .is_none_or(|purpose| purpose == "sig")
            && key.alg.as_deref().is_none_or(|alg| alg == "RS256");
        let number = |text: Option<String>| {
            let bytes = URL_SAFE_NO_PAD.decode(text?).ok()?;
            // Some issuers pad the modulus with a zero, which ring refuses.
            let zeros = bytes.iter().take_while(|b| **b == 0).count();
            Some(bytes[zeros..].to_vec())
        };
        let (n, e) = (number(key.n)?, number(key.e)?);
        fits.then(|| (key.kid, Arc::new(RsaPublicKeyComponents { n, e })))
    });
    Ok(keys.take(MAX_KEYS).collect())
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
