//! Logins under way at the single sign-on, and whom it names.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

/// What is remembered while a person is at the single sign-on.
#[derive(Clone, FromRow)]
pub struct Started {
    pub nonce: String,
    pub code_verifier: String,
    pub back_to: String,
    /// The set-up link with which the login was begun.
    pub link_hash: Option<Vec<u8>>,
}

pub async fn start(
    db: impl PgExecutor<'_>,
    state_hash: &[u8],
    started: &Started,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into sso_logins (state_hash, nonce, code_verifier, back_to, link_hash, expires_at) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(state_hash)
    .bind(&started.nonce)
    .bind(&started.code_verifier)
    .bind(&started.back_to)
    .bind(&started.link_hash)
    .bind(expires_at)
    .execute(db)
    .await?;
    Ok(())
}

/// Takes what was remembered: it works once.
pub async fn take(
    db: impl PgExecutor<'_>,
    state_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Started>> {
    sqlx::query_as(
        "delete from sso_logins where state_hash = $1 and expires_at > $2 returning nonce, code_verifier, back_to, link_hash",
    )
    .bind(state_hash)
    .bind(now)
    .fetch_optional(db)
    .await
}

/// The person whom the single sign-on knows by this subject.
pub async fn user(conn: &mut PgConnection, subject: &str) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("select id from users where sso_subject = $1")
        .bind(subject)
        .fetch_optional(conn)
        .await
}

/// By which subject the single sign-on knows a person.
pub async fn subject_of(conn: &mut PgConnection, user: i64) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select sso_subject from users where id = $1")
        .bind(user)
        .fetch_optional(conn)
        .await
        .map(Option::flatten)
}

/// Remembers whom the single sign-on means by this subject, if it means nobody else and the person is not known there by another.
/// Whether it did.
pub async fn bind(conn: &mut PgConnection, user: i64, subject: &str) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update users set sso_subject = $2 where id = $1 and sso_subject is null
             and not exists (select from users where sso_subject = $2)",
    )
    .bind(user)
    .bind(subject)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The single sign-on does not know this person any more.
pub async fn unbind(conn: &mut PgConnection, user: i64) -> sqlx::Result<()> {
    sqlx::query("update users set sso_subject = null where id = $1")
        .bind(user)
        .execute(conn)
        .await
        .map(drop)
}
