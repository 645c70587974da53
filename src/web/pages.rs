//! Turning values into HTML pages: templates compiled into the program, everything escaped.

use std::sync::LazyLock;

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use handlebars::Handlebars;
use serde_json::{Value, json};

static PAGES: LazyLock<Handlebars<'static>> = LazyLock::new(|| {
    let mut pages = Handlebars::new();
    pages.set_strict_mode(true);
    for (name, source) in [
        ("layout.hbs", include_str!("../../templates/web/layout.hbs")),
        (
            "message.hbs",
            include_str!("../../templates/web/message.hbs"),
        ),
        (
            "overview.hbs",
            include_str!("../../templates/web/overview.hbs"),
        ),
    ] {
        pages
            .register_template_string(name, source)
            .expect("a test compiles every template");
    }
    pages
});

/// A page; a template that cannot be filled in is our fault and says so.
pub fn render(template: &str, values: &Value) -> Response {
    match PAGES.render(template, values) {
        Ok(page) => Html(page).into_response(),
        Err(error) => {
            tracing::error!("The page {template} cannot be rendered: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A page that says one thing, with at most one button, which posts to the page's own address.
pub fn message(title: &str, heading: &str, text: &str, button: Option<&str>) -> Response {
    render(
        "message.hbs",
        &json!({ "title": title, "heading": heading, "text": text, "button": button }),
    )
}

pub async fn stylesheet() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/css; charset=utf-8"),
        (header::CACHE_CONTROL, "max-age=3600"),
    ];
    (headers, include_str!("../../templates/web/unread.css"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_renders_with_and_without_a_button_and_escapes_what_it_says() {
        for (button, buttons) in [(None, 0), (Some("Stop <now>"), 1)] {
            let values =
                json!({ "title": "t", "heading": "<b>", "text": "a & b", "button": button });
            let page = PAGES.render("message.hbs", &values).unwrap();
            assert_eq!(page.matches("<button").count(), buttons, "{page}");
            assert!(
                page.contains("&lt;b&gt;") && page.contains("a &amp; b"),
                "{page}"
            );
            assert!(!page.contains("<now>"), "{page}");
        }
    }
}
