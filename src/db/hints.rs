//! Hints that were taken lately, so that none is taken twice.

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use crate::domain::ids::AccountId;

/// Longer than a signature is good for, on both sides of its time.
pub const KEPT: TimeDelta = TimeDelta::minutes(15);

/// Notes a hint. False: it was taken before.
pub async fn first_time(
    conn: &mut PgConnection,
    account: &AccountId,
    id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "insert into hints (account, id_hash, at) values ($1, $2, $3) on conflict do nothing",
    )
    .bind(account)
    .bind(Sha256::digest(id).as_slice())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}
