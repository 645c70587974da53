//! Who asks, and whether they may: logins, sessions, tokens of programs, and the table in which every route of the dashboard and of
//! the config API stands with what it needs.
//!
//! There is one way to serve something here: a row of the [`RouteTable`]. Its guard runs before the handler, so that no handler can
//! forget to ask who is calling, nor whether a form came from our own page.

pub mod csrf;
mod described;
pub mod guard;
mod idempotency;
pub mod issuer;
pub mod lookups;
mod refused;
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

use super::AppState;
use super::limiter::Limiter;
use super::problem::ApiError;
use crate::config;
use crate::control::accounts::Accounts;
use crate::control::tokens::Maker;
use crate::domain::access::{AccountLimit, Permission, Role};
use crate::domain::ids::AccountId;
use crate::metrics::AccessOutcome;

pub use self::guard::is_by_itself;
pub use self::idempotency::Unrepeatable;
pub use self::session::BrowserSession;
pub use self::table::{API_ROOT, Route, RouteAccess, RouteTable};
pub use self::tries::{LoginRefusal, PasswordTry, code as try_code, password as try_password};
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
    pub sso: Option<issuer::OidcIssuer>,
    /// Requests by caller, and by address of those who are not let in.
    caller_limit: Limiter<(bool, i64)>,
    pub anonymous_limit: Limiter<IpAddr>,
    /// Sessions and tokens, before they are looked up.
    pub lookups: lookups::CredentialLookups,
    /// Requests of pages that nobody has to be logged in for, by address.
    open: Limiter<IpAddr>,
    /// Of logins, before anything is asked of the database.
    tries: tries::Tries,
    refusals: refused::Refusals,
}

impl Access {
    pub fn new(web: &config::Web, sso: Option<issuer::OidcIssuer>) -> Self {
        Self {
            idle: TimeDelta::from_std(web.session_idle).unwrap_or(TimeDelta::hours(2)),
            longest: TimeDelta::from_std(web.session_longest).unwrap_or(TimeDelta::hours(12)),
            secure: web.dashboard_url.scheme() == "https",
            origin: web.dashboard_url.origin().ascii_serialization(),
            passwords: web.passwords,
            sso,
            caller_limit: Limiter::new(20.0, 200.0, REMEMBERED),
            anonymous_limit: Limiter::new(1.0, 60.0, REMEMBERED),
            lookups: lookups::CredentialLookups::new(REMEMBERED),
            open: Limiter::new(OPEN.0, OPEN.1, REMEMBERED),
            tries: tries::Tries::new(REMEMBERED),
            refusals: refused::Refusals::new(REMEMBERED),
        }
    }
}

impl AppState {
    /// Counts and logs that somebody was not let in. `name`: of a person or a token that exists.
    pub fn refused(&self, outcome: AccessOutcome, from: IpAddr, name: Option<&str>) {
        let refusals = &self.access.refusals;
        refusals.note(&self.metrics, outcome, from, name);
    }
}

/// Who is let in.
#[derive(Clone, Debug)]
pub struct Caller(Arc<CallerIdentity>);

#[derive(Debug)]
enum CallerIdentity {
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
        Self(Arc::new(CallerIdentity::Person {
            id,
            name,
            role,
            limit,
        }))
    }

    fn program(id: i64, name: &str, scopes: Vec<Permission>, limit: AccountLimit) -> Self {
        let by = format!("token {name}");
        Self(Arc::new(CallerIdentity::Program {
            id,
            by,
            scopes,
            limit,
        }))
    }

    /// The accounts that the caller is limited to.
    pub fn limit(&self) -> &AccountLimit {
        match &*self.0 {
            CallerIdentity::Person { limit, .. } | CallerIdentity::Program { limit, .. } => limit,
        }
    }

    pub fn may(&self, permission: Permission) -> bool {
        match &*self.0 {
            CallerIdentity::Person { role, .. } => role.may(permission),
            CallerIdentity::Program { scopes, .. } => scopes.contains(&permission),
        }
    }

    /// As the audit trail names them: a login name, or `token …`.
    pub fn by(&self) -> &str {
        match &*self.0 {
            CallerIdentity::Person { name, .. } => name,
            CallerIdentity::Program { by, .. } => by,
        }
    }

    /// The person's id, unless a program calls.
    pub fn user(&self) -> Option<i64> {
        match &*self.0 {
            CallerIdentity::Person { id, .. } => Some(*id),
            CallerIdentity::Program { .. } => None,
        }
    }

    /// The person as the maker of a token, unless a program calls.
    pub fn maker(&self) -> Option<Maker> {
        match &*self.0 {
            CallerIdentity::Person { id, name, role, .. } => Some(Maker {
                id: *id,
                name: name.clone(),
                role: *role,
            }),
            CallerIdentity::Program { .. } => None,
        }
    }

    pub fn role(&self) -> Option<Role> {
        match &*self.0 {
            CallerIdentity::Person { role, .. } => Some(*role),
            CallerIdentity::Program { .. } => None,
        }
    }

    /// Whose an idempotency key is. An answer of when the caller saw more is not repeated.
    fn key_word(&self) -> String {
        let own = match &*self.0 {
            CallerIdentity::Person { id, .. } => format!("user {id}"),
            CallerIdentity::Program { id, .. } => format!("token {id}"),
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
            CallerIdentity::Person { id, .. } => (true, *id),
            CallerIdentity::Program { id, .. } => (false, *id),
        }
    }
}

/// Every route behind a guard has a caller; one without a guard has no business to ask.
impl FromRequestParts<AppState> for Caller {
    type Rejection = axum::http::StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Self::Rejection> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The accounts that the caller may see: the only way to them for a page or an operation.
impl FromRequestParts<AppState> for Accounts {
    type Rejection = axum::http::StatusCode;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &AppState,
    ) -> Result<Self, Self::Rejection> {
        let caller = Caller::from_request_parts(parts, state).await?;
        Ok(Self::within(state.account_ids(), caller.limit().clone()))
    }
}

/// The person who calls, where something is made that is theirs.
impl FromRequestParts<AppState> for Maker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Self::Rejection> {
        let caller = parts.extensions.get::<Caller>();
        caller
            .and_then(Caller::maker)
            .ok_or_else(ApiError::people_only)
    }
}

/// The session of a caller who is a person.
impl FromRequestParts<AppState> for BrowserSession {
    type Rejection = axum::http::StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Self::Rejection> {
        let session = parts.extensions.get::<Self>().cloned();
        session.ok_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The path and query that were asked for, on this site.
#[derive(Clone, Debug)]
pub struct RequestedPath(pub String);

impl FromRequestParts<AppState> for RequestedPath {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Infallible> {
        let asked = parts.uri.path_and_query();
        Ok(Self(
            asked.map_or_else(|| "/".to_owned(), ToString::to_string),
        ))
    }
}
