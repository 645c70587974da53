//! The OpenAPI document: made from the rows of the route table, so that what is served and what is described cannot differ.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::PartialSchema as _;
use utoipa::ToSchema as _;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApiBuilder, ServerBuilder};

use super::examples;
use crate::web::access::RouteTable;
use crate::web::problem::Problem;

/// The whole document.
pub fn whole(table: &mut RouteTable) -> Value {
    let mut schemas = std::mem::take(&mut table.schemas);
    Problem::schemas(&mut schemas);
    schemas.push((Problem::name().into_owned(), Problem::schema()));
    let mut named = BTreeMap::new();
    for (name, schema) in schemas {
        // A name that means two things would describe one of them wrongly. Every test that starts the web sees it.
        if let Some(other) = named.insert(name.clone(), schema.clone()) {
            assert!(other == schema, "two schemas of the API are called {name}");
        }
    }
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("unread_…")
        .description(Some("A token made on the page Tokens, with its scopes"))
        .build();
    let session = ApiKeyValue::with_description(
        "unread",
        "The session of a person; changes also need the header `X-CSRF-Token`",
    );
    let components = ComponentsBuilder::new()
        .schemas_from_iter(named)
        .security_scheme("token", SecurityScheme::Http(token))
        .security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(session)))
        .build();
    let document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("unread")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(ABOUT))
                .build(),
        )
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .paths(table.paths.clone())
        .components(Some(components))
        .build();
    let mut document = serde_json::json!(document);
    examples::add(&mut document);
    document
}

const ABOUT: &str = "Everything the dashboard does can be done here.

Lists come by pages: `next` of one page is `after` of the following \
                     request. Problems are reported as RFC 9457 (`application/problem+json`), with every error in the input in `errors`. \
                     A `POST` that changes something and has an `Idempotency-Key` is done once, however often it is sent within a day. \
                     What several people may change carries an `ETag`, and changing it takes `If-Match`. Giving access (team, passwords, \
                     tokens) takes a user's session: no token may do it.";
