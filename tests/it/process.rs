//! The real binary, in processes of its own.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use unread::clock::Clock;

use crate::database::signal;
use crate::harness::eventually;

/// Settings of a process; it gets no others.
pub type Settings = Vec<(String, String)>;

pub fn settings(pairs: &[(&str, &str)]) -> Settings {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

/// An empty folder, gone when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let started = Clock::System.now().timestamp_micros();
        let name = format!("unread-test-{}-{started}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The program under test.
pub fn this_program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_unread"))
}

/// A program with no environment but these settings, in a folder without settings.
fn command(program: &Path, folder: &Folder, arguments: &[&str], settings: &Settings) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder.path())
        .env_clear();
    // Where PostgreSQL's programs may be found.
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.envs(settings.iter().map(|(key, value)| (key, value)));
    command
}

/// Runs a command to its end.
pub async fn run(arguments: &[&str], settings: &Settings) -> Output {
    run_program(this_program(), arguments, settings).await
}

pub async fn run_program(program: &Path, arguments: &[&str], settings: &Settings) -> Output {
    let folder = Folder::new();
    let mut command = command(program, &folder, arguments, settings);
    command.stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// Runs a command that prints into this, its complaints included.
pub async fn run_into(
    into: impl Into<OwnedFd>,
    arguments: &[&str],
    settings: &Settings,
) -> ExitStatus {
    let folder = Folder::new();
    let mut command = command(this_program(), &folder, arguments, settings);
    let into = into.into();
    let complaints = into.try_clone().unwrap();
    command.stdin(Stdio::null()).stdout(into).stderr(complaints);
    tokio::task::spawn_blocking(move || command.status().unwrap())
        .await
        .unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A process that runs until told to stop; killed when dropped. When the test has failed, its log is shown.
pub struct Process {
    name: String,
    folder: Folder,
    child: Child,
}

impl Process {
    pub fn start(arguments: &[&str], settings: &Settings) -> Self {
        Self::start_program(this_program(), arguments, settings)
    }

    pub fn start_program(program: &Path, arguments: &[&str], settings: &Settings) -> Self {
        let folder = Folder::new();
        let file = |name| File::create(folder.path().join(name)).unwrap();
        let mut command = command(program, &folder, arguments, settings);
        let command = command
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("log"));
        let child = command.spawn().unwrap();
        Self {
            name: arguments.join(" "),
            folder,
            child,
        }
    }

    fn read(&self, name: &str) -> String {
        let mut text = String::new();
        let file = File::open(self.folder.path().join(name));
        file.unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        self.read("out")
    }

    pub fn log(&self) -> String {
        self.read("log")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its memory in kilobytes.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it ever had.
    pub fn resident_at_most(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kilobytes.unwrap().trim().parse().unwrap()
    }

    /// Ends by itself or by a signal that was sent to it.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// Asks it to stop, as an operator's system does, and waits for its end.
    pub async fn terminate(&mut self) -> ExitStatus {
        signal(self.child.id(), Signal::TERM);
        self.ended().await
    }
}

/// So many lines of a log are shown when a test fails: what failed must not be lost among them.
const SHOWN: usize = 60;

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let (first, last) = lines.split_at(lines.len().saturating_sub(SHOWN));
            eprintln!(
                "--- log of `unread {}`, without its first {} lines\n{}",
                self.name,
                first.len(),
                last.join("\n")
            );
        }
    }
}
