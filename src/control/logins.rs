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
/// it must not let a stranger lock somebody out.
///
/// Each process counts all three in memory first, for names that exist and names that do not alike. Of addresses, and of names that
/// exist, all processes count together as well: a name that somebody made up costs no row of its own, and is told from a real one by nothing.
pub const FOR_BOTH: (f64, f64) = (1.0 / 60.0, 5.0);
pub const FOR_NAME: (f64, f64) = (1.0 / 20.0, 50.0);
pub const FOR_ADDRESS: (f64, f64) = (1.0 / 10.0, 20.0);

/// Names that nobody has share one row, which refuses nobody: it is there so that they take as long as others.
const FOR_NOBODY: (f64, f64) = (1_000.0, 1_000_000.0);

/// What became of a login.
#[derive(Debug)]
pub enum Login {
    In {
        user: i64,
    },
    /// Name or password is wrong; which one is not told. The name, if somebody is called so.
    Wrong {
        name: Option<String>,
    },
    /// Too many tries.
    Later(Throttled),
}

/// What too many tries were made of, and how long to stay away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttled {
    Address(Duration),
    /// Of a name, from this address or from all.
    Name(Duration),
}

impl Throttled {
    pub fn wait(self) -> Duration {
        match self {
            Self::Address(wait) | Self::Name(wait) => wait,
        }
    }
}

/// A name as people are stored by.
pub fn name(given: &str) -> String {
    given.trim().to_lowercase()
}

/// Logs a person in who gives this [`name`] and password.
pub async fn with_password(
    pool: &PgPool,
    name: &str,
    password: &Secret,
    from: IpAddr,
    now: DateTime<Utc>,
) -> Result<Login, Error> {
    let of_address = key("address", &from.to_string());
    let wait = db::limits::pass(pool, &of_address, FOR_ADDRESS.0, FOR_ADDRESS.1).await?;
    if !wait.is_zero() {
        return Ok(Login::Later(Throttled::Address(wait)));
    }
    let known = db::users::password_of(pool, name).await?;
    let (row, (per_second, burst)) = match known {
        Some(_) => (key("name", name), FOR_NAME),
        None => (key("nobody", ""), FOR_NOBODY),
    };
    let wait = db::limits::pass(pool, &row, per_second, burst).await?;
    if !wait.is_zero() {
        return Ok(Login::Later(Throttled::Name(wait)));
    }
    let (user, hash) = known.map_or((None, None), |(id, hash)| (Some(id), hash));
    let good = passwords::verify(password, hash).await?;
    let Some(user) = user else {
        return Ok(Login::Wrong { name: None });
    };
    if !good {
        let name = Some(name.to_owned());
        return Ok(Login::Wrong { name });
    }
    let mut tx = pool.begin().await?;
    note(&mut tx, name, "password", now).await?;
    tx.commit().await?;
    Ok(Login::In { user })
}

/// Puts it on record that tries under a name are not looked at for a while. Returns the name if somebody is called so; of others
/// nothing is kept.
pub async fn locked_out(
    pool: &PgPool,
    name: &str,
    held: Throttled,
    now: DateTime<Utc>,
) -> Result<Option<String>, Error> {
    if db::users::password_of(pool, name).await?.is_none() {
        return Ok(None);
    }
    let entry = Entry {
        by: "the login",
        action: "user.locked_out",
        account: None,
        subject: name,
        detail: json!({ "seconds": held.wait().as_secs().saturating_add(1) }),
    };
    let mut conn = pool.acquire().await?;
    db::audit::record(&mut conn, &entry, now).await?;
    Ok(Some(name.to_owned()))
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
        return Ok(Login::Wrong { name: None });
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
