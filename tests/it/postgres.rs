//! The embedded server: nothing is left behind, whatever dies, and the next start works.
//!
//! What must happen when *our* process dies is tested on a copy of this test binary that runs one of the ignored tests below and
//! is killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::{Connection, Executor, PgConnection};
use unread::postgres::{Durability, Options, Server, throwaway_root};

use crate::database::{copy_pristine_data, kill_9};
use crate::harness::PATIENCE;

/// Tells a copy of this binary which folder to use.
const ROOT_OF_COPY: &str = "UNREAD_TEST_POSTGRES_ROOT";

/// A folder for one test, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let root = throwaway_root();
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o711)).unwrap();
        Self(root)
    }

    /// With the data of a cluster that was made and stopped.
    fn with_data() -> Self {
        let scratch = Self::new();
        copy_pristine_data(&scratch.0).unwrap();
        scratch
    }

    fn options(&self, durability: Durability) -> Options {
        Options {
            root: self.0.clone(),
            bin_dir: None,
            durability,
        }
    }

    fn is_roots(&self) -> bool {
        fs::metadata(&self.0).unwrap().uid() == 0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn started(scratch: &Scratch) -> Server {
    Server::start(&scratch.options(Durability::Durable)).unwrap()
}

fn refused(options: &Options) -> String {
    let error = Server::start(options).map(|_| ()).unwrap_err();
    format!("{error:#}")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// Runs a statement through a connection of its own and gives the first column of the first row.
fn ask(server: &Server, sql: &'static str) -> Result<i32> {
    block_on(async {
        let mut connection =
            PgConnection::connect_with(&server.connect_options("postgres")).await?;
        Ok(sqlx::query_scalar(sql).fetch_one(&mut connection).await?)
    })
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Processes that name this folder or work in it: the server, all its children, initdb.
#[cfg(target_os = "linux")]
fn processes_in(root: &Path) -> Vec<String> {
    let root = root.to_str().unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let folder = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(root) || folder.starts_with(root)
    })
    .map(|entry| entry.file_name().to_string_lossy().into_owned())
    .collect()
}

/// A copy of this binary; killed at the end if it still runs.
struct Copy(Child);

impl Copy {
    /// Runs an ignored test of this file.
    fn run(binary: &Path, test: &str, root: &Path, uid_gid: Option<(u32, u32)>) -> Self {
        let mut command = Command::new(binary);
        command
            .args(["--exact", &format!("postgres::{test}"), "--ignored"])
            .args(["--nocapture", "--test-threads=1"])
            .env(ROOT_OF_COPY, root)
            .current_dir("/")
            .stdout(Stdio::piped());
        if let Some((uid, gid)) = uid_gid {
            command.uid(uid).gid(gid);
        }
        Self(command.spawn().unwrap())
    }

    fn of_us(test: &str, root: &Path) -> Self {
        Self::run(&std::env::current_exe().unwrap(), test, root, None)
    }

    fn wait_for_line(&mut self, wanted: &str) {
        let output = self.0.stdout.take().unwrap();
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line == wanted),
            "the copy never said {wanted:?}"
        );
    }

    fn kill_9(mut self) {
        kill_9(self.0.id());
        self.0.wait().unwrap();
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn root_of_copy() -> Option<Scratch> {
    std::env::var_os(ROOT_OF_COPY).map(|root| Scratch(root.into()))
}

#[test]
#[ignore = "run by other tests, in a process that they kill"]
fn copy_starts_and_waits_to_be_killed() {
    let Some(scratch) = root_of_copy() else {
        return;
    };
    let mut options = scratch.options(Durability::Durable);
    options.bin_dir = Some(scratch.0.join("bin")).filter(|bin| bin.exists());
    let _server = Server::start(&options).unwrap();
    println!("\nstarted");
    loop {
        std::thread::park();
    }
}

#[test]
#[ignore = "run by other tests, as another account"]
fn copy_starts_asks_and_stops() {
    let Some(scratch) = root_of_copy() else {
        return;
    };
    let server = started(&scratch);
    assert_eq!(ask(&server, "select 42").unwrap(), 42);
    server.stop().unwrap();
    println!("\nstopped");
}

#[test]
fn a_server_starts_answers_stops_and_starts_again_with_its_data() {
    let scratch = Scratch::new();
    let server = started(&scratch);
    ask(&server, "with made as (select 7 as it) select it from made").unwrap();
    block_on(async {
        let mut connection = PgConnection::connect(&server.url("postgres"))
            .await
            .unwrap();
        connection
            .execute("create table kept as select 7 as it")
            .await
            .unwrap();
        connection.execute("create extension hstore").await.unwrap();
        connection
            .execute("create extension pgcrypto")
            .await
            .unwrap();
    });
    server.stop().unwrap();
    let server = started(&scratch);
    assert_eq!(ask(&server, "select it from kept").unwrap(), 7);
}

#[test]
fn a_durable_server_syncs_and_a_throwaway_one_does_not() {
    let durable = Scratch::with_data();
    let server = started(&durable);
    let unsafe_settings = "select count(*)::int from pg_settings where setting = 'off' and name in \
                           ('fsync', 'synchronous_commit', 'full_page_writes')";
    assert_eq!(ask(&server, unsafe_settings).unwrap(), 0);
    let throwaway = Scratch::with_data();
    let server = Server::start(&throwaway.options(Durability::Throwaway)).unwrap();
    assert_eq!(ask(&server, unsafe_settings).unwrap(), 3);
}

#[test]
fn a_throwaway_cluster_is_removed_and_a_strangers_file_beside_it_is_kept() {
    for with_file in [false, true] {
        let scratch = Scratch::with_data();
        let server = Server::start(&scratch.options(Durability::Throwaway)).unwrap();
        if with_file {
            fs::write(scratch.0.join("mine"), "").unwrap();
        }
        drop(server);
        assert!(!scratch.0.join("data").exists());
        assert_eq!(scratch.0.exists(), with_file);
    }
}

#[test]
fn stopping_does_not_wait_for_a_client_in_a_transaction() {
    let scratch = Scratch::with_data();
    let server = started(&scratch);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut connection = runtime
        .block_on(PgConnection::connect_with(
            &server.connect_options("postgres"),
        ))
        .unwrap();
    runtime.block_on(connection.execute("begin")).unwrap();
    let exited = server.exited();
    server.stop().unwrap();
    assert!(runtime.block_on(exited).starts_with("exit status: 0"));
    // Asked once, in the way that breaks off what clients do: had it waited for the client, it would have been told a second time.
    let log = fs::read_to_string(scratch.0.join("log")).unwrap();
    assert!(log.contains("received fast shutdown request"), "{log}");
    assert!(!log.contains("immediate shutdown"), "{log}");
}

#[test]
fn the_end_of_the_server_is_announced() {
    let scratch = Scratch::with_data();
    let server = started(&scratch);
    kill_9(server.pid());
    let end = block_on(server.exited());
    assert!(end.starts_with("signal: 9"), "{end}");
}

#[test]
fn a_folder_in_use_is_refused_with_the_process_that_uses_it() {
    let scratch = Scratch::with_data();
    let server = started(&scratch);
    let error = refused(&scratch.options(Durability::Durable));
    let user = format!(
        "in use by another process (process id {})",
        std::process::id()
    );
    assert!(error.contains(&user), "{error}");
    server.stop().unwrap();
    started(&scratch);
}

#[test]
fn a_path_with_spaces_commas_and_quotes_works() {
    let scratch = Scratch::new();
    let mut options = scratch.options(Durability::Throwaway);
    options.root = scratch.0.join("a, \"b\" %2F'");
    let server = Server::start(&options).unwrap();
    assert_eq!(ask(&server, "select 1").unwrap(), 1);
    let by_url = block_on(PgConnection::connect(&server.url("postgres")));
    by_url.unwrap();
}

#[test]
fn a_path_too_long_for_a_socket_is_refused_before_a_cluster_is_made() {
    let scratch = Scratch::new();
    let mut options = scratch.options(Durability::Durable);
    options.root = scratch.0.join("x".repeat(80));
    let error = refused(&options);
    assert!(error.contains("bytes and may have 103"), "{error}");
    assert!(!options.root.join("data").exists());
}

#[test]
fn data_of_another_major_version_are_refused_in_words() {
    let scratch = Scratch::with_data();
    fs::write(scratch.0.join("data/PG_VERSION"), "12\n").unwrap();
    let error = refused(&scratch.options(Durability::Durable));
    for part in ["were made by PostgreSQL 12", "Install PostgreSQL 12"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_start_that_fails_shows_what_the_server_said() {
    let scratch = Scratch::with_data();
    let settings = scratch.0.join("data/postgresql.auto.conf");
    fs::write(settings, "no_such_setting = 1\n").unwrap();
    let error = refused(&scratch.options(Durability::Durable));
    assert!(error.contains("no_such_setting"), "{error}");
}

#[test]
fn a_chosen_folder_without_programs_is_an_error_and_not_a_fallback() {
    let scratch = Scratch::new();
    let mut options = scratch.options(Durability::Durable);
    options.bin_dir = Some("/nonexistent/bin".into());
    let error = refused(&options);
    assert!(
        error.contains("/nonexistent/bin: no postgres there"),
        "{error}"
    );
    assert!(error.contains("Install it"), "{error}");
}

#[test]
fn a_stale_pid_file_does_not_stop_a_start_even_if_its_process_id_is_in_use_again() {
    let scratch = Scratch::with_data();
    let data = scratch.0.join("data");
    let recycled = std::process::id();
    for stale in [
        format!("{recycled}\n{}\n1\n5432\n\n\n\nready\n", data.display()),
        "999999999\n".into(),
        "garbage".into(),
        String::new(),
    ] {
        let file = data.join("postmaster.pid");
        fs::write(&file, &stale).unwrap();
        let owner = fs::metadata(&data).unwrap();
        lchown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
        started(&scratch).stop().unwrap();
    }
}

#[test]
fn a_half_made_cluster_is_removed() {
    let scratch = Scratch::new();
    let half = scratch.0.join("new-1");
    fs::create_dir_all(half.join("base")).unwrap();
    started(&scratch).stop().unwrap();
    assert!(!half.exists());
}

#[test]
fn root_is_told_when_the_servers_account_cannot_reach_the_folder() {
    let scratch = Scratch::new();
    if !scratch.is_roots() {
        eprintln!("skipped: only root changes its account");
        return;
    }
    let closed = scratch.0.join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let mut options = scratch.options(Durability::Durable);
    options.root = closed.join("root");
    let error = refused(&options);
    let reason = format!("may not search {}", closed.display());
    assert!(error.contains(&reason), "{error}");
}

#[test]
fn an_ordinary_user_runs_a_server_too() {
    let scratch = Scratch::new();
    if !scratch.is_roots() {
        eprintln!("skipped: the other tests show it, and only root can change its account");
        return;
    }
    let nobody = (65_534, 65_534);
    let (binary, root) = (scratch.0.join("tests"), scratch.0.join("root"));
    fs::create_dir(&root).unwrap();
    lchown(&root, Some(nobody.0), Some(nobody.1)).unwrap();
    // Copied to where that account may go. Not by us: while another test's child, forked meanwhile, holds the file that we
    // write, it cannot be run ("text file busy").
    let exe = std::env::current_exe().unwrap();
    let copied = Command::new("cp").args([&exe, &binary]).status().unwrap();
    assert!(copied.success());
    let mut copy = Copy::run(&binary, "copy_starts_asks_and_stops", &root, Some(nobody));
    copy.wait_for_line("stopped");
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_in_the_terminal_does_not_reach_the_server() {
    let scratch = Scratch::with_data();
    let server = started(&scratch);
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let group = stat.rsplit(')').next().unwrap().split(' ').nth(3).unwrap();
    assert_eq!(group, server.pid().to_string());
}

#[cfg(target_os = "linux")]
#[test]
fn after_kill_9_of_our_process_no_server_is_left() {
    let scratch = Scratch::with_data();
    let mut copy = Copy::of_us("copy_starts_and_waits_to_be_killed", &scratch.0);
    copy.wait_for_line("started");
    assert!(!processes_in(&scratch.0).is_empty());
    copy.kill_9();
    wait_until("no process of the server", || {
        processes_in(&scratch.0).is_empty()
    });
}

#[test]
fn after_kill_9_of_our_process_the_next_start_finds_what_was_committed() {
    let scratch = Scratch::with_data();
    let mut copy = Copy::of_us("copy_starts_and_waits_to_be_killed", &scratch.0);
    copy.wait_for_line("started");
    let socket = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .socket(scratch.0.join("s"))
        .username("postgres")
        .database("postgres");
    block_on(async {
        let mut connection = PgConnection::connect_with(&socket).await.unwrap();
        connection
            .execute("create table kept as select 7 as it")
            .await
            .unwrap();
    });
    copy.kill_9();
    // At once: the old server is still on its way down.
    let server = started(&scratch);
    assert_eq!(ask(&server, "select it from kept").unwrap(), 7);
}

#[cfg(target_os = "linux")]
#[test]
fn after_kill_9_while_the_cluster_is_made_nothing_is_left_and_the_next_start_works() {
    let scratch = Scratch::new();
    initdb_that_never_ends(&scratch.0.join("bin"));
    let copy = Copy::of_us("copy_starts_and_waits_to_be_killed", &scratch.0);
    let new = scratch.0.join(format!("new-{}", copy.0.id()));
    wait_until("initdb at work", || new.join("half").exists());
    assert!(!processes_in(&scratch.0).is_empty());
    copy.kill_9();
    wait_until("no process of initdb", || {
        processes_in(&scratch.0).is_empty()
    });
    let server = started(&scratch);
    assert_eq!(ask(&server, "select 1").unwrap(), 1);
    assert!(!new.exists());
}

/// A folder of programs of which `initdb` tells what it should, and then makes half a cluster. The real one is done too soon to
/// be killed at a known moment.
#[cfg(target_os = "linux")]
fn initdb_that_never_ends(bin: &Path) {
    let script = format!(
        "if [ \"$1\" = --show ]; then printf 'VERSION=17.0\nshare_path={}\n' >&2; exit; fi\n\
         cd \"$2\" && : >half && exec sleep 600\n",
        bin.display()
    );
    let extensions = bin.join("extension");
    fs::create_dir_all(&extensions).unwrap();
    for file in ["hstore.control", "pgcrypto.control"] {
        fs::write(extensions.join(file), "").unwrap();
    }
    for program in ["postgres", "initdb"] {
        // Written by another process: see `an_ordinary_user_runs_a_server_too`.
        let mut write = Command::new("/bin/sh");
        write.args([
            "-c",
            "printf '#!/bin/sh\n%s' \"$1\" >\"$2\" && chmod 755 \"$2\"",
            "sh",
        ]);
        let written = write.arg(&script).arg(bin.join(program)).status();
        assert!(written.unwrap().success());
    }
}
