//! Who gets in, and to what: logins, sessions, tokens, and every route of the table.

mod matrix;
