//! Reading the audit trail. It is written where changes are made, and never changed.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::ControlError;
use super::accounts::Accounts;
use crate::db;
use crate::db::audit::{AuditEntry, AuditFilter};
use crate::domain::ids::AccountId;

/// One change.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Entry)]
pub struct EntryView {
    pub id: i64,
    pub at: DateTime<Utc>,
    /// A person's name, `token …`, or the command that was run.
    pub by: String,
    /// A dotted verb.
    #[schema(example = "rule.publish")]
    pub action: String,
    pub account: Option<AccountId>,
    /// What was changed.
    pub subject: String,
    /// What belongs to it: old and new values, counts.
    #[schema(value_type = Object)]
    pub detail: Value,
}

impl From<AuditEntry> for EntryView {
    fn from(row: AuditEntry) -> Self {
        Self {
            id: row.id,
            at: row.at,
            by: row.by,
            action: row.action,
            account: row.account,
            subject: row.subject,
            detail: row.detail.0,
        }
    }
}

/// Entries from the newest back, at most `most`.
/// Who is limited to some accounts sees what was done in these, and nothing of the installation as a whole.
pub async fn list(
    pool: &PgPool,
    accounts: &Accounts,
    wanted: &AuditFilter<'_>,
    most: i64,
) -> Result<Vec<EntryView>, ControlError> {
    let rows = db::audit::page(pool, accounts.limit(), wanted, most).await?;
    Ok(rows.into_iter().map(EntryView::from).collect())
}
