//! What the DNS said of the domains that mail is sent from, when it was last looked up.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor};

use crate::domain::contradiction::SenderFault;

/// One record of a domain, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordCheck {
    /// SPF, DKIM or DMARC.
    pub record: String,
    pub well: bool,
    pub found: String,
    pub fix: Option<String>,
}

/// Stores what was found in place of what was found before.
pub async fn store(
    db: impl PgExecutor<'_>,
    domain: &str,
    checks: &[RecordCheck],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into sender_checks (domain, record, well, found, fix, looked_at)
         select $1, record, well, found, fix, $2
         from unnest($3::text[], $4::boolean[], $5::text[], $6::text[]) as t(record, well, found, fix)
         on conflict (domain, record) do update
             set well = excluded.well, found = excluded.found, fix = excluded.fix, looked_at = excluded.looked_at",
    )
    .bind(domain)
    .bind(now)
    .bind(checks.iter().map(|c| c.record.as_str()).collect::<Vec<_>>())
    .bind(checks.iter().map(|c| c.well).collect::<Vec<_>>())
    .bind(checks.iter().map(|c| c.found.as_str()).collect::<Vec<_>>())
    .bind(checks.iter().map(|c| c.fix.as_deref()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct SenderCheckRow {
    record: String,
    found: String,
    fix: Option<String>,
    looked_at: DateTime<Utc>,
}

/// What was not right about a domain; empty also if nobody has looked.
pub async fn faults(db: impl PgExecutor<'_>, domain: &str) -> sqlx::Result<Vec<SenderFault>> {
    let rows: Vec<SenderCheckRow> = sqlx::query_as(
        "select record, found, fix, looked_at from sender_checks where domain = $1 and not well
         order by array_position(array['SPF', 'DKIM', 'DMARC'], record)",
    )
    .bind(domain)
    .fetch_all(db)
    .await?;
    let faults = rows.into_iter().map(|row| SenderFault {
        domain: domain.to_owned(),
        check: row.record,
        found: row.found,
        fix: row.fix,
        looked_at: row.looked_at,
    });
    Ok(faults.collect())
}
