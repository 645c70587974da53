//! `POST /v1/hints/{account}`: something may have happened in a conversation (docs/hints.md). Signed as Standard Webhooks says.
//!
//! Nothing is believed but which conversation to ask LivePerson about, and that only of who holds the account's secret. Polling stays the
//! truth: whatever is refused here, or lost, the next scan finds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::body::to_bytes;
use axum::extract::{Path, Request, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;

use super::AppState;
use super::error::{PublicError, problem};
use super::limiter::Limiter;
use crate::config::AccountSettings;
use crate::db;
use crate::domain::ids::AccountId;
use crate::jobs::hint;

/// A hint names one conversation.
const LARGEST: usize = 4 * 1024;
const LONGEST_ID: usize = 100;

/// How far a hint's time may be from ours, as Standard Webhooks' libraries have it.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// Hints of one account that one process takes per second, and at once after a pause.
const PER_SECOND: f64 = 20.0;
const AT_ONCE: f64 = 200.0;

/// Who may hint, and how often.
pub struct Hints {
    keys: BTreeMap<AccountId, Vec<u8>>,
    taken: Limiter<u32>,
}

impl Hints {
    pub fn new(accounts: &[AccountSettings]) -> Self {
        let key = |account: &AccountSettings| {
            let key = account.hint_secret.as_ref()?.signing_key()?;
            Some((account.id.clone(), key))
        };
        Self {
            keys: accounts.iter().filter_map(key).collect(),
            taken: Limiter::new(PER_SECOND, AT_ONCE, accounts.len().max(1) * 2),
        }
    }

    /// The account's id, its place among the others, and its key.
    fn of(&self, account: &str) -> Option<(&AccountId, u32, &[u8])> {
        let mut all = self.keys.iter().zip(0..);
        let ((id, key), place) = all.find(|((id, _), _)| id.as_str() == account)?;
        Some((id, place, key.as_slice()))
    }
}

/// Why a hint is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the headers webhook-id, webhook-timestamp and webhook-signature are needed")]
    Unsigned,
    #[error("webhook-timestamp must be within five minutes of now, in seconds since 1970")]
    WrongTime,
    #[error("webhook-signature is not that of this request and the account's UNREAD_HINT_SECRET")]
    WrongSignature,
}

#[derive(Clone, Copy)]
struct Signed<'a> {
    id: &'a str,
    timestamp: &'a str,
    signatures: &'a str,
}

impl<'a> Signed<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let header = |name: &str| {
            let mut all = headers.get_all(name).iter();
            let value = all.next()?.to_str().ok()?;
            // What is there twice was not sent by who signed it.
            (all.next().is_none() && !value.is_empty()).then_some(value)
        };
        let signed = || {
            Some(Self {
                id: header("webhook-id").filter(|id| id.len() <= LONGEST_ID)?,
                timestamp: header("webhook-timestamp")?,
                signatures: header("webhook-signature")?,
            })
        };
        signed().ok_or(Refusal::Unsigned)
    }

    fn verify(self, key: &[u8], body: &[u8], now: DateTime<Utc>) -> Result<(), Refusal> {
        let Self { id, timestamp, .. } = self;
        let digits = timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let at = timestamp.parse::<i64>().ok().filter(|_| digits);
        let at = at.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        if at.is_none_or(|at| (now - at).abs() > TOLERANCE) {
            return Err(Refusal::WrongTime);
        }
        let mac = Hmac::<Sha256>::new_from_slice(key)
            .expect("HMAC takes keys of any length")
            .chain_update(format!("{id}.{timestamp}."))
            .chain_update(body);
        let is_ours = |signature: &str| {
            let signature = signature.strip_prefix("v1,")?;
            let signature = STANDARD.decode(signature).ok()?;
            mac.clone().verify_slice(&signature).ok()
        };
        // Several while its sender changes its key.
        let mut signatures = self.signatures.split(' ').take(5);
        let found = signatures.any(|signature| is_ours(signature).is_some());
        found.then_some(()).ok_or(Refusal::WrongSignature)
    }
}

#[derive(Deserialize)]
struct Hint {
    conversation: String,
}

/// The conversation that a body names.
fn conversation(body: &[u8]) -> Option<String> {
    let hint: Hint = serde_json::from_slice(body).ok()?;
    let id = hint.conversation;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    ((1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(plain)).then_some(id)
}

/// A hint that its sender has signed.
struct SignedHint {
    id: String,
    conversation: String,
}

/// Reads a request. Nothing of its body is read before the signature is checked, nor waited for without one.
async fn read(request: Request, key: &[u8], now: DateTime<Utc>) -> Result<SignedHint, Response> {
    let (head, body) = request.into_parts();
    let forbidden = |why: Refusal| problem(StatusCode::FORBIDDEN, &why.to_string());
    let signed = Signed::of(&head.headers).map_err(forbidden)?;
    let body = to_bytes(body, LARGEST).await.map_err(|_| {
        let detail =
            "a hint is a JSON object with the id of a conversation, and no larger than 4 KiB";
        problem(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })?;
    signed.verify(key, &body, now).map_err(forbidden)?;
    let conversation = conversation(&body).ok_or_else(|| {
        let detail = "`conversation` must be LivePerson's id of a conversation: letters, digits and hyphens, 100 at most";
        problem(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })?;
    Ok(SignedHint {
        id: signed.id.to_owned(),
        conversation,
    })
}

fn too_many(wait: Duration) -> Response {
    let detail = "more hints than are taken at once; the next scan finds what they are about";
    let seconds = wait.as_secs().max(1).to_string();
    let answer = problem(StatusCode::TOO_MANY_REQUESTS, detail);
    ([(header::RETRY_AFTER, seconds)], answer).into_response()
}

pub async fn hint(
    Shared(state): Shared<AppState>,
    Path(account): Path<String>,
    request: Request,
) -> Result<Response, PublicError> {
    let Some((account, place, key)) = state.hints.of(&account) else {
        let detail = "no account of this id takes hints: UNREAD_HINT_SECRET is not set for it";
        return Ok(problem(StatusCode::NOT_FOUND, detail));
    };
    let now = state.clock.now();
    let hint = match read(request, key, now).await {
        Ok(hint) => hint,
        Err(refused) => {
            state.metrics.webhook("hint", "refused");
            return Ok(refused);
        }
    };
    if let Err(wait) = state.hints.taken.pass(place, Instant::now()) {
        state.metrics.webhook("hint", "too_many");
        return Ok(too_many(wait));
    }
    let mut tx = state.pool.begin().await?;
    let is_new = db::hints::first_time(&mut tx, account, &hint.id, now).await?;
    if is_new {
        hint::schedule(&mut tx, &state.clock, account, &hint.conversation).await?;
    }
    tx.commit().await?;
    let result = if is_new { "taken" } else { "repeated" };
    state.metrics.webhook("hint", result);
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
    const BODY: &[u8] = br#"{"conversation":"11111111-2222-4333-8444-555555555555"}"#;
    const NOW: i64 = 1_773_144_000;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(NOW, 0).unwrap()
    }

    fn sign(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(key)
            .unwrap()
            .chain_update(format!("{id}.{timestamp}."))
            .chain_update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    fn verified(id: &str, timestamp: &str, signatures: &str, body: &[u8]) -> Result<(), Refusal> {
        let signed = Signed {
            id,
            timestamp,
            signatures,
        };
        signed.verify(KEY, body, now())
    }

    #[test]
    fn another_library_s_signature_is_believed() {
        let secret = format!("whsec_{}", STANDARD.encode(KEY));
        let webhook = standardwebhooks::Webhook::new(&secret).unwrap();
        let signature = webhook.sign("msg_1", NOW, BODY).unwrap();
        assert_eq!(
            verified("msg_1", &NOW.to_string(), &signature, BODY),
            Ok(())
        );
    }

    #[test]
    fn no_byte_of_a_hint_can_be_another() {
        let time = NOW.to_string();
        let good = sign(KEY, "msg_1", &time, BODY);
        assert_eq!(verified("msg_1", &time, &good, BODY), Ok(()));
        for at in 0..BODY.len() {
            for bit in 0..8 {
                let mut body = BODY.to_vec();
                body[at] ^= 1 << bit;
                let refused = Err(Refusal::WrongSignature);
                assert_eq!(verified("msg_1", &time, &good, &body), refused, "{at}");
            }
        }
        for at in 0..good.len() {
            let mut other = good.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            // The last digit but one of base64 has bits that say nothing, which must be zero.
            let refused = Err(Refusal::WrongSignature);
            assert_eq!(verified("msg_1", &time, &other, BODY), refused, "{other}");
        }
        for (id, timestamp) in [
            ("msg_2", NOW),
            ("msg_", NOW),
            ("msg_1", NOW + 1),
            // The parts are told apart: another id cannot take digits of the time.
            ("msg_1.1", NOW),
        ] {
            let refused = Err(Refusal::WrongSignature);
            assert_eq!(verified(id, &timestamp.to_string(), &good, BODY), refused);
        }
        let other_key = sign(b"another key of thirty-two bytes!", "msg_1", &time, BODY);
        for signatures in [
            "",
            "v1,",
            "v2,AAAA",
            &good[3..],
            &other_key,
            &format!("{good}="),
        ] {
            let refused = Err(Refusal::WrongSignature);
            assert_eq!(
                verified("msg_1", &time, signatures, BODY),
                refused,
                "{signatures}"
            );
        }
        let changing = format!("{other_key} {good}");
        assert_eq!(verified("msg_1", &time, &changing, BODY), Ok(()));
    }

    #[test]
    fn a_hint_is_good_for_five_minutes_on_either_side() {
        for (seconds, good) in [
            (0, true),
            (300, true),
            (-300, true),
            (301, false),
            (-301, false),
        ] {
            let time = (NOW + seconds).to_string();
            let signature = sign(KEY, "msg_1", &time, BODY);
            let expected = if good {
                Ok(())
            } else {
                Err(Refusal::WrongTime)
            };
            assert_eq!(
                verified("msg_1", &time, &signature, BODY),
                expected,
                "{seconds}"
            );
        }
        for time in [
            "",
            "now",
            "+1773144000",
            "1773144000.0",
            " 1773144000",
            "99999999999999999999",
        ] {
            let signature = sign(KEY, "msg_1", time, BODY);
            assert_eq!(
                verified("msg_1", time, &signature, BODY),
                Err(Refusal::WrongTime),
                "{time}"
            );
        }
    }

    #[test]
    fn headers_are_there_once() {
        let complete = || {
            let mut headers = HeaderMap::new();
            for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
                headers.insert(name, "x".parse().unwrap());
            }
            headers
        };
        assert!(Signed::of(&complete()).is_ok());
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = complete();
            headers.append(name, "y".parse().unwrap());
            assert!(Signed::of(&headers).is_err(), "{name} twice");
            headers.remove(name);
            assert!(Signed::of(&headers).is_err(), "no {name}");
        }
    }

    #[test]
    fn nothing_but_an_id_is_read() {
        assert_eq!(
            conversation(BODY).as_deref(),
            Some("11111111-2222-4333-8444-555555555555")
        );
        assert_eq!(
            conversation(br#"{"conversation":"a","unread":true}"#).as_deref(),
            Some("a")
        );
        let long = format!("{{\"conversation\":\"{}\"}}", "a".repeat(101));
        for bad in [
            "",
            "{}",
            "[]",
            "null",
            "\"a\"",
            r#"{"conversation":7}"#,
            r#"{"conversation":""}"#,
            r#"{"conversation":"a b"}"#,
            r#"{"conversation":"a'--"}"#,
            r#"{"conversation":"a\u0000"}"#,
            r#"{"conversation":"é"}"#,
            &long,
        ] {
            assert_eq!(conversation(bad.as_bytes()), None, "{bad}");
        }
    }
}
