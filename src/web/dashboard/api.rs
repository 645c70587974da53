//! The config API's document as a page to browse.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};
use url::Url;

use super::PageFrame;
use crate::domain::access::Permission;
use crate::web::access::RouteTable;
use crate::web::api::{ROOT, reference};

pub fn add(table: &mut RouteTable, document: &Value, home: &Url) {
    let groups = Arc::new(reference::overview(document, home));
    let first = format!("{}{ROOT}/accounts", home.as_str().trim_end_matches('/'));
    table.page(Permission::View, "/api", async move |page: PageFrame| {
        show(&page, &groups, &first)
    });
}

fn show(page: &PageFrame, groups: &Value, first: &str) -> Response {
    page.render(
        "api.hbs",
        "API",
        json!({ "groups": groups, "first": first }),
    )
}
