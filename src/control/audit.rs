//! Reading the audit trail. It is written where changes are made, and never changed.

use sqlx::PgPool;

use super::Error;
use crate::db;
use crate::db::audit::{Wanted, Written};

/// Entries from the newest back, at most `most`.
pub async fn list(pool: &PgPool, wanted: &Wanted<'_>, most: i64) -> Result<Vec<Written>, Error> {
    Ok(db::audit::page(pool, wanted, most).await?)
}
