//! The journal as posts, signed as Standard Webhooks says (<https://www.standardwebhooks.com>), so that a receiver checks them with a
//! library that is there already.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::CONTENT_TYPE;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::JournalLine;
use crate::secret::Secret;
use crate::trace;

/// How long the receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where lines are posted to. `Debug` shows no secret, and no more of the address than its host.
#[derive(Clone)]
pub struct Webhook {
    http: reqwest::Client,
    url: Url,
    key: Vec<u8>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Webhook")
            .field(&self.url.host_str())
            .finish()
    }
}

impl Webhook {
    pub fn new(url: Url, secret: &Secret) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("setting up the journal's webhook")?;
        let key = secret.signing_key();
        let key =
            key.context("the journal's secret is not `whsec_` and 24 to 64 bytes in base64")?;
        Ok(Self { http, url, key })
    }

    /// Posts lines; they have arrived when the receiver answers with 2xx.
    pub async fn post(&self, lines: &[JournalLine], now: DateTime<Utc>) -> anyhow::Result<()> {
        let body = serde_json::to_vec(lines)?;
        let (id, timestamp) = (id(&body), now.timestamp());
        let signature = sign(&self.key, &id, timestamp, &body);
        let answer = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .headers(trace::headers())
            .body(body)
            .send()
            .await
            .map_err(reqwest::Error::without_url)
            .context("the journal's receiver (UNREAD_JOURNAL_URL) does not answer")?;
        let status = answer.status();
        ensure!(
            status.is_success(),
            "the journal's receiver (UNREAD_JOURNAL_URL) answers {status}"
        );
        Ok(())
    }
}

/// The same for the same lines, which may be posted twice, and another for others: a receiver may pass over an id that it knows.
fn id(body: &[u8]) -> String {
    let mut id = "msg_".to_owned();
    for byte in &Sha256::digest(body)[..16] {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

fn sign(key: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signature = Hmac::<Sha256>::new_from_slice(key)
        .expect("HMAC takes keys of any length")
        .chain_update(format!("{id}.{timestamp}."))
        .chain_update(body)
        .finalize();
    format!("v1,{}", STANDARD.encode(signature.into_bytes()))
}
