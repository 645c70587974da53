//! `badge.js`, under the address that follows new versions and under one that never changes.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256, Sha384};

use super::reply::matches;
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

/// As browsers ask for it. Every page of a brand loads it, and not every proxy before us compresses.
static COMPRESSED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let compressed = gzip.write_all(SCRIPT.as_bytes()).and(gzip.finish());
    compressed.unwrap_or_else(|_| unreachable!("a vector takes everything"))
});

/// `GET /badge/v1.js` and `GET /badge/v1.{hash}.js`.
pub async fn script(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let lifetime = if file == *PINNED {
        "public, max-age=31536000, immutable"
    } else if file == "v1.js" {
        "public, max-age=3600"
    } else {
        return error::not_found();
    };
    let gzip = takes_gzip(&headers);
    let tag = format!("\"{}{}\"", *PINNED, if gzip { ".gz" } else { "" });
    let headers_out = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, lifetime),
        (header::ETAG, &tag),
        (header::VARY, "accept-encoding"),
        // Every page may load it, and must be able to check its hash.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    let anyone = [("cross-origin-resource-policy", "cross-origin")];
    if matches(&headers, tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, headers_out, anyone).into_response();
    }
    if gzip {
        let encoded = [(header::CONTENT_ENCODING, "gzip")];
        return (headers_out, anyone, encoded, COMPRESSED.as_slice()).into_response();
    }
    (headers_out, anyone, SCRIPT).into_response()
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|coding| {
            let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = quality.trim().strip_prefix("q=").unwrap_or("1");
            name.trim().eq_ignore_ascii_case("gzip") && weight.parse().is_ok_and(|q: f32| q > 0.0)
        })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::http::HeaderValue;
    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn the_script_is_smaller_than_five_kilobytes_on_the_wire() {
        let size = COMPRESSED.len();
        assert!((500..5_000).contains(&size), "{size} bytes");
        let mut read = String::new();
        let gzip = GzDecoder::new(COMPRESSED.as_slice()).read_to_string(&mut read);
        assert!(gzip.is_ok() && read == SCRIPT);
    }

    #[tokio::test]
    async fn who_takes_gzip_gets_it_and_caches_keep_the_two_apart() {
        let ask = async |name: &str, value: &str| {
            let mut headers = HeaderMap::new();
            let name: axum::http::HeaderName = name.parse().unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            script(Path("v1.js".to_owned()), headers).await
        };
        let mut tags = Vec::new();
        for (accepted, encoded) in [
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip;q=x", false),
        ] {
            let answer = ask("accept-encoding", accepted).await;
            let headers = answer.headers();
            let coding = headers.get("content-encoding");
            assert_eq!(coding.is_some(), encoded, "{accepted}");
            assert_eq!(headers["vary"], "accept-encoding");
            tags.push(headers["etag"].to_str().unwrap().to_owned());
        }
        assert_ne!(tags[0], tags[2]);
        let same = ask("if-none-match", &tags[2]).await;
        assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
        let other = ask("if-none-match", &tags[0]).await;
        assert_eq!(other.status(), StatusCode::OK);
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
