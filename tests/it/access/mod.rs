//! Who gets in, and to what: logins, sessions, tokens, and every route of the table.

mod accounts;
mod api;
pub mod document;
mod examples;
mod floods;
mod issuer;
mod lockout;
mod login;
mod matrix;
mod refused;
mod second_factor;
mod sessions;
mod sso;
mod takeover;
mod tokens;

use std::time::Instant;

/// So many tries a limit has granted at most by now: those at once, and one more for each so many seconds. On a slow machine there are some.
fn granted((at_once, seconds): (u64, u64), since: Instant) -> u64 {
    at_once + since.elapsed().as_secs() / seconds
}
