//! Who gets in, and to what: logins, sessions, tokens, and every route of the table.

mod api;
pub mod document;
mod login;
mod matrix;
mod refused;
mod sso;
