//! Who asks, and whether they may: logins, sessions, tokens of programs, and the table in which every route of the dashboard and of
//! the config API stands with what it needs.
//!
//! There is one way to serve something here: a row of the [`Table`]. Its guard runs before the handler, so that no handler can
//! forget to ask who is calling, nor whether a form came from our own page.

mod csrf;
mod guard;
pub mod login;
mod refused;
mod repeat;
mod session;
pub mod sso;
mod table;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::TimeDelta;

use super::State;
use super::badge::Limiter;
use crate::config;
use crate::domain::access::{Permission, Role};
use crate::metrics::AccessOutcome;

pub use self::repeat::Unrepeatable;
pub use self::session::Session;
pub use self::table::{Needs, Route, Table};

/// Addresses and callers remembered by the limits.
const REMEMBERED: usize = 10_000;

/// What the guards of one process have at hand.
pub struct Access {
    /// Sessions end when they have not been used for so long …
    pub idle: TimeDelta,
    /// … or are so old.
    pub longest: TimeDelta,
    /// Whether cookies are for https only.
    pub secure: bool,
    /// Our own origin, as browsers write it.
    pub origin: String,
    /// The single sign-on, if there is one.
    pub sso: Option<sso::Issuer>,
    /// Requests by caller, and by address of those who are not let in.
    callers: Limiter<(bool, i64)>,
    strangers: Limiter<IpAddr>,
    /// Of logins, before anything is asked of the database.
    tries: login::Tries,
    refusals: refused::Refusals,
}

impl Access {
    pub fn new(web: &config::Web, sso: Option<sso::Issuer>) -> Self {
        Self {
            idle: TimeDelta::from_std(web.session_idle).unwrap_or(TimeDelta::hours(2)),
            longest: TimeDelta::from_std(web.session_longest).unwrap_or(TimeDelta::hours(12)),
            secure: web.public_url.scheme() == "https",
            origin: web.public_url.origin().ascii_serialization(),
            sso,
            callers: Limiter::new(20.0, 200.0, REMEMBERED),
            strangers: Limiter::new(1.0, 60.0, REMEMBERED),
            tries: login::Tries::new(REMEMBERED),
            refusals: refused::Refusals::new(REMEMBERED),
        }
    }
}

impl State {
    /// Counts and logs that somebody was not let in. `name`: of a person or a token that exists.
    fn refused(&self, outcome: AccessOutcome, from: IpAddr, name: Option<&str>) {
        let refusals = &self.access.refusals;
        refusals.note(&self.metrics, outcome, from, name);
    }
}

/// Who is let in.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Who>);

#[derive(Debug)]
enum Who {
    Person {
        id: i64,
        name: String,
        role: Role,
    },
    Program {
        id: i64,
        by: String,
        scopes: Vec<Permission>,
    },
}

impl Caller {
    fn person(id: i64, name: String, role: Role) -> Self {
        Self(Arc::new(Who::Person { id, name, role }))
    }

    fn program(id: i64, name: &str, scopes: Vec<Permission>) -> Self {
        let by = format!("token {name}");
        Self(Arc::new(Who::Program { id, by, scopes }))
    }

    pub fn may(&self, permission: Permission) -> bool {
        match &*self.0 {
            Who::Person { role, .. } => role.may(permission),
            Who::Program { scopes, .. } => scopes.contains(&permission),
        }
    }

    /// As the audit trail names them: a login name, or `token …`.
    pub fn by(&self) -> &str {
        match &*self.0 {
            Who::Person { name, .. } => name,
            Who::Program { by, .. } => by,
        }
    }

    /// The person's id, unless a program calls.
    pub fn user(&self) -> Option<i64> {
        match &*self.0 {
            Who::Person { id, .. } => Some(*id),
            Who::Program { .. } => None,
        }
    }

    pub fn role(&self) -> Option<Role> {
        match &*self.0 {
            Who::Person { role, .. } => Some(*role),
            Who::Program { .. } => None,
        }
    }

    /// Whose an idempotency key is.
    fn key_word(&self) -> String {
        match &*self.0 {
            Who::Person { id, .. } => format!("user {id}"),
            Who::Program { id, .. } => format!("token {id}"),
        }
    }

    /// What the caller may do.
    pub fn permissions(&self) -> Vec<Permission> {
        let all = Permission::ALL.into_iter();
        all.filter(|permission| self.may(*permission)).collect()
    }

    /// For limits: a program and a person with the same number are two.
    fn key(&self) -> (bool, i64) {
        match &*self.0 {
            Who::Person { id, .. } => (true, *id),
            Who::Program { id, .. } => (false, *id),
        }
    }
}

/// Every route behind a guard has a caller; one without a guard has no business to ask.
impl FromRequestParts<State> for Caller {
    type Rejection = axum::http::StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Self::Rejection> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The session of a caller who is a person.
impl FromRequestParts<State> for Session {
    type Rejection = axum::http::StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Self::Rejection> {
        let session = parts.extensions.get::<Self>().cloned();
        session.ok_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The path and query that were asked for, on this site.
#[derive(Clone, Debug)]
pub struct Asked(pub String);

impl FromRequestParts<State> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Infallible> {
        let asked = parts.uri.path_and_query();
        Ok(Self(
            asked.map_or_else(|| "/".to_owned(), ToString::to_string),
        ))
    }
}
