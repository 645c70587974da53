//! A mail server for submission, as strict as the strict ones, with a script of faults.
//!
//! What it accepts goes to the [`Outbox`] at the moment a real server would be bound to deliver it, even if the client never
//! hears of it. Written by hand, on the RFCs: it must not share an opinion with the library the service sends with.
//! With a certificate it offers AUTH and takes mail under TLS only, like the large providers.

mod bounces;
mod faults;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

pub use bounces::{Bounce, Bounces};
pub use faults::{Phase, SmtpEffect, SmtpFault, SmtpFaults};

use bounces::Postmaster;

use super::clock::WorldClock;
use super::door::{Door, Latch};
use super::oauth::OAuth;
use super::outbox::Outbox;

/// How the server behaves when no fault strikes.
#[derive(Clone)]
pub struct SmtpOptions {
    /// The name in the greeting.
    pub hostname: String,
    /// User name and password; with none and without [`SmtpOptions::oauth`], mail is taken from anybody.
    pub credentials: Option<(String, String)>,
    /// Takes tokens (XOAUTH2) that were given here.
    pub oauth: Option<OAuth>,
    pub tls: Option<Tls>,
    /// Announced by SIZE.
    pub max_message_bytes: usize,
    /// Connections above this number are greeted with a 421.
    pub max_connections: usize,
    /// After so many messages MAIL is answered by a 421.
    pub max_messages_per_connection: Option<u32>,
    /// Silence of the client that ends a connection with a 421.
    pub idle: Duration,
    /// Signs what is said of mail that came back.
    pub events_secret: String,
    /// Seed of the faults that strike by chance.
    pub seed: u64,
}

impl fmt::Debug for SmtpOptions {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SmtpOptions");
        debug
            .field("hostname", &self.hostname)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl SmtpOptions {
    /// The ways to sign in.
    fn mechanisms(&self) -> Vec<&'static str> {
        let mut offered = Vec::new();
        if self.credentials.is_some() {
            offered.extend(["PLAIN", "LOGIN"]);
        }
        if self.oauth.is_some() {
            offered.push("XOAUTH2");
        }
        offered
    }
}

impl Default for SmtpOptions {
    fn default() -> Self {
        Self {
            hostname: "mail.sandbox.example".to_owned(),
            credentials: None,
            oauth: None,
            tls: None,
            max_message_bytes: 10 * 1024 * 1024,
            max_connections: 1_000,
            max_messages_per_connection: None,
            idle: Duration::from_mins(5),
            events_secret: "the sandbox's secret for mail events".to_owned(),
            seed: 1,
        }
    }
}

/// The server's identity, in PEM.
#[derive(Clone)]
pub struct Tls {
    pub certificates: String,
    pub private_key: String,
    /// TLS from the first octet (port 465) instead of STARTTLS (port 587).
    pub implicit: bool,
}

/// What the server has seen since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmtpCounts {
    pub connections: u64,
    /// Connections open now, and the most there ever were.
    pub open: usize,
    pub most_open: usize,
    /// Failed sign-ins.
    pub denied: u64,
}

/// A running server; dropping it stops it.
pub struct SmtpServer {
    address: SocketAddr,
    faults: SmtpFaults,
    latch: Latch,
    server: Arc<SmtpShared>,
    stop: CancellationToken,
}

impl SmtpServer {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn faults(&self) -> &SmtpFaults {
        &self.faults
    }

    /// Makes the server refuse connections and answer again.
    pub fn latch(&self) -> &Latch {
        &self.latch
    }

    /// Which mail comes back after it was accepted.
    pub fn bounces(&self) -> &Bounces {
        &self.server.postmaster.bounces
    }

    /// Where it is told that mail came back: the service's `/mail/events`.
    pub fn post_events_to(&self, url: &str) {
        self.server.postmaster.post_to(url);
    }

    /// Mail that is still to come back, and events that nobody has understood yet.
    pub fn pending_events(&self) -> usize {
        self.server.postmaster.pending()
    }

    /// Those whose time has come.
    pub fn due_events(&self) -> usize {
        self.server.postmaster.due()
    }

    pub fn counts(&self) -> SmtpCounts {
        SmtpCounts {
            connections: self.server.connections.load(Ordering::SeqCst),
            open: self.server.open.load(Ordering::SeqCst),
            most_open: self.server.most_open.load(Ordering::SeqCst),
            denied: self.server.denied.load(Ordering::SeqCst),
        }
    }

    /// Closes every connection and the port.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What all connections share.
struct SmtpShared {
    options: SmtpOptions,
    acceptor: Option<TlsAcceptor>,
    faults: SmtpFaults,
    postmaster: Postmaster,
    outbox: Outbox,
    clock: WorldClock,
    /// When a greylisted pair of sender and recipient was first seen.
    greylist: Mutex<HashMap<(String, String), DateTime<Utc>>>,
    connections: AtomicU64,
    open: AtomicUsize,
    most_open: AtomicUsize,
    denied: AtomicU64,
}

/// Starts a mail server on `listener`. Fails when the certificate or the key cannot be used.
pub fn serve(
    listener: TcpListener,
    options: SmtpOptions,
    outbox: Outbox,
    clock: WorldClock,
) -> io::Result<SmtpServer> {
    let (mut door, latch) = Door::new(listener)?;
    let address = axum::serve::Listener::local_addr(&door)?;
    let faults = SmtpFaults::new(options.seed);
    let stop = CancellationToken::new();
    let signed = (options.events_secret.as_str(), options.seed);
    let postmaster = Postmaster::new(signed, outbox.clone(), clock.clone(), stop.clone())
        .map_err(io::Error::other)?;
    let server = Arc::new(SmtpShared {
        acceptor: options.tls.as_ref().map(acceptor).transpose()?,
        options,
        faults: faults.clone(),
        postmaster,
        outbox,
        clock,
        greylist: Mutex::default(),
        connections: AtomicU64::new(0),
        open: AtomicUsize::new(0),
        most_open: AtomicUsize::new(0),
        denied: AtomicU64::new(0),
    });
    let accepting = server.clone();
    let stopped = stop.clone();
    tokio::spawn(async move {
        while let Some((stream, _)) = stopped.run_until_cancelled(door.next()).await {
            let server = accepting.clone();
            let stopped = stopped.clone();
            tokio::spawn(async move {
                // A broken connection is the client's business: it has been told or it is gone.
                let _ = stopped
                    .run_until_cancelled(Box::pin(server.receive(stream)))
                    .await;
            });
        }
    });
    Ok(SmtpServer {
        address,
        faults,
        latch,
        server,
        stop,
    })
}

impl SmtpShared {
    async fn receive(self: Arc<Self>, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        self.connections.fetch_add(1, Ordering::SeqCst);
        let _counted = Counted::new(&self);
        let implicit = self.options.tls.as_ref().is_some_and(|tls| tls.implicit);
        match &self.acceptor {
            Some(acceptor) if implicit => {
                session::run(&self, self.shake_hands(acceptor, stream).await?, true)
                    .await
                    .map(drop)
            }
            Some(acceptor) => {
                let Some(plain) = session::run(&self, stream, false).await? else {
                    return Ok(());
                };
                session::run_upgraded(&self, self.shake_hands(acceptor, plain).await?).await
            }
            None => session::run(&self, stream, false).await.map(drop),
        }
    }

    async fn shake_hands(
        &self,
        acceptor: &TlsAcceptor,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        tokio::time::timeout(self.options.idle, acceptor.accept(stream)).await?
    }
}

/// One open connection, counted until it is dropped.
struct Counted<'a>(&'a SmtpShared);

impl<'a> Counted<'a> {
    fn new(server: &'a SmtpShared) -> Self {
        let open = server.open.fetch_add(1, Ordering::SeqCst) + 1;
        server.most_open.fetch_max(open, Ordering::SeqCst);
        Self(server)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn acceptor(tls: &Tls) -> io::Result<TlsAcceptor> {
    let unusable = |error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
    };
    let certificates = CertificateDer::pem_slice_iter(tls.certificates.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(&error))?;
    let key = PrivateKeyDer::from_pem_slice(tls.private_key.as_bytes())
        .map_err(|error| unusable(&error))?;
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .and_then(|builder| {
        builder
            .with_no_client_auth()
            .with_single_cert(certificates, key)
    })
    .map_err(|error| unusable(&error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
