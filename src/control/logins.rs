//! Logging in with name and password: throttled, in the same time for names that are known and names that are not.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::second_factor::{self, FactorProof};
use super::{ControlError, known, passwords, users};
use crate::db;
use crate::db::audit::NewAuditEntry;
use crate::hashing::{self, Hasher};
use crate::secret::Secret;

/// Tries per second, after a burst, for one name from one address, for one name, and from one address. The second is generous:
/// it must not let a stranger lock somebody out.
///
/// Each process counts all three in memory first, for names that exist and names that do not alike. Of addresses, and of names that
/// exist, all processes count together as well: a name that somebody made up costs no row of its own. So one process tells by nothing
/// whether a name exists; of several, whoever tries one at each of them may see that a real one is locked sooner than a made-up one. The
/// limit of a name from one address is each process's own.
pub const FOR_BOTH: (f64, f64) = (1.0 / 60.0, 5.0);
pub const FOR_NAME: (f64, f64) = (1.0 / 20.0, 50.0);
pub const FOR_ADDRESS: (f64, f64) = (1.0 / 10.0, 20.0);

/// For one name from a device or a network that is known as this person's, which strangers cannot use up.
pub const FOR_KNOWN: (f64, f64) = FOR_BOTH;

/// Names that nobody has share one row, which refuses nobody: it is there so that they take as long as others.
const FOR_NOBODY: (f64, f64) = (1_000.0, 1_000_000.0);

/// What a name and a password are good for.
#[derive(Debug)]
pub enum CredentialCheck {
    Good {
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

/// Somebody who says to be the person of a [`name`].
#[derive(Clone, Copy, Debug)]
pub struct LoginAttempt<'a> {
    pub name: &'a str,
    pub from: IpAddr,
    /// [`Hasher::login_network`] of both.
    pub network: [u8; 16],
    /// The hash of the token by which the browser is known to this person, if it has shown one.
    pub device: Option<[u8; 32]>,
}

impl<'a> LoginAttempt<'a> {
    pub fn new(hasher: &Hasher, name: &'a str, from: IpAddr, device: Option<[u8; 32]>) -> Self {
        let network = hasher.login_network(name, from);
        Self {
            name,
            from,
            network,
            device,
        }
    }

    /// Whether the person has logged in with this device.
    pub async fn is_from_known_device(
        &self,
        pool: &PgPool,
        now: DateTime<Utc>,
    ) -> Result<bool, ControlError> {
        match self.device {
            Some(device) => Ok(db::known::device(pool, self.name, &device, now).await?),
            None => Ok(false),
        }
    }

    /// Who was right from a place of their own may err again there.
    async fn clear(&self, pool: &PgPool, counted: LoginLimit) -> Result<(), ControlError> {
        if counted != LoginLimit::Name {
            db::limits::remove_limit(pool, &self.own_key(counted)).await?;
        }
        Ok(())
    }

    /// The key of a limit of its own.
    fn own_key(&self, counted: LoginLimit) -> String {
        match (counted, self.device) {
            (LoginLimit::Device, Some(device)) => hashed_key("device", &device[..16]),
            _ => hashed_key("network", &self.network),
        }
    }

    /// The key of the limit of codes.
    fn codes_key(&self, counted: LoginLimit) -> String {
        match (counted, self.device) {
            (LoginLimit::Device, Some(device)) => hashed_key("codes device", &device[..16]),
            _ => key("codes", self.name),
        }
    }

    /// Whether the person has logged in from this network lately.
    pub async fn is_from_known_network(
        &self,
        pool: &PgPool,
        now: DateTime<Utc>,
    ) -> Result<bool, ControlError> {
        let since = now - known::NETWORK_FOR;
        Ok(db::known::network(pool, self.name, &self.network, since).await?)
    }
}

/// By which limit a try is held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginLimit {
    /// By that of the name.
    Name,
    /// By that of the device.
    Device,
    /// By that of the person's own network.
    Network,
}

/// Whether this is the password of whoever has the name of the attempt.
pub async fn check(
    pool: &PgPool,
    attempt: &LoginAttempt<'_>,
    counted: LoginLimit,
    password: &Secret,
    now: DateTime<Utc>,
) -> Result<CredentialCheck, ControlError> {
    let known = match held(pool, attempt, counted, now).await? {
        Ok(known) => known,
        Err(held) => return Ok(CredentialCheck::Later(held)),
    };
    let (user, hash) = known.map_or((None, None), |(id, hash)| (Some(id), hash));
    let good = passwords::verify(password, hash).await?;
    match user {
        Some(user) if good => {
            attempt.clear(pool, counted).await?;
            Ok(CredentialCheck::Good { user })
        }
        Some(_) => Ok(CredentialCheck::Wrong {
            name: Some(attempt.name.to_owned()),
        }),
        None => Ok(CredentialCheck::Wrong { name: None }),
    }
}

/// Codes of a person that are tried, per second, after a burst: of a million codes three are good at a time. Who tries them knows the
/// password, or has got it from somebody: a device that is known as the person's has as many of its own, so that they still get in.
const FOR_CODES: (f64, f64) = (1.0 / 300.0, 10.0);

/// Whether this is a code of the second factor of whoever has the name of the attempt.
pub async fn check_code(
    pool: &PgPool,
    hasher: &Hasher,
    attempt: &LoginAttempt<'_>,
    counted: LoginLimit,
    code: &str,
    now: DateTime<Utc>,
) -> Result<(CredentialCheck, Option<FactorProof>), ControlError> {
    let user = match held(pool, attempt, counted, now).await? {
        Ok(Some((user, _))) => user,
        Ok(None) => return Ok((CredentialCheck::Wrong { name: None }, None)),
        Err(held) => return Ok((CredentialCheck::Later(held), None)),
    };
    let codes = attempt.codes_key(counted);
    if let Some(wait) = pass(pool, &codes, FOR_CODES).await? {
        return Ok((CredentialCheck::Later(Throttled::Name(wait)), None));
    }
    let shown = second_factor::prove(pool, hasher, user, code, now).await?;
    if shown.is_none() {
        let name = Some(attempt.name.to_owned());
        return Ok((CredentialCheck::Wrong { name }, None));
    }
    db::limits::remove_limit(pool, &codes).await?;
    attempt.clear(pool, counted).await?;
    Ok((CredentialCheck::Good { user }, shown))
}

/// Person and hash of the password, if somebody is called so.
type KnownName = Option<(i64, Option<String>)>;

/// Whether the limits of all processes together hold an attempt up; else who it is about. A known device is held up by its own limit
/// alone: others behind the same address are no reason.
async fn held(
    pool: &PgPool,
    attempt: &LoginAttempt<'_>,
    counted: LoginLimit,
    now: DateTime<Utc>,
) -> Result<Result<KnownName, Throttled>, ControlError> {
    if counted != LoginLimit::Device {
        let of_address = key("address", &attempt.from.to_string());
        if let Some(wait) = pass(pool, &of_address, FOR_ADDRESS).await? {
            return Ok(Err(Throttled::Address(wait)));
        }
    }
    let name = attempt.name;
    let known = db::users::password_of(pool, name).await?;
    let held = match (&known, counted) {
        (None, _) => pass(pool, &key("nobody", ""), FOR_NOBODY).await?,
        (Some(_), LoginLimit::Name) => {
            let held = pass(pool, &key("name", name), FOR_NAME).await?;
            if held.is_some() && attempt.is_from_known_network(pool, now).await? {
                pass(pool, &attempt.own_key(LoginLimit::Network), FOR_KNOWN).await?
            } else {
                held
            }
        }
        (Some(_), own) => pass(pool, &attempt.own_key(own), FOR_KNOWN).await?,
    };
    Ok(match held {
        Some(wait) => Err(Throttled::Name(wait)),
        None => Ok(known),
    })
}

/// Takes a turn of a limit, or says how long to stay away.
async fn pass(
    pool: &PgPool,
    key: &str,
    (per_second, burst): (f64, f64),
) -> sqlx::Result<Option<Duration>> {
    let wait = db::limits::pass(pool, key, per_second, burst).await?;
    Ok((!wait.is_zero()).then_some(wait))
}

/// Puts it on record that tries under a name are not looked at for a while. Returns the name if somebody is called so; of others
/// nothing is kept.
pub async fn locked_out(
    pool: &PgPool,
    name: &str,
    held: Throttled,
    now: DateTime<Utc>,
) -> Result<Option<String>, ControlError> {
    if db::users::password_of(pool, name).await?.is_none() {
        return Ok(None);
    }
    let entry = NewAuditEntry {
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

/// Puts it on record that a person has logged in, and how.
pub(super) async fn note(
    conn: &mut PgConnection,
    user: i64,
    with: &str,
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    let user = users::found(conn, user).await?;
    let entry = NewAuditEntry {
        by: &user.name,
        action: "user.log_in",
        account: None,
        subject: &user.name,
        detail: json!({ "with": with }),
    };
    Ok(db::audit::record(conn, &entry, now).await?)
}

/// `note`, for a login that changes nothing else.
pub async fn noted(
    pool: &PgPool,
    user: i64,
    with: &str,
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    let mut tx = pool.begin().await?;
    note(&mut tx, user, with, now).await?;
    tx.commit().await?;
    Ok(())
}

/// A name that somebody has typed may be anything, also a password: it is not kept as it is.
fn key(kind: &str, what: &str) -> String {
    hashed_key(kind, &hashing::digest(what)[..16])
}

fn hashed_key(kind: &str, hash: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut key = format!("login:{kind}:");
    for byte in hash {
        let _ = write!(key, "{byte:02x}");
    }
    key
}

/// Opens a session of a person under a fresh token, and ends the one that the browser had. `device`: the browser in plain words.
/// Returns the token.
pub async fn open_session(
    pool: &PgPool,
    user: i64,
    (old, device): (Option<&str>, &str),
    lasts: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Secret, ControlError> {
    let token = hashing::token();
    let mut tx = pool.begin().await?;
    if let Some(old) = old {
        db::sessions::close(&mut *tx, &hashing::digest(old)).await?;
    }
    let fresh = (&hashing::digest(&token)[..], device);
    db::sessions::open(&mut tx, fresh, user, now, now + lasts).await?;
    tx.commit().await?;
    Ok(Secret::new(token))
}
