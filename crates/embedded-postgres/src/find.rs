//! Which server programs to use.
//!
//! Every folder is proven before it is chosen, by one harmless command: `initdb --show` starts `postgres --version` beside it,
//! refuses if the two differ, and tells the version and where the extensions are. It runs as the account the server will run
//! as, so a folder that this account cannot reach is found out here too.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::account::Account;
use super::packages::{Package, package_hint};
use super::process;

/// The oldest major version that is served.
const OLDEST: u32 = 14;

/// What the job queue's migrations create; some distributions package them apart from the server.
const EXTENSIONS: [&str; 2] = ["hstore", "pgcrypto"];

/// Where packages put the programs: a folder, the start of the name in it that the version follows, and what is below.
const PLACES: [(&str, &str, &str); 7] = [
    ("/usr/lib/postgresql", "", "bin"), // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),          // PostgreSQL's own RPMs
    ("/usr/lib", "postgresql", "bin"),  // SUSE
    ("/usr/libexec", "postgresql", ""), // Alpine
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    pub postgres: PathBuf,
    pub initdb: PathBuf,
    pub major: u32,
}

/// The programs in `bin_dir`, else the first on `PATH`, else the newest in the usual places, else those of this checkout, that can run our
/// database.
///
/// `data_major` is the version that made the data, if there are any: only the same major can read them.
pub fn programs(
    bin_dir: Option<&Path>,
    account: Option<&Account>,
    data_major: Option<u32>,
) -> Result<Programs> {
    let candidates = match bin_dir {
        Some(dir) => vec![dir.to_path_buf()],
        None => folders_with("postgres"),
    };
    first_usable(&candidates, account, data_major)
}

/// Where a program of PostgreSQL is: on `PATH`, in the usual places with the newest first, in this checkout.
pub fn folders_with(program: &str) -> Vec<PathBuf> {
    on_path(program)
        .into_iter()
        .chain(in_usual_places(program))
        .chain(in_checkout(program))
        .collect()
}

fn first_usable(
    candidates: &[PathBuf],
    account: Option<&Account>,
    data_major: Option<u32>,
) -> Result<Programs> {
    let mut refused = Vec::new();
    for dir in candidates {
        match probe(dir, account, data_major) {
            Ok(programs) => return Ok(programs),
            Err(reason) => refused.push(format!("\n  {}: {reason}", dir.display())),
        }
    }
    let hint = package_hint(Package::Server);
    let what = match data_major {
        Some(major) => format!("PostgreSQL {major} (the data here were made by it)"),
        None => format!("PostgreSQL, version {OLDEST} or newer with its contrib extensions,"),
    };
    let refused = if refused.is_empty() {
        " none in PATH or the usual places".into()
    } else {
        refused.concat()
    };
    bail!(
        "{what} was not found. Install it ({hint}), or set DATABASE_URL to use a server of yours. Looked at:{refused}"
    )
}

fn on_path(program: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .filter(|dir| dir.is_absolute() && dir.join(program).is_file())
        .collect()
}

fn in_usual_places(program: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for (parent, prefix, below) in PLACES {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix));
            let Some(version) = version.and_then(folder_version) else {
                continue;
            };
            let dir = entry.path().join(below);
            if dir.join(program).is_file() {
                found.push((version, dir));
            }
        }
    }
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// Where `scripts/postgres` unpacks them; cargo says where that is.
fn in_checkout(program: &str) -> Option<PathBuf> {
    let dir = PathBuf::from(env::var_os("POSTGRES_IN_CHECKOUT")?);
    dir.join(program).is_file().then_some(dir)
}

/// `17` of `17` or `17.2`; an unversioned folder comes last.
fn folder_version(text: &str) -> Option<u32> {
    if text.is_empty() {
        return Some(0);
    }
    leading_number(text)
}

pub fn leading_number(text: &str) -> Option<u32> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

/// The programs in `dir`, or why not.
fn probe(
    dir: &Path,
    account: Option<&Account>,
    data_major: Option<u32>,
) -> Result<Programs, String> {
    let dir = std::path::absolute(dir).map_err(|error| error.to_string())?;
    let (postgres, initdb) = (dir.join("postgres"), dir.join("initdb"));
    for (program, name) in [(&postgres, "postgres"), (&initdb, "initdb")] {
        if !program.is_file() {
            return Err(format!("no {name} there"));
        }
    }
    let mut show = process::command(&initdb, account);
    show.args(["--show", "-D", "/nonexistent", "-U", "postgres"])
        .args(["-E", "UTF8", "--no-locale"]);
    let shown = process::run(&mut show).map_err(|error| match account {
        Some(account) => format!("initdb does not start as {}: {error}", account.name),
        None => format!("initdb does not start: {error}"),
    })?;
    // `--show` writes to standard error.
    let shown_text = String::from_utf8_lossy(&shown.stderr);
    if !shown.status.success() {
        return Err(format!("initdb does not run: {}", shown_text.trim()));
    }
    let (major, share) = version_and_share(&shown_text)
        .ok_or_else(|| "initdb does not tell its version".to_owned())?;
    if let Some(wanted) = data_major.filter(|wanted| *wanted != major) {
        return Err(format!("is version {major}, not {wanted}"));
    }
    if major < OLDEST {
        return Err(format!("version {major} is older than {OLDEST}"));
    }
    for name in EXTENSIONS {
        if !share.join(format!("extension/{name}.control")).is_file() {
            return Err(format!(
                "the extension {name} is missing (package postgresql-contrib)"
            ));
        }
    }
    Ok(Programs {
        postgres,
        initdb,
        major,
    })
}

fn version_and_share(shown: &str) -> Option<(u32, PathBuf)> {
    let value = |key| shown.lines().find_map(|line| line.strip_prefix(key));
    let major = leading_number(value("VERSION=")?)?;
    Some((major, PathBuf::from(value("share_path=")?)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// A folder with programs that are shell scripts; removed at the end.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str, shows: &str) -> Self {
            let dir = Path::new("/tmp").join(format!("unread-find-{}-{name}", std::process::id()));
            fs::create_dir_all(dir.join("extension")).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
            let shows = shows.replace("{dir}", &dir.display().to_string());
            for program in ["postgres", "initdb"] {
                // Written by a shell: a program that this process had open for writing cannot be run while another test's
                // child, forked meanwhile, still holds that handle ("text file busy").
                let script = format!("#!/bin/sh\nprintf '{shows}' >&2\n");
                let file = dir.join(program);
                let written = Command::new("/bin/sh")
                    .args(["-c", "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"", "sh"])
                    .arg(script)
                    .arg(file)
                    .status();
                assert!(written.unwrap().success());
            }
            Self(dir)
        }

        fn with_extensions(self) -> Self {
            for name in EXTENSIONS {
                fs::write(self.0.join(format!("extension/{name}.control")), "").unwrap();
            }
            self
        }

        fn refusal(&self, data_major: Option<u32>) -> String {
            let account = Account::for_data(Path::new("/nonexistent")).unwrap();
            probe(&self.0, account.as_ref(), data_major).unwrap_err()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_initdb_shows_is_read_for_releases_and_pre_releases() {
        for (version, major) in [("15.18 (Debian 15.18-0+deb12u1)", 15), ("18beta1", 18)] {
            let shown =
                format!("VERSION={version}\nPGDATA=/x\nshare_path=/usr/share/pg\nPGPATH=/y\n");
            assert_eq!(
                version_and_share(&shown),
                Some((major, "/usr/share/pg".into()))
            );
        }
        for shown in [
            "",
            "VERSION=15",
            "VERSION=\nshare_path=/x",
            "share_path=/x\n",
        ] {
            assert_eq!(version_and_share(shown), None, "{shown}");
        }
    }

    #[test]
    fn folders_are_ordered_by_their_leading_number() {
        for (text, version) in [
            ("17", Some(17)),
            ("9.6", Some(9)),
            ("", Some(0)),
            ("latest", None),
        ] {
            assert_eq!(folder_version(text), version, "{text}");
        }
    }

    #[test]
    fn programs_that_cannot_serve_are_refused_with_the_reason() {
        let old = Fake::new("old", "VERSION=13.9\\nshare_path={dir}\\n").with_extensions();
        assert_eq!(old.refusal(None), "version 13 is older than 14");
        let bare = Fake::new("bare", "VERSION=16.1\\nshare_path={dir}\\n");
        assert_eq!(
            bare.refusal(None),
            "the extension hstore is missing (package postgresql-contrib)"
        );
        let other = Fake::new("other", "VERSION=16.1\\nshare_path={dir}\\n").with_extensions();
        assert_eq!(other.refusal(Some(15)), "is version 16, not 15");
        let mute = Fake::new("mute", "hello\\n");
        assert_eq!(mute.refusal(None), "initdb does not tell its version");
        fs::remove_file(mute.0.join("initdb")).unwrap();
        assert_eq!(mute.refusal(None), "no initdb there");
    }

    #[test]
    fn an_unusable_folder_is_skipped_for_the_next() {
        let bare = Fake::new("skip-bare", "VERSION=16.1\\nshare_path={dir}\\n");
        let good = Fake::new("skip-good", "VERSION=17.2\\nshare_path={dir}\\n").with_extensions();
        let account = Account::for_data(Path::new("/nonexistent")).unwrap();
        let candidates = ["/nonexistent".into(), bare.0.clone(), good.0.clone()];
        let found = first_usable(&candidates, account.as_ref(), None).unwrap();
        assert_eq!((found.postgres.parent(), found.major), (Some(&*good.0), 17));
    }

    #[test]
    fn when_nothing_serves_the_error_names_the_package_and_every_folder() {
        let error = first_usable(&["/nonexistent/bin".into()], None, None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("Install it ("), "{error}");
        assert!(error.contains("DATABASE_URL"), "{error}");
        assert!(
            error.contains("/nonexistent/bin: no postgres there"),
            "{error}"
        );
        let error = first_usable(&[], None, Some(12)).unwrap_err().to_string();
        assert!(
            error.starts_with("PostgreSQL 12 (the data here were made by it)"),
            "{error}"
        );
    }
}
