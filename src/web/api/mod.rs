//! The config API, `/api/v1`: everything that the dashboard does, for programs.
//!
//! Handlers are thin: they read a request, call [`crate::control`] and shape the answer. Each is described where it is written
//! (utoipa), and the table of routes makes the OpenAPI document of it.

mod accounts;
mod audit;
mod badge;
mod consumers;
mod decisions;
pub mod document;
pub mod etag;
mod examples;
pub mod extract;
mod forecast;
mod hold;
mod incidents;
mod live;
mod overview;
pub mod paging;
mod pauses;
pub mod reference;
mod reminders;
mod rules;
mod setup;
mod suppressions;
mod test_messages;
mod texts;
mod tokens;
mod users;

use axum::body::Bytes;
use axum::http::{Method, header};
use axum::routing::get;
use serde_json::Value;

use super::access::RouteTable;

pub use super::access::API_ROOT as ROOT;

/// Adds the API's routes to the table.
pub fn add(table: &mut RouteTable) {
    accounts::add(table);
    audit::add(table);
    badge::add(table);
    overview::add(table);
    reminders::add(table);
    decisions::add(table);
    consumers::add(table);
    suppressions::add(table);
    rules::add(table);
    texts::add(table);
    test_messages::add(table);
    forecast::add(table);
    pauses::add(table);
    setup::add(table);
    live::add(table);
    hold::add(table);
    incidents::add(table);
    tokens::add(table);
    users::add(table);
}

/// Adds the document itself, which says nothing that the program's source does not.
pub fn add_document(table: &mut RouteTable, document: &Value) {
    let path = format!("{ROOT}/openapi.json");
    let text = Bytes::from(document.to_string());
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let serve = async move || (kind.clone(), text.clone());
    table.open(Method::GET, &path, get(serve));
}
