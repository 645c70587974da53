//! The pool: connections to one mail server, and the queue for them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::connection::{Failure, Handover, SmtpConnection};
use super::email::{self, Email, WireMail};
use super::oauth::Tokens;
use super::settings::{Credential, SmtpSettings, SmtpSettingsError, SmtpTls};
use super::tls::{self, TlsParameters};
use crate::channel::{LastCheck, nothing_in_the_way};
use crate::domain::outcome::{Outcome, Retryable};

/// Servers commonly close after 100 messages or 60 idle seconds; going first avoids finding out.
pub(super) const MAX_MESSAGES: u32 = 100;
const MAX_IDLE: Duration = Duration::from_mins(1);

/// When somebody comes back for whom no connection became free.
const CROWDED: Duration = Duration::from_secs(30);

/// The queue for connections is at most so long: what was asked about its last e-mail is not yet old when that has one.
const QUEUE: Duration = Duration::from_millis(500);

/// A connection that was made so lately is there.
const UNTOUCHED: Duration = Duration::from_secs(1);

/// What a successful [`Pool::check`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmtpCheck {
    pub encrypted: bool,
    pub logged_in: bool,
}

/// Connections to one mail server; cheap to clone, clones share the connections.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    settings: SmtpSettings,
    tls: Option<TlsParameters>,
    /// Where the login is by token.
    tokens: Option<Tokens>,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    /// E-mails that have a place and use no connection yet.
    reserved: AtomicUsize,
    /// E-mails that wait for a place.
    crowd: AtomicUsize,
    /// One of those that wait for a place shall look whether there is one.
    moved_up: Notify,
    size: usize,
    /// How long an e-mail occupies a connection, in microseconds: the mean of the last few.
    took: AtomicU64,
}

/// A connection that nobody uses.
struct Idle {
    connection: SmtpConnection,
    /// It was opened for an e-mail that has not come yet.
    new: bool,
}

impl Idle {
    /// Whether the server may have closed it without our having noticed: then losing it says nothing about the server.
    fn may_be_gone(&self) -> bool {
        !self.new || self.connection.idle_since.elapsed() > UNTOUCHED
    }
}

/// A place in the queue for connections.
struct PoolWaiter(Arc<Shared>);

impl PoolWaiter {
    /// Waits for one. First come, first served.
    async fn wait(shared: &Arc<Shared>) -> Self {
        let _one_of_the_crowd = WaitingCount::join(shared);
        loop {
            let moved_up = shared.moved_up.notified();
            if let Some(place) = Self::take(shared) {
                // Several may have become free at once.
                shared.moved_up.notify_one();
                return place;
            }
            moved_up.await;
        }
    }

    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let places = shared.soon(QUEUE).max(1);
        let one_more = |reserved: usize| (reserved < places).then_some(reserved + 1);
        shared
            .reserved
            .try_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Self(shared.clone()))
    }
}

impl Drop for PoolWaiter {
    fn drop(&mut self) {
        self.0.reserved.fetch_sub(1, Ordering::Relaxed);
        self.0.moved_up.notify_one();
    }
}

/// Counts an e-mail that waits for a place, for as long as it does.
struct WaitingCount<'a>(&'a Shared);

impl<'a> WaitingCount<'a> {
    fn join(shared: &'a Shared) -> Self {
        shared.crowd.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for WaitingCount<'_> {
    fn drop(&mut self) {
        self.0.crowd.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place in the queue for connections: the connection is made, the e-mail not yet.
pub struct Reserved(PoolWaiter);

impl Reserved {
    /// Waits for a connection that is free, and keeps it for one e-mail.
    pub async fn line(self) -> Result<PooledConnection, Outcome> {
        let Self(place) = self;
        let shared = place.0.clone();
        let turn = timeout(
            shared.settings.timeouts.turn,
            shared.slots.clone().acquire_owned(),
        );
        let Ok(slot) = turn.await else {
            return Err(Outcome::not_tried("no free connection", CROWDED));
        };
        drop(place);
        Ok(PooledConnection {
            _slot: slot.expect("the semaphore is never closed"),
            shared: shared.clone(),
        })
    }
}

/// One of the pool's connections, for one e-mail.
pub struct PooledConnection {
    shared: Arc<Shared>,
    _slot: OwnedSemaphorePermit,
}

impl PooledConnection {
    /// Hands over one e-mail, unless there is a reason not to at the moment at which the content would leave.
    pub async fn send(self, email: &Email<'_>, withdrawn: LastCheck<'_>) -> Outcome {
        let settings = &self.shared.settings;
        let message = match email::write(email, &settings.from, settings.reply_to.as_ref()) {
            Ok(message) => message,
            Err(unwritable) => return unwritable.outcome(),
        };
        let began = Instant::now();
        let delivered = self.shared.deliver(&message, withdrawn).await;
        self.shared.note(began.elapsed());
        match delivered {
            Ok(Handover::Acknowledged(words)) => Outcome::Accepted {
                provider_id: queue_id(&words),
            },
            Ok(Handover::Withdrawn(outcome)) => outcome,
            Err(failure) => outcome_of(&failure),
        }
    }
}

fn tokens(settings: &SmtpSettings) -> Result<Option<Tokens>, SmtpSettingsError> {
    let Some(login) = &settings.login else {
        return Ok(None);
    };
    match &login.credential {
        Credential::Password(_) => Ok(None),
        Credential::Token(grant) => Tokens::new(grant.clone(), &login.user)
            .map(Some)
            .map_err(|error| SmtpSettingsError::Tokens(error.to_string())),
    }
}

/// The outcome of a failure, which is logged.
fn outcome_of(failure: &Failure) -> Outcome {
    let outcome = failure.outcome();
    report(failure, &outcome);
    outcome
}

impl Pool {
    /// A pool of at most `size` connections, none of them open yet. Needs a tokio runtime, for closing idle connections.
    pub fn new(settings: SmtpSettings, size: usize) -> Result<Self, SmtpSettingsError> {
        let shared = Arc::new(Shared {
            tls: tls::parameters(&settings)?,
            tokens: tokens(&settings)?,
            settings,
            slots: Arc::new(Semaphore::new(size.max(1))),
            idle: Mutex::new(Vec::new()),
            reserved: AtomicUsize::new(0),
            crowd: AtomicUsize::new(0),
            moved_up: Notify::new(),
            size: size.max(1),
            took: AtomicU64::new(0),
        });
        tokio::spawn(close_idle(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// Those that it logs in with, if it does so by token.
    pub(super) fn tokens(&self) -> Option<&Tokens> {
        self.shared.tokens.as_ref()
    }

    pub fn settings(&self) -> &SmtpSettings {
        &self.shared.settings
    }

    /// Hands over one e-mail, waiting for a free connection first.
    ///
    /// Dropping the future is safe for later messages; the outcome of this one is then unknown.
    pub async fn send(&self, email: &Email<'_>) -> Outcome {
        let line = match self.reserve().await {
            Ok(reserved) => reserved.line().await,
            Err(outcome) => Err(outcome),
        };
        match line {
            Ok(line) => line.send(email, &nothing_in_the_way).await,
            Err(outcome) => outcome,
        }
    }

    /// Waits until there will be a connection for one more e-mail within a moment (`QUEUE`), agreed on TLS and logged in: a new one, unless as many
    /// are open as may be. What takes long about reaching the server has happened when this returns.
    pub async fn reserve(&self) -> Result<Reserved, Outcome> {
        let shared = &self.shared;
        let place = PoolWaiter::wait(shared).await;
        let usable = |idle: &&Idle| idle.connection.is_usable(MAX_MESSAGES, MAX_IDLE);
        let ready = shared.lock().iter().filter(usable).count();
        // Those in use come back; only what is missing beside them is opened.
        if ready < shared.reserved.load(Ordering::Relaxed)
            && let Ok(_slot) = shared.slots.try_acquire()
        {
            let opened = shared.open().await;
            let connection = opened.map_err(|failure| outcome_of(&failure))?;
            shared.lock().push(Idle {
                connection,
                new: true,
            });
        }
        Ok(Reserved(place))
    }

    /// How many more e-mails would have a connection within this time, if each takes as long as the last ones did.
    pub fn room(&self, within: Duration) -> usize {
        let shared = &self.shared;
        let before = [&shared.reserved, &shared.crowd].map(|count| count.load(Ordering::Relaxed));
        shared.soon(within).saturating_sub(before.into_iter().sum())
    }

    /// Connects, agrees on TLS, logs in, and says goodbye. Sends nothing.
    pub async fn check(&self) -> Result<SmtpCheck, Failure> {
        let settings = &self.shared.settings;
        let connection = self.shared.open().await?;
        connection.close().await;
        Ok(SmtpCheck {
            encrypted: settings.tls != SmtpTls::None,
            logged_in: settings.login.is_some(),
        })
    }
}

impl Shared {
    async fn open(&self) -> Result<SmtpConnection, Failure> {
        SmtpConnection::open(&self.settings, self.tls.as_ref(), self.tokens.as_ref()).await
    }

    async fn deliver(
        &self,
        message: &WireMail,
        withdrawn: LastCheck<'_>,
    ) -> Result<Handover, Failure> {
        if let Some(idle) = self.take_idle() {
            let may_be_gone = idle.may_be_gone();
            let mut connection = idle.connection;
            let result = connection.send(message, &self.settings, withdrawn).await;
            match result {
                Err(failure) if may_be_gone && failure.is_stale_connection() => {}
                result => {
                    self.put_back(connection);
                    return result;
                }
            }
        }
        let mut connection = self.open().await?;
        let result = connection.send(message, &self.settings, withdrawn).await;
        self.put_back(connection);
        result
    }

    /// How many e-mails without a connection have one within this time, if each takes as long as the last ones did.
    fn soon(&self, within: Duration) -> usize {
        let took = u128::from(self.took.load(Ordering::Relaxed)).max(1);
        let soon = (within.as_micros() * self.size as u128).div_ceil(took);
        let soon = usize::try_from(soon).unwrap_or(usize::MAX);
        soon.saturating_add(self.slots.available_permits())
    }

    fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mean = |before: u64| Some(before - before / 8 + micros / 8);
        let _ = self
            .took
            .try_update(Ordering::Relaxed, Ordering::Relaxed, mean);
    }

    fn take_idle(&self) -> Option<Idle> {
        loop {
            let idle = self.lock().pop()?;
            if idle.connection.is_usable(MAX_MESSAGES, MAX_IDLE) {
                return Some(idle);
            }
            tokio::spawn(idle.connection.close());
        }
    }

    fn put_back(&self, connection: SmtpConnection) {
        if connection.is_usable(MAX_MESSAGES, MAX_IDLE) {
            let new = false;
            self.lock().push(Idle { connection, new });
        } else {
            tokio::spawn(connection.close());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
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
        let stale: Vec<Idle> = pool
            .lock()
            .extract_if(.., |idle| {
                !idle.connection.is_usable(MAX_MESSAGES, MAX_IDLE)
            })
            .collect();
        for idle in stale {
            idle.connection.close().await;
        }
    }
}

fn report(failure: &Failure, outcome: &Outcome) {
    let (code, hint) = (failure.code(), failure.hint().unwrap_or_default());
    let is_ours = matches!(
        outcome,
        Outcome::NotAccepted {
            class: Retryable::Config | Retryable::Quota,
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
pub(super) fn queue_id(acknowledgement: &str) -> Option<String> {
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
