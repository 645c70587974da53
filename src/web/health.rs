//! Probes: alive says that the process answers, ready that it can do its work.

use std::time::Duration;

use axum::extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::AppState;
use crate::db;

/// A probe must answer before the prober gives up.
const PATIENCE: Duration = Duration::from_secs(2);

pub async fn alive() -> &'static str {
    "ok\n"
}

/// A hold does not make a process unready: it works, and shows what is held. The text says so.
async fn ready_text(state: &AppState) -> String {
    let holds = tokio::time::timeout(PATIENCE, db::holds::active(&state.pool)).await;
    let holds = holds.ok().and_then(Result::ok).unwrap_or_default();
    let mut text = "ready\n".to_owned();
    for hold in holds {
        text.push_str(&hold.said());
        text.push('\n');
    }
    text
}

/// While a process waits for its database.
pub fn not_yet() -> Response {
    let why = db::explain(&sqlx::Error::PoolTimedOut);
    let text = format!("starting: the database cannot be worked with yet: {why}\n");
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// 200 if the database answers, with tables that this program can work with, and the queue can be worked on; else 503 and why.
pub async fn ready(extract::State(state): extract::State<AppState>) -> Response {
    if state
        .queue_healthy
        .as_ref()
        .is_some_and(|healthy| !healthy())
    {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "the queue cannot be worked on at the moment\n",
        )
            .into_response();
    }
    match tokio::time::timeout(PATIENCE, db::check_schema(&state.pool)).await {
        Ok(Ok(_)) => (StatusCode::OK, ready_text(&state).await).into_response(),
        Ok(Err(db::SchemaProblem::Unreachable(error))) => {
            let why = db::explain(&error);
            tracing::warn!("Not ready: the database cannot be read: {why}");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the database cannot be read: {why}\n"),
            )
                .into_response()
        }
        Ok(Err(problem)) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")).into_response()
        }
        Err(_) => {
            let why = db::explain(&sqlx::Error::PoolTimedOut);
            (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the database does not answer: {why}\n"),
            )
                .into_response()
        }
    }
}
