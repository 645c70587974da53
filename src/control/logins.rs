//! Logging in with name and password: throttled, in the same time for names that are known and names that are not.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::{Error, passwords, users};
use crate::db;
use crate::db::audit::Entry;
use crate::db::users::User;
use crate::domain::access::Role;
use crate::hashing;
use crate::secret::Secret;

/// Tries per second, after a burst, for one name from one address, for one name, and from one address. The second is generous:
/// it must not let a stranger lock somebody out. All processes count together.
const FOR_BOTH: (f64, f64) = (1.0 / 60.0, 5.0);
const FOR_NAME: (f64, f64) = (1.0 / 20.0, 50.0);
const FOR_ADDRESS: (f64, f64) = (1.0 / 10.0, 20.0);

/// What became of a login.
#[derive(Debug)]
pub enum Login {
    In {
        user: i64,
    },
    /// Name or password is wrong; which one is not told.
    Wrong,
    /// Too many tries.
    Later(Duration),
}

pub async fn with_password(
    pool: &PgPool,
    name: &str,
    password: &Secret,
    from: IpAddr,
    now: DateTime<Utc>,
) -> Result<Login, Error> {
    let name = name.trim().to_lowercase();
    let of_both = key("both", &format!("{name} {from}"));
    let limits = [
        (&of_both, FOR_BOTH),
        (&key("address", &from.to_string()), FOR_ADDRESS),
        (&key("name", &name), FOR_NAME),
    ];
    for (key, (per_second, burst)) in limits {
        let wait = db::limits::pass(pool, key, per_second, burst).await?;
        if !wait.is_zero() {
            return Ok(Login::Later(wait));
        }
    }
    let known = db::users::password_of(pool, &name).await?;
    let (user, hash) = known.map_or((None, None), |(id, hash)| (Some(id), hash));
    if !passwords::verify(password, hash).await? {
        return Ok(Login::Wrong);
    }
    let Some(user) = user else {
        return Ok(Login::Wrong);
    };
    db::limits::forget(pool, &of_both).await?;
    let mut tx = pool.begin().await?;
    note(&mut tx, &name, "password", now).await?;
    tx.commit().await?;
    Ok(Login::In { user })
}

async fn note(
    conn: &mut PgConnection,
    name: &str,
    with: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let entry = Entry {
        by: name,
        action: "user.log_in",
        account: None,
        subject: name,
        detail: json!({ "with": with }),
    };
    Ok(db::audit::record(conn, &entry, now).await?)
}

/// Whom the single sign-on has let in.
#[derive(Clone, Debug)]
pub struct Known {
    /// Issuer and subject.
    pub subject: String,
    /// What an administrator may have added the person as.
    pub name: Option<String>,
    /// What people may do whom nobody has added; `None`: nothing.
    pub role: Option<Role>,
}

/// Finds, or as the settings say adds, a person who comes by single sign-on.
pub async fn with_sso(pool: &PgPool, known: &Known, now: DateTime<Utc>) -> Result<Login, Error> {
    let mut tx = pool.begin().await?;
    db::users::lock(&mut tx).await?;
    let user = match db::sso::user(&mut tx, &known.subject).await? {
        Some(id) => db::users::find(&mut *tx, id).await?,
        None => first_time(&mut tx, known, now).await?,
    };
    let Some(user) = user else {
        return Ok(Login::Wrong);
    };
    note(&mut tx, &user.name, "single sign-on", now).await?;
    tx.commit().await?;
    Ok(Login::In { user: user.id })
}

async fn first_time(
    conn: &mut PgConnection,
    known: &Known,
    now: DateTime<Utc>,
) -> Result<Option<User>, Error> {
    let Some(name) = known
        .name
        .as_deref()
        .and_then(|name| users::name(name).ok())
    else {
        return Ok(None);
    };
    let user = match (db::users::named(&mut *conn, &name).await?, known.role) {
        (Some(user), _) => user,
        (None, Some(role)) => {
            let id = users::insert(conn, &name, role, None, "single sign-on", now).await?;
            users::found(conn, id).await?
        }
        (None, None) => return Ok(None),
    };
    // Known there as somebody else already: a name that was given anew is not the same person.
    let linked = db::sso::link(conn, user.id, &known.subject).await?;
    Ok(linked.then_some(user))
}

/// A name that somebody has typed may be anything, also a password: it is not kept as it is.
fn key(kind: &str, what: &str) -> String {
    use std::fmt::Write as _;
    let mut key = format!("login:{kind}:");
    for byte in &hashing::digest(what)[..16] {
        let _ = write!(key, "{byte:02x}");
    }
    key
}

/// Opens a session of a person under a fresh token, and ends the one that the browser had. Returns the token.
pub async fn open_session(
    pool: &PgPool,
    user: i64,
    old: Option<&str>,
    lasts: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Secret, Error> {
    let token = hashing::token();
    let mut tx = pool.begin().await?;
    if let Some(old) = old {
        db::sessions::close(&mut *tx, &hashing::digest(old)).await?;
    }
    db::sessions::open(&mut tx, &hashing::digest(&token), user, now, now + lasts).await?;
    tx.commit().await?;
    Ok(Secret::new(token))
}
