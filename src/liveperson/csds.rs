//! LivePerson's domain lookup (CSDS): on which host an account's services live. Hosts are never hard-coded, they move.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::StatusCode;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::LivePersonError;
use super::http::LivePersonResponse;
use super::tolerant::{Text, TolerantList};

/// How long a host is believed.
const FRESH: TimeDelta = TimeDelta::minutes(10);
/// After a failed lookup, how long an old host is used before the next lookup.
const STALE: TimeDelta = TimeDelta::minutes(1);
/// The lookup may hold up a call that has an old host at hand; so it gets less time than a call.
pub const PATIENCE: Duration = Duration::from_secs(10);
pub const ENDPOINT: &str = "domain";
pub const MAX_BODY: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    History,
    Skills,
    Token,
}

impl Service {
    /// LivePerson's name, which is case sensitive.
    pub fn name(self) -> &'static str {
        match self {
            Self::History => "msgHist",
            Self::Skills => "accountConfigReadOnly",
            Self::Token => "sentinel",
        }
    }
}

/// The hosts found so far. One lock per service, held during a lookup: callers wait for it instead of each asking.
#[derive(Default)]
pub struct HostCache {
    history: Mutex<Option<CachedHost>>,
    skills: Mutex<Option<CachedHost>>,
    token: Mutex<Option<CachedHost>>,
}

struct CachedHost {
    host: String,
    fresh_until: DateTime<Utc>,
}

impl HostCache {
    fn slot(&self, service: Service) -> &Mutex<Option<CachedHost>> {
        match service {
            Service::History => &self.history,
            Service::Skills => &self.skills,
            Service::Token => &self.token,
        }
    }

    /// The service's host, by `lookup` if none is known or the known one is old. If that fails, an old host is better
    /// than none.
    pub async fn get(
        &self,
        service: Service,
        now: DateTime<Utc>,
        lookup: impl Future<Output = Result<String, LivePersonError>>,
    ) -> Result<String, LivePersonError> {
        let mut slot = self.slot(service).lock().await;
        if let Some(known) = slot.as_ref().filter(|known| now < known.fresh_until) {
            return Ok(known.host.clone());
        }
        match (lookup.await, slot.as_mut()) {
            (Ok(host), _) => {
                *slot = Some(CachedHost {
                    host: host.clone(),
                    fresh_until: now + FRESH,
                });
                Ok(host)
            }
            (Err(_), Some(known)) => {
                known.fresh_until = now + STALE;
                Ok(known.host.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The host did not answer: look it up again before the next call, for it may have moved.
    pub async fn doubt(&self, service: Service) {
        if let Some(known) = self.slot(service).lock().await.as_mut() {
            known.fresh_until = DateTime::UNIX_EPOCH;
        }
    }
}

/// One service (`service`, `baseURI`) or a list of them (`baseURIs`): both shapes are seen for one question.
#[derive(Deserialize)]
struct Lookup {
    #[serde(default)]
    service: Text,
    #[serde(default, rename = "baseURI")]
    base_uri: Text,
    #[serde(default, rename = "baseURIs")]
    base_uris: TolerantList<ServiceEntry>,
}

#[derive(Deserialize)]
struct ServiceEntry {
    #[serde(default)]
    service: Text,
    #[serde(default, rename = "baseURI")]
    base_uri: Text,
}

/// The host out of the lookup's answer.
pub fn host(
    service: Service,
    answer: LivePersonResponse,
    now: DateTime<Utc>,
) -> Result<String, LivePersonError> {
    let refused = answer.status.is_client_error()
        && answer.status != StatusCode::TOO_MANY_REQUESTS
        && answer.status != StatusCode::REQUEST_TIMEOUT;
    if refused || answer.status == StatusCode::NO_CONTENT {
        return Err(LivePersonError::NoService(service.name()));
    }
    let answer = answer.accepted(ENDPOINT, now)?;
    let malformed = |why| LivePersonError::Malformed {
        endpoint: ENDPOINT,
        why,
    };
    let lookup: Lookup =
        serde_json::from_slice(&answer.body).map_err(|_| malformed("not the expected JSON"))?;
    let single = ServiceEntry {
        service: lookup.service,
        base_uri: lookup.base_uri,
    };
    let found = std::iter::once(single)
        .chain(lookup.base_uris.items.unwrap_or_default())
        .filter(|entry| {
            entry
                .service
                .as_deref()
                .is_none_or(|name| name == service.name())
        })
        .find_map(|entry| entry.base_uri.0)
        .ok_or(LivePersonError::NoService(service.name()))?;
    if is_host(&found) {
        Ok(found)
    } else {
        Err(malformed("the service's address is not a host"))
    }
}

/// `host` or `host:port` and nothing more: our credentials go where this points.
fn is_host(raw: &str) -> bool {
    let (name, port) = match raw.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (raw, None),
    };
    let name_fits = (1..=253).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    let port_fits = port.is_none_or(|port| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    name_fits && port_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_host_is_accepted() {
        for good in ["va.msghist.liveperson.net", "localhost:8080", "127.0.0.1:1"] {
            assert!(is_host(good), "{good}");
        }
        let long = "a".repeat(254);
        for bad in [
            "",
            "https://va.example.com",
            "va.example.com/x",
            "user@va.example.com",
            "va.example.com:",
            "va.example.com:0",
            "va.example.com:70000",
            "va.example.com:+80",
            "[::1]:80",
            "va.example.com?x",
            "vä.example.com",
            &long,
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
