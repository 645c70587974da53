//! A request body that leaves only when somebody says so, at the moment at which the connection is there to take it.
//!
//! Making a connection may take seconds, in which the recipient opts out. An HTTP client makes it by itself on the way; it asks for the
//! body when it has one. A body that never comes is a request that was never made: the message is in it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

use crate::channel::LastCheck;
use crate::domain::outcome::Outcome;

/// The body was not let go.
#[derive(Debug, thiserror::Error)]
#[error("the request was withdrawn")]
pub struct Withdrawn;

/// What the client sends.
pub struct Gated {
    length: u64,
    asked: Option<oneshot::Sender<()>>,
    content: Option<oneshot::Receiver<Bytes>>,
}

/// Lets it go.
pub struct BodyGate {
    content: Bytes,
    asked: oneshot::Receiver<()>,
    open: oneshot::Sender<Bytes>,
}

pub fn gated(content: Bytes) -> (BodyGate, Gated) {
    let (ask, asked) = oneshot::channel();
    let (open, opened) = oneshot::channel();
    let body = Gated {
        length: u64::try_from(content.len()).unwrap_or(u64::MAX),
        asked: Some(ask),
        content: Some(opened),
    };
    let gate = BodyGate {
        content,
        asked,
        open,
    };
    (gate, body)
}

impl BodyGate {
    /// Waits until the client wants the body, and gives it if there is no reason against it then. The reason otherwise.
    pub async fn open(self, withdrawn: LastCheck<'_>) -> Option<Outcome> {
        // An error means that the client has given up before: it will say why.
        self.asked.await.ok()?;
        let reason = withdrawn().await;
        if reason.is_none() {
            let _ = self.open.send(self.content);
        }
        reason
    }
}

impl Body for Gated {
    type Data = Bytes;
    type Error = Withdrawn;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        waker: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Withdrawn>>> {
        if let Some(asked) = self.asked.take() {
            let _ = asked.send(());
        }
        let Some(content) = &mut self.content else {
            return Poll::Ready(None);
        };
        let content = ready!(Pin::new(content).poll(waker));
        self.content = None;
        Poll::Ready(Some(content.map(Frame::data).map_err(|_| Withdrawn)))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(if self.content.is_some() {
            self.length
        } else {
            0
        })
    }
}
