//! Who asks, and whether they may: logins, sessions, tokens of programs, and the table in which every route of the dashboard and of
//! the config API stands with what it needs.
//!
//! There is one way to serve something here: a row of the [`Table`]. Its guard runs before the handler, so that no handler can
//! forget to ask who is calling, nor whether a form came from our own page.

pub mod csrf;
mod described;
pub mod guard;
pub mod issuer;
pub mod lookups;
mod refused;
mod repeat;
pub mod session;
mod table;
pub mod tries;
pub mod visitor;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::TimeDelta;

use super::State;
use super::limiter::Limiter;
use super::problem::Refusal;
use crate::config;
use crate::control::accounts::Accounts;
use crate::control::tokens::Maker;
use crate::domain::access::{AccountLimit, Permission, Role};
use crate::domain::ids::AccountId;
use crate::metrics::AccessOutcome;

pub use self::guard::is_by_itself;
pub use self::repeat::Unrepeatable;
pub use self::session::Session;
pub use self::table::{API_ROOT, Needs, Route, Table};
pub use self::tries::{Refused, Tried, code as try_code, password as try_password};
pub use self::visitor::Visitor;

/// Addresses and callers remembered by the limits.
const REMEMBERED: usize = 10_000;

/// Requests per second, after a burst, of one address for pages that nobody has to be logged in for: many may be behind it.
const OPEN: (f64, f64) = (10.0, 100.0);

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
    /// Whether people may log in with a password.
    pub passwords: bool,
    /// The single sign-on, if there is one.
    pub sso: Option<issuer::Issuer>,
    /// Requests by caller, and by address of those who are not let in.
    callers: Limiter<(bool, i64)>,
    pub strangers: Limiter<IpAddr>,
    /// Sessions and tokens, before they are looked up.
    pub lookups: lookups::Lookups,
    /// Requests of pages that nobody has to be logged in for, by address.
    open: Limiter<IpAddr>,
    /// Of logins, before anything is asked of the database.
    tries: tries::Tries,
    refusals: refused::Refusals,
}

impl Access {
    pub fn new(web: &config::Web, sso: Option<issuer::Issuer>) -> Self {
        Self {
            idle: TimeDelta::from_std(web.session_idle).unwrap_or(TimeDelta::hours(2)),
            longest: TimeDelta::from_std(web.session_longest).unwrap_or(TimeDelta::hours(12)),
            secure: web.public_url.scheme() == "https",
            origin: web.public_url.origin().ascii_serialization(),
            passwords: web.passwords,
            sso,
            callers: Limiter::new(20.0, 200.0, REMEMBERED),
            strangers: Limiter::new(1.0, 60.0, REMEMBERED),
            lookups: lookups::Lookups::new(REMEMBERED),
            open: Limiter::new(OPEN.0, OPEN.1, REMEMBERED),
            tries: tries::Tries::new(REMEMBERED),
            refusals: refused::Refusals::new(REMEMBERED),
        }
    }
}

impl State {
    /// Counts and logs that somebody was not let in. `name`: of a person or a token that exists.
    pub fn refused(&self, outcome: AccessOutcome, from: IpAddr, name: Option<&str>) {
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
        limit: AccountLimit,
    },
    Program {
        id: i64,
        by: String,
        scopes: Vec<Permission>,
        limit: AccountLimit,
    },
}

impl Caller {
    fn person(id: i64, name: String, role: Role, limit: AccountLimit) -> Self {
        Self(Arc::new(Who::Person {
            id,
            name,
            role,
            limit,
        }))
    }

    fn program(id: i64, name: &str, scopes: Vec<Permission>, limit: AccountLimit) -> Self {
        let by = format!("token {name}");
        Self(Arc::new(Who::Program {
            id,
            by,
            scopes,
            limit,
        }))
    }

    /// The accounts that the caller is limited to.
    pub fn limit(&self) -> &AccountLimit {
        match &*self.0 {
            Who::Person { limit, .. } | Who::Program { limit, .. } => limit,
        }
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

    /// The person as the maker of a token, unless a program calls.
    pub fn maker(&self) -> Option<Maker> {
        match &*self.0 {
            Who::Person { id, name, role, .. } => Some(Maker {
                id: *id,
                name: name.clone(),
                role: *role,
            }),
            Who::Program { .. } => None,
        }
    }

    pub fn role(&self) -> Option<Role> {
        match &*self.0 {
            Who::Person { role, .. } => Some(*role),
            Who::Program { .. } => None,
        }
    }

    /// Whose an idempotency key is. An answer of when the caller saw more is not repeated.
    fn key_word(&self) -> String {
        let own = match &*self.0 {
            Who::Person { id, .. } => format!("user {id}"),
            Who::Program { id, .. } => format!("token {id}"),
        };
        let Some(ids) = self.limit().ids() else {
            return own;
        };
        let ids: Vec<&str> = ids.iter().map(AccountId::as_str).collect();
        format!("{own} in {}", ids.join(","))
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

/// The accounts that the caller may see: the only way to them for a page or an operation.
impl FromRequestParts<State> for Accounts {
    type Rejection = axum::http::StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Self::Rejection> {
        let caller = Caller::from_request_parts(parts, state).await?;
        Ok(Self::within(state.account_ids(), caller.limit().clone()))
    }
}

/// The person who calls, where something is made that is theirs.
impl FromRequestParts<State> for Maker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Self::Rejection> {
        let caller = parts.extensions.get::<Caller>();
        caller
            .and_then(Caller::maker)
            .ok_or_else(Refusal::people_only)
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
