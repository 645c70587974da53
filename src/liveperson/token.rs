//! The OAuth 2.0 access token: fetched once for all callers, renewed before it expires.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::LivePersonError;
use super::tolerant::Int;

pub const ENDPOINT: &str = "token";
pub const MAX_BODY: usize = 256 << 10;
/// How long before its end a token is renewed.
const EARLY: TimeDelta = TimeDelta::seconds(60);
/// The life of a token that does not tell it: LivePerson's documented hour for tokens of the older version. Too long does no
/// harm, a 401 renews it.
const ASSUMED_LIFE: TimeDelta = TimeDelta::hours(1);
const LONGEST_LIFE: TimeDelta = TimeDelta::days(1);

/// The value of the `Authorization` header, and when to replace it.
#[derive(Clone)]
pub struct AccessToken {
    pub header: HeaderValue,
    renew_at: DateTime<Utc>,
}

/// The lock is held while a token is fetched: whoever else needs one waits for that one.
#[derive(Default)]
pub struct TokenCache {
    state: Mutex<TokenState>,
}

#[derive(Default)]
struct TokenState {
    token: Option<AccessToken>,
    /// The last failure, and until when it answers for the token server.
    failed: Option<(LivePersonError, Instant)>,
}

impl TokenCache {
    /// The current token, by `fetch` if there is none or it is nearly over.
    pub async fn get(
        &self,
        now: DateTime<Utc>,
        pause: std::time::Duration,
        fetch: impl Future<Output = Result<AccessToken, LivePersonError>>,
    ) -> Result<HeaderValue, LivePersonError> {
        let mut state = self.state.lock().await;
        if let Some(token) = state.token.as_ref().filter(|token| now < token.renew_at) {
            return Ok(token.header.clone());
        }
        if let Some((error, until)) = &state.failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        match fetch.await {
            Ok(token) => {
                let header = token.header.clone();
                *state = TokenState {
                    token: Some(token),
                    failed: None,
                };
                Ok(header)
            }
            Err(error) => {
                let pause = error.retry_after().unwrap_or_default().max(pause);
                state.failed = Some((error.clone(), Instant::now() + pause));
                Err(error)
            }
        }
    }

    /// LivePerson refused `used`: forget it, unless another caller has replaced it already.
    pub async fn discard(&self, used: &HeaderValue) {
        let mut state = self.state.lock().await;
        if state.token.as_ref().is_some_and(|t| t.header == *used) {
            state.token = None;
        }
    }
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    #[serde(default)]
    expires_in: Int,
}

#[derive(Deserialize)]
struct ExpiryClaim {
    #[serde(default)]
    exp: Int,
}

/// The token out of the token server's answer. Its life is `expires_in` (a number, or a string of one), else the token's own
/// `exp`, else an hour.
pub fn parse(body: &[u8], now: DateTime<Utc>) -> Result<AccessToken, LivePersonError> {
    let malformed = |why| LivePersonError::Malformed {
        endpoint: ENDPOINT,
        why,
    };
    let issued: Issued =
        serde_json::from_slice(body).map_err(|_| malformed("not the expected JSON"))?;
    let mut header = HeaderValue::try_from(format!("Bearer {}", issued.access_token))
        .map_err(|_| malformed("the token has forbidden characters"))?;
    header.set_sensitive(true);
    let life = issued
        .expires_in
        .0
        .and_then(TimeDelta::try_seconds)
        .or_else(|| Some(expiry(&issued.access_token)? - now))
        .unwrap_or(ASSUMED_LIFE)
        .clamp(TimeDelta::zero(), LONGEST_LIFE);
    // A token that lives for a minute would otherwise be renewed for every call.
    let renew_at = now + (life - EARLY).max(life / 2);
    Ok(AccessToken { header, renew_at })
}

/// The `exp` of a JWT. Not verified: it only tells us when to fetch the next one.
fn expiry(token: &str) -> Option<DateTime<Utc>> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: ExpiryClaim = serde_json::from_slice(&payload).ok()?;
    DateTime::from_timestamp_secs(claims.exp.0?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::from_timestamp_secs(1_773_144_000).unwrap();

    fn lives_for(body: &str) -> i64 {
        (parse(body.as_bytes(), NOW).unwrap().renew_at - NOW).num_seconds()
    }

    #[test]
    fn a_life_is_read_from_a_number_a_string_the_token_or_assumed() {
        assert_eq!(lives_for(r#"{"access_token":"a","expires_in":600}"#), 540);
        assert_eq!(
            lives_for(r#"{"access_token":"a","expires_in":"3600"}"#),
            3540
        );
        assert_eq!(lives_for(r#"{"access_token":"a","expires_in":null}"#), 3540);
        assert_eq!(lives_for(r#"{"access_token":"a.b.c"}"#), 3540);
        let claims = URL_SAFE_NO_PAD.encode(r#"{"exp":1773144900}"#);
        assert_eq!(
            lives_for(&format!(r#"{{"access_token":"h.{claims}.s"}}"#)),
            840
        );
    }

    #[test]
    fn a_short_or_absurd_life_is_bounded() {
        assert_eq!(lives_for(r#"{"access_token":"a","expires_in":20}"#), 10);
        assert_eq!(lives_for(r#"{"access_token":"a","expires_in":-5}"#), 0);
        assert_eq!(
            lives_for(r#"{"access_token":"a","expires_in":9223372036854775807}"#),
            3540
        );
    }

    #[test]
    fn a_token_that_cannot_be_a_header_is_refused() {
        assert!(parse(b"{\"access_token\":\"a\\nb\"}", NOW).is_err());
        assert!(parse(b"<html>", NOW).is_err());
    }
}
