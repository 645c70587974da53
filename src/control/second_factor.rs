//! The second factor of people who log in with a password: a code from a phone, or one of ten that are kept for its loss.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::users::{self, UserView};
use super::{ControlError, Fault};
use crate::db;
use crate::db::audit::NewAuditEntry;
use crate::db::users::User;
use crate::domain::totp;
use crate::hashing::{self, Hasher};

/// How long somebody may take to scan a secret and enter its first code.
const PATIENCE: TimeDelta = TimeDelta::minutes(15);

const CODES: usize = 10;

/// What a sealed secret is for.
const PURPOSE: &str = "second factor";

/// Whether this person is asked for a code.
pub async fn is_on(pool: &PgPool, id: i64) -> Result<bool, ControlError> {
    let mut conn = pool.acquire().await?;
    is_on_in(&mut conn, id).await
}

pub(super) async fn is_on_in(conn: &mut PgConnection, id: i64) -> Result<bool, ControlError> {
    let factor = db::second_factors::find(conn, id).await?;
    Ok(factor.is_some_and(|factor| factor.confirmed_at.is_some()))
}

/// Makes a secret, which is asked for once a code of it was entered.
pub async fn begin(
    pool: &PgPool,
    hasher: &Hasher,
    id: i64,
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    let secret: [u8; totp::SECRET] = rand::random();
    let sealed = hasher.seal(PURPOSE, &id.to_string(), &secret)?;
    let mut conn = pool.acquire().await?;
    if db::second_factors::begin(&mut conn, id, &sealed, now).await? {
        return Ok(());
    }
    Err(ControlError::Conflict(
        "you already have a second factor: turn it off first".to_owned(),
    ))
}

/// The secret of which no code has been entered yet.
pub async fn begun(
    pool: &PgPool,
    hasher: &Hasher,
    id: i64,
    now: DateTime<Utc>,
) -> Result<Option<Vec<u8>>, ControlError> {
    let factor = db::second_factors::find(pool, id).await?;
    let factor = factor.filter(|f| f.confirmed_at.is_none() && now - f.made_at < PATIENCE);
    Ok(factor.and_then(|factor| hasher.open(PURPOSE, &id.to_string(), &factor.secret)))
}

/// The first code was entered: from now on it is asked for. Returns the codes for the loss of the phone, told this once.
pub async fn confirm(
    pool: &PgPool,
    hasher: &Hasher,
    id: i64,
    code: &str,
    now: DateTime<Utc>,
) -> Result<Vec<String>, ControlError> {
    let secret = begun(pool, hasher, id, now).await?;
    let secret =
        secret.ok_or_else(|| ControlError::NotFound("second factor to confirm".to_owned()))?;
    let mut tx = pool.begin().await?;
    let step = totp::step_of(&secret, &digits(code), now.timestamp());
    let taken = match step {
        Some(step) => db::second_factors::take_step(&mut tx, id, step).await?,
        None => false,
    };
    if !taken {
        return Err(ControlError::Invalid(vec![Fault {
            field: "/code".to_owned(),
            detail: "That is not the current code in the app. Is the phone's clock correct?"
                .to_owned(),
        }]));
    }
    db::second_factors::confirm(&mut tx, id, now).await?;
    let user = users::found(&mut tx, id).await?;
    let codes = make_codes(&mut tx, &user, "user.second_factor_on", now).await?;
    tx.commit().await?;
    Ok(codes)
}

/// How somebody has shown to have the second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorProof {
    Code,
    RecoveryCode,
}

impl FactorProof {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::RecoveryCode => "recovery code",
        }
    }
}

/// Whether this is a code of the person's phone, or one of those for its loss. Each is used up by this.
pub async fn prove(
    pool: &PgPool,
    hasher: &Hasher,
    id: i64,
    code: &str,
    now: DateTime<Utc>,
) -> Result<Option<FactorProof>, ControlError> {
    let mut tx = pool.begin().await?;
    let factor = db::second_factors::find(&mut *tx, id).await?;
    let Some(factor) = factor.filter(|factor| factor.confirmed_at.is_some()) else {
        return Ok(None);
    };
    // Without the key of then, only the codes for a loss are left.
    let secret = hasher.open(PURPOSE, &id.to_string(), &factor.secret);
    let step = secret.as_deref();
    let step = step.and_then(|s| totp::step_of(s, &digits(code), now.timestamp()));
    let shown = if let (Some(step), Some(secret)) = (step, secret) {
        let taken = db::second_factors::take_step(&mut tx, id, step).await?;
        if taken {
            seal_anew(&mut tx, hasher, id, (&factor.secret, &secret)).await?;
        }
        taken.then_some(FactorProof::Code)
    } else {
        let hash = hashing::digest(&plain(code));
        let taken = db::second_factors::take_code(&mut tx, id, &hash).await?;
        taken.then_some(FactorProof::RecoveryCode)
    };
    tx.commit().await?;
    Ok(shown)
}

/// After the installation's key has changed, whoever logs in has their secret under the present one.
async fn seal_anew(
    conn: &mut PgConnection,
    hasher: &Hasher,
    id: i64,
    (sealed, secret): (&[u8], &[u8]),
) -> Result<(), ControlError> {
    let whose = id.to_string();
    if hasher.is_sealed_anew(PURPOSE, &whose, sealed) {
        return Ok(());
    }
    let fresh = hasher.seal(PURPOSE, &whose, secret)?;
    db::second_factors::reseal(conn, id, (sealed, &fresh)).await?;
    Ok(())
}

/// Secrets in use that are not under the present key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherKeys {
    /// Under an older one, which must be kept for them.
    pub older: usize,
    /// Under none that is known: these people have their recovery codes only.
    pub lost: usize,
}

pub async fn under_other_keys(pool: &PgPool, hasher: &Hasher) -> Result<OtherKeys, ControlError> {
    let mut found = OtherKeys::default();
    for (id, sealed) in db::second_factors::in_use(pool).await? {
        let whose = id.to_string();
        if hasher.is_sealed_anew(PURPOSE, &whose, &sealed) {
            continue;
        }
        match hasher.open(PURPOSE, &whose, &sealed) {
            Some(_) => found.older += 1,
            None => found.lost += 1,
        }
    }
    Ok(found)
}

/// Apps and people put a blank in the middle.
fn digits(code: &str) -> String {
    code.chars().filter(|c| !c.is_whitespace()).collect()
}

fn plain(code: &str) -> String {
    let kept = code.chars().filter(char::is_ascii_alphanumeric);
    kept.take(64).map(|c| c.to_ascii_uppercase()).collect()
}

/// Ten new codes for the loss of the phone; the old ones are good no more.
pub async fn new_codes(
    pool: &PgPool,
    id: i64,
    now: DateTime<Utc>,
) -> Result<Vec<String>, ControlError> {
    let mut tx = pool.begin().await?;
    let user = users::found(&mut tx, id).await?;
    let codes = make_codes(&mut tx, &user, "user.recovery_codes", now).await?;
    tx.commit().await?;
    Ok(codes)
}

/// 80 bits each, in groups.
async fn make_codes(
    conn: &mut PgConnection,
    user: &User,
    action: &str,
    now: DateTime<Utc>,
) -> Result<Vec<String>, ControlError> {
    let codes: Vec<String> = (0..CODES)
        .map(|_| totp::base32(&rand::random::<[u8; 10]>()))
        .collect();
    let hashes: Vec<[u8; 32]> = codes.iter().map(|code| hashing::digest(code)).collect();
    db::second_factors::put_codes(conn, user.id, &hashes).await?;
    note(conn, &user.name, action, user, now).await?;
    let grouped = codes.iter().map(|code| grouped(code)).collect();
    Ok(grouped)
}

/// `ABCD-EFGH-…`, to be read and typed.
pub fn grouped(code: &str) -> String {
    let letters: Vec<char> = code.chars().collect();
    let groups: Vec<String> = letters
        .chunks(4)
        .map(|group| group.iter().collect())
        .collect();
    groups.join("-")
}

async fn note(
    conn: &mut PgConnection,
    by: &str,
    action: &str,
    user: &User,
    now: DateTime<Utc>,
) -> Result<(), ControlError> {
    let entry = NewAuditEntry {
        by,
        action,
        account: None,
        subject: &user.name,
        detail: json!({}),
    };
    Ok(db::audit::record(conn, &entry, now).await?)
}

/// The person is asked for no code any more: by own wish, or because an administrator helps after the loss of the phone and of the codes.
pub async fn remove(
    pool: &PgPool,
    id: i64,
    by: &str,
    now: DateTime<Utc>,
) -> Result<UserView, ControlError> {
    let mut tx = pool.begin().await?;
    let user = users::found(&mut tx, id).await?;
    if !db::second_factors::remove(&mut tx, id).await? {
        return Err(ControlError::Conflict(format!(
            "{} has no second factor",
            user.name
        )));
    }
    let action = if by == user.name {
        "user.second_factor_off"
    } else {
        "user.second_factor_reset"
    };
    note(&mut tx, by, action, &user, now).await?;
    tx.commit().await?;
    Ok(user.into())
}
