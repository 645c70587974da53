//! Facts about this installation that are made once.

use sqlx::PgPool;

/// The value under `key`, if there is one.
pub async fn find(pool: &PgPool, key: &str) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select value from instance where key = $1")
        .bind(key)
        .fetch_optional(pool)
        .await
}

/// The value under `key`; the first caller's `fresh` value is kept for ever.
pub async fn once(pool: &PgPool, key: &str, fresh: &str) -> sqlx::Result<String> {
    sqlx::query("insert into instance (key, value) values ($1, $2) on conflict (key) do nothing")
        .bind(key)
        .bind(fresh)
        .execute(pool)
        .await?;
    sqlx::query_scalar("select value from instance where key = $1")
        .bind(key)
        .fetch_one(pool)
        .await
}
