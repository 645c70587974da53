//! How PostgreSQL's programs are installed here, in the words of the distribution.

use std::fs;

/// A part of PostgreSQL that distributions package apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// `postgres`, `initdb` and the contrib extensions.
    Server,
    /// `pg_dump`, `pg_restore` and `psql`.
    Clients,
}

/// How to install it here.
pub fn package_hint(package: Package) -> &'static str {
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    package_hint_for(package, &os_release)
}

/// How to install a major version beside another.
pub fn hint_for_major(major: u32) -> String {
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    hint_for_major_on(major, &os_release)
}

fn hint_for_major_on(major: u32, os_release: &str) -> String {
    match package_hint_for(Package::Server, os_release) {
        "apt-get install postgresql" => format!(
            "apt-get install postgresql-{major}, from https://apt.postgresql.org if your release has it no more"
        ),
        "brew install postgresql@17" => format!("brew install postgresql@{major}"),
        _ => format!("its packages for version {major} are at https://www.postgresql.org/download"),
    }
}

/// How to install it, from the text of `/etc/os-release`.
fn package_hint_for(package: Package, os_release: &str) -> &'static str {
    let families: Vec<&str> = os_release
        .lines()
        .filter_map(|line| {
            line.strip_prefix("ID=")
                .or_else(|| line.strip_prefix("ID_LIKE="))
        })
        .flat_map(|value| value.trim_matches('"').split(' '))
        .collect();
    let is = |names: &[&str]| families.iter().any(|family| names.contains(family));
    let (server, clients) = if is(&["debian", "ubuntu"]) {
        (
            "apt-get install postgresql",
            "apt-get install postgresql-client",
        )
    } else if is(&["fedora", "rhel", "centos"]) {
        (
            "dnf install postgresql-server postgresql-contrib",
            "dnf install postgresql",
        )
    } else if is(&["suse", "opensuse"]) {
        (
            "zypper install postgresql-server postgresql-contrib",
            "zypper install postgresql",
        )
    } else if is(&["alpine"]) {
        (
            "apk add postgresql postgresql-contrib",
            "apk add postgresql-client",
        )
    } else if is(&["arch"]) {
        ("pacman -S postgresql", "pacman -S postgresql")
    } else if cfg!(target_os = "macos") {
        ("brew install postgresql@17", "brew install postgresql@17")
    } else {
        (
            "packages postgresql and postgresql-contrib",
            "package postgresql-client",
        )
    };
    match package {
        Package::Server => server,
        Package::Clients => clients,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_named_in_the_words_of_the_distribution() {
        for (text, server, clients) in [
            (
                "ID=debian\n",
                "apt-get install postgresql",
                "apt-get install postgresql-client",
            ),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n",
                "apt-get install postgresql",
                "apt-get install postgresql-client",
            ),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
                "dnf install postgresql-server postgresql-contrib",
                "dnf install postgresql",
            ),
            (
                "ID=alpine\n",
                "apk add postgresql postgresql-contrib",
                "apk add postgresql-client",
            ),
        ] {
            for (package, hint) in [(Package::Server, server), (Package::Clients, clients)] {
                assert_eq!(package_hint_for(package, text), hint, "{text}");
            }
        }
    }

    #[test]
    fn a_version_is_named_where_packages_carry_it_in_their_names() {
        let debian = hint_for_major_on(15, "ID=debian\n");
        assert!(
            debian.starts_with("apt-get install postgresql-15,"),
            "{debian}"
        );
        let fedora = hint_for_major_on(15, "ID=fedora\n");
        assert!(fedora.contains("version 15"), "{fedora}");
    }
}
