//! Tokens of programs that call the config API: made, listed, removed. A token itself is told once and never kept.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;

use super::accounts::Accounts;
use super::{ControlError, Fault, accounts};
use crate::db;
use crate::db::audit::NewAuditEntry;
use crate::db::tokens::{ApiToken, TokenInsert};
use crate::db::users::User;
use crate::domain::access::{AccountLimit, Permission, Role};
use crate::domain::ids::AccountId;
use crate::hashing;
use crate::secret::Secret;

/// What every token begins with, so that one that has leaked is recognised for what it is.
pub const PREFIX: &str = "unread_";

/// How long a token works at most, and if nothing else is wished. Every token ends: one that was forgotten is nobody's for ever.
const MOST_DAYS: u32 = 365;
const USUAL_DAYS: u32 = 90;

/// The person who makes a token, or takes one over. Never a program: a token that makes tokens outlives its own end.
#[derive(Clone, Debug)]
pub struct Maker {
    pub id: i64,
    pub name: String,
    pub role: Role,
}

/// What a new token is to be.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    pub name: String,
    pub scopes: Vec<Permission>,
    /// The accounts that it is for; `None`: all that its maker may see.
    pub accounts: Option<Vec<String>>,
    /// Days until it expires; `None`: the usual number.
    pub days: Option<u32>,
}

/// A token, without itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub struct TokenView {
    pub id: i64,
    pub name: String,
    /// Those it was made with.
    pub scopes: Vec<Permission>,
    /// What it may do now: of its scopes, those that its owner's role still allows.
    pub effective_scopes: Vec<Permission>,
    /// The accounts that it was made for. Null: all that its owner may see.
    #[schema(value_type = Option<Vec<AccountId>>)]
    pub accounts: AccountLimit,
    /// The accounts that it sees now: of these, those that its owner may still see. Null: all.
    #[schema(value_type = Option<Vec<AccountId>>)]
    pub effective_accounts: AccountLimit,
    pub created_by: String,
    /// Whose it is: it goes when this person goes. Null: it was made before tokens belonged to people, and its maker is gone.
    pub owner: Option<String>,
    pub created_at: DateTime<Utc>,
    /// Null: it was made before every token had to end, and does not.
    pub expires_at: Option<DateTime<Utc>>,
    /// To the minute. Null: never.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl From<ApiToken> for TokenView {
    fn from(row: ApiToken) -> Self {
        Self {
            effective_scopes: row.permissions(),
            effective_accounts: row.limit(),
            id: row.id,
            name: row.name,
            scopes: row.scopes,
            accounts: row.accounts,
            created_by: row.created_by,
            owner: row.owner.map(|owner| owner.name),
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        }
    }
}

/// A token that was just made.
#[derive(Debug)]
pub struct CreatedToken {
    pub id: i64,
    pub token: Secret,
    pub expires_at: DateTime<Utc>,
}

pub async fn list(pool: &PgPool) -> Result<Vec<TokenView>, ControlError> {
    let rows = db::tokens::all(pool).await?;
    Ok(rows.into_iter().map(TokenView::from).collect())
}

/// The tokens of a person, by name.
pub async fn of(pool: &PgPool, owner: i64) -> Result<Vec<TokenView>, ControlError> {
    let rows = db::tokens::of(pool, owner).await?;
    Ok(rows.into_iter().map(TokenView::from).collect())
}

/// Makes a token, which is its maker's: nobody hands on more than they may do.
pub async fn add(
    pool: &PgPool,
    accounts: &Accounts,
    wish: &TokenRequest,
    maker: &Maker,
    now: DateTime<Utc>,
) -> Result<CreatedToken, ControlError> {
    let limit = check(accounts, wish, maker.role)?;
    let token = Secret::new(format!("{PREFIX}{}{}", hashing::token(), hashing::token()));
    let days = wish.days.unwrap_or(USUAL_DAYS);
    let expires_at = now + TimeDelta::days(i64::from(days));
    let token_hash = hashing::digest(token.expose());
    let new = TokenInsert {
        name: &wish.name,
        token_hash: &token_hash,
        scopes: &wish.scopes,
        accounts: &limit,
        created_by: &maker.name,
        owner: Some(maker.id),
        expires_at: Some(expires_at),
    };
    let mut tx = pool.begin().await?;
    let Some(id) = db::tokens::add(&mut tx, &new, now).await? else {
        return Err(ControlError::Conflict(format!(
            "there is already a token named \"{}\"; choose another name, or remove that one first",
            wish.name
        )));
    };
    let detail = json!({
        "scopes": words(&wish.scopes), "accounts": limit.ids(), "expires_at": expires_at,
    });
    record(&mut tx, &maker.name, "token.add", &wish.name, detail, now).await?;
    tx.commit().await?;
    Ok(CreatedToken {
        id,
        token,
        expires_at,
    })
}

fn check(
    accounts: &Accounts,
    wish: &TokenRequest,
    role: Role,
) -> Result<AccountLimit, ControlError> {
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
            "must list at least one: view, edit, operate or administer",
        );
    }
    if !wish.scopes.iter().all(|scope| role.may(*scope)) {
        fault("/scopes", "must not include more than you may do yourself");
    }
    if wish
        .days
        .is_some_and(|days| !(1..=MOST_DAYS).contains(&days))
    {
        fault(
            "/days",
            "must be from 1 to 365; left out, the token lasts 90 days",
        );
    }
    if wish.accounts.is_some() && wish.scopes.contains(&Permission::Administer) {
        fault(
            "/accounts",
            "must be left out with the scope administer, which always covers the whole installation",
        );
    }
    match accounts::limit(accounts, wish.accounts.as_deref()) {
        Ok(limit) if faults.is_empty() => Ok(limit),
        Ok(_) => Err(ControlError::Invalid(faults)),
        Err(wrong) => {
            faults.extend(wrong);
            Err(ControlError::Invalid(faults))
        }
    }
}

pub async fn remove(
    pool: &PgPool,
    id: i64,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    let mut tx = pool.begin().await?;
    let Some(name) = db::tokens::remove(&mut tx, id).await? else {
        return Err(ControlError::NotFound(format!("token {id}")));
    };
    gone(&mut tx, &name, json!({}), by, now).await?;
    tx.commit().await?;
    Ok(())
}

/// What becomes of the tokens of a person who is removed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokensLeft {
    pub taken_over: Vec<String>,
    pub removed: Vec<String>,
}

/// Settles the tokens of a person who is about to be removed: `heir` takes over those named, the others go. What is taken over may
/// do what it may do at this moment, and nothing that its owner's role had taken from it.
pub(super) async fn settle(
    conn: &mut PgConnection,
    person: &User,
    heir: Option<(&Maker, &[String])>,
    by: &str,
    now: DateTime<Utc>,
) -> Result<TokensLeft, ControlError> {
    let theirs = db::tokens::of(&mut *conn, person.id).await?;
    let (maker, names) = heir.map_or((None, &[][..]), |(maker, names)| (Some(maker), names));
    check_heir(person, &theirs, maker, names)?;
    let mut estate = TokensLeft::default();
    for token in theirs {
        if let Some(maker) = maker.filter(|_| names.contains(&token.name)) {
            let (scopes, limit) = (token.permissions(), token.limit());
            db::tokens::give(conn, token.id, maker.id, (&scopes, &limit)).await?;
            let detail = json!({
                "from": person.name, "scopes": words(&scopes), "accounts": limit.ids(), "expires_at": token.expires_at,
            });
            record(conn, by, "token.take_over", &token.name, detail, now).await?;
            estate.taken_over.push(token.name);
        } else {
            db::tokens::remove(conn, token.id).await?;
            gone(conn, &token.name, json!({ "owner": person.name }), by, now).await?;
            estate.removed.push(token.name);
        }
    }
    Ok(estate)
}

fn check_heir(
    person: &User,
    theirs: &[ApiToken],
    maker: Option<&Maker>,
    names: &[String],
) -> Result<(), ControlError> {
    let fault = |detail: String| Fault {
        field: "take_over".to_owned(),
        detail,
    };
    let mut faults = Vec::new();
    if !names.is_empty() && maker.is_some_and(|maker| maker.id == person.id) {
        faults.push(fault(
            "must be empty: you cannot keep tokens of your own while you remove yourself"
                .to_owned(),
        ));
    }
    for name in names {
        match theirs.iter().find(|token| token.name == *name) {
            None => faults.push(fault(format!("{} has no token \"{name}\"", person.name))),
            Some(token) if token.permissions().is_empty() || token.limit().is_nothing() => faults.push(fault(format!(
                "the token \"{name}\" has no permissions left, since {} is {}: create a new one instead",
                person.name, person.role
            ))),
            Some(_) => {}
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(ControlError::Invalid(faults))
    }
}

/// A token is gone: so is what was kept for it.
async fn gone(
    conn: &mut PgConnection,
    name: &str,
    detail: Value,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    db::test_messages::remove_tests_of(conn, &format!("token {name}")).await?;
    record(conn, by, "token.remove", name, detail, now).await
}

async fn record(
    conn: &mut PgConnection,
    by: &str,
    action: &str,
    name: &str,
    detail: Value,
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    let entry = NewAuditEntry {
        by,
        action,
        account: None,
        subject: name,
        detail,
    };
    db::audit::record(conn, &entry, now).await?;
    Ok(())
}

fn words(scopes: &[Permission]) -> Vec<&'static str> {
    scopes.iter().map(|scope| scope.as_str()).collect()
}
