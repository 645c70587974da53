//! LivePerson over HTTP: one listener plays the domain service, Sentinel, the interactions service and the skills.
//!
//! What LivePerson documents is played to the letter; what it does not is a switch ([`super::world::Quirks`]). A filter that the
//! sandbox does not play is answered 400, never ignored: a client must not believe it was obeyed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::faults::{Endpoint, Faults};
use super::world::World;

mod access;
mod criteria;
mod gate;
mod history;
mod oauth1;
mod record;
mod setup;
#[cfg(test)]
mod tests;

#[derive(Clone)]
pub(crate) struct LivePersonServer {
    pub world: World,
    pub faults: Faults,
    /// OAuth 1.0a nonces of the last minutes, with their timestamps: each is good once.
    nonces: Arc<Mutex<HashSet<(i64, String)>>>,
}

/// Every service of LivePerson's that the product calls.
pub fn router(world: World, faults: Faults) -> Router {
    let server = LivePersonServer {
        world,
        faults,
        nonces: Arc::default(),
    };
    let open = |endpoint, route: MethodRouter<LivePersonServer>| {
        route.layer(from_fn_with_state((server.clone(), endpoint), gate::gate))
    };
    let guarded = |endpoint, route: MethodRouter<LivePersonServer>| {
        let route = route.layer(from_fn_with_state(
            (server.clone(), endpoint),
            access::guard,
        ));
        open(endpoint, route)
    };
    let history = "/messaging_history/api/account/{account}/conversations";
    let skills = "/api/account/{account}/configuration/le-users/skills";
    Router::new()
        .route(
            "/api/account/{account}/service/baseURI.json",
            open(Endpoint::Domains, get(setup::domains)),
        )
        .route(
            "/api/account/{account}/service/{service}/baseURI.json",
            open(Endpoint::Domains, get(setup::domain)),
        )
        .route(
            "/sentinel/api/v2/account/{account}/app/token",
            open(Endpoint::Token, post(setup::token)),
        )
        .route(skills, guarded(Endpoint::Skills, get(setup::skills)))
        .route(
            &format!("{skills}/{{skill}}"),
            guarded(Endpoint::Skills, get(setup::skill)),
        )
        .route(
            &format!("{history}/search"),
            guarded(Endpoint::Search, post(history::search)),
        )
        .route(
            &format!("{history}/conversation/search"),
            guarded(Endpoint::ById, post(history::by_id)),
        )
        .route(
            &format!("{history}/consumer/search"),
            guarded(Endpoint::ByConsumer, post(history::by_consumer)),
        )
        .with_state(server)
}

impl LivePersonServer {
    /// The error envelope of LivePerson's REST services.
    fn error(&self, status: StatusCode, message: &str, internal_code: &Value) -> Response {
        let time = self
            .world
            .clock()
            .now()
            .to_rfc3339_opts(SecondsFormat::Millis, true);
        let error = json!({"time": time, "message": message, "internalCode": internal_code});
        (status, json_body(&json!({"error": error}))).into_response()
    }
}

fn json_body(value: &Value) -> impl IntoResponse + use<> {
    (
        [(header::CONTENT_TYPE, "application/json;charset=UTF-8")],
        value.to_string(),
    )
}
