//! Tokens of programs that call the config API: made, listed, removed. A token itself is told once and never kept.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::PgPool;

use super::{Error, Fault};
use crate::db;
use crate::db::audit::Entry;
use crate::db::tokens::{New, Token};
use crate::domain::access::Permission;
use crate::hashing;
use crate::secret::Secret;

/// What every token begins with, so that one that has leaked is recognised for what it is.
pub const PREFIX: &str = "unread_";

const MOST_DAYS: u32 = 3650;

/// What a new token is to be.
#[derive(Clone, Debug)]
pub struct Wish {
    pub name: String,
    pub scopes: Vec<Permission>,
    /// `None`: it does not expire.
    pub days: Option<u32>,
}

/// A token that was just made.
#[derive(Debug)]
pub struct Made {
    pub id: i64,
    pub token: Secret,
    pub expires_at: Option<DateTime<Utc>>,
}

pub async fn list(pool: &PgPool) -> Result<Vec<Token>, Error> {
    Ok(db::tokens::all(pool).await?)
}

/// Makes a token. `may` says what its maker may do: nobody hands on more.
pub async fn add(
    pool: &PgPool,
    wish: &Wish,
    may: impl Fn(Permission) -> bool,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Made, Error> {
    check(wish, may)?;
    let token = Secret::new(format!("{PREFIX}{}{}", hashing::token(), hashing::token()));
    let expires_at = wish.days.map(|days| now + TimeDelta::days(i64::from(days)));
    let token_hash = hashing::digest(token.expose());
    let new = New {
        name: &wish.name,
        token_hash: &token_hash,
        scopes: &wish.scopes,
        created_by: by,
        expires_at,
    };
    let mut tx = pool.begin().await?;
    let Some(id) = db::tokens::add(&mut tx, &new, now).await? else {
        return Err(Error::Conflict(format!(
            "there is a token named \"{}\" already; choose another name, or remove that one first",
            wish.name
        )));
    };
    let scopes: Vec<&str> = wish.scopes.iter().map(|scope| scope.as_str()).collect();
    let entry = Entry {
        by,
        action: "token.add",
        account: None,
        subject: &wish.name,
        detail: json!({ "scopes": scopes, "expires_at": expires_at }),
    };
    db::audit::record(&mut tx, &entry, now).await?;
    tx.commit().await?;
    Ok(Made {
        id,
        token,
        expires_at,
    })
}

fn check(wish: &Wish, may: impl Fn(Permission) -> bool) -> Result<(), Error> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, detail: &str| {
        faults.push(Fault {
            field: field.to_owned(),
            detail: detail.to_owned(),
        });
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || " ._@+-".contains(c);
    let name = &wish.name;
    if !(1..=100).contains(&name.len())
        || !name.chars().all(fits)
        || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        fault(
            "/name",
            "must be 1 to 100 letters, digits, spaces or . _ @ + -, and begin with a letter or digit",
        );
    }
    if wish.scopes.is_empty() {
        fault(
            "/scopes",
            "must name at least one: view, edit, operate or administer",
        );
    }
    if !wish.scopes.iter().all(|scope| may(*scope)) {
        fault("/scopes", "must not name more than you may do yourself");
    }
    if wish
        .days
        .is_some_and(|days| !(1..=MOST_DAYS).contains(&days))
    {
        fault(
            "/days",
            "must be from 1 to 3650; left out, the token does not expire",
        );
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(faults))
    }
}

pub async fn remove(pool: &PgPool, id: i64, by: &str, now: DateTime<Utc>) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    let Some(name) = db::tokens::remove(&mut tx, id).await? else {
        return Err(Error::NotFound(format!("token {id}")));
    };
    db::test_messages::forget(&mut tx, &format!("token {name}")).await?;
    let entry = Entry {
        by,
        action: "token.remove",
        account: None,
        subject: &name,
        detail: json!({}),
    };
    db::audit::record(&mut tx, &entry, now).await?;
    tx.commit().await?;
    Ok(())
}
