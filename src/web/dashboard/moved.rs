//! Addresses of pages that have moved: bookmarks and links in old mails of the team lead on.

use axum::extract::OriginalUri;
use axum::http::Method;
use axum::response::Redirect;
use axum::routing::get;

use crate::web::access::RouteTable;

/// Where a page was, and where it is.
const MOVED: &[(&str, &str)] = &[
    ("/forecast", "/reminders"),
    ("/people", "/customers"),
    ("/suppressions", "/opt-outs"),
    ("/channels", "/connections"),
    ("/effect", "/results"),
    ("/users", "/team"),
    ("/audit", "/activity"),
];

pub fn add(table: &mut RouteTable) {
    for (from, to) in MOVED {
        table.open(
            Method::GET,
            from,
            get(async move |OriginalUri(uri): OriginalUri| {
                let query = uri
                    .query()
                    .map_or_else(String::new, |query| format!("?{query}"));
                Redirect::permanent(&format!("{to}{query}"))
            }),
        );
    }
}
