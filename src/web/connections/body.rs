//! A request's body that must keep coming.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::ConnectionLimits;
use super::line::{ConnectionPhase, OpenConnection};

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Connection(#[from] hyper::Error),
    #[error("the body came too slowly")]
    Late,
}

/// Whether a request's body was waited for in vain.
#[derive(Clone, Default)]
pub struct Late(Arc<AtomicBool>);

impl Late {
    pub fn is_late(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub struct Arriving {
    inner: Incoming,
    line: Arc<OpenConnection>,
    late: Late,
    pause: Duration,
    end: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Arriving {
    pub fn new(
        inner: Incoming,
        line: Arc<OpenConnection>,
        limits: &ConnectionLimits,
    ) -> (Self, Late) {
        let (now, late) = (Instant::now(), Late::default());
        let arriving = Self {
            inner,
            line,
            late: late.clone(),
            pause: limits.body_pause,
            end: now + limits.body,
            timer: Box::pin(sleep_until(now + limits.body_pause)),
        };
        (arriving, late)
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            let next = (Instant::now() + self.pause).min(self.end);
            self.timer.as_mut().reset(next);
            self.line.enter(ConnectionPhase::Ours);
            return Poll::Ready(frame.map(|frame| frame.map_err(Broken::from)));
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            self.late.0.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(Broken::Late)));
        }
        if self.line.is_in(ConnectionPhase::Ours) {
            self.line.enter(ConnectionPhase::Body);
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Arriving {
    /// What happens now is ours, unless the next request has begun.
    fn drop(&mut self) {
        if self.line.is_in(ConnectionPhase::Body) {
            self.line.enter(ConnectionPhase::Ours);
        }
    }
}
