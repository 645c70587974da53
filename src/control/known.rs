//! Where people have logged in: who comes from there is not held up by what strangers try.
//!
//! Neither lets anybody in, nor spares anybody the password: only the limit of a name is passed, under a limit of its own.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::{ControlError, users};
use crate::db;
use crate::hashing::{self, Hasher};
use crate::secret::Secret;

/// How long a device is known after a login.
pub const DEVICE_FOR: TimeDelta = TimeDelta::days(90);

/// How long a network is known after a login from it.
pub const NETWORK_FOR: TimeDelta = db::upkeep::NETWORK_KNOWN;

/// Devices of one person.
const MOST: i64 = 10;

/// Remembers where a person has logged in. Returns the token by which the device is known from now on; the one that it had is good no more.
pub async fn remember(
    pool: &PgPool,
    hasher: &Hasher,
    id: i64,
    (from, old): (IpAddr, Option<&[u8]>),
    now: DateTime<Utc>,
) -> Result<Secret, ControlError> {
    let token = hashing::token();
    let mut tx = pool.begin().await?;
    let user = users::found(&mut tx, id).await?;
    let fresh = hashing::digest(&token);
    db::known::put_device(&mut tx, id, (old, &fresh), now + DEVICE_FOR, MOST).await?;
    let network = hasher.login_network(&user.name, from);
    db::known::put_network(&mut tx, id, &network, now).await?;
    tx.commit().await?;
    Ok(Secret::new(token))
}
