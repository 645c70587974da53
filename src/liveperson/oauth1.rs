//! OAuth 1.0a (RFC 5849), HMAC-SHA1: the signature of LivePerson's legacy API keys.
//!
//! The URL that is sent is the URL that is signed; the JSON body is not part of the signature.

use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use sha1::Sha1;
use url::Url;

use crate::secret::Secret;

/// RFC 5849 section 3.6: everything but the unreserved characters is encoded.
pub const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The four values of an API key.
pub struct OAuth1Key<'a> {
    pub consumer_key: &'a str,
    pub consumer_secret: &'a Secret,
    pub token: &'a str,
    pub token_secret: &'a Secret,
}

impl OAuth1Key<'_> {
    /// The `Authorization` header for one request. `nonce` must be new each time.
    pub fn sign(&self, method: &Method, url: &Url, at: DateTime<Utc>, nonce: &str) -> String {
        let timestamp = at.timestamp().to_string();
        let oauth = [
            ("oauth_consumer_key", self.consumer_key),
            ("oauth_nonce", nonce),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", &timestamp),
            ("oauth_token", self.token),
            ("oauth_version", "1.0"),
        ];
        let signature = self.signature(&base_string(method, url, &oauth));
        let fields: Vec<String> = oauth
            .iter()
            .copied()
            .chain([("oauth_signature", signature.as_str())])
            .map(|(name, value)| format!("{name}=\"{}\"", encode(value)))
            .collect();
        format!("OAuth {}", fields.join(", "))
    }

    fn signature(&self, base: &str) -> String {
        let key = format!(
            "{}&{}",
            encode(self.consumer_secret.expose()),
            encode(self.token_secret.expose())
        );
        let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("any length is a key");
        mac.update(base.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

/// RFC 5849 section 3.4.1.
fn base_string(method: &Method, url: &Url, oauth: &[(&str, &str)]) -> String {
    let mut parameters: Vec<(String, String)> = url
        .query_pairs()
        .map(|(name, value)| (encode(&name), encode(&value)))
        .chain(
            oauth
                .iter()
                .map(|(name, value)| (encode(name), encode(value))),
        )
        .collect();
    parameters.sort();
    let parameters: Vec<String> = parameters
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut address = url.clone();
    address.set_query(None);
    address.set_fragment(None);
    format!(
        "{method}&{}&{}",
        encode(address.as_str()),
        encode(&parameters.join("&"))
    )
}

fn encode(raw: &str) -> String {
    utf8_percent_encode(raw, RESERVED).to_string()
}

/// How many seconds our clock is behind LivePerson's, learnt from its refusals.
#[derive(Default)]
pub struct Skew(AtomicI64);

impl Skew {
    pub fn seconds(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Learns from the `WWW-Authenticate` header of a 401. True if the refusal was about the clock, so that another try makes
    /// sense.
    pub fn learn(&self, header: &str, now: DateTime<Utc>) -> bool {
        let Some((min, max)) = acceptable(header) else {
            return false;
        };
        let middle = min + (max - min) / 2;
        self.0.store(middle - now.timestamp(), Ordering::Relaxed);
        true
    }
}

/// The bounds in `oauth_acceptable_timestamps=MIN-MAX`: whole seconds of ten digits, which also bounds the arithmetic.
fn acceptable(header: &str) -> Option<(i64, i64)> {
    let (_, rest) = header.split_once("oauth_acceptable_timestamps=")?;
    let rest = rest.trim_start_matches('"');
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '-')
        .unwrap_or(rest.len());
    let (min, max) = rest[..end].split_once('-')?;
    let seconds = |raw: &str| raw.parse::<i64>().ok().filter(|_| raw.len() == 10);
    let (min, max) = (seconds(min)?, seconds(max)?);
    (min <= max).then_some((min, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Vector {
        method: String,
        url: String,
        consumer_key: String,
        consumer_secret: String,
        token: String,
        token_secret: String,
        nonce: String,
        timestamp: i64,
        base_string: String,
        authorization: String,
    }

    #[test]
    fn the_signature_equals_the_worked_example() {
        let vector: Vector =
            serde_json::from_str(include_str!("../../tests/fixtures/liveperson/oauth1.json"))
                .unwrap();
        let key = OAuth1Key {
            consumer_key: &vector.consumer_key,
            consumer_secret: &Secret::new(vector.consumer_secret),
            token: &vector.token,
            token_secret: &Secret::new(vector.token_secret),
        };
        let method: Method = vector.method.parse().unwrap();
        let url: Url = vector.url.parse().unwrap();
        let timestamp = vector.timestamp.to_string();
        let oauth = [
            ("oauth_consumer_key", key.consumer_key),
            ("oauth_nonce", &vector.nonce),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", &timestamp),
            ("oauth_token", key.token),
            ("oauth_version", "1.0"),
        ];
        assert_eq!(base_string(&method, &url, &oauth), vector.base_string);
        let at = DateTime::from_timestamp_secs(vector.timestamp).unwrap();
        assert_eq!(
            key.sign(&method, &url, at, &vector.nonce),
            vector.authorization
        );
    }

    #[test]
    fn the_clock_is_corrected_only_by_a_sound_advice() {
        let now = DateTime::from_timestamp_secs(1_773_144_900).unwrap();
        let skew = Skew::default();
        for nonsense in [
            "OAuth oauth_problem=token_rejected",
            "OAuth oauth_acceptable_timestamps=",
            "OAuth oauth_acceptable_timestamps=1-2",
            "OAuth oauth_acceptable_timestamps=1773144300-1773143700",
            "OAuth oauth_acceptable_timestamps=99999999999999999999-99999999999999999999",
        ] {
            assert!(!skew.learn(nonsense, now), "{nonsense}");
        }
        assert_eq!(skew.seconds(), 0);
        let advice = "OAuth oauth_problem=timestamp_refused, oauth_acceptable_timestamps=1773143700-1773144300";
        assert!(skew.learn(advice, now));
        assert_eq!(skew.seconds(), -900);
    }
}
