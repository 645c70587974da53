//! What is told of every request: a span around it, for the log and for traces, and a count by route and kind of answer. Never the
//! path itself, which may hold a link's token.

use axum::extract::{MatchedPath, Request, State as Shared};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

use super::AppState;

pub async fn observe(Shared(state): Shared<AppState>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("none", MatchedPath::as_str);
    let span = info_span!("request", route, status = Empty);
    let response = next.run(request).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    state.metrics.answered(route, response.status().as_u16());
    response
}
