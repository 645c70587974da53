//! Who gets in, and to what: logins, sessions, tokens, and every route of the table.

mod api;
mod login;
mod matrix;
mod sso;
