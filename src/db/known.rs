//! Devices and networks from which people have logged in.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

/// Whether the person of this name has logged in with the device of this token.
pub async fn device(
    db: impl PgExecutor<'_>,
    name: &str,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from known_devices d join users u on u.id = d.user_id
             where d.token_hash = $2 and d.expires_at > $3 and u.name = $1)",
    )
    .bind(name)
    .bind(token_hash)
    .bind(now)
    .fetch_one(db)
    .await
}

/// Whether the person of this name has logged in from this network after `since`.
pub async fn network(
    db: impl PgExecutor<'_>,
    name: &str,
    network_hash: &[u8],
    since: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from known_networks n join users u on u.id = n.user_id
             where u.name = $1 and n.network_hash = $2 and n.seen_at > $3)",
    )
    .bind(name)
    .bind(network_hash)
    .bind(since)
    .fetch_one(db)
    .await
}

/// A device's token is another one from now on; of many devices the latest `most` stay.
pub async fn put_device(
    conn: &mut PgConnection,
    user: i64,
    (old, fresh): (Option<&[u8]>, &[u8]),
    expires_at: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "delete from known_devices where user_id = $1 and (token_hash = $2 or token_hash in (
             select token_hash from known_devices where user_id = $1 order by expires_at desc offset $3))",
    )
    .bind(user)
    .bind(old)
    .bind(most - 1)
    .execute(&mut *conn)
    .await?;
    sqlx::query("insert into known_devices (token_hash, user_id, expires_at) values ($1, $2, $3)")
        .bind(fresh)
        .bind(user)
        .bind(expires_at)
        .execute(conn)
        .await
        .map(drop)
}

pub async fn put_network(
    conn: &mut PgConnection,
    user: i64,
    network_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into known_networks (user_id, network_hash, seen_at) values ($1, $2, $3)
         on conflict (user_id, network_hash) do update set seen_at = excluded.seen_at",
    )
    .bind(user)
    .bind(network_hash)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// The person is known from nowhere any more.
pub async fn remove_devices(conn: &mut PgConnection, user: i64) -> sqlx::Result<()> {
    sqlx::query(
        "with devices as (delete from known_devices where user_id = $1) delete from known_networks where user_id = $1",
    )
    .bind(user)
    .execute(conn)
    .await
    .map(drop)
}
