//! Conversations that were erased in a time that the database has lost.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::domain::ids::AccountId;

/// Notes conversations that were erased in a lost time: nothing of them is stored any more.
pub async fn remember_erased(
    conn: &mut PgConnection,
    account: &AccountId,
    hashes: &[[u8; 16]],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into erased_conversations (account, hash, at) select $1, h, $3 from unnest($2::bytea[]) as h
         on conflict do nothing",
    )
    .bind(account)
    .bind(hashes)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Those of an account that were erased in a lost time: few, and mostly none.
pub async fn erased_in_lost_time(
    db: impl PgExecutor<'_>,
    account: &AccountId,
) -> sqlx::Result<Vec<[u8; 16]>> {
    let rows: Vec<Vec<u8>> =
        sqlx::query_scalar("select hash from erased_conversations where account = $1")
            .bind(account)
            .fetch_all(db)
            .await?;
    Ok(rows
        .into_iter()
        .filter_map(|hash| hash.try_into().ok())
        .collect())
}
