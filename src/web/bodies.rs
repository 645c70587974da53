//! Bodies in hand: how much memory all requests of a process together may take for what they send.
//!
//! A connection may send its body slowly, and there may be thousands of them, so that a limit for each is none for all. The first bytes
//! of each body are free: reports of providers and forms always find room, and connections, whose number is limited, take more
//! memory than these. Beyond, bytes are counted as they arrive and given back when the request is done, and each kind of route leaves
//! room for those that need more to be let in.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State as Shared};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body::{Body as _, Frame, SizeHint};

use super::access::{Route, RouteAccess};
use super::error::{accepts_pages, problem};
use super::{MAX_STRANGERS_BODY, templates};
use crate::domain::access::Permission;
use crate::metrics::Metrics;

/// What a body may have without being counted.
const FREE: usize = 16 * 1024;

const MB: usize = 1024 * 1024;
/// All bodies together may have so much when a stranger's grows; a provider that has yet to be recognised is one.
const WITH_STRANGERS: usize = 32 * MB;
/// … that of somebody who may look …
const WITH_VIEWERS: usize = 48 * MB;
/// … and that of anybody else.
const WITH_ALL: usize = 64 * MB;

/// The bodies of one process.
pub struct Bodies {
    in_hand: AtomicUsize,
    /// A body is read only when its caller is known to be allowed what the route needs.
    needs: HashMap<(Method, String), RouteAccess>,
    metrics: Metrics,
}

/// What the body of one route may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BodyLimit {
    /// By itself, where the route's own limit is too high for everybody who may call it.
    most: usize,
    /// Together with all others.
    of_all: usize,
}

impl BodyLimit {
    fn of(needs: Option<RouteAccess>) -> Self {
        let (most, of_all) = match needs {
            None | Some(RouteAccess::Nothing) => (usize::MAX, WITH_STRANGERS),
            // Forms of a few fields. What programs may ask is limited where it is known who asks.
            Some(RouteAccess::Person(Permission::View)) => (MAX_STRANGERS_BODY, WITH_VIEWERS),
            Some(RouteAccess::Caller(Permission::View)) => (usize::MAX, WITH_VIEWERS),
            Some(RouteAccess::Person(_) | RouteAccess::Caller(_) | RouteAccess::Session(_)) => {
                (usize::MAX, WITH_ALL)
            }
        };
        Self { most, of_all }
    }
}

impl Bodies {
    pub fn new(routes: &[Route], metrics: Metrics) -> Arc<Self> {
        let needs = routes
            .iter()
            .map(|route| ((route.method.clone(), route.path.clone()), route.needs));
        Arc::new(Self {
            in_hand: AtomicUsize::new(0),
            needs: needs.collect(),
            metrics,
        })
    }

    fn room(&self, request: &Request) -> BodyLimit {
        let route = request.extensions().get::<MatchedPath>();
        let key = route.map(|route| (request.method().clone(), route.as_str().to_owned()));
        BodyLimit::of(key.and_then(|key| self.needs.get(&key).copied()))
    }
}

/// Before everything that may read a body.
pub async fn count(Shared(bodies): Shared<Arc<Bodies>>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let share = Arc::new(BodyShare {
        room: bodies.room(&request),
        bodies,
        arrived: AtomicUsize::new(0),
        refused: AtomicUsize::new(ACCEPTED),
    });
    let (parts, body) = request.into_parts();
    let pages = accepts_pages(&parts.headers);
    let counted = CountedBody {
        inner: body,
        share: share.clone(),
    };
    let request = Request::from_parts(parts, Body::new(counted));
    // What was read of the body is in the hands of whoever works on the request, until it is answered.
    let response = next.run(request).await;
    match share.refused.load(Ordering::Relaxed) {
        FULL => {
            share.bodies.metrics.body_refused();
            full(pages)
        }
        TOO_LONG => too_long(pages),
        _ => response,
    }
}

const ACCEPTED: usize = 0;
const FULL: usize = 1;
const TOO_LONG: usize = 2;

/// What one body has taken, given back in the end.
struct BodyShare {
    bodies: Arc<Bodies>,
    room: BodyLimit,
    arrived: AtomicUsize,
    refused: AtomicUsize,
}

impl BodyShare {
    /// Whether `more` bytes find room.
    fn take(&self, more: usize) -> bool {
        let before = self.arrived.load(Ordering::Relaxed);
        let after = before.saturating_add(more);
        if after > self.room.most {
            self.refused.store(TOO_LONG, Ordering::Relaxed);
            return false;
        }
        let counted = beyond_free(after) - beyond_free(before);
        let fits = |in_hand: usize| {
            let together = in_hand.saturating_add(counted);
            (counted == 0 || together <= self.room.of_all).then_some(together)
        };
        let in_hand = &self.bodies.in_hand;
        let taken = in_hand.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        if taken.is_err() {
            self.refused.store(FULL, Ordering::Relaxed);
            return false;
        }
        // One body arrives in one piece after the other.
        self.arrived.store(after, Ordering::Relaxed);
        true
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        let counted = beyond_free(self.arrived.load(Ordering::Relaxed));
        self.bodies.in_hand.fetch_sub(counted, Ordering::Relaxed);
    }
}

fn beyond_free(bytes: usize) -> usize {
    bytes.saturating_sub(FREE)
}

#[derive(Debug, thiserror::Error)]
#[error("there is no room for the body")]
struct NoRoom;

struct CountedBody {
    inner: Body,
    share: Arc<BodyShare>,
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && !self.share.take(data.len())
        {
            return Poll::Ready(Some(Err(axum::Error::new(NoRoom))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn full(pages: bool) -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut response = if pages {
        let text = "The server is too busy right now. Nothing was changed: go back and try again in a moment.";
        (status, templates::message("Busy", text, None)).into_response()
    } else {
        problem(
            status,
            "the server is too busy right now; try again in a moment",
        )
    };
    let soon = HeaderValue::from_static("5");
    response.headers_mut().insert(header::RETRY_AFTER, soon);
    response
}

fn too_long(pages: bool) -> Response {
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    if pages {
        let text = "This form can be up to 256 kB. Nothing was changed.";
        return (status, templates::message("Too large", text, None)).into_response();
    }
    problem(status, "the body is too long")
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    fn bodies() -> Arc<Bodies> {
        Bodies::new(&[], Metrics::new())
    }

    fn share(bodies: &Arc<Bodies>, needs: RouteAccess) -> Arc<BodyShare> {
        Arc::new(BodyShare {
            bodies: bodies.clone(),
            room: BodyLimit::of(Some(needs)),
            arrived: AtomicUsize::new(0),
            refused: AtomicUsize::new(ACCEPTED),
        })
    }

    /// Takes a megabyte at a time, beside what is free, until there is no room.
    fn takes(share: &BodyShare) -> usize {
        assert!(share.take(FREE));
        (0..1_000).take_while(|_| share.take(MB)).count()
    }

    #[test]
    fn whoever_is_let_in_finds_room_that_strangers_have_not_taken() {
        let edits = RouteAccess::Caller(Permission::Edit);
        let bodies = bodies();
        let strangers = share(&bodies, RouteAccess::Nothing);
        assert_eq!(takes(&strangers), 32);
        let viewers = share(&bodies, RouteAccess::Caller(Permission::View));
        assert_eq!(takes(&viewers), 16);
        let editors = share(&bodies, edits);
        assert_eq!(takes(&editors), 16);
        assert_eq!(editors.refused.load(Ordering::Relaxed), FULL);

        // When nothing is left there is still room for what is short.
        let short = share(&bodies, RouteAccess::Nothing);
        assert!(short.take(FREE));
        assert!(!short.take(1));

        drop(viewers);
        assert_eq!(takes(&share(&bodies, edits)), 16);
        drop((strangers, editors, short));
        assert_eq!(bodies.in_hand.load(Ordering::Relaxed), 0);
        assert_eq!(takes(&share(&bodies, RouteAccess::Nothing)), 32);
    }

    #[test]
    fn a_form_for_everybody_who_may_look_is_short() {
        let bodies = bodies();
        let form = share(&bodies, RouteAccess::Person(Permission::View));
        assert!(form.take(MAX_STRANGERS_BODY));
        assert!(!form.take(1));
        assert_eq!(form.refused.load(Ordering::Relaxed), TOO_LONG);
    }

    #[tokio::test]
    async fn a_body_that_finds_no_room_breaks_off_and_others_arrive_whole() {
        let bodies = bodies();
        let whole = |share| {
            let inner = Body::from(vec![b'x'; FREE + 1]);
            to_bytes(Body::new(CountedBody { inner, share }), usize::MAX)
        };
        let read = whole(share(&bodies, RouteAccess::Nothing)).await.unwrap();
        assert_eq!(read.len(), FREE + 1);
        bodies.in_hand.store(WITH_STRANGERS, Ordering::Relaxed);
        assert!(whole(share(&bodies, RouteAccess::Nothing)).await.is_err());
        let known = share(&bodies, RouteAccess::Session(Permission::Administer));
        assert!(whole(known).await.is_ok());
        assert_eq!(bodies.in_hand.load(Ordering::Relaxed), WITH_STRANGERS);
    }
}
