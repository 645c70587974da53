//! The accounts of the configuration and their skills. They are read only: accounts come from the settings, skills from LivePerson.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::Error;
use crate::db;
use crate::db::accounts::Skill;
use crate::domain::ids::AccountId;

/// An account, and when its skills were last read at LivePerson.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: String,
    pub skills_synced_at: Option<DateTime<Utc>>,
}

/// The accounts that this process is configured for.
pub async fn list(pool: &PgPool, configured: &[AccountId]) -> Result<Vec<Account>, Error> {
    let synced = db::accounts::synced(pool, configured).await?;
    Ok(synced
        .into_iter()
        .map(|(id, skills_synced_at)| Account {
            id,
            skills_synced_at,
        })
        .collect())
}

/// The configured account with this id.
pub fn find<'a>(configured: &'a [AccountId], id: &str) -> Result<&'a AccountId, Error> {
    configured
        .iter()
        .find(|own| own.as_str() == id)
        .ok_or_else(|| Error::NotFound(format!("account {id}")))
}

/// The skills of an account that LivePerson lists, by name.
pub async fn skills(pool: &PgPool, account: &AccountId) -> Result<Vec<Skill>, Error> {
    Ok(db::accounts::skills(pool, account).await?)
}
