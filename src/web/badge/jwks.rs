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

pub type Key = RsaPublicKeyComponents<Vec<u8>>;

pub struct Jwks {
    /// What the keys are for, with the setting to mend.
    purpose: &'static str,
    url: Url,
    http: reqwest::Client,
    held: Mutex<Held>,
    /// One fetches, the others wait for it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    keys: Vec<(Option<String>, Arc<Key>)>,
    fetched_at: Option<Instant>,
    tried_at: Option<Instant>,
}

impl Held {
    /// A token that names no key is checked with the only one there is.
    fn key(&self, kid: Option<&str>) -> Option<Arc<Key>> {
        match (kid, &self.keys[..]) {
            (None, [(_, only)]) => Some(only.clone()),
            (None, _) => None,
            (Some(kid), keys) => keys
                .iter()
                .find(|(own, _)| own.as_deref() == Some(kid))
                .map(|(_, key)| key.clone()),
        }
    }

    fn younger_than(&self, age: Duration) -> bool {
        self.fetched_at.is_some_and(|at| at.elapsed() < age)
    }
}

impl Jwks {
    pub fn new(url: Url, http: reqwest::Client, purpose: &'static str) -> Self {
        Self {
            purpose,
            url,
            http,
            held: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self, kid: Option<&str>) -> Option<Arc<Key>> {
        let held = self.held();
        held.key(kid).filter(|_| held.younger_than(FRESH))
    }

    pub async fn key(&self, kid: Option<&str>) -> Option<Arc<Key>> {
        if let Some(key) = self.fresh(kid) {
            return Some(key);
        }
        let _one = self.fetching.lock().await;
        if let Some(key) = self.fresh(kid) {
            return Some(key);
        }
        let may_fetch = self.held().tried_at.is_none_or(|at| at.elapsed() >= PAUSE);
        if may_fetch {
            self.held().tried_at = Some(Instant::now());
            match self.fetch().await {
                Ok(keys) => {
                    let mut held = self.held();
                    held.keys = keys;
                    held.fetched_at = Some(Instant::now());
                }
                Err(error) => {
                    tracing::warn!("The keys for {} cannot be fetched: {error:#}", self.purpose);
                }
            }
        }
        let held = self.held();
        held.key(kid).filter(|_| held.younger_than(USABLE))
    }

    async fn fetch(&self) -> anyhow::Result<Vec<(Option<String>, Arc<Key>)>> {
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
struct Published {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// The keys that can check RS256; others may stand beside them.
fn parse(body: &[u8]) -> serde_json::Result<Vec<(Option<String>, Arc<Key>)>> {
    let set: Set = serde_json::from_slice(body)?;
    let keys = set.keys.into_iter().filter_map(|key| {
        let key: Published = serde_json::from_value(key).ok()?;
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_rsa_keys_for_signatures_are_taken() {
        let set = r#"{"keys":[
            {"kty":"EC","kid":"ec","crv":"P-256","x":"AQ","y":"AQ"},
            {"kty":"RSA","kid":"enc","use":"enc","n":"AQ","e":"AQAB"},
            {"kty":"RSA","kid":"pss","alg":"PS256","n":"AQ","e":"AQAB"},
            {"kty":"RSA","kid":"good","use":"sig","alg":"RS256","n":"AAEC","e":"AQAB"},
            {"kty":"RSA","kid":"broken","n":"!","e":"AQAB"},
            "nonsense"
        ]}"#;
        let keys = parse(set.as_bytes()).unwrap();
        let [(kid, key)] = &keys[..] else {
            panic!("{} keys", keys.len())
        };
        assert_eq!(kid.as_deref(), Some("good"));
        assert_eq!((&key.n[..], &key.e[..]), (&[1, 2][..], &[1, 0, 1][..]));
        assert!(parse(b"[]").is_err());
    }

    #[test]
    fn a_token_without_a_key_s_name_needs_a_set_of_one() {
        let key = || {
            Arc::new(RsaPublicKeyComponents {
                n: vec![1],
                e: vec![3],
            })
        };
        let mut held = Held {
            keys: vec![(Some("a".to_owned()), key())],
            ..Held::default()
        };
        assert!(held.key(None).is_some() && held.key(Some("a")).is_some());
        assert!(held.key(Some("b")).is_none());
        held.keys.push((None, key()));
        assert!(held.key(None).is_none());
    }

    proptest! {
        #[test]
        fn fuzz_key_sets(
            body in prop::collection::vec(any::<u8>(), 0..100),
            keys in prop::collection::vec(("(RSA|EC|\\PC{0,4})", "[A-Za-z0-9_=-]{0,40}", any::<String>()), 0..40),
        ) {
            let _ = parse(&body);
            let keys: Vec<_> = keys.into_iter().map(|(kty, n, kid)| {
                serde_json::json!({ "kty": kty, "n": n, "e": n, "kid": kid })
            }).collect();
            let set = serde_json::json!({ "keys": keys }).to_string();
            prop_assert!(parse(set.as_bytes()).is_ok_and(|keys| keys.len() <= MAX_KEYS));
        }
    }
}
