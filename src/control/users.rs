//! The people who log in: who they are, what they may do, how they get and change their passwords.

mod links;
mod mail;
mod view;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::passwords::Chosen;
use super::tokens::{Maker, TokensLeft};
use super::{ControlError, Fault, passwords, tokens};
use crate::db;
use crate::db::audit::NewAuditEntry;
use crate::db::users::User;
use crate::domain::access::{AccountLimit, Rights, Role};

use self::links::{LINK_FOR, make_link};

pub use links::{
    Invitation, Link, accept, address_of, first_link, invitation, log_in_by_link, login_link,
    new_link,
};
pub use mail::mail_link;
pub use view::UserView;

pub async fn list(pool: &PgPool) -> Result<Vec<UserView>, ControlError> {
    let rows = db::users::all(pool).await?;
    Ok(rows.into_iter().map(UserView::from).collect())
}

/// A login name as it is kept: lower case.
pub(super) fn name(raw: &str) -> Result<String, ControlError> {
    let name = raw.trim().to_lowercase();
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good = (1..=100).contains(&name.len())
        && name.bytes().all(|b| fits(b) || b"._@+-".contains(&b))
        && name.bytes().next().is_some_and(fits);
    if good {
        return Ok(name);
    }
    Err(ControlError::Invalid(vec![Fault {
        field: "/name".to_owned(),
        detail: "must be 1 to 100 letters, digits or . _ @ + -, and begin with a letter or digit: an e-mail address will do"
            .to_owned(),
    }]))
}

fn entry<'a>(by: &'a str, action: &'a str, subject: &'a str, detail: Value) -> NewAuditEntry<'a> {
    NewAuditEntry {
        by,
        action,
        account: None,
        subject,
        detail,
    }
}

/// Adds a person, who chooses a password with the link that is returned.
pub async fn add(
    pool: &PgPool,
    raw_name: &str,
    rights: impl Into<Rights>,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(UserView, Link), ControlError> {
    let name = name(raw_name)?;
    let mut tx = pool.begin().await?;
    db::users::lock(&mut tx).await?;
    let id = insert(&mut tx, &name, rights, None, by, now).await?;
    let link = make_link(&mut tx, Some(id), LINK_FOR, now).await?;
    let user = found(&mut tx, id).await?;
    tx.commit().await?;
    Ok((user.into(), link))
}

/// Adds a person with a password that somebody has chosen already.
pub async fn add_with_password(
    pool: &PgPool,
    raw_name: &str,
    rights: impl Into<Rights>,
    password: impl Into<Chosen<'_>>,
    by: &str,
    now: DateTime<Utc>,
) -> Result<i64, ControlError> {
    let name = name(raw_name)?;
    let hash = passwords::accept(password.into(), &name).await?;
    let mut tx = pool.begin().await?;
    db::users::lock(&mut tx).await?;
    let id = insert(&mut tx, &name, rights, Some(&hash), by, now).await?;
    tx.commit().await?;
    Ok(id)
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    name: &str,
    rights: impl Into<Rights>,
    hash: Option<&str>,
    by: &str,
    now: DateTime<Utc>,
) -> Result<i64, ControlError> {
    let rights = rights.into();
    let Some(id) = db::users::add(conn, name, rights.role(), hash, now).await? else {
        return Err(ControlError::Conflict(format!(
            "there is already a user named {name}"
        )));
    };
    db::users::set_rights(conn, id, &rights).await?;
    db::users::drop_links(conn, id).await?;
    let detail = json!({ "role": rights.role().as_str(), "accounts": rights.limit().ids() });
    let entry = entry(by, "user.add", name, detail);
    db::audit::record(conn, &entry, now).await?;
    Ok(id)
}

pub(super) async fn found(conn: &mut PgConnection, id: i64) -> Result<User, ControlError> {
    let user = db::users::find(conn, id).await?;
    user.ok_or_else(|| ControlError::NotFound(format!("person {id}")))
}

pub async fn find(pool: &PgPool, id: i64) -> Result<UserView, ControlError> {
    let user = db::users::find(pool, id).await?.map(UserView::from);
    user.ok_or_else(|| ControlError::NotFound(format!("person {id}")))
}

/// The person with this login name.
pub async fn named(pool: &PgPool, raw_name: &str) -> Result<UserView, ControlError> {
    let name = name(raw_name)?;
    let user = db::users::named(pool, &name).await?.map(UserView::from);
    user.ok_or_else(|| ControlError::NotFound(format!("person named {name}")))
}

async fn store_password(
    conn: &mut PgConnection,
    id: i64,
    name: &str,
    hash: &str,
    kept_session: Option<&[u8]>,
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    db::users::set_password(conn, id, hash).await?;
    db::users::drop_links(conn, id).await?;
    db::pending_logins::drop_all(conn, id).await?;
    db::known::remove_devices(conn, id).await?;
    db::sessions::close_all(conn, id, kept_session).await?;
    let entry = entry(name, "user.password", name, json!({}));
    db::audit::record(conn, &entry, now).await?;
    Ok(())
}

/// A person changes the own password, having shown to know the old one. Other sessions end.
pub async fn change_password(
    pool: &PgPool,
    id: i64,
    new: Chosen<'_>,
    kept_session: &[u8],
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    let user = db::users::find(pool, id).await?;
    let user = user.ok_or_else(|| ControlError::NotFound(format!("person {id}")))?;
    let hash = passwords::accept(new, &user.name).await?;
    let mut tx = pool.begin().await?;
    store_password(&mut tx, id, &user.name, &hash, Some(kept_session), now).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives a person another role, or the same in other accounts. `limit` of `None`: the accounts stay as they are.
pub async fn set_rights(
    pool: &PgPool,
    id: i64,
    (role, limit): (Role, Option<AccountLimit>),
    by: &str,
    now: DateTime<Utc>,
) -> Result<UserView, ControlError> {
    let mut tx = pool.begin().await?;
    db::users::lock(&mut tx).await?;
    let user = found(&mut tx, id).await?;
    let rights = rights(role, limit.unwrap_or_else(|| user.limit.clone()))?;
    let limit = rights.limit();
    if role != Role::Administrator {
        keep_an_administrator(&mut tx, &user).await?;
    }
    if role != user.role || *limit != user.limit {
        db::users::set_rights(&mut tx, id, &rights).await?;
        let detail = json!({
            "from": user.role.as_str(), "to": role.as_str(), "accounts_before": user.limit.ids(), "accounts": limit.ids(),
        });
        db::audit::record(&mut tx, &entry(by, "user.role", &user.name, detail), now).await?;
    }
    let user = found(&mut tx, id).await?;
    tx.commit().await?;
    Ok(user.into())
}

/// Removes a person, whose sessions and tokens end with it, but for the tokens that `heir` takes over by name.
pub async fn remove(
    pool: &PgPool,
    id: i64,
    heir: Option<(&Maker, &[String])>,
    by: &str,
    now: DateTime<Utc>,
) -> Result<TokensLeft, ControlError> {
    let mut tx = pool.begin().await?;
    db::users::lock(&mut tx).await?;
    let user = found(&mut tx, id).await?;
    keep_an_administrator(&mut tx, &user).await?;
    let estate = tokens::settle(&mut tx, &user, heir, by, now).await?;
    db::users::remove(&mut tx, id).await?;
    db::test_messages::remove_tests_of(&mut tx, &user.name).await?;
    let detail = json!({
        "role": user.role.as_str(), "tokens_removed": estate.removed, "tokens_taken_over": estate.taken_over,
    });
    db::audit::record(&mut tx, &entry(by, "user.remove", &user.name, detail), now).await?;
    tx.commit().await?;
    Ok(estate)
}

/// A role in some accounts, or in all.
pub fn rights(role: Role, limit: AccountLimit) -> Result<Rights, ControlError> {
    Rights::limited(role, limit).map_err(|wrong| {
        ControlError::Invalid(vec![Fault {
            field: "/accounts".to_owned(),
            detail: wrong.to_string(),
        }])
    })
}

async fn keep_an_administrator(conn: &mut PgConnection, user: &User) -> Result<(), ControlError> {
    if user.role == Role::Administrator && db::users::is_last_administrator(conn, user.id).await? {
        return Err(ControlError::Conflict(format!(
            "{} is the last administrator: make someone else an administrator first",
            user.name
        )));
    }
    Ok(())
}

/// Logs a person out everywhere. Returns how many sessions that ended.
pub async fn log_out_everywhere(
    pool: &PgPool,
    id: i64,
    by: &str,
    now: DateTime<Utc>,
) -> Result<u64, ControlError> {
    let mut tx = pool.begin().await?;
    let user = found(&mut tx, id).await?;
    let ended = db::sessions::close_all(&mut tx, id, None).await?;
    let entry = entry(by, "user.log_out", &user.name, json!({ "sessions": ended }));
    db::audit::record(&mut tx, &entry, now).await?;
    tx.commit().await?;
    Ok(ended)
}
