//! The config API's document as a page to browse.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};
use url::Url;

use super::Page;
use crate::domain::access::Permission;
use crate::web::access::Table;
use crate::web::api::{ROOT, reference};

pub fn add(table: &mut Table, document: &Value, home: &Url) {
    let groups = Arc::new(reference::overview(document, home));
    let first = format!("{}{ROOT}/accounts", home.as_str().trim_end_matches('/'));
    table.page(Permission::View, "/api", async move |page: Page| {
        show(&page, &groups, &first)
    });
}

fn show(page: &Page, groups: &Value, first: &str) -> Response {
    page.render(
        "api.hbs",
        "API",
        json!({ "groups": groups, "first": first }),
    )
}
