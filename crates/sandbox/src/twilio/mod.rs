//! Twilio's messaging API: create, list, fetch, redact, delete, status callbacks and inbound messages.
//!
//! Requests are checked as strictly as Twilio checks them and answered to the letter. What is accepted goes to the [`Outbox`]
//! before anything is answered, because that is the truth the client may never hear. There is no idempotency key, as at Twilio.

mod api;
mod create;
mod faults;
mod inbound;
mod segments;
mod signature;
mod store;
#[cfg(test)]
mod tests;
mod webhooks;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use faults::{
    Callback, Delivery, Operation, Step, TwilioAnswer, TwilioFault, TwilioFaults, TwilioRefusal,
};
pub use inbound::{InboundError, OptOutType};
pub use segments::count as count_segments;
pub use signature::sign;

use super::clock::WorldClock;
use super::door::{Door, Latch, Scissors};
use super::http;
use super::outbox::Outbox;
use store::Store;

/// The number of an account, or of a Messaging Service, that names none.
const ANY_NUMBER: &str = "+15005550006";

/// The account and how it behaves when no fault strikes.
#[derive(Clone)]
pub struct TwilioOptions {
    pub account_sid: String,
    /// The primary token: signs webhooks, and is a password of the account.
    pub auth_token: String,
    /// API key and its secret.
    pub api_key: Option<(String, String)>,
    /// The account's numbers; with none, any `From` is taken.
    pub senders: Vec<String>,
    /// Messaging Services and the numbers in their pools; with none, any service is taken.
    pub services: HashMap<String, Vec<String>>,
    pub delivery: Delivery,
    /// Requests at a time above which the answer is 429.
    pub max_concurrent: Option<usize>,
    /// Seed of the faults that strike by chance.
    pub seed: u64,
}

impl fmt::Debug for TwilioOptions {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TwilioOptions");
        debug
            .field("account_sid", &self.account_sid)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl Default for TwilioOptions {
    fn default() -> Self {
        Self {
            account_sid: "AC00000000000000000000000000000001".to_owned(),
            auth_token: "0123456789abcdef0123456789abcdef".to_owned(),
            api_key: None,
            senders: Vec::new(),
            services: HashMap::new(),
            delivery: Delivery::delivered(),
            max_concurrent: None,
            seed: 1,
        }
    }
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TwilioCounts {
    pub requests: u64,
    /// The most requests there ever were at a time.
    pub most_concurrent: usize,
    /// Status callbacks answered by 2xx.
    pub callbacks: u64,
    /// Status callbacks given up.
    pub lost_callbacks: u64,
}

/// A running server; dropping it stops it.
pub struct TwilioServer {
    address: SocketAddr,
    latch: Latch,
    account: TwilioAccount,
}

impl TwilioServer {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the server refuse connections and answer again.
    pub fn latch(&self) -> &Latch {
        &self.latch
    }

    pub fn faults(&self) -> &TwilioFaults {
        self.account.faults()
    }

    /// The account, for what does not come over HTTP.
    pub fn account(&self) -> &TwilioAccount {
        &self.account
    }

    /// Closes the port, ends connections after their present request, and makes no more callbacks.
    pub fn stop(&self) {
        self.account.inner.stop.cancel();
    }
}

impl Drop for TwilioServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The account behind the API; clones share it.
#[derive(Clone)]
pub struct TwilioAccount {
    inner: Arc<Inner>,
}

struct Inner {
    options: TwilioOptions,
    outbox: Outbox,
    clock: WorldClock,
    faults: TwilioFaults,
    store: Mutex<Store>,
    inbound_url: Mutex<Option<String>>,
    client: reqwest::Client,
    stop: CancellationToken,
    requests: AtomicU64,
    concurrent: AtomicUsize,
    most_concurrent: AtomicUsize,
    callbacks: AtomicU64,
    lost_callbacks: AtomicU64,
}

impl TwilioAccount {
    pub fn faults(&self) -> &TwilioFaults {
        &self.inner.faults
    }

    pub fn counts(&self) -> TwilioCounts {
        TwilioCounts {
            requests: self.inner.requests.load(Ordering::SeqCst),
            most_concurrent: self.inner.most_concurrent.load(Ordering::SeqCst),
            callbacks: self.inner.callbacks.load(Ordering::SeqCst),
            lost_callbacks: self.inner.lost_callbacks.load(Ordering::SeqCst),
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.inner
            .store
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts Twilio on `listener`.
pub fn serve(
    listener: TcpListener,
    options: TwilioOptions,
    outbox: Outbox,
    clock: WorldClock,
) -> io::Result<TwilioServer> {
    let (door, latch) = Door::new(listener)?;
    let address = axum::serve::Listener::local_addr(&door)?;
    let stop = CancellationToken::new();
    let inner = Inner {
        faults: TwilioFaults::new(options.seed),
        store: Mutex::new(Store::of(&options.account_sid)),
        options,
        outbox,
        clock,
        inbound_url: Mutex::default(),
        client: http::client("TwilioProxy/1.1").map_err(io::Error::other)?,
        stop: stop.clone(),
        requests: AtomicU64::new(0),
        concurrent: AtomicUsize::new(0),
        most_concurrent: AtomicUsize::new(0),
        callbacks: AtomicU64::new(0),
        lost_callbacks: AtomicU64::new(0),
    };
    let account = TwilioAccount {
        inner: Arc::new(inner),
    };
    let service = api::router(account.clone()).into_make_service_with_connect_info::<Scissors>();
    tokio::spawn(
        axum::serve(door, service)
            .with_graceful_shutdown(stop.cancelled_owned())
            .into_future(),
    );
    Ok(TwilioServer {
        address,
        latch,
        account,
    })
}
