//! Pages, styles and scripts leave compressed, where the browser takes it.
//!
//! How well a page compresses tells what is on it to whoever sees its length and can have their own words put on it. So only what was
//! asked for with GET is compressed: what is told once, such as a new token, a link that lets somebody in or an address, answers a form. The
//! word of a session's forms is on every page, and is written differently each time ([`csrf::masked`](super::access::csrf::masked)).

use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::compression::CompressionLayer;

/// Marks an answer that may be compressed.
#[derive(Clone, Copy)]
struct Compressible;

/// Decides by what an answer says of itself.
type Predicate = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// What is compressed: see above.
pub fn layer() -> CompressionLayer<Predicate> {
    CompressionLayer::new().compress_when(is_compressed as Predicate)
}

fn is_compressed(_: StatusCode, _: Version, headers: &HeaderMap, marks: &Extensions) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kinds = ["text/html", "text/css", "text/javascript"];
    marks.get::<Compressible>().is_some() && kinds.iter().any(|own| kind.starts_with(own))
}

/// Marks what was asked for with GET.
pub async fn mark(request: Request, next: Next) -> Response {
    let asks = request.method() == Method::GET;
    let mut response = next.run(request).await;
    if asks {
        response.extensions_mut().insert(Compressible);
    }
    response
}
