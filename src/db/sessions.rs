//! Who is logged in.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::domain::access::{AccountLimit, Role};

/// A session that is good, and whose it is.
#[derive(Clone, Debug, FromRow)]
pub struct Session {
    #[sqlx(rename = "user_id")]
    pub user: i64,
    pub name: String,
    pub role: Role,
    #[sqlx(rename = "accounts")]
    pub limit: AccountLimit,
    pub seen_at: DateTime<Utc>,
    pub flash: Option<Value>,
}

/// The session with this token, if it was used after `idle_since` and has not expired.
pub async fn find(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    idle_since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Session>> {
    sqlx::query_as(
        "select s.user_id, u.name, u.role, u.accounts, s.seen_at, s.flash
         from sessions s join users u on u.id = s.user_id
         where s.token_hash = $1 and s.seen_at > $2 and s.expires_at > $3",
    )
    .bind(token_hash)
    .bind(idle_since)
    .bind(now)
    .fetch_optional(db)
    .await
}

pub async fn open(
    conn: &mut PgConnection,
    (token_hash, device): (&[u8], &str),
    user: i64,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "with seen as (update users set seen_at = $3 where id = $2)
         insert into sessions (token_hash, user_id, created_at, seen_at, expires_at, device) values ($1, $2, $3, $3, $4, $5)",
    )
    .bind(token_hash)
    .bind(user)
    .bind(now)
    .bind(expires_at)
    .bind(device)
    .execute(conn)
    .await?;
    Ok(())
}

/// A session as its owner sees it.
#[derive(Clone, Debug, FromRow)]
pub struct OwnSession {
    pub id: i64,
    pub device: String,
    pub created_at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
    /// The one that asks.
    pub this_one: bool,
}

/// A person's sessions that are good, the latest used first.
pub async fn of_user(
    db: impl PgExecutor<'_>,
    user: i64,
    asks: &[u8],
    (idle_since, now): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<Vec<OwnSession>> {
    sqlx::query_as(
        "select id, device, created_at, seen_at, token_hash = $2 as this_one from sessions
         where user_id = $1 and seen_at > $3 and expires_at > $4
         order by token_hash = $2 desc, seen_at desc, id desc limit 100",
    )
    .bind(user)
    .bind(asks)
    .bind(idle_since)
    .bind(now)
    .fetch_all(db)
    .await
}

/// Ends one session of a person. Whether there was one.
pub async fn close_one(conn: &mut PgConnection, user: i64, id: i64) -> sqlx::Result<bool> {
    let done = sqlx::query("delete from sessions where user_id = $1 and id = $2")
        .bind(user)
        .bind(id)
        .execute(conn)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Notes that the session is being used.
pub async fn seen(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "with person as (
             update users u set seen_at = $2 from sessions s where s.token_hash = $1 and u.id = s.user_id
         )
         update sessions set seen_at = $2 where token_hash = $1",
    )
    .bind(token_hash)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Leaves a word for the next page, or takes it away.
pub async fn set_flash(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    flash: Option<&Value>,
) -> sqlx::Result<()> {
    sqlx::query("update sessions set flash = $2 where token_hash = $1")
        .bind(token_hash)
        .bind(flash.map(Json))
        .execute(db)
        .await?;
    Ok(())
}

pub async fn close(db: impl PgExecutor<'_>, token_hash: &[u8]) -> sqlx::Result<()> {
    sqlx::query("delete from sessions where token_hash = $1")
        .bind(token_hash)
        .execute(db)
        .await?;
    Ok(())
}

/// Logs a person out everywhere, but for the session that is `kept`. Returns how many sessions that ended.
pub async fn close_all(
    conn: &mut PgConnection,
    user: i64,
    kept: Option<&[u8]>,
) -> sqlx::Result<u64> {
    let done =
        sqlx::query("delete from sessions where user_id = $1 and token_hash is distinct from $2")
            .bind(user)
            .bind(kept)
            .execute(conn)
            .await?;
    Ok(done.rows_affected())
}
