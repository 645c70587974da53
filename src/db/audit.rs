//! The audit trail: who changed what, when.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};

use super::columns::readable;
use crate::domain::ids::AccountId;

/// One change, as the audit trail keeps it. Never holds an address, a message or a secret.
#[derive(Clone, Debug)]
pub struct NewAuditEntry<'a> {
    /// A person's login name, an API token's name, or the command that was run.
    pub by: &'a str,
    /// A dotted verb: `rule.publish`, `reminder.cancel`.
    pub action: &'a str,
    pub account: Option<&'a AccountId>,
    /// What was changed: a rule's key, a reminder's id.
    pub subject: &'a str,
    /// What a reader needs beside it: old and new values, counts.
    pub detail: Value,
}

/// Writes an entry. Called in the transaction that makes the change, so that neither is there without the other.
pub async fn record(
    conn: &mut PgConnection,
    entry: &NewAuditEntry<'_>,
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

/// An entry as it was written.
#[derive(Clone, Debug, FromRow)]
pub struct AuditEntry {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub by: String,
    pub action: String,
    pub account: Option<AccountId>,
    pub subject: String,
    pub detail: Json<Value>,
}

/// Which entries are wanted; left out: all.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter<'a> {
    pub by: Option<&'a str>,
    /// A verb, `rule.publish`, or what stands before its dot: `rule`.
    pub action: Option<&'a str>,
    /// Entries older than this one.
    pub before: Option<i64>,
}

/// The newest entries first, about these accounts; `None`: all.
pub async fn page(
    db: impl PgExecutor<'_>,
    accounts: Option<&[AccountId]>,
    wanted: &AuditFilter<'_>,
    most: i64,
) -> sqlx::Result<Vec<AuditEntry>> {
    // Only what is wanted is said, so that each list has its index.
    let mut query = QueryBuilder::new(
        "select id, at, by, action, account, subject, detail from audit where true",
    );
    if let Some(before) = wanted.before {
        query.push(" and id < ").push_bind(before);
    }
    if let Some(accounts) = accounts {
        query.push(" and account = any (").push_bind(accounts);
        query.push(")");
    }
    if let Some(by) = wanted.by {
        query.push(" and by = ").push_bind(by);
    }
    match wanted.action {
        Some(action) if action.contains('.') => {
            query.push(" and action = ").push_bind(action);
        }
        Some(kind) => {
            query
                .push(" and split_part(action, '.', 1) = ")
                .push_bind(kind);
        }
        None => {}
    }
    query.push(" order by id desc limit ").push_bind(most);
    readable(&query.build().fetch_all(db).await?)
}
