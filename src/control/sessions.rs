//! What people do with the logins of their own.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::{ControlError, users};
use crate::db;
use crate::db::audit::NewAuditEntry;

/// A person ends one of the own sessions.
pub async fn end_one(
    pool: &PgPool,
    id: i64,
    session: i64,
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    let mut tx = pool.begin().await?;
    let user = users::found(&mut tx, id).await?;
    if !db::sessions::close_one(&mut tx, id, session).await? {
        return Err(ControlError::NotFound("such login any more".to_owned()));
    }
    note(&mut tx, &user.name, 1, now).await?;
    tx.commit().await?;
    Ok(())
}

/// A person ends all of the own sessions but this one. Returns how many.
pub async fn end_others(
    pool: &PgPool,
    id: i64,
    kept_session: &[u8],
    now: DateTime<Utc>,
) -> Result<u64, ControlError> {
    let mut tx = pool.begin().await?;
    let user = users::found(&mut tx, id).await?;
    let ended = db::sessions::close_all(&mut tx, id, Some(kept_session)).await?;
    note(&mut tx, &user.name, ended, now).await?;
    tx.commit().await?;
    Ok(ended)
}

async fn note(
    conn: &mut PgConnection,
    name: &str,
    ended: u64,
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    let entry = NewAuditEntry {
        by: name,
        action: "user.end_sessions",
        account: None,
        subject: name,
        detail: json!({ "sessions": ended }),
    };
    Ok(db::audit::record(conn, &entry, now).await?)
}
