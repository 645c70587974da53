//! Logging in with name and password: throttled, in the same time for names that are known and names that are not.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::PgPool;
use std::net::IpAddr;
use std::time::Duration;

use super::{Error, passwords};
use crate::db;
use crate::db::audit::Entry;
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
    let entry = Entry {
        by: &name,
        action: "user.log_in",
        account: None,
        subject: &name,
        detail: json!({ "with": "password" }),
    };
    db::audit::record(&mut tx, &entry, now).await?;
    tx.commit().await?;
    Ok(Login::In { user })
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
