//! Logins of which the first step is done: what is asked next, and how they end.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::sso::{self, SsoOutcome, SsoRefusal};
use super::{ControlError, logins};
use crate::db;
use crate::db::pending_logins::Pending;
use crate::hashing::{self, Hasher};
use crate::secret::Secret;

/// How long a person may take for the next step.
pub const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// What is asked for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginStep {
    /// The own password, before somebody is known by single sign-on.
    Password,
    /// A code of the second factor.
    Code,
}

impl LoginStep {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Code => "code",
        }
    }
}

/// Remembers how far this person has come. `subject`: whom the single sign-on means, to be tied to the person in the end.
/// Returns the word that the browser must show.
pub async fn begin(
    pool: &PgPool,
    user: i64,
    needs: LoginStep,
    (subject, back_to): (Option<&str>, &str),
    now: DateTime<Utc>,
) -> Result<Secret, ControlError> {
    let token = hashing::token();
    let pending = Pending {
        user_id: user,
        needs: needs.as_str().to_owned(),
        sso_subject: subject.map(str::to_owned),
        back_to: back_to.to_owned(),
    };
    let mut conn = pool.acquire().await?;
    let hash = hashing::digest(&token);
    db::pending_logins::add(&mut conn, &hash, &pending, now + PATIENCE).await?;
    Ok(Secret::new(token))
}

/// Everything was shown: ties what is to be tied, and puts on record that the person is in. Works once for a word.
pub async fn finish(
    pool: &PgPool,
    hasher: &Hasher,
    token_hash: &[u8],
    with: &str,
    now: DateTime<Utc>,
) -> Result<SsoOutcome, ControlError> {
    let mut tx = pool.begin().await?;
    db::users::lock(&mut tx).await?;
    let Some(pending) = db::pending_logins::take(&mut tx, token_hash, now).await? else {
        return Ok(SsoOutcome::Refused(SsoRefusal::LinkGone));
    };
    let came = sso::bind_pending(&mut tx, hasher, &pending, now).await?;
    if let SsoOutcome::In { user } = came {
        logins::note(&mut tx, user, with, now).await?;
        tx.commit().await?;
    }
    Ok(came)
}
