//! The journal as signed posts.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use reqwest::header::CONTENT_TYPE;
use url::Url;

use super::Line;
use crate::channel::mail_events::sign;
use crate::secret::Secret;

/// How long the receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where lines are posted to. `Debug` shows no secret, and no more of the address than its host.
#[derive(Clone)]
pub struct Webhook {
    http: reqwest::Client,
    url: Url,
    secret: Secret,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Webhook")
            .field(&self.url.host_str())
            .finish()
    }
}

impl Webhook {
    pub fn new(url: Url, secret: Secret) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("setting up the journal's webhook")?;
        Ok(Self { http, url, secret })
    }

    /// Posts lines; they have arrived when the receiver answers with 2xx.
    pub async fn post(&self, lines: &[Line], now: DateTime<Utc>) -> anyhow::Result<()> {
        let body = serde_json::to_vec(lines)?;
        let timestamp = now.timestamp();
        let signature = sign(&self.secret, timestamp, &body);
        let answer = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("x-unread-timestamp", timestamp)
            .header("x-unread-signature", format!("v1={signature}"))
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
