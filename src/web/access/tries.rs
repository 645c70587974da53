//! Trying a password: the limits in this process, and what is left behind by those who are held up.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::http::{StatusCode, header};
use axum::response::Response;

use super::Visitor;
use crate::control::ControlError;
use crate::control::logins::{self, CredentialCheck, LoginAttempt, LoginLimit, Throttled};
use crate::control::second_factor::FactorProof;
use crate::hashing;
use crate::metrics::AccessOutcome;
use crate::secret::Secret;
use crate::web::AppState;
use crate::web::limiter::Limiter;

/// What came of trying a password.
pub enum PasswordTry {
    /// It is this person's.
    Good { user: i64 },
    /// It did not help, and what to say about it.
    Not(LoginRefusal),
}

/// Why a password was not taken, for whoever typed it.
pub enum LoginRefusal {
    Wrong,
    Later(Duration),
    /// Too many are at it.
    Busy(String),
}

/// Tries a password for a name: on the page of the login, and wherever else somebody is asked for it. Counted, limited and left on record
/// in the same way everywhere.
pub async fn password(
    state: &AppState,
    visitor: &Visitor,
    given_name: &str,
    password: &Secret,
) -> Result<PasswordTry, ControlError> {
    let name = logins::name(given_name);
    let device = visitor.device(&state.access, &name);
    let attempt = LoginAttempt::new(&state.hasher, &name, visitor.from, device);
    let now = state.clock.now();
    let checked = match admit(state, &attempt).await? {
        Ok(counted) => logins::check(&state.pool, &attempt, counted, password, now).await,
        Err(held) => Ok(CredentialCheck::Later(held)),
    };
    settle(state, &attempt, AccessOutcome::WrongPassword, checked).await
}

/// Tries a code of the second factor, likewise. What was shown, if it was good.
pub async fn code(
    state: &AppState,
    visitor: &Visitor,
    name: &str,
    code: &str,
) -> Result<(PasswordTry, Option<FactorProof>), ControlError> {
    let device = visitor.device(&state.access, name);
    let attempt = LoginAttempt::new(&state.hasher, name, visitor.from, device);
    let (pool, hasher, now) = (&state.pool, &state.hasher, state.clock.now());
    let (checked, shown) = match admit(state, &attempt).await? {
        Ok(counted) => logins::check_code(pool, hasher, &attempt, counted, code, now).await?,
        Err(held) => (CredentialCheck::Later(held), None),
    };
    let tried = settle(state, &attempt, AccessOutcome::WrongCode, Ok(checked)).await?;
    Ok((tried, shown))
}

/// What is left behind by a try, and what is said of it.
async fn settle(
    state: &AppState,
    attempt: &LoginAttempt<'_>,
    wrong: AccessOutcome,
    checked: Result<CredentialCheck, ControlError>,
) -> Result<PasswordTry, ControlError> {
    match checked {
        Ok(CredentialCheck::Good { user }) => {
            state.access.tries.clear(attempt, Instant::now());
            Ok(PasswordTry::Good { user })
        }
        Ok(CredentialCheck::Wrong { name }) => {
            state.refused(wrong, attempt.from, name.as_deref());
            Ok(PasswordTry::Not(LoginRefusal::Wrong))
        }
        Ok(CredentialCheck::Later(held)) => {
            note_too_many(state, attempt.name, attempt.from, held).await?;
            Ok(PasswordTry::Not(LoginRefusal::Later(held.wait())))
        }
        Err(ControlError::Unavailable(why)) => Ok(PasswordTry::Not(LoginRefusal::Busy(why))),
        Err(error) => Err(error),
    }
}

/// Whether a try is looked at, and by which limit it is counted: who comes from a device or a network that is known as this person's is not
/// held up by what strangers try. A known device comes before everything else, also before what others behind its address have used up;
/// how often somebody may claim to be one is limited with all that is asked before a login.
async fn admit(
    state: &AppState,
    attempt: &LoginAttempt<'_>,
) -> Result<Result<LoginLimit, Throttled>, ControlError> {
    let (tries, pool, now) = (&state.access.tries, &state.pool, state.clock.now());
    if let Some(device) = attempt.device
        && attempt.is_from_known_device(pool, now).await?
    {
        let held = tries.of_device.pass(shortened(device), Instant::now());
        return Ok(held.map(|()| LoginLimit::Device).map_err(Throttled::Name));
    }
    let held = tries.of_address.pass(attempt.from, Instant::now());
    if let Err(wait) = held {
        return Ok(Err(Throttled::Address(wait)));
    }
    let of_both = tries.of_both.pass(attempt.network, Instant::now());
    if let Err(wait) = of_both {
        return Ok(Err(Throttled::Name(wait)));
    }
    match tries.of_name.pass(short(attempt.name), Instant::now()) {
        Ok(()) => Ok(Ok(LoginLimit::Name)),
        // The limit of both has counted it.
        Err(_) if attempt.is_from_known_network(pool, now).await? => Ok(Ok(LoginLimit::Network)),
        Err(wait) => Ok(Err(Throttled::Name(wait))),
    }
}

impl LoginRefusal {
    /// The answer with a page, which is told its status.
    pub fn answer(&self, page: impl FnOnce(StatusCode) -> Response) -> Response {
        match self {
            Self::Wrong => page(StatusCode::UNAUTHORIZED),
            Self::Busy(_) => page(StatusCode::SERVICE_UNAVAILABLE),
            Self::Later(wait) => {
                let mut response = page(StatusCode::TOO_MANY_REQUESTS);
                let seconds = wait.as_secs().saturating_add(1);
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, seconds.into());
                response
            }
        }
    }

    /// Whether the same may be good later.
    pub fn is_wait(&self) -> bool {
        !matches!(self, Self::Wrong)
    }

    /// For the page on which it was typed.
    pub fn message(&self, wrong: &str) -> String {
        match self {
            Self::Wrong => wrong.to_owned(),
            Self::Later(wait) => {
                format!(
                    "Too many attempts. Try again in {} min.",
                    wait.as_secs() / 60 + 1
                )
            }
            Self::Busy(why) => format!("There are {why}."),
        }
    }
}

/// Leaves a trace of tries that are not looked at; that somebody's name is locked is on record, once in a while.
async fn note_too_many(
    state: &AppState,
    name: &str,
    from: IpAddr,
    held: Throttled,
) -> Result<(), ControlError> {
    let now = state.clock.now();
    let anew = matches!(held, Throttled::Name(_)) && state.access.tries.is_locked_anew(name);
    let known = if anew {
        logins::locked_out(&state.pool, name, held, now).await?
    } else {
        None
    };
    state.refused(AccessOutcome::TooManyTries, from, known.as_deref());
    Ok(())
}

/// The limits of logins in one process, before anything is asked of the database: see [`logins::FOR_BOTH`]. Names are kept as hashes,
/// since what somebody types may be a password.
pub struct Tries {
    of_address: Limiter<IpAddr>,
    of_name: Limiter<[u8; 16]>,
    /// Of a name from an address.
    of_both: Limiter<[u8; 16]>,
    of_device: Limiter<[u8; 16]>,
    locked: Limiter<[u8; 16]>,
}

impl Tries {
    pub fn new(remembered: usize) -> Self {
        let limiter = |(per_second, burst)| Limiter::new(per_second, burst, remembered);
        Self {
            of_address: Limiter::new(logins::FOR_ADDRESS.0, logins::FOR_ADDRESS.1, remembered),
            of_name: limiter(logins::FOR_NAME),
            of_both: limiter(logins::FOR_BOTH),
            of_device: limiter(logins::FOR_KNOWN),
            locked: limiter((1.0 / LOCK_NOTED_EVERY.as_secs_f64(), 1.0)),
        }
    }

    /// Who has logged in from here may err again.
    fn clear(&self, attempt: &LoginAttempt<'_>, now: Instant) {
        self.of_both.clear(attempt.network, now);
        if let Some(device) = attempt.device {
            self.of_device.clear(shortened(device), now);
        }
    }

    /// Whether nothing was said of it lately.
    fn is_locked_anew(&self, name: &str) -> bool {
        self.locked.pass(short(name), Instant::now()).is_ok()
    }
}

/// Between two entries of the audit trail that the same name is locked.
const LOCK_NOTED_EVERY: Duration = Duration::from_mins(15);

fn short(word: &str) -> [u8; 16] {
    shortened(hashing::digest(word))
}

fn shortened(hash: [u8; 32]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}
