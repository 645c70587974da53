//! E-mail over SMTP.
//!
//! A pool of at most `size` connections, each carrying one message at a time, so that "which reply belongs to which message"
//! is never a question. A connection whose state is in doubt is dropped, never reused. There is no fallback from TLS to plain text.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::channel::LastLook;
use crate::domain::outcome::{Obstacle, Outcome};
use crate::secret::Secret;

mod classify;
mod connection;
mod email;
mod login;
mod reply;
mod tls;
mod wire;
mod words;

pub use classify::{Fault, Phase, classify};
pub use connection::Failure;
pub use email::{Email, InvalidMailbox, Mailbox};
pub use reply::{Enhanced, Reply};

use connection::{Connection, Handover};
use email::Message;
use tls::TlsParameters;

/// Servers commonly close after 100 messages or 60 idle seconds; going first avoids finding out.
const MAX_MESSAGES: u32 = 100;
const MAX_IDLE: Duration = Duration::from_mins(1);

/// How to reach the mail server, and as whom. `Debug` hides the password.
#[derive(Clone, Debug)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    /// Log in only if both are set.
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub from: Mailbox,
    pub reply_to: Option<Mailbox>,
    /// What we call ourselves in EHLO: the public host name. Some relays refuse `localhost`.
    pub hello_name: String,
    /// Certificates to trust beside the system's, in PEM.
    pub extra_root_pem: Option<String>,
    pub timeouts: Timeouts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// TLS from the first byte (port 465).
    Implicit,
    /// Upgraded by STARTTLS (port 587), which must be offered.
    StartTls,
    /// No TLS: a relay in a trusted network, or the sandbox.
    None,
}

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until one of the pool's connections is free. Short: what was known about the recipient grows old meanwhile.
    pub turn: Duration,
    pub connect: Duration,
    /// The TLS handshake, the greeting and EHLO together.
    pub greeting: Duration,
    /// Each command.
    pub command: Duration,
    /// The reply to the message. Long on purpose: who gives up here does not know whether it was sent.
    pub final_reply: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            turn: Duration::from_secs(20),
            connect: Duration::from_secs(10),
            greeting: Duration::from_secs(15),
            command: Duration::from_secs(30),
            final_reply: Duration::from_mins(2),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the extra root certificates are not PEM")]
    RootCertificates,
    #[error("TLS cannot be set up for this host: {0}")]
    Tls(String),
}

/// What a successful [`Pool::check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    pub encrypted: bool,
    pub logged_in: bool,
}

/// Connections to one mail server; cheap to clone, clones share the connections.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    tls: Option<TlsParameters>,
    slots: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    /// A pool of at most `size` connections, none of them open yet. Needs a tokio runtime, for closing idle connections.
    pub fn new(settings: Settings, size: usize) -> Result<Self, SettingsError> {
        let shared = Arc::new(Shared {
            tls: tls::parameters(&settings)?,
            settings,
            slots: Semaphore::new(size.max(1)),
            idle: Mutex::new(Vec::new()),
        });
        tokio::spawn(close_idle(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Hands over one e-mail, waiting for a free connection first.
    ///
    /// Dropping the future is safe for later messages; the outcome of this one is then unknown.
    pub async fn send(&self, email: &Email<'_>) -> Outcome {
        self.send_unless(&|| None, email).await
    }

    /// The same, unless there is a reason not to at the moment at which the content would leave.
    pub async fn send_unless(&self, withdrawn: LastLook<'_>, email: &Email<'_>) -> Outcome {
        let settings = &self.shared.settings;
        let message = match email::write(email, &settings.from, settings.reply_to.as_ref()) {
            Ok(message) => message,
            Err(unwritable) => return unwritable.outcome(),
        };
        let turn = self.shared.slots.acquire();
        let Ok(slot) = tokio::time::timeout(settings.timeouts.turn, turn).await else {
            return Outcome::NotAccepted {
                class: Obstacle::Transient,
                code: "no free connection".to_owned(),
                retry_after: None,
            };
        };
        let _slot = slot.expect("the semaphore is never closed");
        match self.shared.deliver(&message, withdrawn).await {
            Ok(Handover::Acknowledged(words)) => Outcome::Accepted {
                provider_id: queue_id(&words),
            },
            Ok(Handover::Withdrawn(outcome)) => outcome,
            Err(failure) => {
                let outcome = failure.outcome();
                report(&failure, &outcome);
                outcome
            }
        }
    }

    /// Connects, agrees on TLS, logs in, and says goodbye. Sends nothing.
    pub async fn check(&self) -> Result<Checked, Failure> {
        let settings = &self.shared.settings;
        let connection = Connection::open(settings, self.shared.tls.as_ref()).await?;
        connection.close().await;
        Ok(Checked {
            encrypted: settings.tls != Tls::None,
            logged_in: settings.user.is_some() && settings.password.is_some(),
        })
    }
}

impl Shared {
    async fn deliver(
        &self,
        message: &Message,
        withdrawn: LastLook<'_>,
    ) -> Result<Handover, Failure> {
        if let Some(mut connection) = self.take_idle() {
            let result = connection.send(message, &self.settings, withdrawn).await;
            match result {
                Err(failure) if failure.is_stale_connection() => {}
                result => {
                    self.put_back(connection);
                    return result;
                }
            }
        }
        let mut connection = Connection::open(&self.settings, self.tls.as_ref()).await?;
        let result = connection.send(message, &self.settings, withdrawn).await;
        self.put_back(connection);
        result
    }

    fn take_idle(&self) -> Option<Connection> {
        loop {
            let connection = self.lock().pop()?;
            if connection.is_usable(MAX_MESSAGES, MAX_IDLE) {
                return Some(connection);
            }
            tokio::spawn(connection.close());
        }
    }

    fn put_back(&self, connection: Connection) {
        if connection.is_usable(MAX_MESSAGES, MAX_IDLE) {
            self.lock().push(connection);
        } else {
            tokio::spawn(connection.close());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that nobody used for a while, as long as the pool lives.
async fn close_idle(pool: Weak<Shared>) {
    loop {
        tokio::time::sleep(MAX_IDLE / 2).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let stale: Vec<Connection> = pool
            .lock()
            .extract_if(.., |c| !c.is_usable(MAX_MESSAGES, MAX_IDLE))
            .collect();
        for connection in stale {
            connection.close().await;
        }
    }
}

fn report(failure: &Failure, outcome: &Outcome) {
    let (code, hint) = (failure.code(), failure.hint().unwrap_or_default());
    let is_ours = matches!(
        outcome,
        Outcome::NotAccepted {
            class: Obstacle::Config | Obstacle::Quota,
            ..
        }
    );
    if is_ours {
        tracing::warn!(code, hint, "The mail server turned us away");
    } else {
        tracing::debug!(code, "An e-mail was not handed over");
    }
}

/// The server's own id of the message, if its acknowledgement has a word that looks like one ("2.0.0 OK: queued as ABC123").
fn queue_id(acknowledgement: &str) -> Option<String> {
    let is_id = |word: &&str| {
        (6..=128).contains(&word.len())
            && word.bytes().any(|b| b.is_ascii_digit())
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    acknowledgement
        .split_whitespace()
        .filter(is_id)
        .max_by_key(|word| word.len())
        .map(str::to_owned)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
