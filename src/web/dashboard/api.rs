//! The config API's document as a page to browse.

use std::sync::Arc;

use axum::response::Response;
use serde_json::{Value, json};

use super::Page;
use crate::domain::access::Permission;
use crate::web::access::Table;
use crate::web::api::document;

pub fn add(table: &mut Table, document: &Value) {
    let groups = Arc::new(document::overview(document));
    table.page(Permission::View, "/api", async move |page: Page| {
        show(&page, &groups)
    });
}

fn show(page: &Page, groups: &Value) -> Response {
    page.render("api.hbs", "API", json!({ "groups": groups }))
}
