//! What comes back after it was accepted, and the events by which the brand is told.
//!
//! Events have the one shape that the service documents, as if a script of the brand's had translated a provider's. They are posted until
//! somebody has understood them, as providers do.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::Sha256;
use tokio_util::sync::CancellationToken;

use crate::clock::WorldClock;
use crate::http;
use crate::outbox::{BounceKind, Mail, Outbox, OutboxMessage, Returned};
use crate::rules::{Rule, Rules, When};

/// How often an event is posted, and the pause after a try that failed, in real time.
const TRIES: usize = 200;
const PAUSE: Duration = Duration::from_millis(300);

/// Mail that is accepted and comes back. `when.to` is compared with the recipients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounce {
    #[serde(flatten)]
    pub when: When,
    pub kind: BounceKind,
    /// Sandbox time since it was accepted.
    pub after_ms: u32,
}

impl Bounce {
    pub fn hard(when: When, after_ms: u32) -> Self {
        Self {
            when,
            kind: BounceKind::Hard,
            after_ms,
        }
    }

    pub fn soft(when: When, after_ms: u32) -> Self {
        Self {
            kind: BounceKind::Soft,
            ..Self::hard(when, after_ms)
        }
    }
}

/// The rules in force; the first that applies wins.
pub type Bounces = Rules<Bounce>;

impl Rule for Bounce {
    fn when(&self) -> &When {
        &self.when
    }

    fn when_mut(&mut self) -> &mut When {
        &mut self.when
    }
}

/// Lets mail come back, and tells the brand.
#[derive(Clone)]
pub struct Postmaster {
    pub bounces: Bounces,
    inner: Arc<PostmasterInner>,
}

struct PostmasterInner {
    secret: String,
    outbox: Outbox,
    clock: WorldClock,
    client: reqwest::Client,
    url: Mutex<Option<String>>,
    /// When what is to come back does, or has.
    pending: Mutex<Vec<DateTime<Utc>>>,
    stop: CancellationToken,
}

impl Postmaster {
    pub fn new(
        (secret, seed): (&str, u64),
        outbox: Outbox,
        clock: WorldClock,
        stop: CancellationToken,
    ) -> reqwest::Result<Self> {
        Ok(Self {
            bounces: Bounces::new(seed),
            inner: Arc::new(PostmasterInner {
                secret: secret.to_owned(),
                outbox,
                clock,
                client: http::client("sandbox-mail-events")?,
                url: Mutex::default(),
                pending: Mutex::default(),
                stop,
            }),
        })
    }

    /// Where events are posted. Without it mail comes back, and nobody is told.
    pub fn post_to(&self, url: &str) {
        *self
            .inner
            .url
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(url.to_owned());
    }

    /// Bounces still to come, and events still to be understood.
    pub fn pending(&self) -> usize {
        self.inner.pending().len()
    }

    /// Those whose time has come.
    pub fn due(&self) -> usize {
        let now = self.inner.clock.now();
        self.inner.pending().iter().filter(|at| **at <= now).count()
    }

    /// The mail under this number was accepted.
    pub fn accepted(&self, mail: u64, to: &[&str]) {
        let Some(bounce) = self.bounces.strike(to, |_| true) else {
            return;
        };
        let inner = self.inner.clone();
        let at = inner.clock.now() + TimeDelta::milliseconds(bounce.after_ms.into());
        inner.pending().push(at);
        tokio::spawn(async move {
            let stop = inner.stop.clone();
            stop.run_until_cancelled(inner.come_back(mail, at, bounce.kind))
                .await;
            let mut pending = inner.pending();
            let place = pending.iter().position(|pending| *pending == at);
            if let Some(place) = place {
                pending.swap_remove(place);
            }
        });
    }
}

impl PostmasterInner {
    fn pending(&self) -> MutexGuard<'_, Vec<DateTime<Utc>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn come_back(&self, id: u64, at: DateTime<Utc>, kind: BounceKind) {
        self.clock.until(at).await;
        let Some(OutboxMessage::Mail(mail)) = self.outbox.message(id) else {
            return;
        };
        let mut returned = Returned {
            at: self.clock.now(),
            kind,
            told_at: None,
        };
        self.outbox.return_mail(id, returned);
        if self.tell(&mail, kind).await {
            returned.told_at = Some(self.clock.now());
            self.outbox.return_mail(id, returned);
        }
    }

    /// False: nobody is to be told, or nobody has understood.
    async fn tell(&self, mail: &Mail, kind: BounceKind) -> bool {
        let Some(url) = self
            .url
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
        else {
            return false;
        };
        let event = json!([{
            "kind": kind,
            "address": mail.to.first(),
            "message_id": mail.message_id(),
            "list_unsubscribe": mail.header("List-Unsubscribe"),
        }]);
        let body = event.to_string();
        for _ in 0..TRIES {
            let time = self.clock.now().timestamp();
            let post = self
                .client
                .post(&url)
                .header("content-type", "application/json")
                .header("X-Unread-Timestamp", time.to_string())
                .header(
                    "X-Unread-Signature",
                    format!("v1={}", sign(&self.secret, time, &body)),
                )
                .body(body.clone());
            match post.send().await {
                Ok(answer) if answer.status().is_success() => return true,
                Ok(answer) if answer.status().is_client_error() => {
                    tracing::warn!(status = %answer.status(), "a mail event of the sandbox was refused");
                    return false;
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
        false
    }
}

/// Signs an event. Written apart from the service's check, so that one mistake cannot hide the other.
pub fn sign(secret: &str, time: i64, body: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{time}.{body}").as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use tokio::sync::mpsc;

    use super::*;

    const SECRET: &str = "an agreed secret of some length";
    const PATIENCE: Duration = Duration::from_mins(2);

    #[test]
    fn the_documented_example_is_signed_as_documented() {
        let page = include_str!("../../../../docs/webhooks.md");
        assert!(page.contains(&sign(SECRET, 1000, "[]")));
    }

    #[tokio::test]
    async fn what_comes_back_is_told_until_somebody_understands() {
        let start = DateTime::<Utc>::from_timestamp(1_700_000_000, 0).unwrap();
        let (outbox, clock) = (Outbox::default(), WorldClock::manual(start));
        let stop = CancellationToken::new();
        let postmaster = Postmaster::new((SECRET, 1), outbox.clone(), clock.clone(), stop).unwrap();
        postmaster
            .bounces
            .add(Bounce::hard(When::to("*@moved.example"), 60_000));

        let (told, mut heard) = mpsc::unbounded_channel();
        let calls = Arc::new(AtomicUsize::new(0));
        let webhook = post(move |headers: HeaderMap, body: String| async move {
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            let header = |name: &str| headers[name].to_str().unwrap().to_owned();
            told.send((
                header("x-unread-timestamp"),
                header("x-unread-signature"),
                body,
            ))
            .unwrap();
            StatusCode::OK
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        postmaster.post_to(&format!(
            "http://{}/mail/events",
            listener.local_addr().unwrap()
        ));
        let app = axum::Router::new().route("/mail/events", webhook);
        tokio::spawn(async move { axum::serve(listener, app).await });

        let accept = |to: &str| {
            let raw = b"Message-ID: <rem.1.abcdefgh@x>\r\n\r\nHello\r\n".to_vec();
            let id = outbox.accept_mail(clock.now(), "a@example.com".into(), vec![to.into()], raw);
            postmaster.accepted(id, &[to]);
            id
        };
        let (stays, returns) = (accept("ann@example.com"), accept("bob@moved.example"));
        assert_eq!(postmaster.pending(), 1);
        clock.advance(TimeDelta::seconds(59));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(heard.try_recv().is_err(), "not yet");
        clock.advance(TimeDelta::seconds(2));
        let (time, signature, body) = tokio::time::timeout(PATIENCE, heard.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            time,
            (start + TimeDelta::seconds(61)).timestamp().to_string()
        );
        assert_eq!(
            signature,
            format!("v1={}", sign(SECRET, time.parse().unwrap(), &body))
        );
        let events: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(events[0]["kind"], "hard");
        assert_eq!(events[0]["address"], "bob@moved.example");
        assert_eq!(events[0]["message_id"], "<rem.1.abcdefgh@x>");
        let returned = |id| match outbox.message(id) {
            Some(OutboxMessage::Mail(mail)) => mail.returned,
            _ => None,
        };
        let is_told =
            |_: &Outbox| returned(returns).is_some_and(|returned| returned.told_at.is_some());
        assert!(outbox.wait_for(is_told, PATIENCE).await);
        assert_eq!(returned(stays), None);
    }
}
