//! Connections: who is let in, for how long, and how many at once.
//!
//! axum's own server waits for ever, and takes whoever comes until there are no more files: then nobody is answered, neither a probe
//! nor a page view. Here every wait for the other side has an end, one address has a share, and when all is taken whoever has the most
//! makes room. Nothing of this costs a page view more than noting what its connection is doing (`line`).

mod body;
mod book;
mod limits;
mod line;
#[cfg(test)]
mod tests;
mod wire;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::future::Either;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;
use tracing::{info, warn};

use self::body::Arriving;
use self::book::{Book, ConnectionAdmission};
use self::line::{Beats, ConnectionLane, ConnectionOrder, Heads, OpenConnection};
use self::wire::Bytes;
use super::error::problem;
use crate::clock::Backoff;
use crate::metrics::{ConnectionMetrics, RefusedConnection};

pub use self::limits::{ConnectionLimits, raise_file_limit, that_fit};

/// Memory that one connection may take for what it sends; a request's headers must fit into it.
const BUFFER: usize = 32 * 1024;

/// What is in hand when a process is told to stop may take so long. A client that holds its connection open does not hold up the end.
const GRACE: Duration = Duration::from_secs(5);

/// The log tells of refusals once in so long.
const SAID: Duration = Duration::from_mins(1);

/// An answer, at once or later.
pub type ResponseFuture = Either<
    Ready<Result<Response, Infallible>>,
    Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>,
>;

/// Answers the requests of all connections of a listener.
pub trait Door: Clone + Send + Sync + Unpin + 'static {
    fn answer(&self, peer: SocketAddr, request: Request) -> ResponseFuture;
}

/// Routes whose handlers may ask who is there.
#[derive(Clone)]
pub struct Plain(pub Router);

impl Door for Plain {
    fn answer(&self, peer: SocketAddr, mut request: Request) -> ResponseFuture {
        request.extensions_mut().insert(ConnectInfo(peer));
        Either::Right(Box::pin(self.0.clone().call(request)))
    }
}

/// Serves a listener until `shutdown`, then finishes what has been asked.
pub async fn serve<D: Door>(
    listener: TcpListener,
    door: D,
    limits: ConnectionLimits,
    metrics: ConnectionMetrics,
    shutdown: CancellationToken,
) {
    let began = Instant::now();
    let mut beat = tokio::time::interval(limits.beat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut house = House::new(door, limits, metrics);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = beat.tick() => house.beat(began),
            accepted = accept(&listener, house.closed_until) => match accepted {
                Ok((tcp, peer)) => house.let_in(tcp, peer),
                Err(error) => house.cannot_accept(&error),
            },
        }
    }
    drop(listener);
    house.leave(GRACE).await;
}

/// The next connection, but not before that moment.
async fn accept(
    listener: &TcpListener,
    not_before: Option<Instant>,
) -> io::Result<(TcpStream, SocketAddr)> {
    if let Some(moment) = not_before {
        tokio::time::sleep_until(moment).await;
    }
    listener.accept().await
}

/// One listener's connections.
struct House<D> {
    door: D,
    limits: Arc<ConnectionLimits>,
    metrics: ConnectionMetrics,
    book: Arc<Mutex<Book>>,
    beats: Arc<Beats>,
    tasks: TaskTracker,
    /// No more files: nobody is let in before that moment.
    closed_until: Option<Instant>,
    backoff: Backoff,
    said: Option<Instant>,
}

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));

impl<D: Door> House<D> {
    fn new(door: D, limits: ConnectionLimits, metrics: ConnectionMetrics) -> Self {
        let beats = Arc::new(Beats::default());
        Self {
            door,
            book: Arc::new(Mutex::new(Book::new(limits.clone(), beats.clone()))),
            limits: Arc::new(limits),
            metrics,
            beats,
            tasks: TaskTracker::new(),
            closed_until: None,
            backoff: BACKOFF,
            said: None,
        }
    }

    fn let_in(&mut self, tcp: TcpStream, peer: SocketAddr) {
        self.closed_until = None;
        self.backoff.reset();
        let admission = lock(&self.book).admit(peer);
        let ConnectionAdmission {
            line,
            refused,
            closed,
        } = admission;
        if let Some(why) = closed {
            self.metrics.closed(why);
        }
        if let Some(why) = refused {
            self.refuse(why);
        }
        let Some(line) = line else { return };
        // Small answers go out at once.
        let _ = tcp.set_nodelay(true);
        let entry = BookEntry {
            book: self.book.clone(),
            metrics: self.metrics.clone(),
            line: line.clone(),
        };
        let mut http = http1::Builder::new();
        http.timer(Heads::new(line.clone())).max_buf_size(BUFFER);
        let visit = ConnectionService {
            door: self.door.clone(),
            line: line.clone(),
            limits: self.limits.clone(),
        };
        let io = TokioIo::new(Bytes { tcp, line });
        let served = Serving {
            connection: http.serve_connection(io, visit),
            entry,
            finishing: false,
        };
        self.metrics.open(lock(&self.book).len());
        self.tasks.spawn(served);
    }

    fn refuse(&mut self, why: RefusedConnection) {
        self.metrics.refused(why);
        let now = Instant::now();
        if self.said.is_some_and(|said| now < said + SAID) {
            return;
        }
        self.said = Some(now);
        match why {
            RefusedConnection::Address => warn!(
                "More than {} connections from one address: further ones are refused. If it is a proxy's, name its network in \
                 UNREAD_TRUSTED_PROXIES; else UNREAD_CONNECTIONS_PER_ADDRESS is the limit",
                self.limits.per_address
            ),
            RefusedConnection::Total => warn!(
                "{} connections are open: further ones are answered only to probes. UNREAD_CONNECTIONS and the limit of open files \
                 say how many there may be",
                self.limits.total
            ),
            RefusedConnection::Files => warn!(
                "No connection can be accepted: the limit of open files is reached. Raise it, or lower UNREAD_CONNECTIONS"
            ),
        }
    }

    fn beat(&self, began: Instant) {
        let beats = began.elapsed().as_millis() / self.limits.beat.as_millis().max(1);
        self.beats.set(u32::try_from(beats).unwrap_or(u32::MAX));
        let closed = lock(&self.book).sweep();
        for why in closed {
            self.metrics.closed(why);
        }
    }

    /// Of one connection that was gone before we came, or of all: without a pause this would be tried a million times a second.
    fn cannot_accept(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionRefused | ConnectionReset
        ) {
            return;
        }
        self.refuse(RefusedConnection::Files);
        info!("Accepting a connection failed: {error}");
        lock(&self.book).give_back_a_file();
        self.closed_until = Some(Instant::now() + self.backoff.pause());
    }

    async fn leave(self, grace: Duration) {
        self.tasks.close();
        lock(&self.book).tell_all(ConnectionOrder::Finish);
        if tokio::time::timeout(grace, self.tasks.wait())
            .await
            .is_err()
        {
            lock(&self.book).tell_all(ConnectionOrder::Close);
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection's place in the book.
struct BookEntry {
    book: Arc<Mutex<Book>>,
    metrics: ConnectionMetrics,
    line: Arc<OpenConnection>,
}

impl Drop for BookEntry {
    fn drop(&mut self) {
        let mut book = lock(&self.book);
        book.leave(&self.line);
        self.metrics.open(book.len());
    }
}

/// A connection at work, until it ends or is told to.
struct Serving<D: Door> {
    connection: http1::Connection<TokioIo<Bytes>, ConnectionService<D>>,
    entry: BookEntry,
    finishing: bool,
}

impl<D: Door> Future for Serving<D> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.entry.line.ordered(cx) {
            ConnectionOrder::Close => return Poll::Ready(()),
            ConnectionOrder::Finish if !self.finishing => {
                self.finishing = true;
                Pin::new(&mut self.connection).graceful_shutdown();
            }
            ConnectionOrder::Finish | ConnectionOrder::Serve => {}
        }
        // What goes wrong with one connection is between us and them.
        Pin::new(&mut self.connection).poll(cx).map(drop)
    }
}

/// Answers a connection's requests.
struct ConnectionService<D> {
    door: D,
    line: Arc<OpenConnection>,
    limits: Arc<ConnectionLimits>,
}

impl<D: Door> hyper::service::Service<Request<Incoming>> for ConnectionService<D> {
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        if self.line.lane == ConnectionLane::Reserve && !is_probe(&request) {
            return Either::Left(ready(Ok(last(full()))));
        }
        let (parts, body) = request.into_parts();
        if body.is_end_stream() {
            let answer = self
                .door
                .answer(self.line.peer, Request::from_parts(parts, Body::empty()));
            if self.line.lane == ConnectionLane::Reserve {
                return Either::Right(Box::pin(async { Ok(last(answer.await?)) }));
            }
            return answer;
        }
        let (body, late) = Arriving::new(body, self.line.clone(), &self.limits);
        let request = Request::from_parts(parts, Body::new(body));
        let answer = self.door.answer(self.line.peer, request);
        Either::Right(Box::pin(async move {
            let response = answer.await?;
            Ok(if late.is_late() {
                last(slow())
            } else {
                response
            })
        }))
    }
}

fn is_probe<B>(request: &Request<B>) -> bool {
    matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics")
}

/// The last answer of a connection.
fn last(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

fn full() -> Response {
    let mut response = problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many connections are open; try again in a moment",
    );
    let soon = HeaderValue::from_static("5");
    response.headers_mut().insert(header::RETRY_AFTER, soon);
    response
}

fn slow() -> Response {
    problem(
        StatusCode::REQUEST_TIMEOUT,
        "the request's body came too slowly",
    )
}
