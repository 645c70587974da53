//! Addresses that must not be written to: list, add, lift, and as CSV in and out.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgPool;

use super::{Error, Fault};
use crate::clock::Clock;
use crate::db;
use crate::db::audit;
use crate::db::suppressions::{AddressHash, Filter, Place, Row, Source};
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel};
use crate::hashing::Hasher;
use crate::suppressions_file::{self, Defaults};

/// Rows per statement of an import or an export.
const CHUNK: usize = 5_000;

/// Those that fit, newest first.
pub async fn list(
    pool: &PgPool,
    filter: &Filter,
    after: Option<Place>,
    most: i64,
) -> Result<Vec<Row>, Error> {
    Ok(db::suppressions::list(pool, filter, after, most).await?)
}

/// What forbids to write to an address: those in force, and those that are over and not yet deleted.
pub async fn of(pool: &PgPool, account: &AccountId, hash: &AddressHash) -> Result<Vec<Row>, Error> {
    Ok(db::suppressions::of(pool, account, std::slice::from_ref(hash)).await?)
}

/// Suppresses an address. A person's wish is never weakened; that it was there already is no error.
pub async fn add(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    (account, channel, hash): (&AccountId, Channel, &AddressHash),
    reason: Suppression,
) -> Result<(), Error> {
    let now = clock.now();
    let mut tx = pool.begin().await?;
    let own = std::slice::from_ref(account);
    db::suppressions::add(&mut tx, own, channel, hash, (reason, Source::Operator), now).await?;
    let detail = json!({ "reason": reason.as_str() });
    note(
        &mut tx,
        by,
        "suppression.add",
        (Some(account), channel.as_str()),
        detail,
        now,
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Lifts a suppression whatever its reason.
pub async fn remove(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    (account, channel, hash): (&AccountId, Channel, &AddressHash),
) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    if !db::suppressions::remove(&mut tx, account, channel, hash).await? {
        return Err(Error::NotFound("suppression of this address".to_owned()));
    }
    let subject = (Some(account), channel.as_str());
    note(
        &mut tx,
        by,
        "suppression.remove",
        subject,
        json!({}),
        clock.now(),
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// How an import went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    pub lines: usize,
    /// New or changed.
    pub changed: u64,
}

/// Stores the suppressions of a CSV file, all or none.
pub async fn import(
    pool: &PgPool,
    hasher: &Hasher,
    by: &str,
    text: &str,
    defaults: &Defaults<'_>,
    accounts: &[AccountId],
) -> Result<Imported, Error> {
    let rows = suppressions_file::parse(text, hasher, defaults)
        .map_err(|unreadable| Error::Invalid(unreadable.0.into_iter().map(in_file).collect()))?;
    if let Some(row) = rows.iter().find(|row| !accounts.contains(&row.account)) {
        let what = format!("account {} is not configured", row.account);
        return Err(Error::Invalid(vec![in_file(what)]));
    }
    let mut tx = pool.begin().await?;
    let mut changed = 0;
    for chunk in rows.chunks(CHUNK) {
        changed += db::suppressions::store(&mut tx, chunk, defaults.now).await?;
    }
    let detail = json!({ "lines": rows.len(), "changed": changed });
    note(
        &mut tx,
        by,
        "suppression.import",
        (None, "file"),
        detail,
        defaults.now,
    )
    .await?;
    tx.commit().await?;
    Ok(Imported {
        lines: rows.len(),
        changed,
    })
}

fn in_file(detail: String) -> Fault {
    Fault {
        field: "/file".to_owned(),
        detail,
    }
}

/// The lines of the export after a row, with the last row told of; `None` when there is no more. The first line is
/// [`suppressions_file::HEADER`].
pub async fn export(pool: &PgPool, after: Option<&Row>) -> Result<Option<(String, Row)>, Error> {
    let most = i64::try_from(CHUNK).unwrap_or(i64::MAX);
    let mut rows = db::suppressions::page(pool, after, most).await?;
    let lines: String = rows.iter().map(suppressions_file::print).collect();
    Ok(rows.pop().map(|last| (lines, last)))
}

async fn note(
    conn: &mut sqlx::PgConnection,
    by: &str,
    action: &str,
    (account, subject): (Option<&AccountId>, &str),
    detail: serde_json::Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let entry = audit::Entry {
        by,
        action,
        account: account.map(AccountId::as_str),
        subject,
        detail,
    };
    audit::record(conn, &entry, now).await
}
