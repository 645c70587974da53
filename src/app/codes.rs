//! Second factors of people, and the installation's key: whose codes are good no more, or would not be without an older key.

use sqlx::PgPool;
use tracing::warn;

use super::key::{hasher, kept_key};
use crate::config::Config;
use crate::control;
use crate::control::second_factor::OtherKeys;
use crate::hashing::Hasher;

/// Secrets of second factors that are not under the present key.
pub async fn under_other_keys(config: &Config, pool: &PgPool) -> anyhow::Result<OtherKeys> {
    // Where no process has started yet there is no key, and nobody who logs in: none is made to find that out.
    if config.secret.is_none() && kept_key(pool).await?.is_none() {
        return Ok(OtherKeys::default());
    }
    let hasher = hasher(config, pool).await?;
    Ok(control::second_factor::under_other_keys(pool, &hasher).await?)
}

/// Says that codes of people are good no more: they would find out when they cannot log in.
pub(super) async fn warn_of_lost(pool: &PgPool, hasher: &Hasher) -> anyhow::Result<()> {
    let found = control::second_factor::under_other_keys(pool, hasher).await?;
    if found.lost > 0 {
        warn!("{} {LOST}. {REMEDY}", found.lost);
    }
    Ok(())
}

/// After a number.
pub const LOST: &str = "second factors were set up under a key that is not known any more: their codes are good no more, and these \
    people can log in with a recovery code only";
pub const REMEDY: &str = "Put the key of then back into UNREAD_SECRET_OLD, or reset them (`unread users reset-second-factor NAME`).";
