//! Versions of what several people may change at once: `ETag` says which version was read, `If-Match` which one is meant to be
//! changed, so that nobody's work is overwritten unseen.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};

use crate::web::AppState;
use crate::web::problem::ApiError;

/// The version named by `If-Match`, which must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IfMatch<V = i32>(pub V);

impl<V: FromStr> FromRequestParts<AppState> for IfMatch<V> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        let Some(given) = parts.headers.get(header::IF_MATCH) else {
            return Err(ApiError::fault(
                StatusCode::PRECONDITION_REQUIRED,
                "If-Match",
                "is missing: send the ETag of the version that you have read, so that no one's change is overwritten",
            ));
        };
        version(given).map(Self).ok_or_else(|| {
            ApiError::fault(
                StatusCode::BAD_REQUEST,
                "If-Match",
                "is not the ETag of a version, for example \"3\"",
            )
        })
    }
}

fn version<V: FromStr>(given: &HeaderValue) -> Option<V> {
    let given = given.to_str().ok()?.trim();
    let number = given.strip_prefix('"')?.strip_suffix('"')?;
    number.parse().ok()
}

/// The header that names a version.
pub fn etag(version: impl Display) -> [(header::HeaderName, String); 1] {
    [(header::ETAG, format!("\"{version}\""))]
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn fuzz_versions(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40), quoted in "\"?[0-9+-]{0,24}\"?") {
            for given in [bytes.as_slice(), quoted.as_bytes()] {
                if let Some(version) = HeaderValue::from_bytes(given).ok().and_then(|given| version::<i64>(&given)) {
                    proptest::prop_assert!(given.len() >= 3, "{}", version);
                }
            }
        }
    }

    #[test]
    fn only_a_version_of_ours_is_a_version() {
        let of = |text| version::<i32>(&HeaderValue::from_static(text));
        assert_eq!(of("\"3\""), Some(3));
        for other in ["3", "*", "W/\"3\"", "\"x\"", "", "\"3\", \"4\""] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
