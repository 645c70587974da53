//! Answers to requests that may come twice.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor, PgPool};

/// How long an answer is remembered.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

/// A request that has not been answered after so long has died with its process.
const GIVEN_UP: TimeDelta = TimeDelta::minutes(2);

/// What a request with a key meets.
#[derive(Debug)]
pub enum IdempotencyMatch {
    /// It is the first: do it, then [`finish`] or [`abandon`].
    Nothing,
    /// It was done.
    Answer(StoredResponse),
    /// The first is still being done.
    Underway,
    /// The key belongs to another request.
    Another,
}

/// An answer as it was given.
#[derive(Debug)]
pub struct StoredResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(FromRow)]
struct IdempotencyRow {
    request_hash: Vec<u8>,
    status: Option<i16>,
    headers: Option<Json<Vec<(String, String)>>>,
    body: Option<Vec<u8>>,
}

/// Claims a key for a request, or tells what has become of it.
pub async fn begin(
    pool: &PgPool,
    (caller, key): (&str, &str),
    request_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<IdempotencyMatch> {
    let claimed = sqlx::query(
        "insert into idempotency as i (caller, key, request_hash, created_at) values ($1, $2, $3, $4)
         on conflict (caller, key) do update
             set request_hash = excluded.request_hash, created_at = excluded.created_at, status = null, headers = null, body = null
             where i.created_at < $5 or (i.status is null and i.created_at < $6 and i.request_hash = excluded.request_hash)",
    )
    .bind(caller)
    .bind(key)
    .bind(request_hash)
    .bind(now)
    .bind(now - KEPT)
    .bind(now - GIVEN_UP)
    .execute(pool)
    .await?;
    if claimed.rows_affected() > 0 {
        return Ok(IdempotencyMatch::Nothing);
    }
    let row: Option<IdempotencyRow> = sqlx::query_as(
        "select request_hash, status, headers, body from idempotency where caller = $1 and key = $2",
    )
    .bind(caller)
    .bind(key)
    .fetch_optional(pool)
    .await?;
    Ok(match row {
        // It was given up between the two statements.
        None => IdempotencyMatch::Underway,
        Some(row) if row.request_hash != request_hash => IdempotencyMatch::Another,
        Some(row) => match row.status.and_then(|status| u16::try_from(status).ok()) {
            None => IdempotencyMatch::Underway,
            Some(status) => IdempotencyMatch::Answer(StoredResponse {
                status,
                headers: row.headers.map(|Json(headers)| headers).unwrap_or_default(),
                body: row.body.unwrap_or_default(),
            }),
        },
    })
}

pub async fn finish(
    db: impl PgExecutor<'_>,
    (caller, key): (&str, &str),
    answer: &StoredResponse,
) -> sqlx::Result<()> {
    sqlx::query("update idempotency set status = $3, headers = $4, body = $5 where caller = $1 and key = $2")
        .bind(caller)
        .bind(key)
        .bind(i16::try_from(answer.status).unwrap_or(500))
        .bind(Json(&answer.headers))
        .bind(&answer.body)
        .execute(db)
        .await?;
    Ok(())
}

/// The request was not done: it may come again.
pub async fn abandon(db: impl PgExecutor<'_>, (caller, key): (&str, &str)) -> sqlx::Result<()> {
    sqlx::query("delete from idempotency where caller = $1 and key = $2 and status is null")
        .bind(caller)
        .bind(key)
        .execute(db)
        .await?;
    Ok(())
}
