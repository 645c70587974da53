//! Second factors of people, and the codes that stand in for a lost phone.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

#[derive(Clone, FromRow)]
pub struct Factor {
    /// Sealed.
    pub secret: Vec<u8>,
    pub made_at: DateTime<Utc>,
    pub confirmed_at: Option<DateTime<Utc>>,
}

pub async fn find(db: impl PgExecutor<'_>, user: i64) -> sqlx::Result<Option<Factor>> {
    sqlx::query_as("select secret, made_at, confirmed_at from second_factors where user_id = $1")
        .bind(user)
        .fetch_optional(db)
        .await
}

/// Keeps a secret that is not in use yet, in the place of one that is not either. Whether there was room for it.
pub async fn begin(
    conn: &mut PgConnection,
    user: i64,
    secret: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "insert into second_factors as f (user_id, secret, made_at) values ($1, $2, $3)
         on conflict (user_id) do update set secret = excluded.secret, made_at = excluded.made_at, last_step = 0
         where f.confirmed_at is null",
    )
    .bind(user)
    .bind(secret)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Secrets in use, and whose they are.
pub async fn in_use(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<(i64, Vec<u8>)>> {
    sqlx::query_as("select user_id, secret from second_factors where confirmed_at is not null")
        .fetch_all(db)
        .await
}

/// The same secret, sealed anew.
pub async fn reseal(
    conn: &mut PgConnection,
    user: i64,
    (old, new): (&[u8], &[u8]),
) -> sqlx::Result<()> {
    sqlx::query("update second_factors set secret = $3 where user_id = $1 and secret = $2")
        .bind(user)
        .bind(old)
        .bind(new)
        .execute(conn)
        .await
        .map(drop)
}

/// Takes the code of a step, unless it or a later one was taken already. Whether it did.
pub async fn take_step(conn: &mut PgConnection, user: i64, step: i64) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update second_factors set last_step = $2 where user_id = $1 and last_step < $2",
    )
    .bind(user)
    .bind(step)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub async fn confirm(conn: &mut PgConnection, user: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("update second_factors set confirmed_at = $2 where user_id = $1")
        .bind(user)
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
}

/// Whether there was one.
pub async fn remove(conn: &mut PgConnection, user: i64) -> sqlx::Result<bool> {
    let gone = sqlx::query(
        "with codes as (delete from recovery_codes where user_id = $1)
         delete from second_factors where user_id = $1",
    )
    .bind(user)
    .execute(conn)
    .await?;
    Ok(gone.rows_affected() > 0)
}

/// These codes in the place of all earlier ones.
pub async fn put_codes(
    conn: &mut PgConnection,
    user: i64,
    hashes: &[[u8; 32]],
) -> sqlx::Result<()> {
    sqlx::query("delete from recovery_codes where user_id = $1")
        .bind(user)
        .execute(&mut *conn)
        .await?;
    let hashes: Vec<&[u8]> = hashes.iter().map(|hash| &hash[..]).collect();
    sqlx::query("insert into recovery_codes (user_id, code_hash) select $1, unnest($2::bytea[])")
        .bind(user)
        .bind(hashes)
        .execute(conn)
        .await
        .map(drop)
}

/// Uses a code up. Whether there was such a one.
pub async fn take_code(conn: &mut PgConnection, user: i64, hash: &[u8]) -> sqlx::Result<bool> {
    let gone = sqlx::query("delete from recovery_codes where user_id = $1 and code_hash = $2")
        .bind(user)
        .bind(hash)
        .execute(conn)
        .await?;
    Ok(gone.rows_affected() > 0)
}

pub async fn codes_left(db: impl PgExecutor<'_>, user: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from recovery_codes where user_id = $1")
        .bind(user)
        .fetch_one(db)
        .await
}
