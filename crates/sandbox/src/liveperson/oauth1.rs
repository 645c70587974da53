//! Verifies OAuth 1.0a signatures (RFC 5849, HMAC-SHA1), as LivePerson's legacy API keys use them.
//!
//! Written from the RFC, apart from the client's signer: one misunderstanding should not fit the other.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha1::Sha1;

use crate::world::Credentials;

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Seconds by which the client's clock may be off.
pub const SKEW_S: i64 = 300;

#[derive(Debug, PartialEq, Eq)]
pub enum OAuth1Refusal {
    /// Not a usable `OAuth` header.
    Malformed,
    /// Another key or token.
    TokenRejected,
    SignatureInvalid,
    /// The timestamp is outside this interval, seconds.
    Timestamp(i64, i64),
}

/// The request as the signer saw it.
pub struct Signed<'a> {
    pub method: &'a str,
    /// Scheme, authority and path.
    pub url: &'a str,
    /// As sent, still encoded.
    pub query: &'a str,
    pub authorization: &'a str,
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

/// The parameters of an `Authorization: OAuth` header, decoded.
fn parameters(header: &str) -> Option<BTreeMap<String, String>> {
    let list = header.strip_prefix("OAuth ")?;
    let mut parameters = BTreeMap::new();
    for item in list.split(',') {
        let (name, value) = item.trim().split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        if parameters.insert(decode(name)?, decode(value)?).is_some() {
            return None;
        }
    }
    Some(parameters)
}

/// The signature base string of section 3.4.1.
fn base_string(request: &Signed<'_>, oauth: &BTreeMap<String, String>) -> Option<String> {
    let mut pairs = Vec::new();
    for item in request.query.split('&').filter(|item| !item.is_empty()) {
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        // In a query, and nowhere else, a plus sign is a space.
        pairs.push((
            encode(&decode(&name.replace('+', " "))?),
            encode(&decode(&value.replace('+', " "))?),
        ));
    }
    for (name, value) in oauth {
        if name != "oauth_signature" && name != "realm" {
            pairs.push((encode(name), encode(value)));
        }
    }
    pairs.sort();
    let joined: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Some(format!(
        "{}&{}&{}",
        request.method,
        encode(request.url),
        encode(&joined.join("&"))
    ))
}

/// Checks a signature; the nonce and timestamp that it was made with come back, for the caller to refuse replays.
pub fn verify(
    request: &Signed<'_>,
    keys: &Credentials,
    now_s: i64,
) -> Result<(i64, String), OAuth1Refusal> {
    let oauth = parameters(request.authorization).ok_or(OAuth1Refusal::Malformed)?;
    let get = |name: &str| {
        oauth
            .get(name)
            .map(String::as_str)
            .ok_or(OAuth1Refusal::Malformed)
    };
    if get("oauth_signature_method")? != "HMAC-SHA1"
        || oauth
            .get("oauth_version")
            .is_some_and(|version| version != "1.0")
    {
        return Err(OAuth1Refusal::Malformed);
    }
    if get("oauth_consumer_key")? != keys.consumer_key || get("oauth_token")? != keys.token {
        return Err(OAuth1Refusal::TokenRejected);
    }
    let timestamp: i64 = get("oauth_timestamp")?
        .parse()
        .map_err(|_| OAuth1Refusal::Malformed)?;
    if (timestamp - now_s).abs() > SKEW_S {
        return Err(OAuth1Refusal::Timestamp(now_s - SKEW_S, now_s + SKEW_S));
    }
    let key = format!(
        "{}&{}",
        encode(&keys.consumer_secret),
        encode(&keys.token_secret)
    );
    let base = base_string(request, &oauth).ok_or(OAuth1Refusal::Malformed)?;
    let mut mac =
        Hmac::<Sha1>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(base.as_bytes());
    let given = STANDARD
        .decode(get("oauth_signature")?)
        .map_err(|_| OAuth1Refusal::SignatureInvalid)?;
    mac.verify_slice(&given)
        .map_err(|_| OAuth1Refusal::SignatureInvalid)?;
    let nonce = get("oauth_nonce")?;
    if nonce.is_empty() {
        return Err(OAuth1Refusal::Malformed);
    }
    Ok((timestamp, nonce.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str =
        include_str!("../../../../tests/fixtures/liveperson/oauth1_signature_vector.json");

    fn vector() -> (serde_json::Value, Credentials) {
        let vector: serde_json::Value = serde_json::from_str(VECTOR).unwrap();
        let text = |name: &str| vector[name].as_str().unwrap().to_owned();
        let keys = Credentials {
            client_id: String::new(),
            client_secret: String::new(),
            consumer_key: text("consumer_key"),
            consumer_secret: text("consumer_secret"),
            token: text("token"),
            token_secret: text("token_secret"),
            oauth2: true,
            oauth1: true,
            token_lifetime_s: 1,
        };
        (vector, keys)
    }

    fn signed(vector: &serde_json::Value) -> Signed<'_> {
        let (url, query) = vector["url"].as_str().unwrap().split_once('?').unwrap();
        Signed {
            method: "POST",
            url,
            query,
            authorization: vector["authorization_header"].as_str().unwrap(),
        }
    }

    #[test]
    fn the_worked_example_is_accepted() {
        let (vector, keys) = vector();
        let oauth = parameters(vector["authorization_header"].as_str().unwrap()).unwrap();
        assert_eq!(
            base_string(&signed(&vector), &oauth).unwrap(),
            vector["base_string"].as_str().unwrap()
        );
        let nonce = vector["nonce"].as_str().unwrap().to_owned();
        assert_eq!(
            verify(&signed(&vector), &keys, 1_773_144_000),
            Ok((1_773_144_000, nonce))
        );
    }

    #[test]
    fn a_changed_query_method_or_secret_is_refused() {
        let (vector, keys) = vector();
        let other = [
            Signed {
                method: "GET",
                ..signed(&vector)
            },
            Signed {
                query: "offset=100&limit=100&sort=start%3Aasc&v=2&source=UnreadReminderScan",
                ..signed(&vector)
            },
        ];
        for request in other {
            assert_eq!(
                verify(&request, &keys, 1_773_144_000),
                Err(OAuth1Refusal::SignatureInvalid)
            );
        }
        let wrong = Credentials {
            token_secret: "wrong".into(),
            ..keys
        };
        assert_eq!(
            verify(&signed(&vector), &wrong, 1_773_144_000),
            Err(OAuth1Refusal::SignatureInvalid)
        );
    }

    #[test]
    fn a_clock_that_is_off_is_told_what_is_acceptable() {
        let (vector, keys) = vector();
        let refusal = verify(&signed(&vector), &keys, 1_773_144_301);
        assert_eq!(
            refusal,
            Err(OAuth1Refusal::Timestamp(1_773_144_001, 1_773_144_601))
        );
    }
}
