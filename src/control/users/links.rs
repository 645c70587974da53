//! Links with which people choose a password or log in: made, looked at, used.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use url::Url;

use super::{entry, found, insert, name, store_password};
use crate::control::passwords::Chosen;
use crate::control::{ControlError, logins, passwords};
use crate::db;
use crate::db::users::{PasswordLink, User};
use crate::domain::access::Role;
use crate::hashing;
use crate::secret::Secret;

/// How long a link works with which somebody chooses a password; the one in the log for less.
pub(super) const LINK_FOR: TimeDelta = TimeDelta::hours(48);
const FIRST_LINK_FOR: TimeDelta = TimeDelta::hours(1);

/// A link's unguessable word, told once.
#[derive(Debug)]
pub struct Link {
    pub token: Secret,
    pub expires_at: DateTime<Utc>,
}

/// Where the link leads: a page of this service, as the outside world calls it.
pub fn address_of(public_url: &Url, link: &Link) -> anyhow::Result<Url> {
    let url = public_url.join(&format!("setup/{}", link.token.expose()));
    url.context("extending the public URL")
}

pub(super) async fn make_link(
    conn: &mut PgConnection,
    user: Option<i64>,
    lasts: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Link, ControlError> {
    let logs_in = false;
    put_link(conn, PasswordLink { user, logs_in }, lasts, now).await
}

async fn put_link(
    conn: &mut PgConnection,
    link: PasswordLink,
    lasts: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Link, ControlError> {
    let token = hashing::token();
    let expires_at = now + lasts;
    db::users::add_link(conn, &hashing::digest(&token), link, now, expires_at).await?;
    Ok(Link {
        token: Secret::new(token),
        expires_at,
    })
}

/// A link that logs a person in, whatever else works: for whoever runs the server. It asks for no password and no code.
pub async fn login_link(
    pool: &PgPool,
    id: i64,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Link, ControlError> {
    let mut tx = pool.begin().await?;
    let user = found(&mut tx, id).await?;
    let link = PasswordLink {
        user: Some(id),
        logs_in: true,
    };
    let link = put_link(&mut tx, link, FIRST_LINK_FOR, now).await?;
    let entry = entry(by, "user.login_link", &user.name, json!({}));
    db::audit::record(&mut tx, &entry, now).await?;
    tx.commit().await?;
    Ok(link)
}

/// Uses a link that logs a person in.
pub async fn log_in_by_link(
    pool: &PgPool,
    token: &str,
    now: DateTime<Utc>,
) -> Result<i64, ControlError> {
    let gone =
        || ControlError::NotFound("such link any more: it was used or has expired".to_owned());
    let mut tx = pool.begin().await?;
    db::users::lock(&mut tx).await?;
    let link = db::users::link(&mut *tx, &hashing::digest(token), now).await?;
    let user = link.filter(|link| link.logs_in).and_then(|link| link.user);
    let id = user.ok_or_else(gone)?;
    db::users::drop_links(&mut tx, id).await?;
    logins::note(&mut tx, id, "link of the command line", now).await?;
    tx.commit().await?;
    Ok(id)
}

/// A new link with which a person chooses a password. The old password works until then; older links no longer do.
pub async fn new_link(
    pool: &PgPool,
    id: i64,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Link, ControlError> {
    let mut tx = pool.begin().await?;
    db::users::lock(&mut tx).await?;
    let user = found(&mut tx, id).await?;
    db::users::drop_links(&mut tx, id).await?;
    let link = make_link(&mut tx, Some(id), LINK_FOR, now).await?;
    let entry = entry(by, "user.password_link", &user.name, json!({}));
    db::audit::record(&mut tx, &entry, now).await?;
    tx.commit().await?;
    Ok(link)
}

/// The link that makes the first administrator; `None`: there is somebody already. Without `anew` also when a link is out already.
pub async fn first_link(
    pool: &PgPool,
    anew: bool,
    now: DateTime<Utc>,
) -> Result<Option<Link>, ControlError> {
    let mut tx = pool.begin().await?;
    db::users::lock(&mut tx).await?;
    let somebody = db::users::count(&mut *tx).await? > 0;
    if somebody || (!anew && db::users::has_first_link(&mut *tx, now).await?) {
        return Ok(None);
    }
    let link = make_link(&mut tx, None, FIRST_LINK_FOR, now).await?;
    tx.commit().await?;
    Ok(Some(link))
}

/// What a link is good for.
#[derive(Clone, Debug)]
pub enum Invitation {
    /// To make the first administrator, who also chooses a name.
    First,
    /// To choose a password.
    Password { user: User },
    /// To log in as this person.
    Login { user: User },
}

pub async fn invitation(
    pool: &PgPool,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Option<Invitation>, ControlError> {
    let link = db::users::link(pool, &hashing::digest(token), now).await?;
    let Some(PasswordLink { user, logs_in }) = link else {
        return Ok(None);
    };
    match user {
        None if db::users::count(pool).await? > 0 => Ok(None),
        None => Ok(Some(Invitation::First)),
        Some(id) => {
            let user = db::users::find(pool, id).await?;
            Ok(user.map(|user| {
                if logs_in {
                    Invitation::Login { user }
                } else {
                    Invitation::Password { user }
                }
            }))
        }
    }
}

/// Uses a link: makes the first administrator or sets a password, and ends what was open under the old one. Returns who it is.
pub async fn accept(
    pool: &PgPool,
    token: &str,
    chosen_name: &str,
    password: impl Into<Chosen<'_>>,
    now: DateTime<Utc>,
) -> Result<i64, ControlError> {
    let gone =
        || ControlError::NotFound("such link any more: it was used or has expired".to_owned());
    let invitation = invitation(pool, token, now).await?.ok_or_else(gone)?;
    let own_name = match &invitation {
        Invitation::First => name(chosen_name)?,
        Invitation::Password { user } => user.name.clone(),
        Invitation::Login { .. } => return Err(gone()),
    };
    let hash = passwords::accept(password.into(), &own_name).await?;
    let mut tx = pool.begin().await?;
    db::users::lock(&mut tx).await?;
    // Two may have come with one link: the second finds it used.
    let link = db::users::link(&mut *tx, &hashing::digest(token), now).await?;
    let link = link.ok_or_else(gone)?;
    let id = match link.user {
        None if db::users::count(&mut *tx).await? > 0 => return Err(gone()),
        None => {
            let role = Role::Administrator;
            insert(&mut tx, &own_name, role, Some(&hash), "set-up link", now).await?
        }
        Some(id) => {
            store_password(&mut tx, id, &own_name, &hash, None, now).await?;
            id
        }
    };
    tx.commit().await?;
    Ok(id)
}
