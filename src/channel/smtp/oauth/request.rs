//! Asking a token endpoint for a token: one short request, never redirected, with little room for its answer.

use std::time::Duration;

use super::answer::{Answer, TokenFault};
use super::tokens::AccessToken;
use super::{ClientProof, OAuthIdentity, TokenGrant};
use crate::trace;

/// The whole of a request. A message waits for it, which was looked at before.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);

/// Octets of an answer; a token with its neighbours has 4,000.
const MOST: usize = 64 * 1024;

/// What a mail server of Microsoft's is asked for.
const MICROSOFT_SCOPE: &str = "https://outlook.office365.com/.default";

/// The client that all requests of one grant share.
pub(super) fn client(grant: &TokenGrant) -> Result<reqwest::Client, reqwest::Error> {
    // reqwest is built without a provider of its own and panics if none is set. An error only says that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("unread/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(PATIENCE)
        // It would take our secret to wherever the answer says.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .https_only(grant.endpoint.scheme() == "https")
        .build()
}

/// Asks for a token for `mailbox` at `now`, in seconds since 1970.
pub(super) async fn fetch(
    http: &reqwest::Client,
    grant: &TokenGrant,
    mailbox: &str,
    now: i64,
) -> Result<AccessToken, TokenFault> {
    let form = form(grant, mailbox, now).ok_or(TokenFault::Unusable("unusable key"))?;
    let asking = async {
        let request = http.post(grant.endpoint.clone()).form(&form);
        let request = request.headers(trace::headers());
        let answer = request.send().await.map_err(|error| fault(&error))?;
        read(answer).await
    };
    // The client's own limit starts anew with each part of the body.
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    answer.map_err(|_| TokenFault::TimedOut)??.read()
}

fn form(grant: &TokenGrant, mailbox: &str, now: i64) -> Option<Vec<(&'static str, String)>> {
    let audience = grant.endpoint.as_str();
    Some(match &grant.identity {
        OAuthIdentity::Microsoft { client_id, proof } => {
            let mut form = vec![
                ("grant_type", "client_credentials".to_owned()),
                ("scope", MICROSOFT_SCOPE.to_owned()),
                ("client_id", client_id.clone()),
            ];
            match proof {
                ClientProof::Secret(secret) => {
                    form.push(("client_secret", secret.expose().to_owned()));
                }
                ClientProof::Certificate(certificate) => {
                    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                    form.push(("client_assertion_type", kind.to_owned()));
                    let assertion = certificate.assertion(client_id, audience, now)?;
                    form.push(("client_assertion", assertion));
                }
            }
            form
        }
        OAuthIdentity::Google(key) => vec![
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned(),
            ),
            ("assertion", key.assertion(mailbox, audience, now)?),
        ],
    })
}

async fn read(mut answer: reqwest::Response) -> Result<Answer, TokenFault> {
    let status = answer.status().as_u16();
    let retry_after = answer.headers().get("retry-after");
    let retry_after = retry_after
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(|seconds: u64| Duration::from_secs(seconds.min(3_600)));
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| fault(&error))? {
        if body.len() + chunk.len() > MOST {
            return Err(TokenFault::Unusable("too much"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        retry_after,
        body,
    })
}

fn fault(error: &reqwest::Error) -> TokenFault {
    if error.is_timeout() {
        TokenFault::TimedOut
    } else {
        TokenFault::Unreachable
    }
}
