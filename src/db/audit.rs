//! The audit trail: who changed what, when.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;

/// One change, as the audit trail keeps it. Never holds an address, a message or a secret.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// A person's login name, an API token's name, or the command that was run.
    pub by: &'a str,
    /// A dotted verb: `rule.publish`, `reminder.cancel`.
    pub action: &'a str,
    pub account: Option<&'a str>,
    /// What was changed: a rule's key, a reminder's id.
    pub subject: &'a str,
    /// What a reader needs beside it: old and new values, counts.
    pub detail: Value,
}

/// Writes an entry. Called in the transaction that makes the change, so that neither is there without the other.
pub async fn record(
    conn: &mut PgConnection,
    entry: &Entry<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into audit (at, by, action, account, subject, detail) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(now)
    .bind(entry.by)
    .bind(entry.action)
    .bind(entry.account)
    .bind(entry.subject)
    .bind(Json(&entry.detail))
    .execute(conn)
    .await?;
    Ok(())
}
