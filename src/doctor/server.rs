//! The way to the database: whether it can be reached, and why not; how many connections there are; whether somebody could read along.

use std::io::ErrorKind;

use futures_util::future::join_all;
use sqlx::postgres::PgConnectOptions;

use super::{Doctor, way};
use crate::config::Config;
use crate::db;
use crate::db::server::ServerFacts;

pub(super) const NO_DATABASE: &str = "Check that PostgreSQL runs and that host, port, database, user and password in DATABASE_URL are right.";
pub(super) const POOLER: &str = "Set the pooler to session mode, or go around it. PgBouncer: pool_mode = session, and ignore_startup_parameters = extra_float_digits.";

impl Doctor<'_> {
    /// Of several servers one takes changes, and another can take over.
    pub(super) async fn servers(&mut self, servers: &[PgConnectOptions]) {
        let answers = join_all(servers.iter().map(db::servers::takes_changes)).await;
        let count = answers.len();
        for (at, answer) in (1..).zip(&answers) {
            if let Err(why) = answer {
                self.warning(
                    "servers",
                    format!("host {at} of {count} is not reached: {why}"),
                    "Start it, or correct the hosts in DATABASE_URL: it cannot take over.",
                );
            }
        }
        let found = |takes| {
            answers
                .iter()
                .filter(|answer| **answer == Ok(takes))
                .count()
        };
        match found(true) {
            0 => self.failed(
                "servers",
                format!("none of the {count} hosts takes changes"),
                "Look which of them is the primary, or promote one.",
            ),
            1 => self.ok("servers", format!("1 takes changes, {} only read", found(false))),
            several => self.failed(
                "servers",
                format!("{several} of the {count} hosts take changes"),
                "They are not one database, or the old primary runs beside its successor: stop it, or correct the hosts in DATABASE_URL.",
            ),
        }
    }

    /// Whether somebody on the way to the server could read along.
    pub(super) fn encryption(&mut self, facts: &ServerFacts) {
        if facts.is_encrypted {
            self.ok("encryption", "TLS");
        } else if facts.is_local {
            self.ok("encryption", "none, on this machine");
        } else {
            self.warning(
                "encryption",
                "the connection to the database is not encrypted",
                "Add ?sslmode=verify-full&sslrootcert=FILE to DATABASE_URL, with the server's root certificate (docs/install.md).",
            );
        }
    }

    /// Whether the server has as many connections as all processes may come to want.
    pub(super) fn connections(&mut self, config: &Config, facts: &ServerFacts) {
        let (allowed, in_use) = (facts.connections, facts.in_use);
        let (who, wanted) = match config.connections_in_all {
            Some(all) => ("all processes may want", all),
            None => ("one process may want", config.database_connections),
        };
        let found =
            format!("the server allows {allowed} in all, {in_use} are in use, {who} {wanted}");
        if i64::from(allowed) < i64::from(wanted) {
            self.failed(
                "connections",
                found,
                "Raise max_connections (and the limits of the role and the database), or lower UNREAD_DATABASE_CONNECTIONS or the number of processes.",
            );
        } else {
            self.ok("connections", found);
        }
    }
}

/// Why the database could not be asked, without the address (it holds a password), and the fix.
pub(super) fn unreachable(error: &sqlx::Error) -> (String, String) {
    if let Some(obstacle) = way::of_certificate(error) {
        return (format!("not reached: {}", obstacle.found), obstacle.fix);
    }
    let Some(told) = error.as_database_error() else {
        return (
            format!("not reached: {}", without_pool(error)),
            fix_of_way(error).to_owned(),
        );
    };
    let fix = match told.code().as_deref() {
        Some("28P01" | "28000") => {
            "Correct user and password in DATABASE_URL, or let the user in (pg_hba.conf)."
        }
        Some("3D000") => {
            "Create the database (createdb), or correct its name at the end of DATABASE_URL."
        }
        Some("53300") => {
            "The server has no connection left: raise max_connections, or lower UNREAD_DATABASE_CONNECTIONS."
        }
        // What a pooler says that does not know a parameter, or lends a connection with another's prepared statements.
        Some("08P01" | "42P05" | "26000") => POOLER,
        _ => NO_DATABASE,
    };
    (told.message().to_owned(), fix.to_owned())
}

fn without_pool(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::PoolTimedOut => "no answer within five seconds".to_owned(),
        error => error.to_string(),
    }
}

/// What helps where not even the server was reached.
fn fix_of_way(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            "Nothing listens there: start PostgreSQL, or correct host and port in DATABASE_URL."
        }
        sqlx::Error::Io(error) if error.to_string().contains("lookup") => {
            "The host name is unknown: correct it in DATABASE_URL, or check this machine's DNS."
        }
        sqlx::Error::Io(error) if error.kind() == ErrorKind::NotFound => {
            "There is no such socket: start PostgreSQL, or correct the folder in DATABASE_URL."
        }
        sqlx::Error::PoolTimedOut => {
            "Something swallows what is sent: look at firewalls and network policies on the way, and whether the server hangs."
        }
        sqlx::Error::Tls(_) => {
            "Check sslmode and sslrootcert in DATABASE_URL, and whether the server speaks TLS."
        }
        _ => NO_DATABASE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::CheckState;
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_way_on_which_somebody_could_read_along_is_warned_of() {
        for (is_encrypted, is_local, state, found) in [
            (true, false, CheckState::Ok, "TLS"),
            (true, true, CheckState::Ok, "TLS"),
            (false, true, CheckState::Ok, "none, on this machine"),
            (
                false,
                false,
                CheckState::Warning,
                "the connection to the database is not encrypted",
            ),
        ] {
            let facts = ServerFacts {
                version: "15.4".to_owned(),
                version_number: 150_004,
                is_replica: false,
                may_create: true,
                connections: 100,
                in_use: 1,
                is_read_only: false,
                is_encrypted,
                is_local,
                now: Clock::System.now(),
            };
            let mut doctor = Doctor::silent();
            doctor.encryption(&facts);
            let line = &doctor.lines[0];
            assert_eq!((line.state, line.found.as_str()), (state, found));
            assert_eq!(line.fix.is_some(), state == CheckState::Warning);
        }
    }
}
