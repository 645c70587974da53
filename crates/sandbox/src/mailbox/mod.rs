//! A page that shows what people received: the mailbox and the phone of everyone in the sandbox, and an API beside it.
//!
//! Everything shown is hostile: names and texts come from "visitors". The template engine escapes, HTML mails live in a frame
//! without scripts and without this page's origin, and a content security policy forbids what is left (no scripts but our own,
//! nothing fetched from elsewhere).

mod api;
mod page;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use handlebars::Handlebars;

use super::outbox::Outbox;
use super::smtp::SmtpFaults;
use super::twilio::TwilioAccount;

/// `'unsafe-inline'` for styles only: mails bring their own, and frames with `srcdoc` inherit this policy.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What the mailbox shows and what it may steer; without a server its part of the API answers 404.
#[derive(Clone)]
pub struct Mailbox {
    pub outbox: Outbox,
    pub smtp: Option<SmtpFaults>,
    pub twilio: Option<TwilioAccount>,
}

#[derive(Clone)]
struct Desk {
    mailbox: Mailbox,
    templates: Arc<Handlebars<'static>>,
}

impl Mailbox {
    /// A mailbox that only shows.
    pub fn of(outbox: Outbox) -> Self {
        Self {
            outbox,
            smtp: None,
            twilio: None,
        }
    }
}

/// The page at `/` and the API under `/api`; for a listener of its own, not to be nested.
pub fn router(mailbox: Mailbox) -> Router {
    let desk = Desk {
        mailbox,
        templates: Arc::new(page::templates()),
    };
    Router::new()
        .route("/", get(page::all))
        .route("/messages/{id}", get(page::one))
        .route("/messages/{id}/raw", get(page::raw))
        .route("/messages/{id}/reply", post(page::reply))
        .route("/list", get(page::list))
        .route("/mailbox.css", get(page::style))
        .route("/mailbox.js", get(page::script))
        .route("/api/messages", get(api::messages).delete(api::clear))
        .route("/api/messages/{id}", get(api::message))
        .route(
            "/api/faults",
            get(api::faults)
                .put(api::set_faults)
                .delete(api::clear_faults),
        )
        .route("/api/inbound", post(api::inbound))
        .layer(middleware::from_fn(protect))
        .with_state(desk)
}

async fn protect(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
