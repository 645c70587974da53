//! Reading a request of the config API: like axum's own extractors, but what does not fit is a `ApiError` that names the field.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::control::NUL;
use crate::domain::access::Permission;
use crate::domain::plain_error::plain;
use crate::web::access::Caller;
use crate::web::problem::ApiError;
use crate::web::{AppState, MAX_BODY, MAX_STRANGERS_BODY};

/// A body of JSON.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        if kind(request.headers()) != "application/json" {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send JSON with `Content-Type: application/json`",
            ));
        }
        let bytes = bytes(request, state, MAX_BODY).await?;
        parse(&bytes).map(Self)
    }
}

/// The media type of a body, in small letters and without its parameters.
pub fn kind(headers: &HeaderMap) -> String {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// A body of at most `most` bytes, which is what the route is limited to.
/// Who may change nothing has little to send.
pub async fn bytes(mut request: Request, state: &AppState, most: usize) -> Result<Bytes, ApiError> {
    let caller = request.extensions().get::<Caller>();
    let may = |permission| caller.is_some_and(|caller| caller.may(permission));
    let only_looks = !may(Permission::Edit) && !may(Permission::Operate);
    let most = if only_looks && !may(Permission::Administer) {
        most.min(MAX_STRANGERS_BODY)
    } else {
        most
    };
    DefaultBodyLimit::max(most).apply(&mut request);
    let read = Bytes::from_request(request, state).await;
    read.map_err(|rejection: BytesRejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_long(most),
        _ => ApiError::new(StatusCode::BAD_REQUEST, "the body did not arrive whole"),
    })
}

/// JSON in which no text has a NUL.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if let Some(place) = nul(bytes) {
        return Err(ApiError::fault(
            StatusCode::UNPROCESSABLE_ENTITY,
            place,
            NUL,
        ));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let mut pointer = pointer(error.path());
        let inner = error.into_inner();
        if !inner.is_data() {
            return ApiError::fault(StatusCode::BAD_REQUEST, pointer, inner.to_string());
        }
        let plain = plain(&inner.to_string());
        if let Some(missing) = plain.missing {
            pointer = format!("{pointer}/{}", escaped(&missing));
        }
        ApiError::fault(StatusCode::UNPROCESSABLE_ENTITY, pointer, plain.message)
    })?;
    reader
        .end()
        .map_err(|error| ApiError::fault(StatusCode::BAD_REQUEST, "", error.to_string()))?;
    Ok(value)
}

/// The place of the first text with a NUL in a body, which is searched only if it seems to have one: its escape may itself be
/// escaped.
fn nul(bytes: &[u8]) -> Option<String> {
    let escape = br"\u0000";
    if !bytes.windows(escape.len()).any(|piece| piece == escape) {
        return None;
    }
    place_of_nul("", &serde_json::from_slice(bytes).ok()?)
}

fn place_of_nul(place: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(|| place.to_owned()),
        Value::Array(items) => (0..)
            .zip(items)
            .find_map(|(n, item): (usize, _)| place_of_nul(&format!("{place}/{n}"), item)),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            if name.contains('\0') {
                return Some(place.to_owned());
            }
            place_of_nul(&format!("{place}/{}", escaped(name)), value)
        }),
        _ => None,
    }
}

/// A name as a JSON pointer writes it.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// `settings.steps[0]` → `/settings/steps/0`.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } => pointer.push_str(&escaped(key)),
            Segment::Enum { variant } => pointer.push_str(variant),
            Segment::Unknown => pointer.push('?'),
        }
    }
    pointer
}

/// The parameters after the `?`. Structs for it deny unknown fields: a mistyped filter must not pass for no filter.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        words(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// The parameters in the path, by name, into a struct.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let raw = RawPathParams::from_request_parts(parts, state).await;
        let raw = raw.map_err(|_| {
            ApiError::fault(
                StatusCode::BAD_REQUEST,
                "",
                "the path is not UTF-8 once decoded",
            )
        })?;
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(raw.iter())
            .finish();
        words(&query).map(Self)
    }
}

/// Named words, written as in a query, into a struct.
fn words<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let pairs = || url::form_urlencoded::parse(query.as_bytes());
    let bad = |field, detail: String| ApiError::fault(StatusCode::BAD_REQUEST, field, detail);
    if let Some((name, _)) = pairs().find(|(_, value)| value.contains('\0')) {
        return Err(bad(name.into_owned(), NUL.to_owned()));
    }
    let fields = serde_urlencoded::Deserializer::new(pairs());
    serde_path_to_error::deserialize(fields).map_err(|error| {
        let field = error.path().to_string();
        let plain = plain(&error.into_inner().to_string());
        match pairs().find(|(name, _)| *name == field) {
            Some((_, word)) => {
                let detail = format!("{} (given: \"{}\")", plain.message, shortened(&word));
                bad(field, detail)
            }
            // Of the whole: a name that is not known, or one that is missing.
            None => bad(plain.missing.unwrap_or_default(), plain.message),
        }
    })
}

/// An error does not repeat a whole page.
fn shortened(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by Debug")]
    struct Body {
        steps: Vec<Step>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by Debug")]
    struct Step {
        after: u32,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Filter {
        days: Option<u32>,
        all: bool,
        by: Option<By>,
        name: String,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum By {
        Day,
        Hour,
    }

    #[test]
    fn words_become_what_the_field_is_and_a_fault_is_named_by_its_field() {
        let filter = words::<Filter>("days=7&all=true&by=hour&name=a+b%26").unwrap();
        let expected = Filter {
            days: Some(7),
            all: true,
            by: Some(By::Hour),
            name: "a b&".to_owned(),
        };
        assert_eq!(filter, expected);
        assert_eq!(words::<Filter>("").unwrap(), Filter::default());
        let wrong = |query: &str| format!("{:?}", words::<Filter>(query).unwrap_err());
        let days = wrong("days=-1");
        assert!(days.contains("\"days\"") && days.contains("-1"), "{days}");
        assert!(wrong("by=week").contains("must be day or hour"));
        let unknown = wrong("day=7");
        assert!(
            unknown.contains("\"day\"") && unknown.contains("is not known here; there are days"),
            "{unknown}"
        );
        assert!(wrong("days=7&days=8").contains("duplicate field"));
        assert!(wrong("name=a%00").contains("NUL"));
        assert!(!wrong(&format!("days={}", "x".repeat(99))).contains(&"x".repeat(41)));
    }

    #[test]
    fn a_fault_of_the_body_is_named_by_its_pointer() {
        let wrong = |text: &str| format!("{:?}", parse::<Body>(text.as_bytes()).unwrap_err());
        assert!(wrong(r#"{"steps":[{"after":1},{"after":"x"}]}"#).contains("/steps/1/after"));
        let unknown = wrong(r#"{"steps":[],"stops":1}"#);
        assert!(
            unknown.contains("\"/stops\"") && unknown.contains("is not known here"),
            "{unknown}"
        );
        let missing = wrong(r#"{"steps":[{}]}"#);
        assert!(
            missing.contains("\"/steps/0/after\"") && missing.contains("is missing"),
            "{missing}"
        );
        assert!(wrong(r#"{"steps":[]} x"#).contains("trailing"));
        assert!(wrong("{").contains("400"));
        let nul = wrong(r#"{"steps":[],"sto/ps":[1,"a\u0000"]}"#);
        assert!(nul.contains("/sto~1ps/1") && nul.contains("NUL"), "{nul}");
        assert!(wrong(r#"{"steps\\u0000":[]}"#).contains("is not known here"));
        assert!(parse::<Body>(br#"{"steps":[{"after":1}]}"#).is_ok());
    }
}
