//! Which build this is: its version, the revision it was made of, the newest migration that it knows.

use std::sync::LazyLock;

use crate::db;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, as whoever built it said in `UNREAD_REVISION`. Nobody has for a build of a working tree, which is of
/// no commit.
pub const REVISION: &str = match option_env!("UNREAD_REVISION") {
    Some(revision) if !revision.is_empty() => revision,
    _ => "unknown",
};

/// All of it, as `--version` prints it.
pub static LONG: LazyLock<String> = LazyLock::new(|| {
    let schema = db::newest_migration();
    format!("{VERSION} (revision {REVISION}, schema {schema})")
});
