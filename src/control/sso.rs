//! Whom the single sign-on lets in, and how a person comes to be known by it.
//!
//! A person is known by issuer and subject, whatever becomes of the address there. What ties the two together the first time: a link that
//! an administrator has made, the person's own password, or a verified address where there is no password. Never a name that
//! people choose for themselves, and never silently where there is somebody to ask.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::users::{self, UserView};
use super::{ControlError, logins};
use crate::db;
use crate::db::audit::NewAuditEntry;
use crate::db::pending_logins::Pending;
use crate::db::users::{PasswordLink, User};
use crate::domain::access::Role;
use crate::hashing::Hasher;

/// Whom the single sign-on has let in.
#[derive(Clone, Debug)]
pub struct SsoIdentity {
    /// Issuer and subject.
    pub subject: String,
    /// An address of which is known that it is the person's.
    pub email: Option<String>,
    /// What people may do whom nobody has added; `None`: nothing.
    pub role: Option<Role>,
}

/// What becomes of somebody who comes by single sign-on.
#[derive(Debug)]
pub enum SsoOutcome {
    In {
        user: i64,
    },
    /// It may be this person, who is asked for the own password.
    Asked {
        user: i64,
    },
    /// It is this person by a link, which stands in for the password and not for the second factor.
    AskedCode {
        user: i64,
    },
    Refused(SsoRefusal),
}

/// Why somebody whom the issuer knows is not let in. Names are told to whoever has just proven to be that person at the issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SsoRefusal {
    /// Nobody here has this address.
    Unknown(String),
    /// The issuer names no address that it has verified.
    NoAddress,
    /// This person is known at the issuer as somebody else.
    BoundElsewhere(String),
    /// The link is somebody else's: whoever came is this person here already.
    AlreadyHere(String),
    /// The link was used, or is too old.
    LinkGone,
}

/// Finds a person who comes by single sign-on, ties a newcomer to whom that is, or adds one as the settings say.
/// `link`: the hash of the set-up link with which the login was begun. `ask_own_password`: whether passwords are in use.
pub async fn come(
    pool: &PgPool,
    hasher: &Hasher,
    known: &SsoIdentity,
    link: Option<&[u8]>,
    ask_own_password: bool,
    now: DateTime<Utc>,
) -> Result<SsoOutcome, ControlError> {
    let mut tx = pool.begin().await?;
    db::users::lock(&mut tx).await?;
    let bound = match db::sso::user(&mut tx, &known.subject).await? {
        Some(id) => db::users::find(&mut *tx, id).await?,
        None => None,
    };
    let came = match (bound, link) {
        (Some(user), None) => SsoOutcome::In { user: user.id },
        (Some(user), Some(link)) => known_already(&mut tx, &user, link, now).await?,
        (None, Some(link)) => by_link(&mut tx, hasher, known, link, now).await?,
        (None, None) => by_address(&mut tx, hasher, known, ask_own_password, now).await?,
    };
    match came {
        SsoOutcome::In { user } => {
            logins::note(&mut tx, user, "single sign-on", now).await?;
            tx.commit().await?;
        }
        // The link is used up.
        SsoOutcome::AskedCode { .. } => tx.commit().await?,
        SsoOutcome::Asked { .. } | SsoOutcome::Refused(_) => {}
    }
    Ok(came)
}

/// Somebody who is known uses a link: the own one is used up, and another's is left to whom it is for.
async fn known_already(
    conn: &mut PgConnection,
    user: &User,
    link: &[u8],
    now: DateTime<Utc>,
) -> Result<SsoOutcome, ControlError> {
    match db::users::link(&mut *conn, link, now).await? {
        Some(PasswordLink { user: Some(id), .. }) if id == user.id => {
            db::users::drop_links(conn, id).await?;
            Ok(SsoOutcome::In { user: id })
        }
        Some(_) => Ok(SsoOutcome::Refused(SsoRefusal::AlreadyHere(
            user.name.clone(),
        ))),
        None => Ok(SsoOutcome::Refused(SsoRefusal::LinkGone)),
    }
}

async fn by_link(
    conn: &mut PgConnection,
    hasher: &Hasher,
    known: &SsoIdentity,
    link: &[u8],
    now: DateTime<Utc>,
) -> Result<SsoOutcome, ControlError> {
    let Some(PasswordLink { user, .. }) = db::users::link(&mut *conn, link, now).await? else {
        return Ok(SsoOutcome::Refused(SsoRefusal::LinkGone));
    };
    if let Some(id) = user {
        let user = users::found(conn, id).await?;
        if user.has_second_factor && !user.has_sso {
            db::users::drop_links(conn, id).await?;
            return Ok(SsoOutcome::AskedCode { user: id });
        }
        let came = bind(conn, hasher, &user, &known.subject, "set-up link", now).await?;
        if matches!(came, SsoOutcome::In { .. }) {
            db::users::drop_links(conn, id).await?;
        }
        return Ok(came);
    }
    if db::users::count(&mut *conn).await? > 0 {
        return Ok(SsoOutcome::Refused(SsoRefusal::LinkGone));
    }
    match &known.email {
        Some(email) => {
            let role = Role::Administrator;
            add(conn, hasher, known, email, role, "set-up link", now).await
        }
        None => Ok(SsoOutcome::Refused(SsoRefusal::NoAddress)),
    }
}

async fn by_address(
    conn: &mut PgConnection,
    hasher: &Hasher,
    known: &SsoIdentity,
    ask_own_password: bool,
    now: DateTime<Utc>,
) -> Result<SsoOutcome, ControlError> {
    let Some(email) = &known.email else {
        return Ok(SsoOutcome::Refused(SsoRefusal::NoAddress));
    };
    let unknown = || Ok(SsoOutcome::Refused(SsoRefusal::Unknown(email.clone())));
    let Ok(name) = users::name(email) else {
        return unknown();
    };
    match (db::users::named(&mut *conn, &name).await?, known.role) {
        (Some(user), _) if user.has_sso => {
            Ok(SsoOutcome::Refused(SsoRefusal::BoundElsewhere(user.name)))
        }
        (Some(user), _) if user.has_password && ask_own_password => {
            Ok(SsoOutcome::Asked { user: user.id })
        }
        (Some(user), _) => bind(conn, hasher, &user, &known.subject, "verified address", now).await,
        (None, Some(role)) => add(conn, hasher, known, &name, role, "single sign-on", now).await,
        (None, None) => unknown(),
    }
}

/// Adds somebody whom nobody has added, under the address.
async fn add(
    conn: &mut PgConnection,
    hasher: &Hasher,
    known: &SsoIdentity,
    email: &str,
    role: Role,
    by: &str,
    now: DateTime<Utc>,
) -> Result<SsoOutcome, ControlError> {
    let name = users::name(email)?;
    let id = users::insert(conn, &name, role, None, by, now).await?;
    let user = users::found(conn, id).await?;
    bind(conn, hasher, &user, &known.subject, by, now).await
}

/// Ties a subject to a person, and puts on record how. In a transaction that holds the lock of people.
async fn bind(
    conn: &mut PgConnection,
    hasher: &Hasher,
    user: &User,
    subject: &str,
    with: &str,
    now: DateTime<Utc>,
) -> Result<SsoOutcome, ControlError> {
    if !db::sso::bind(conn, user.id, subject).await? {
        let name = user.name.clone();
        return Ok(SsoOutcome::Refused(SsoRefusal::BoundElsewhere(name)));
    }
    let entry = NewAuditEntry {
        by: &user.name,
        action: "user.bind_sso",
        account: None,
        subject: &user.name,
        detail: json!({ "with": with, "subject": hasher.sso_subject(subject) }),
    };
    db::audit::record(conn, &entry, now).await?;
    Ok(SsoOutcome::In { user: user.id })
}

/// Ties the subject of a login that is under way to the person, who has shown to be the one. In the transaction of that login.
pub(super) async fn bind_pending(
    conn: &mut PgConnection,
    hasher: &Hasher,
    pending: &Pending,
    now: DateTime<Utc>,
) -> Result<SsoOutcome, ControlError> {
    let user = users::found(conn, pending.user_id).await?;
    match &pending.sso_subject {
        Some(subject) => bind(conn, hasher, &user, subject, "own password", now).await,
        None => Ok(SsoOutcome::In { user: user.id }),
    }
}

/// The single sign-on lets this person in no more, until the two are tied together anew. Sessions end, as nobody knows who opened them.
pub async fn unbind(
    pool: &PgPool,
    hasher: &Hasher,
    id: i64,
    by: &str,
    now: DateTime<Utc>,
) -> Result<UserView, ControlError> {
    let mut tx = pool.begin().await?;
    db::users::lock(&mut tx).await?;
    let user = users::found(&mut tx, id).await?;
    let Some(subject) = db::sso::subject_of(&mut tx, id).await? else {
        return Err(ControlError::Conflict(format!(
            "{} is not connected to single sign-on",
            user.name
        )));
    };
    db::sso::unbind(&mut tx, id).await?;
    db::pending_logins::drop_all(&mut tx, id).await?;
    db::sessions::close_all(&mut tx, id, None).await?;
    let entry = NewAuditEntry {
        by,
        action: "user.unbind_sso",
        account: None,
        subject: &user.name,
        detail: json!({ "subject": hasher.sso_subject(&subject) }),
    };
    db::audit::record(&mut tx, &entry, now).await?;
    let user = users::found(&mut tx, id).await?;
    tx.commit().await?;
    Ok(user.into())
}
