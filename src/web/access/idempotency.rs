//! `Idempotency-Key`: a request to the config API that is sent again, because its answer was lost, gets that answer and does nothing.
//!
//! The key is claimed before the handler runs and the answer is kept after it. A handler is not broken off when its caller goes away
//! meanwhile, so that what it has done and what is remembered of it agree.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::guard::Guard;
use crate::control::ControlError;
use crate::db::idempotency::{self, IdempotencyMatch, StoredResponse};
use crate::hashing::Hasher;
use crate::web::problem::ApiError;
use crate::web::{AppState, LONG_BODY, MAX_BODY};

pub const HEADER: &str = "idempotency-key";

/// Bytes of an answer that is kept.
const MOST_KEPT: usize = 64 << 10;

/// Marks an answer that is told once and must not be kept: a secret is in it.
#[derive(Clone, Copy, Debug)]
pub struct Unrepeatable;

/// The headers that belong to an answer.
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::ETAG, header::LOCATION];

/// The key of a request, if it carries one.
pub fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(given) = headers.get(HEADER) else {
        return Ok(None);
    };
    let fits =
        |key: &&str| (1..=200).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    let key = given.to_str().ok().filter(fits).map(str::to_owned);
    key.map(Some).ok_or_else(|| {
        ApiError::fault(
            StatusCode::BAD_REQUEST,
            "Idempotency-Key",
            "must be 1 to 200 printable characters without spaces, for example a UUID",
        )
    })
}

/// Does a request once.
pub async fn once(
    guard: &Guard,
    (caller, key): (String, String),
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let state = &guard.state;
    let Ok(body) = to_bytes(body, guard.most).await else {
        return ApiError::too_long(guard.most).into_response();
    };
    let hash = match hash(&state.hasher, &parts.uri.to_string(), &body).await {
        Ok(hash) => hash,
        Err(error) => return ApiError::from(error).into_response(),
    };
    let met = idempotency::begin(&state.pool, (&caller, &key), &hash, state.clock.now()).await;
    match met {
        Ok(IdempotencyMatch::Nothing) => {}
        Ok(IdempotencyMatch::Answer(answer)) => return repeated(answer),
        Ok(IdempotencyMatch::Underway) => {
            return ApiError::new(
                StatusCode::CONFLICT,
                "a request with this Idempotency-Key is in progress; ask again in a moment",
            )
            .into_response();
        }
        Ok(IdempotencyMatch::Another) => {
            return ApiError::fault(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Idempotency-Key",
                "belongs to another request; use a new key for every new request",
            )
            .into_response();
        }
        Err(error) => return ApiError::from(ControlError::from(error)).into_response(),
    }
    let request = Request::from_parts(parts, Body::from(body));
    let state = state.clone();
    let done = tokio::spawn(async move {
        let response = next.run(request).await;
        keep(&state, (&caller, &key), response).await
    });
    done.await.unwrap_or_else(|error| {
        ApiError::from(ControlError::Internal(anyhow::anyhow!(
            "a handler died: {error}"
        )))
        .into_response()
    })
}

/// The hash of a request. Keyed: a body may name an address.
async fn hash(hasher: &Hasher, asked: &str, body: &Bytes) -> Result<[u8; 16], ControlError> {
    if body.len() < LONG_BODY {
        return Ok(hasher.request(asked, body));
    }
    let (hasher, asked, body) = (hasher.clone(), asked.to_owned(), body.clone());
    let done = tokio::task::spawn_blocking(move || hasher.request(&asked, &body)).await;
    done.map_err(|error| ControlError::Internal(anyhow::anyhow!("hashing a request died: {error}")))
}

fn repeated(answer: StoredResponse) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
            response.headers_mut().insert(name, value);
        }
    }
    let mark = HeaderValue::from_static("true");
    response
        .headers_mut()
        .insert(HeaderName::from_static("idempotent-replayed"), mark);
    response
}

/// Remembers an answer, unless the fault was ours and the request is to be tried again.
async fn keep(state: &AppState, id: (&str, &str), response: Response) -> Response {
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        if let Err(error) = idempotency::abandon(&state.pool, id).await {
            tracing::warn!("An idempotency key stays claimed for two minutes: {error}");
        }
        return response;
    }
    let once_only = response.extensions().get::<Unrepeatable>().is_some();
    let (parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let answer = if once_only && status.is_success() {
        done_already("this was already done; its secret was in the first answer and is not stored")
            .await
    } else if bytes.len() > MOST_KEPT {
        done_already(
            "this was already done; its answer was too long to be stored: read the current state instead",
        )
        .await
    } else {
        let headers = KEPT_HEADERS.iter().filter_map(|name| {
            let value = parts.headers.get(name)?.to_str().ok()?;
            Some((name.to_string(), value.to_owned()))
        });
        StoredResponse {
            status: status.as_u16(),
            headers: headers.collect(),
            body: bytes.to_vec(),
        }
    };
    if let Err(error) = idempotency::finish(&state.pool, id, &answer).await {
        tracing::warn!("An answer cannot be kept for its idempotency key: {error}");
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// What is said to who asks again for an answer that is not kept.
async fn done_already(why: &str) -> StoredResponse {
    let refusal = ApiError::new(StatusCode::CONFLICT, why).into_response();
    let (parts, body) = refusal.into_parts();
    let body = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    StoredResponse {
        status: parts.status.as_u16(),
        headers: vec![(
            "content-type".to_owned(),
            "application/problem+json".to_owned(),
        )],
        body: body.to_vec(),
    }
}
