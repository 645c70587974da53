//! Logins under way here: the first step is done, and something else is asked for.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

/// A login of which more is asked.
#[derive(Clone, FromRow)]
pub struct Pending {
    pub user_id: i64,
    /// What is asked for: `password` or `code`.
    pub needs: String,
    /// Issuer and subject that are tied to the person once it is done.
    pub sso_subject: Option<String>,
    pub back_to: String,
}

pub async fn add(
    conn: &mut PgConnection,
    token_hash: &[u8],
    pending: &Pending,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into pending_logins (token_hash, user_id, needs, sso_subject, back_to, expires_at) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(token_hash)
    .bind(pending.user_id)
    .bind(&pending.needs)
    .bind(&pending.sso_subject)
    .bind(&pending.back_to)
    .bind(expires_at)
    .execute(conn)
    .await
    .map(drop)
}

pub async fn find(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Pending>> {
    sqlx::query_as(
        "select user_id, needs, sso_subject, back_to from pending_logins where token_hash = $1 and expires_at > $2",
    )
    .bind(token_hash)
    .bind(now)
    .fetch_optional(db)
    .await
}

/// Takes a login that is under way: it works once.
pub async fn take(
    conn: &mut PgConnection,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Pending>> {
    sqlx::query_as(
        "delete from pending_logins where token_hash = $1 and expires_at > $2 returning user_id, needs, sso_subject, back_to",
    )
    .bind(token_hash)
    .bind(now)
    .fetch_optional(conn)
    .await
}

/// Whatever a person has under way ends.
pub async fn drop_all(conn: &mut PgConnection, user: i64) -> sqlx::Result<()> {
    sqlx::query("delete from pending_logins where user_id = $1")
        .bind(user)
        .execute(conn)
        .await
        .map(drop)
}
