//! Reading the audit trail. It is written where changes are made, and never changed.

use sqlx::PgPool;

use super::Error;
use super::accounts::Accounts;
use crate::db;
use crate::db::audit::{Wanted, Written};

/// Entries from the newest back, at most `most`.
/// Who is limited to some accounts sees what was done in these, and nothing of the installation as a whole.
pub async fn list(
    pool: &PgPool,
    accounts: &Accounts,
    wanted: &Wanted<'_>,
    most: i64,
) -> Result<Vec<Written>, Error> {
    Ok(db::audit::page(pool, accounts.limit(), wanted, most).await?)
}
