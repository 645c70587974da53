//! Which crate of ours may lean on which.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates beside the root's, and which of ours each may depend on.
const MAY_DEPEND: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("embedded-postgres", &[]),
    ("queue", &["unread-clock", "unread-trace"]),
    // A second implementation of the outside world: what it shared with the first could be wrong twice.
    ("sandbox", &[]),
    ("trace", &[]),
];

/// The folders of the crates beside the root's.
pub fn members() -> Vec<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let entries = fs::read_dir(crates).expect("crates is readable");
    let folders = entries.map(|entry| entry.expect("crates is readable").path());
    folders.collect()
}

/// The compiler keeps a crate from what it does not depend on; a line in its manifest would be enough to let it in.
#[test]
fn every_crate_leans_only_on_those_that_it_may() {
    let table: BTreeMap<_, _> = MAY_DEPEND.iter().copied().collect();
    let names = members().into_iter().map(|member| {
        let name = member.file_name().expect("a folder has a name");
        name.to_string_lossy().into_owned()
    });
    let names: Vec<String> = names.collect();
    assert_eq!(names.len(), table.len(), "{names:?}");
    for (member, name) in members().iter().zip(&names) {
        let manifest = fs::read_to_string(member.join("Cargo.toml")).expect("a crate");
        let manifest: toml::Table = manifest.parse().expect("a manifest");
        let allowed = table.get(name.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("{name} has no row in MAY_DEPEND"));
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let section = manifest.get(kind).and_then(toml::Value::as_table);
            for (crate_of_ours, settings) in section.into_iter().flatten() {
                let is_ours = settings.get("path").is_some();
                assert!(
                    !is_ours || allowed.contains(&crate_of_ours.as_str()),
                    "{name} must not depend on {crate_of_ours}"
                );
                assert!(
                    !crate_of_ours.starts_with("unread") || is_ours,
                    "{name}: {crate_of_ours} is named by its path"
                );
            }
        }
    }
}
