//! PostgreSQL's client programs: which to use, how they find the database, and how they are stopped.
//!
//! `pg_dump` refuses a server that is newer than itself, and what a newer one writes an older server may not understand: the
//! programs of the server's own version come first, then the oldest that are newer.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use percent_encoding::percent_decode_str;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::find::{folders_with, leading_number};
use super::packages::{Package, package_hint};
use super::process::{self, Signal};

/// What a folder must have to serve.
const PROGRAMS: [&str; 3] = ["pg_dump", "pg_restore", "psql"];

/// From here on libpq knows the system's certificates by the word `system`.
const KNOWS_SYSTEM_CERTIFICATES: u32 = 16;

/// Where older ones find them: Debian's place, then Red Hat's.
const SYSTEM_CERTIFICATES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// `pg_dump`, `pg_restore` and `psql` of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    dir: PathBuf,
    pub major: u32,
}

impl Clients {
    /// The programs for a server of this major version. Those in `bin_dir` are looked at first, but the server's programs may be
    /// there without these.
    pub fn find(bin_dir: Option<&Path>, server_major: u32) -> Result<Self> {
        let folders = bin_dir.map(Path::to_path_buf).into_iter();
        let folders = folders.chain(folders_with("pg_dump"));
        Self::choose(folders.filter_map(|dir| Self::probe(&dir)), server_major)
    }

    fn choose(found: impl Iterator<Item = Self>, server_major: u32) -> Result<Self> {
        let found: Vec<Self> = found.collect();
        let fitting = found.iter().filter(|one| one.major >= server_major);
        // Of several of one version the first.
        if let Some(best) = fitting.min_by_key(|one| one.major) {
            return Ok(best.clone());
        }
        let hint = package_hint(Package::Clients);
        match found.iter().max_by_key(|one| one.major) {
            None => bail!(
                "pg_dump, pg_restore and psql were not found. Install PostgreSQL's client programs, version {server_major} or newer \
                 ({hint}), or set UNREAD_POSTGRES_BIN to their folder"
            ),
            Some(newest) => bail!(
                "the server is PostgreSQL {server_major}, and the newest pg_dump here is of version {} ({}), which cannot read it. \
                 Install PostgreSQL's client programs, version {server_major} or newer ({hint}), or set UNREAD_POSTGRES_BIN to \
                 their folder",
                newest.major,
                newest.dir.display()
            ),
        }
    }

    fn probe(dir: &Path) -> Option<Self> {
        let dir = std::path::absolute(dir).ok()?;
        if !PROGRAMS.iter().all(|name| dir.join(name).is_file()) {
            return None;
        }
        let mut version = process::command(&dir.join("pg_dump"), None);
        let shown = process::run(version.arg("--version")).ok()?;
        let major = major(&String::from_utf8_lossy(&shown.stdout))?;
        Some(Self { dir, major })
    }

    /// One of the programs, about to talk to the database.
    pub fn command(&self, program: &str, address: &Address) -> Command {
        let mut command = self.offline(program);
        command.envs(address.environment(self.major));
        command
    }

    /// One of the programs, about to talk to nobody.
    pub fn offline(&self, program: &str) -> Command {
        process::command(&self.dir.join(program), None)
    }
}

/// `15` of `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major(shown: &str) -> Option<u32> {
    let (_, version) = shown.split_once("(PostgreSQL) ")?;
    leading_number(version)
}

/// Where the database is, for PostgreSQL's own programs: as variables of the environment, since everybody on the machine can read
/// the arguments of a process.
#[derive(Clone)]
pub struct Address {
    variables: Vec<(&'static str, OsString)>,
    /// Certificates are checked, and nobody said against which.
    checks_against_system: bool,
}

/// No password shows itself.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").finish_non_exhaustive()
    }
}

/// What the driver takes from the environment where the address is silent, and PostgreSQL's programs do as well; `HOME` is where
/// both find a `.pgpass`.
const PASSED_ON: [&str; 6] = [
    "HOME",
    "PGPASSFILE",
    "PGPASSWORD",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLROOTCERT",
];

impl Address {
    /// A database behind a socket that needs no password.
    pub fn of_socket(options: &PgConnectOptions) -> Self {
        Self {
            variables: plain(options),
            checks_against_system: false,
        }
    }

    /// The database that the driver reaches at this address.
    pub fn of_url(url: &str) -> Result<Self> {
        let (Ok(options), Ok(parsed)) = (url.parse::<PgConnectOptions>(), Url::parse(url)) else {
            bail!("DATABASE_URL is not a PostgreSQL URL");
        };
        let mut variables: Vec<(&'static str, OsString)> = PASSED_ON
            .into_iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)))
            .collect();
        variables.extend(plain(&options));
        if let Some(password) = parsed.password() {
            let password = percent_decode_str(password).decode_utf8_lossy();
            variables.push(("PGPASSWORD", password.into_owned().into()));
        }
        for (key, value) in parsed.query_pairs() {
            let file = || std::path::absolute(&*value).map(PathBuf::into_os_string);
            match &*key {
                "password" => variables.push(("PGPASSWORD", value.into_owned().into())),
                "sslrootcert" | "ssl-root-cert" | "ssl-ca" => {
                    variables.push(("PGSSLROOTCERT", file()?));
                }
                "sslcert" | "ssl-cert" => variables.push(("PGSSLCERT", file()?)),
                "sslkey" | "ssl-key" => variables.push(("PGSSLKEY", file()?)),
                _ => {}
            }
        }
        let checks = matches!(
            options.get_ssl_mode(),
            PgSslMode::VerifyCa | PgSslMode::VerifyFull
        );
        let names_root = variables.iter().any(|(name, _)| *name == "PGSSLROOTCERT");
        Ok(Self {
            variables,
            checks_against_system: checks && !names_root,
        })
    }

    fn environment(&self, client_major: u32) -> Vec<(&'static str, OsString)> {
        let mut variables = self.variables.clone();
        variables.push(("PGAPPNAME", "unread backup".into()));
        if self.checks_against_system {
            let root = system_certificates(client_major, |file| Path::new(file).is_file());
            variables.extend(root.map(|root| ("PGSSLROOTCERT", root.into())));
        }
        variables
    }
}

/// The driver trusts the system's certificates by itself; PostgreSQL's programs must be told to.
fn system_certificates(client_major: u32, is_there: impl Fn(&str) -> bool) -> Option<&'static str> {
    if client_major >= KNOWS_SYSTEM_CERTIFICATES {
        return Some("system");
    }
    SYSTEM_CERTIFICATES.into_iter().find(|file| is_there(file))
}

/// What the driver tells of its options; it keeps the password to itself.
fn plain(options: &PgConnectOptions) -> Vec<(&'static str, OsString)> {
    let host = match options.get_socket() {
        Some(folder) => folder.clone().into_os_string(),
        // The driver has the brackets of the address, libpq none.
        None => OsStr::new(options.get_host().trim_matches(['[', ']'])).to_owned(),
    };
    let ssl_mode = match options.get_ssl_mode() {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    };
    let mut variables = vec![
        ("PGHOST", host),
        ("PGPORT", options.get_port().to_string().into()),
        ("PGUSER", options.get_username().into()),
        ("PGSSLMODE", ssl_mode.into()),
    ];
    if let Some(database) = options.get_database() {
        variables.push(("PGDATABASE", database.into()));
    }
    if let Some(more) = options.get_options() {
        variables.push(("PGOPTIONS", more.into()));
    }
    variables
}

/// Children that another thread may stop.
#[derive(Clone, Debug, Default)]
pub struct Children(Arc<Mutex<Stoppable>>);

#[derive(Debug, Default)]
struct Stoppable {
    stopped: bool,
    running: Vec<u32>,
}

impl Children {
    /// Interrupts those that run; no other is started.
    pub fn stop(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.stopped = true;
        for pid in &all.running {
            process::signal(*pid, Signal::Interrupt);
        }
    }

    /// Starts a child and does with it what is to be done, its wait included: the thread that spawns a child must outlive it.
    pub fn with<T>(
        &self,
        command: &mut Command,
        work: impl FnOnce(&mut Child) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut child = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.stopped {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "stopped"));
            }
            let child = command.spawn()?;
            all.running.push(child.id());
            child
        };
        let done = work(&mut child);
        // Ended already, unless the work failed before it waited.
        if done.is_err() {
            let _ = child.kill();
        }
        let waited = child.wait();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.running.retain(|pid| *pid != child.id());
        waited.and(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(major: u32, dir: &str) -> Clients {
        Clients {
            dir: dir.into(),
            major,
        }
    }

    #[test]
    fn the_server_s_own_version_comes_first_then_the_oldest_newer_one() {
        let found = [of(18, "/a"), of(15, "/b"), of(17, "/c"), of(15, "/d")];
        for (server, chosen) in [(14, "/b"), (15, "/b"), (16, "/c"), (17, "/c"), (18, "/a")] {
            let best = Clients::choose(found.iter().cloned(), server).unwrap();
            assert_eq!(best.dir, Path::new(chosen), "{server}");
        }
    }

    #[test]
    fn what_is_missing_or_too_old_is_named_with_its_package() {
        let none = Clients::choose(std::iter::empty(), 16).unwrap_err();
        let none = none.to_string();
        assert!(
            none.contains("pg_dump, pg_restore and psql were not found"),
            "{none}"
        );
        assert!(none.contains(package_hint(Package::Clients)), "{none}");
        let old = [of(14, "/old/bin"), of(13, "/older/bin")];
        let old = Clients::choose(old.into_iter(), 16)
            .unwrap_err()
            .to_string();
        for part in [
            "PostgreSQL 16",
            "of version 14 (/old/bin)",
            "UNREAD_POSTGRES_BIN",
        ] {
            assert!(old.contains(part), "{old}");
        }
    }

    #[test]
    fn a_program_s_version_is_read() {
        for (shown, version) in [
            (
                "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                Some(15),
            ),
            ("pg_dump (PostgreSQL) 18beta1\n", Some(18)),
            ("pg_dump 15\n", None),
            ("", None),
        ] {
            assert_eq!(major(shown), version, "{shown}");
        }
    }

    fn variable(address: &Address, name: &str) -> Option<String> {
        let all = address.environment(15);
        let last = all.iter().rfind(|(key, _)| *key == name);
        last.map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_address_becomes_variables_and_shows_no_password() {
        let url = "postgres://ann:p%40ss%2Fw@[::1]:6543/my%20db?sslmode=verify-full&sslrootcert=/etc/root.pem&options=-c%20a%3Db";
        let address = Address::of_url(url).unwrap();
        for (name, value) in [
            ("PGHOST", "::1"),
            ("PGPORT", "6543"),
            ("PGUSER", "ann"),
            ("PGPASSWORD", "p@ss/w"),
            ("PGDATABASE", "my db"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/etc/root.pem"),
            ("PGOPTIONS", "-c a=b"),
        ] {
            assert_eq!(variable(&address, name).as_deref(), Some(value), "{name}");
        }
        let shown = format!("{address:?}");
        assert!(!shown.contains("p@ss") && !shown.contains("ann"), "{shown}");
        let in_query = "postgres://h/d?host=/run/pg&password=word&user=ben";
        let address = Address::of_url(in_query).unwrap();
        assert_eq!(variable(&address, "PGHOST").as_deref(), Some("/run/pg"));
        assert_eq!(variable(&address, "PGPASSWORD").as_deref(), Some("word"));
        assert_eq!(variable(&address, "PGUSER").as_deref(), Some("ben"));
    }

    #[test]
    fn the_system_s_certificates_are_named_in_the_words_of_the_version() {
        assert_eq!(system_certificates(16, |_| false), Some("system"));
        assert_eq!(system_certificates(15, |_| false), None);
        let red_hat = |file: &str| file.starts_with("/etc/pki");
        assert_eq!(
            system_certificates(15, red_hat),
            Some("/etc/pki/tls/certs/ca-bundle.crt")
        );
    }

    #[test]
    fn children_are_stopped_from_another_thread_and_none_is_started_after() {
        let children = Children::default();
        let stop = children.clone();
        let mut sleep = process::command(Path::new("/bin/sleep"), None);
        let ended = children.with(sleep.arg("600"), |child| {
            stop.stop();
            child.wait()
        });
        assert!(!ended.unwrap().success());
        let mut other = process::command(Path::new("/bin/true"), None);
        let refused = children.with(&mut other, Child::wait).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Interrupted);
    }
}
