//! The key of the address hashes, and where it is kept.

use anyhow::Context as _;
use sqlx::PgPool;

use crate::config::Config;
use crate::db;
use crate::hashing::Hasher;
use crate::secret::Secret;

/// Where the database keeps a key of address hashes of its own.
const KEPT_KEY: &str = "address_hash_key";

/// The key of address hashes: configured, or made once and kept in the database. Older ones are still recognised: those of the
/// settings, and the database's, if there was none in the settings before.
pub async fn hasher(config: &Config, pool: &PgPool) -> anyhow::Result<Hasher> {
    let mut older: Vec<Secret> = config.older_secrets.clone();
    let key = if let Some(secret) = &config.secret {
        older.extend(kept_key(pool).await?.map(Secret::new));
        secret.clone()
    } else {
        let fresh = crate::hashing::token() + &crate::hashing::token();
        let kept = db::instance::once(pool, KEPT_KEY, &fresh).await;
        Secret::new(kept.context(READING_KEY)?)
    };
    let older: Vec<&[u8]> = older.iter().map(|old| old.expose().as_bytes()).collect();
    Ok(Hasher::with_older(key.expose().as_bytes(), &older))
}

/// The key that the database keeps, if one was ever made.
pub(super) async fn kept_key(pool: &PgPool) -> anyhow::Result<Option<String>> {
    let kept = db::instance::find(pool, KEPT_KEY).await;
    kept.context(READING_KEY)
}

const READING_KEY: &str = "reading the installation's key";

/// The name of the configured key; that of the database has none.
pub fn key_id(config: &Config) -> Option<String> {
    let secret = config.secret.as_ref()?;
    Some(Hasher::new(secret.expose().as_bytes()).key_id())
}

/// Without `UNREAD_SECRET`.
pub const KEY_BESIDE_HASHES: &str = "the key of the address hashes is in the database beside them: anyone who gets a copy of it, or of a \
                                     backup, can find out by guessing which addresses and numbers are in it";
pub const SET_A_KEY: &str = "Set UNREAD_SECRET (`openssl rand -hex 32`) and keep it elsewhere. What was hashed with the database's key is \
    still recognised.";
