//! One connection: what it is doing and since when, for the sweep that closes what takes too long.
//!
//! A page view costs microseconds, so it sets no timer of its own: it notes where it is, and the sweep, which comes by four times a
//! second, compares.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

use super::limits::ConnectionLimits;
use crate::metrics::Closed;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ConnectionPhase {
    /// It was opened, and nothing has been asked yet.
    First,
    /// It has been answered and may ask again.
    Idle,
    /// It is in the middle of a request's headers.
    Head,
    /// It is in the middle of a request's body.
    Body,
    /// It is waiting for us.
    Ours,
}

impl ConnectionPhase {
    const ALL: [Self; 5] = [Self::First, Self::Idle, Self::Head, Self::Body, Self::Ours];
}

/// Which connections it counts among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionLane {
    Usual,
    /// Of a trusted proxy: not counted by address.
    Proxy,
    /// Beyond the limit, for probes.
    Reserve,
}

/// The time in beats, as the sweep tells it.
#[derive(Debug, Default)]
pub struct Beats(AtomicU32);

impl Beats {
    pub fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, now: u32) {
        self.0.store(now, Ordering::Relaxed);
    }
}

const SERVE: u8 = 0;
const FINISH: u8 = 1;
const CLOSE: u8 = 2;

/// What a connection was told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionOrder {
    Serve,
    /// Answer what has been asked and close.
    Finish,
    Close,
}

#[derive(Debug)]
pub struct OpenConnection {
    pub id: u64,
    pub peer: SocketAddr,
    pub lane: ConnectionLane,
    beats: Arc<Beats>,
    /// The phase, and in the lower half since when.
    doing: AtomicU64,
    /// Since when the other side takes nothing of an answer; 0 if it does.
    stuck: AtomicU32,
    told: AtomicU8,
    waker: AtomicWaker,
}

impl OpenConnection {
    pub fn new(id: u64, peer: SocketAddr, lane: ConnectionLane, beats: &Arc<Beats>) -> Self {
        Self {
            id,
            peer,
            lane,
            doing: AtomicU64::new(packed(ConnectionPhase::First, beats.now())),
            beats: beats.clone(),
            stuck: AtomicU32::new(0),
            told: AtomicU8::new(SERVE),
            waker: AtomicWaker::new(),
        }
    }

    pub fn enter(&self, phase: ConnectionPhase) {
        let doing = packed(phase, self.beats.now());
        self.doing.store(doing, Ordering::Relaxed);
    }

    pub fn doing(&self) -> (ConnectionPhase, u32) {
        let doing = self.doing.load(Ordering::Relaxed);
        let phase = ConnectionPhase::ALL
            .into_iter()
            .find(|phase| *phase as u64 == doing >> 32)
            .unwrap_or(ConnectionPhase::Ours);
        (
            phase,
            u32::try_from(doing & u64::from(u32::MAX)).unwrap_or(0),
        )
    }

    pub fn is_in(&self, phase: ConnectionPhase) -> bool {
        self.doing.load(Ordering::Relaxed) >> 32 == phase as u64
    }

    fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed) != 0
    }

    /// Bytes have come.
    pub fn heard(&self) {
        if self.is_in(ConnectionPhase::Idle) {
            self.enter(ConnectionPhase::Head);
        }
    }

    /// The other side took something of an answer, or did not.
    pub fn told_them(&self, took: bool) {
        if took == self.is_stuck() {
            // Zero is kept for "not stuck".
            let since = if took { 0 } else { self.beats.now().max(1) };
            self.stuck.store(since, Ordering::Relaxed);
        }
    }

    /// Whether it may be closed for the sake of another: it is not we who are at work.
    pub fn is_waiting_for_them(&self) -> bool {
        !self.is_in(ConnectionPhase::Ours) || self.is_stuck()
    }

    /// Why it must be closed now.
    pub fn overdue(&self, limits: &ConnectionLimits) -> Option<Closed> {
        let now = self.beats.now();
        let longer = |since: u32, than: Duration| limits.beat * now.saturating_sub(since) > than;
        let stuck = self.stuck.load(Ordering::Relaxed);
        if stuck != 0 && longer(stuck, limits.write) {
            return Some(Closed::Unread);
        }
        let (phase, since) = self.doing();
        let (allowed, why) = match (phase, self.lane) {
            (ConnectionPhase::Ours, _) => return None,
            (
                ConnectionPhase::First | ConnectionPhase::Head | ConnectionPhase::Idle,
                ConnectionLane::Reserve,
            ) => (limits.probe, Closed::Headers),
            (ConnectionPhase::First | ConnectionPhase::Head, _) => (limits.head, Closed::Headers),
            (ConnectionPhase::Idle, ConnectionLane::Proxy) => {
                (limits.idle_of_proxies, Closed::Idle)
            }
            (ConnectionPhase::Idle, ConnectionLane::Usual) => (limits.idle, Closed::Idle),
            // The body's own timer answers before it closes; this is for a handler that has stopped reading.
            (ConnectionPhase::Body, _) => (limits.body, Closed::Body),
        };
        longer(since, allowed).then_some(why)
    }

    pub fn order(&self, told: ConnectionOrder) {
        let told = match told {
            ConnectionOrder::Serve => SERVE,
            ConnectionOrder::Finish => FINISH,
            ConnectionOrder::Close => CLOSE,
        };
        self.told.fetch_max(told, Ordering::Release);
        self.waker.wake();
    }

    #[cfg(test)]
    pub fn is_kept(&self) -> bool {
        self.told.load(Ordering::Acquire) == SERVE
    }

    /// What it was told; who asks is woken when that changes.
    pub fn ordered(&self, cx: &Context<'_>) -> ConnectionOrder {
        self.waker.register(cx.waker());
        match self.told.load(Ordering::Acquire) {
            SERVE => ConnectionOrder::Serve,
            FINISH => ConnectionOrder::Finish,
            _ => ConnectionOrder::Close,
        }
    }
}

fn packed(phase: ConnectionPhase, since: u32) -> u64 {
    (phase as u64) << 32 | u64::from(since)
}

/// hyper asks for a timer when it begins to wait for a request's headers and lets it go when they are there. That is all that is
/// wanted of it: when a request begins and ends. Time is kept by the sweep.
#[derive(Clone)]
pub struct Heads {
    line: Arc<OpenConnection>,
    /// What hyper is told the time is: nothing comes of the moments that it reckons from it.
    since: Instant,
}

impl Heads {
    pub fn new(line: Arc<OpenConnection>) -> Self {
        let since = Instant::now();
        Self { line, since }
    }
}

impl hyper::rt::Timer for Heads {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        // The first request is late from the connection's beginning on.
        if !self.line.is_in(ConnectionPhase::First) {
            self.line.enter(ConnectionPhase::Idle);
        }
        Box::pin(PendingHead(self.line.clone()))
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep(Duration::ZERO)
    }

    fn now(&self) -> Instant {
        self.since
    }
}

/// Headers that hyper is waiting for.
struct PendingHead(Arc<OpenConnection>);

impl Future for PendingHead {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for PendingHead {
    fn drop(&mut self) {
        self.0.enter(ConnectionPhase::Ours);
    }
}

impl hyper::rt::Sleep for PendingHead {}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> ConnectionLimits {
        let limits = ConnectionLimits::new(10, 10, Vec::new());
        ConnectionLimits {
            beat: Duration::from_secs(1),
            ..limits
        }
    }

    #[test]
    fn each_phase_has_its_time() {
        let peer = "192.0.2.1:4000".parse().unwrap();
        for (lane, phase, seconds, why) in [
            (
                ConnectionLane::Usual,
                ConnectionPhase::First,
                10,
                Closed::Headers,
            ),
            (
                ConnectionLane::Usual,
                ConnectionPhase::Head,
                10,
                Closed::Headers,
            ),
            (
                ConnectionLane::Usual,
                ConnectionPhase::Idle,
                75,
                Closed::Idle,
            ),
            (
                ConnectionLane::Usual,
                ConnectionPhase::Body,
                300,
                Closed::Body,
            ),
            (
                ConnectionLane::Proxy,
                ConnectionPhase::Head,
                10,
                Closed::Headers,
            ),
            (
                ConnectionLane::Proxy,
                ConnectionPhase::Idle,
                620,
                Closed::Idle,
            ),
            (
                ConnectionLane::Reserve,
                ConnectionPhase::First,
                3,
                Closed::Headers,
            ),
            (
                ConnectionLane::Reserve,
                ConnectionPhase::Idle,
                3,
                Closed::Headers,
            ),
        ] {
            let beats = Arc::new(Beats::default());
            beats.set(7);
            let line = OpenConnection::new(1, peer, lane, &beats);
            line.enter(phase);
            beats.set(7 + seconds);
            assert_eq!(line.overdue(&limits()), None, "{lane:?} {phase:?}");
            beats.set(8 + seconds);
            assert_eq!(line.overdue(&limits()), Some(why), "{lane:?} {phase:?}");
            assert!(line.is_waiting_for_them());
            line.enter(ConnectionPhase::Ours);
            assert_eq!(line.overdue(&limits()), None, "{lane:?} {phase:?}");
            assert!(!line.is_waiting_for_them());
        }
    }

    #[test]
    fn who_takes_nothing_of_an_answer_is_closed_and_who_takes_some_is_not() {
        let beats = Arc::new(Beats::default());
        let peer = "192.0.2.1:4000".parse().unwrap();
        let line = OpenConnection::new(1, peer, ConnectionLane::Usual, &beats);
        line.enter(ConnectionPhase::Ours);
        line.told_them(false);
        beats.set(31);
        line.told_them(false);
        assert_eq!(line.overdue(&limits()), None);
        assert!(line.is_waiting_for_them());
        beats.set(32);
        assert_eq!(line.overdue(&limits()), Some(Closed::Unread));
        line.told_them(true);
        assert_eq!(line.overdue(&limits()), None);
        assert!(!line.is_waiting_for_them());
    }

    #[test]
    fn bytes_begin_a_request_only_between_requests() {
        let beats = Arc::new(Beats::default());
        let peer = "192.0.2.1:4000".parse().unwrap();
        let line = OpenConnection::new(1, peer, ConnectionLane::Usual, &beats);
        for (before, after) in [
            (ConnectionPhase::First, ConnectionPhase::First),
            (ConnectionPhase::Idle, ConnectionPhase::Head),
            (ConnectionPhase::Head, ConnectionPhase::Head),
            (ConnectionPhase::Body, ConnectionPhase::Body),
            (ConnectionPhase::Ours, ConnectionPhase::Ours),
        ] {
            beats.set(1);
            line.enter(before);
            beats.set(2);
            line.heard();
            let (phase, since) = line.doing();
            assert_eq!(phase, after);
            assert_eq!(since == 2, before == ConnectionPhase::Idle, "{before:?}");
        }
    }
}
