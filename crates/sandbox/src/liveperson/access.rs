//! Who may call: OAuth 2.0 bearer tokens and OAuth 1.0a signatures, whichever the account accepts.

use std::sync::PoisonError;

use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::LivePersonServer;
use super::gate::account;
use super::oauth1::{self, OAuth1Refusal, SKEW_S, Signed};
use crate::faults::Endpoint;

pub async fn guard(
    State((server, endpoint)): State<(LivePersonServer, Endpoint)>,
    path: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    match server.admit(endpoint, account(&path), &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal,
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

impl LivePersonServer {
    #[expect(clippy::result_large_err, reason = "the error is the answer")]
    fn admit(&self, endpoint: Endpoint, account: &str, request: &Request) -> Result<(), Response> {
        let authorization = text(request.headers(), header::AUTHORIZATION);
        let keys = self
            .world
            .credentials(account)
            .map_err(|_| self.unauthorized(endpoint))?;
        let now = self.world.clock().now_ms();
        if let Some(token) = authorization.strip_prefix("Bearer ") {
            let state = self.world.read();
            let end = state
                .accounts
                .get(account)
                .and_then(|account| account.tokens.get(token));
            return match end {
                Some(end) if keys.oauth2 && *end > now => Ok(()),
                _ => Err(self.unauthorized(endpoint)),
            };
        }
        if !keys.oauth1 || !authorization.starts_with("OAuth ") {
            return Err(self.unauthorized(endpoint));
        }
        let host = text(request.headers(), header::HOST);
        let signed = Signed {
            method: request.method().as_str(),
            url: &format!("http://{host}{}", request.uri().path()),
            query: request.uri().query().unwrap_or_default(),
            authorization,
        };
        let (timestamp, nonce) =
            oauth1::verify(&signed, &keys, now / 1000).map_err(|why| refuse(&why))?;
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.retain(|(at, _)| (at - now / 1000).abs() <= SKEW_S);
        if nonces.insert((timestamp, nonce)) {
            Ok(())
        } else {
            Err(problem("nonce_used", "the oauth_nonce was used before"))
        }
    }
}

/// Form-style text, not JSON: so LivePerson says why a signature is refused.
fn problem(name: &str, advice: &str) -> Response {
    let body = format!("oauth_problem={name}&oauth_problem_advice={advice}");
    (
        StatusCode::UNAUTHORIZED,
        [(header::CONTENT_TYPE, "text/plain")],
        body,
    )
        .into_response()
}

fn refuse(why: &OAuth1Refusal) -> Response {
    match why {
        OAuth1Refusal::Malformed => problem("parameter_absent", "the OAuth header is incomplete"),
        OAuth1Refusal::TokenRejected => problem(
            "token_rejected",
            "the oauth_token is unacceptable to the Service Provider",
        ),
        OAuth1Refusal::SignatureInvalid => {
            problem("signature_invalid", "the oauth_signature does not match")
        }
        OAuth1Refusal::Timestamp(min, max) => {
            let challenge = format!(
                "OAuth oauth_problem=timestamp_refused, oauth_problem_advice=the oauth_timestamp value is unacceptable to the \
                 Service Provider, oauth_acceptable_timestamps={min}-{max}"
            );
            (
                StatusCode::UNAUTHORIZED,
                [(header::WWW_AUTHENTICATE, challenge)],
            )
                .into_response()
        }
    }
}
