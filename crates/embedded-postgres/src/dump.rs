//! A database into a file, and back.
//!
//! A dump is in PostgreSQL's custom format: compressed, and readable by every newer version. It comes back in one transaction:
//! `pg_restore` alone cannot clear away in it what was there before, so it only writes SQL, which goes to `psql` behind what comes
//! first. `psql` is told to commit when `pg_restore` has said that all went well, and not before.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, NaiveDateTime, Utc};

use super::client::{Address, Children, Clients};

/// How much of what a program says is worth showing.
const MOST_SAID: usize = 2_000;

/// What a dump holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What is in the database since then is not in the dump.
    pub made_at: Option<DateTime<Utc>>,
    /// Without their schemas.
    tables: Vec<String>,
}

impl Contents {
    pub fn has_table(&self, name: &str) -> bool {
        self.tables.iter().any(|table| table == name)
    }

    /// Reads what `pg_restore --list` prints.
    fn parse(list: &str) -> Self {
        let made_at = list.lines().find_map(|line| {
            let at = line.split_once("Archive created at ")?.1.get(..19)?;
            let at = NaiveDateTime::parse_from_str(at, "%Y-%m-%d %H:%M:%S").ok()?;
            Some(at.and_utc())
        });
        // `221; 1259 16402 TABLE public reminders postgres`
        let tables = list.lines().filter_map(|line| {
            let entry: Vec<&str> = line.split(' ').collect();
            match entry[..] {
                [_, _, _, "TABLE", schema, name, ..] if schema != "DATA" => Some(name.to_owned()),
                _ => None,
            }
        });
        Self {
            made_at,
            tables: tables.collect(),
        }
    }
}

impl Clients {
    /// Writes a dump of the database into a file.
    pub fn dump(&self, address: &Address, into: &File, children: &Children) -> Result<()> {
        let mut command = self.command("pg_dump", address);
        command
            .args(["--format=custom", "--no-password"])
            // Something that locks a table for long makes a backup fail, not hang.
            .arg("--lock-wait-timeout=60s")
            .stdout(into.try_clone()?)
            .stderr(Stdio::piped());
        let (status, said) = children
            .with(&mut command, to_the_end)
            .context("cannot run pg_dump")?;
        ensure!(status.success(), "pg_dump failed ({status}):\n{said}");
        Ok(())
    }

    /// Looks at a dump, which also shows whether it is one.
    pub fn contents(&self, dump: &Path) -> Result<Contents> {
        let dump = std::path::absolute(dump)?;
        let mut list = self.offline("pg_restore");
        list.arg("--list").arg(&dump);
        let listed = super::process::run(&mut list).context("cannot run pg_restore")?;
        if !listed.status.success() {
            let said = shortened(&String::from_utf8_lossy(&listed.stderr));
            bail!(
                "{} cannot be read as a dump of PostgreSQL: {said}",
                dump.display()
            );
        }
        Ok(Contents::parse(&String::from_utf8_lossy(&listed.stdout)))
    }

    /// Brings a dump back, after the statements of `first`, in one transaction: everything or nothing.
    pub fn restore(
        &self,
        address: &Address,
        dump: &Path,
        first: &str,
        children: &Children,
    ) -> Result<()> {
        let mut reader = self.offline("pg_restore");
        // Who may do what is a matter of the database that takes it in; comments may be changed by an extension's owner only.
        reader
            .args(["--file=-", "--no-owner", "--no-privileges", "--no-comments"])
            .arg(std::path::absolute(dump)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut writer = self.command("psql", address);
        writer
            .args(["--no-psqlrc", "--quiet", "--no-password"])
            .args(["--set=ON_ERROR_STOP=1"])
            // The details of errors hold what is in the rows.
            .args(["--set=VERBOSITY=terse", "--set=SHOW_CONTEXT=never"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let ended = children.with(&mut writer, |psql| {
            let errors = drained(psql.stderr.take());
            let mut into = psql.stdin.take().ok_or_else(no_pipe)?;
            let begun = into.write_all(
                format!("set client_min_messages = error;\nbegin;\n{first}\n").as_bytes(),
            );
            let read = children.with(&mut reader, |pg_restore| {
                let errors = drained(pg_restore.stderr.take());
                let mut from = pg_restore.stdout.take().ok_or_else(no_pipe)?;
                // That psql has ended early it says itself.
                let copied = begun.and_then(|()| io::copy(&mut from, &mut into));
                drop(from);
                let status = pg_restore.wait()?;
                Ok((status, errors.join().unwrap_or_default(), copied.is_ok()))
            })?;
            if read.0.success() && read.2 {
                // It tells of its failure, if it cannot.
                let _ = into.write_all(b"\ncommit;\n");
            }
            drop(into);
            let status = psql.wait()?;
            Ok((read, status, errors.join().unwrap_or_default()))
        });
        let ((read, reader_said, copied), written, writer_said) =
            ended.context("cannot run pg_restore and psql")?;
        ensure!(
            written.success(),
            "the database refused the dump, and is as it was ({written}):\n{writer_said}"
        );
        ensure!(
            read.success() && copied,
            "pg_restore failed, and the database is as it was ({read}):\n{reader_said}"
        );
        Ok(())
    }
}

fn no_pipe() -> io::Error {
    io::Error::other("the child has no pipe")
}

/// How a child ended, and what it said.
fn to_the_end(child: &mut Child) -> io::Result<(ExitStatus, String)> {
    let errors = drained(child.stderr.take());
    let status = child.wait()?;
    Ok((status, errors.join().unwrap_or_default()))
}

/// Reads beside us what a child says, so that it never waits for us.
fn drained(from: Option<std::process::ChildStderr>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut said);
        }
        shortened(&String::from_utf8_lossy(&said))
    })
}

/// The beginning, which tells of the first thing that went wrong.
fn shortened(said: &str) -> String {
    said.trim().chars().take(MOST_SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_contents_tells_its_time_and_its_tables() {
        let list = ";\n; Archive created at 2026-11-30 08:05:09 UTC\n;     dbname: postgres\n;     Format: CUSTOM\n;\n\
                    221; 1259 16402 TABLE public reminders postgres\n\
                    4000; 0 16402 TABLE DATA public conversations postgres\n\
                    222; 1259 16409 TABLE apalis jobs postgres\n\
                    223; 1259 16410 INDEX public reminders_due postgres\n";
        let contents = Contents::parse(list);
        assert_eq!(
            contents.made_at,
            Some("2026-11-30T08:05:09Z".parse().unwrap())
        );
        for (table, there) in [
            ("reminders", true),
            ("jobs", true),
            ("conversations", false),
            ("reminders_due", false),
        ] {
            assert_eq!(contents.has_table(table), there, "{table}");
        }
        assert_eq!(
            Contents::parse(""),
            Contents {
                made_at: None,
                tables: Vec::new()
            }
        );
    }
}
