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
