//! `badge.js`, under the address that follows new versions and under one that never changes.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256, Sha384};

use super::matches;
use crate::web::error;

const SCRIPT: &str = include_str!("../../../templates/web/badge.js");

/// `v1.{hash}.js`.
static PINNED: LazyLock<String> = LazyLock::new(|| {
    let hash = Sha256::digest(SCRIPT);
    let [a, b, c, d, e, f, ..] = hash.0;
    format!("v1.{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}.js")
});

/// The path of the version that never changes, for pages that pin it by its hash.
pub fn pinned_path() -> String {
    format!("/badge/{}", *PINNED)
}

/// The value of the attribute `integrity`.
pub fn integrity() -> String {
    format!("sha384-{}", STANDARD.encode(Sha384::digest(SCRIPT)))
}

/// `GET /badge/v1.js` and `GET /badge/v1.{hash}.js`.
pub async fn script(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let lifetime = if file == *PINNED {
        "public, max-age=31536000, immutable"
    } else if file == "v1.js" {
        "public, max-age=3600"
    } else {
        return error::not_found();
    };
    let tag = format!("\"{}\"", *PINNED);
    let headers_out = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, lifetime),
        (header::ETAG, &tag),
        // Every page may load it, and must be able to check its hash.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    let anyone = [("cross-origin-resource-policy", "cross-origin")];
    if matches(&headers, &tag) {
        return (StatusCode::NOT_MODIFIED, headers_out, anyone).into_response();
    }
    (headers_out, anyone, SCRIPT).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_script_is_smaller_than_five_kilobytes_on_the_wire() {
        let mut gzip = Command::new("gzip")
            .args(["-9", "-c", "-n"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("gzip, which every system has");
        let mut input = gzip.stdin.take().unwrap();
        input.write_all(SCRIPT.as_bytes()).unwrap();
        drop(input);
        let size = gzip.wait_with_output().unwrap().stdout.len();
        assert!((500..5_000).contains(&size), "{size} bytes");
    }

    #[test]
    fn the_script_keeps_nothing_in_the_browser_and_evaluates_nothing() {
        for word in [
            "cookie",
            "localStorage",
            "sessionStorage",
            "indexedDB",
            "eval(",
            "Function(",
            "innerHTML",
            ".style.",
            "document.write",
        ] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
    }
}
