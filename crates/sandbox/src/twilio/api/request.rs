//! One request: who signs in, which fault strikes, and the answer.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::door::Scissors;
use crate::twilio::TwilioAccount;
use crate::twilio::faults::{Operation, TwilioAnswer, TwilioFault, TwilioRefusal};

/// A request about to be answered.
pub(super) struct Request<'a> {
    pub account: &'a TwilioAccount,
    pub line: Scissors,
    pub operation: Operation,
    /// The number concerned; may be empty.
    pub to: &'a str,
    pub path: &'a str,
}

impl Request<'_> {
    /// Signs in, draws a fault, carries out `work` if the fault lets it, and answers as the fault wants.
    pub async fn handle(
        self,
        headers: &HeaderMap,
        account_sid: &str,
        work: impl FnOnce(&TwilioFault) -> Result<(StatusCode, Option<Value>), TwilioRefusal>,
    ) -> Response {
        let inner = &self.account.inner;
        inner.requests.fetch_add(1, Ordering::SeqCst);
        let counted = Concurrent::new(self.account);
        if inner
            .options
            .max_concurrent
            .is_some_and(|most| counted.now > most)
        {
            return TwilioRefusal::too_many(None).into_response();
        }
        if let Err(refusal) = self.sign_in(headers, account_sid) {
            return refusal.into_response();
        }
        let fault = inner
            .faults
            .strike(&[self.to], |fault| fault.on == self.operation)
            .unwrap_or_else(|| {
                TwilioFault::answer(crate::rules::When::always(), TwilioAnswer::Proceed)
            });
        let done = fault.answer.accepts().then(|| work(&fault));
        let delay = tokio::time::sleep(Duration::from_millis(fault.delay_ms));
        inner.stop.run_until_cancelled(delay).await;
        self.answer(fault.answer, done).await
    }

    /// The answer. `done` is what the work came to, if it was carried out.
    async fn answer(
        &self,
        answer: TwilioAnswer,
        done: Option<Result<(StatusCode, Option<Value>), TwilioRefusal>>,
    ) -> Response {
        match (answer, done) {
            (TwilioAnswer::Error { code }, _) => {
                TwilioRefusal::of(code, self.to, self.path).into_response()
            }
            (TwilioAnswer::TooMany { retry_after }, _) => {
                TwilioRefusal::too_many(retry_after).into_response()
            }
            (
                TwilioAnswer::Raw {
                    status,
                    content_type,
                    body,
                },
                _,
            ) => {
                let status =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
            }
            (TwilioAnswer::Silence { .. }, _) => {
                self.account.inner.stop.cancelled().await;
                self.line.cut();
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
            (TwilioAnswer::CutBody, Some(Ok((status, Some(body))))) => cut_body(status, &body),
            (TwilioAnswer::Close { .. } | TwilioAnswer::CutBody, _) | (_, None) => {
                self.line.cut();
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
            (_, Some(Err(refusal))) => refusal.into_response(),
            (_, Some(Ok((status, body)))) => {
                let body = body.map(|body| body.to_string()).unwrap_or_default();
                (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
            }
        }
    }

    fn sign_in(&self, headers: &HeaderMap, account_sid: &str) -> Result<(), TwilioRefusal> {
        let options = &self.account.inner.options;
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|encoded| BASE64_STANDARD.decode(encoded.trim()).ok())
            .and_then(|octets| String::from_utf8(octets).ok())
            .unwrap_or_default();
        let key = options
            .api_key
            .as_ref()
            .map(|(key, secret)| format!("{key}:{secret}"));
        if given != format!("{}:{}", options.account_sid, options.auth_token) && Some(given) != key
        {
            return Err(TwilioRefusal::of(20003, self.to, self.path));
        }
        if account_sid != options.account_sid {
            return Err(TwilioRefusal::of(20404, self.to, self.path));
        }
        Ok(())
    }
}

/// A request in progress, counted until it is answered or the client has gone.
struct Concurrent<'a> {
    account: &'a TwilioAccount,
    now: usize,
}

impl<'a> Concurrent<'a> {
    fn new(account: &'a TwilioAccount) -> Self {
        let now = account.inner.concurrent.fetch_add(1, Ordering::SeqCst) + 1;
        account
            .inner
            .most_concurrent
            .fetch_max(now, Ordering::SeqCst);
        Self { account, now }
    }
}

impl Drop for Concurrent<'_> {
    fn drop(&mut self) {
        self.account.inner.concurrent.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The whole head and half of the body, then the connection closes.
fn cut_body(status: StatusCode, body: &Value) -> Response {
    let body = body.to_string();
    let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
    let pieces = futures_util::stream::unfold(Some(half), |half| async {
        let Some(half) = half else {
            tokio::task::yield_now().await; // lets the first half leave
            return Some((Err(io::Error::from(io::ErrorKind::BrokenPipe)), None));
        };
        Some((Ok(half), None))
    });
    let length = body.len().to_string();
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_LENGTH, length),
    ];
    (status, headers, Body::from_stream(pieces)).into_response()
}
