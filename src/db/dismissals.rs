//! What people have dismissed from their overview.

use std::collections::BTreeMap;

use sqlx::{PgExecutor, Row as _};

/// Of one person: how far each entry had come when it was dismissed.
pub async fn of(db: impl PgExecutor<'_>, user: i64) -> sqlx::Result<BTreeMap<String, i64>> {
    let rows = sqlx::query("select key, mark from dismissals where user_id = $1")
        .bind(user)
        .fetch_all(db)
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get("key")?, row.try_get("mark")?)))
        .collect()
}

pub async fn add(db: impl PgExecutor<'_>, user: i64, key: &str, mark: i64) -> sqlx::Result<()> {
    sqlx::query(
        "insert into dismissals (user_id, key, mark) values ($1, $2, $3)
         on conflict (user_id, key) do update set mark = $3",
    )
    .bind(user)
    .bind(key)
    .bind(mark)
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets entries that are over: when they happen again, they happen anew.
pub async fn remove_dismissals(
    db: impl PgExecutor<'_>,
    user: i64,
    keys: &[&str],
) -> sqlx::Result<()> {
    sqlx::query("delete from dismissals where user_id = $1 and key = any ($2)")
        .bind(user)
        .bind(keys)
        .execute(db)
        .await?;
    Ok(())
}
