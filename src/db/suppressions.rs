//! Addresses that must not be written to, by keyed hash.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::domain::decide::Suppression;
use crate::domain::ids::{AccountId, Channel};

/// The keyed hash of an address (see `crate::hashing`).
pub type AddressHash = [u8; 16];

/// Which of these addresses are suppressed on their channel and account right now.
pub async fn active(
    db: impl PgExecutor<'_>,
    hashes: &[AddressHash],
    now: DateTime<Utc>,
) -> sqlx::Result<HashMap<(AddressHash, Channel, String), Suppression>> {
    let hashes: Vec<&[u8]> = hashes.iter().map(<[u8; 16]>::as_slice).collect();
    let rows: Vec<(Vec<u8>, String, String, String)> = sqlx::query_as(
        "select address_hash, channel, account, reason from suppressions
         where address_hash = any ($1) and (expires_at is null or expires_at > $2)",
    )
    .bind(hashes)
    .bind(now)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(hash, channel, account, reason)| {
            let key = (hash.try_into().ok()?, channel.parse().ok()?, account);
            Some((key, Suppression::parse(&reason)?))
        })
        .collect())
}

/// Suppresses an address. A person's wish (`opted_out`, `complaint`, `blocked`) is never weakened to a technical reason, nor its
/// duration shortened.
pub async fn add(
    conn: &mut PgConnection,
    account: &AccountId,
    channel: Channel,
    hash: &AddressHash,
    why: (Suppression, &str),
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let (reason, source) = why;
    sqlx::query(
        "insert into suppressions as s (account, channel, address_hash, reason, source, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (address_hash, channel, account) do update
             set reason = excluded.reason, source = excluded.source, created_at = excluded.created_at,
                 expires_at = excluded.expires_at
             where s.reason = 'bad_address' or s.expires_at <= $6 or excluded.reason <> 'bad_address'",
    )
    .bind(account.as_str())
    .bind(channel.as_str())
    .bind(hash.as_slice())
    .bind(reason.as_str())
    .bind(source)
    .bind(now)
    .bind(expires_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Lifts an opt-out (START, or an operator). Technical reasons and blocks stay.
pub async fn lift(
    conn: &mut PgConnection,
    account: &AccountId,
    channel: Channel,
    hash: &AddressHash,
) -> sqlx::Result<bool> {
    sqlx::query(
        "delete from suppressions
         where account = $1 and channel = $2 and address_hash = $3 and reason = 'opted_out'",
    )
    .bind(account.as_str())
    .bind(channel.as_str())
    .bind(hash.as_slice())
    .execute(conn)
    .await
    .map(|done| done.rows_affected() > 0)
}
