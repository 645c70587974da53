//! The journal as posts, signed as Standard Webhooks says.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::JournalLine;
use crate::secret::Secret;
use crate::signed_post::{Receiver, Whereabouts};

/// Where lines are posted to.
#[derive(Clone, Debug)]
pub struct Webhook(Receiver);

impl Webhook {
    pub fn new(url: Url, secret: &Secret) -> anyhow::Result<Self> {
        let anywhere = Whereabouts::Anywhere;
        Receiver::new("UNREAD_JOURNAL_URL", url, secret, anywhere).map(Self)
    }

    /// Posts lines; they have arrived when the receiver answers with 2xx.
    pub async fn post(&self, lines: &[JournalLine], now: DateTime<Utc>) -> anyhow::Result<()> {
        let body = serde_json::to_vec(lines)?;
        let id = id(&body);
        self.0.post(&id, body, now).await
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
