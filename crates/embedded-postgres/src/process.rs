//! Children that cannot outlive us.
//!
//! On Linux the kernel signals a child when its parent dies. That signal follows the *thread* that spawned the child, not the
//! process: a server spawned from a pool's thread dies when the pool retires it. So whoever spawns here also waits on the same
//! thread for the child's whole life. Elsewhere a small shell holds the reading end of a pipe that only we can close.
//!
//! This is the one file with `unsafe` code: what a child does before it becomes the server.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Pid;
use tokio::sync::watch;

use super::account::Account;

/// How often a condition is looked at again that nothing announces.
pub const POLL: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// To a server: break off what clients are doing and shut down cleanly.
    Interrupt,
    /// To a server: stop without a clean shutdown; the next start recovers.
    Quit,
    Kill,
}

impl From<Signal> for rustix::process::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Interrupt => Self::INT,
            Signal::Quit => Self::QUIT,
            Signal::Kill => Self::KILL,
        }
    }
}

/// Sends a signal. That the process is gone already is not an error.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = pid_of(pid) {
        let _ = rustix::process::kill_process(pid, signal.into());
    }
}

/// Whether any process, of ours or not, has this id.
pub fn is_alive(pid: u32) -> bool {
    let answer = pid_of(pid).map(rustix::process::test_kill_process);
    // One of somebody else's is there, too.
    answer.is_some_and(|answer| matches!(answer, Ok(()) | Err(Errno::PERM)))
}

/// Zero is no process: to the kernel it means our whole group.
fn pid_of(pid: u32) -> Option<Pid> {
    Pid::from_raw(pid.try_into().ok()?)
}

/// The account whose rights we have.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether this process is a server on this data folder. A process id alone proves nothing: the kernel reuses them.
pub fn is_server_of(pid: u32, data: &Path) -> bool {
    let data = data.to_string_lossy();
    if cfg!(target_os = "linux") {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split('\0');
        let program = words.next().map(Path::new).and_then(Path::file_name);
        program.is_some_and(|name| name == "postgres") && words.any(|word| word == data)
    } else {
        let shown = Command::new("ps")
            .args(["-o", "command=", "-p", &pid.to_string()])
            .output();
        shown.is_ok_and(|shown| {
            let line = String::from_utf8_lossy(&shown.stdout);
            line.contains("postgres") && line.contains(&*data)
        })
    }
}

/// Looks every few milliseconds until `done` or until the patience ends; tells which.
pub fn wait_until(patience: Duration, done: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    while !done() {
        if started.elapsed() >= patience {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// One of the server's programs, to be run as `account` (`None`: as ourselves) and to die with us.
///
/// It gets none of our environment (which holds secrets, and `PG…` variables that would change what it does), and a process
/// group of its own: Ctrl-C in a terminal goes to the whole foreground group, and the server must outlive the draining service.
pub fn command(program: &Path, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .current_dir("/")
        .stdin(Stdio::null())
        .process_group(0);
    if let Some(account) = account {
        command.gid(account.gid).uid(account.uid); // std clears the other groups
    }
    #[cfg(target_os = "linux")]
    interrupt_when_we_die(&mut command);
    command
}

#[cfg(target_os = "linux")]
fn interrupt_when_we_die(command: &mut Command) {
    let parent = std::process::id();
    #[expect(
        unsafe_code,
        reason = "std cannot ask for a parent-death signal; between fork and exec only async-signal-safe calls are made"
    )]
    unsafe {
        // std has dropped to the account by now; earlier, that would have cleared the setting.
        command.pre_exec(move || {
            // A shell that starts us in the background may have us ignore it, and children inherit that.
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT) != 0 {
                return Err(io::Error::last_os_error());
            }
            if u32::try_from(libc::getppid()) != Ok(parent) {
                libc::_exit(1); // we died in between, so no signal will come
            }
            Ok(())
        });
    }
}

/// Runs a [`command`] to its end.
pub fn run(command: &mut Command) -> io::Result<Output> {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let _watcher = Watcher::over(&child)?;
    child.wait_with_output()
}

/// A child that runs beside us.
#[derive(Debug)]
pub struct Running {
    pub pid: u32,
    /// How it ended, once it has.
    pub ended: watch::Receiver<Option<String>>,
}

/// Starts a [`command`] beside us, with a thread that spawns it and waits for its end.
pub fn spawn(mut command: Command) -> io::Result<Running> {
    let (started, start) = mpsc::channel();
    let (end, ended) = watch::channel(None);
    thread::Builder::new()
        .name("postgres".into())
        .spawn(move || {
            let spawned = command.spawn().and_then(|child| {
                let watcher = Watcher::over(&child)?;
                Ok((child, watcher))
            });
            match spawned {
                Ok((mut child, _watcher)) => {
                    let _ = started.send(Ok(child.id()));
                    let status = match child.wait() {
                        Ok(status) => status.to_string(),
                        Err(error) => error.to_string(),
                    };
                    end.send_replace(Some(status));
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
    let pid = start
        .recv()
        .map_err(|_| io::Error::other("the thread that starts PostgreSQL ended early"))??;
    Ok(Running { pid, ended })
}

impl Running {
    pub fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }
}

/// What stands in for the parent-death signal where the kernel has none: a shell that reads from a pipe only we hold, and
/// interrupts the child when the pipe closes.
struct Watcher(Option<Child>);

impl Watcher {
    fn over(child: &Child) -> io::Result<Self> {
        if cfg!(target_os = "linux") {
            return Ok(Self(None));
        }
        Self::start(child.id())
            .inspect_err(|_| signal(child.id(), Signal::Interrupt))
            .map(|watcher| Self(Some(watcher)))
    }

    fn start(pid: u32) -> io::Result<Child> {
        Command::new("/bin/sh")
            .args(["-c", &format!("read _; kill -INT {pid}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Killed before its pipe closes: the child is gone, and its process id may be somebody else's by now.
        if let Some(watcher) = &mut self.0 {
            let _ = watcher.kill();
            let _ = watcher.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_watcher_interrupts_the_child_when_its_pipe_closes() {
        // What a shell starts in the background ignores SIGINT, and so do its children.
        let mut child = Command::new("env")
            .args(["--default-signal=INT", "sleep", "60"])
            .spawn()
            .unwrap();
        let comm = format!("/proc/{}/comm", child.id());
        while std::fs::read_to_string(&comm).unwrap().trim() != "sleep" {
            std::thread::yield_now();
        }
        let mut watcher = Watcher::start(child.id()).unwrap();
        drop(watcher.stdin.take()); // what the kernel does when we die
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGINT));
        watcher.wait().unwrap();
    }

    #[test]
    fn a_watcher_that_is_dropped_leaves_the_child_alone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        drop(Watcher(Some(Watcher::start(child.id()).unwrap())));
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_is_a_server_of_a_folder_only_if_its_command_line_says_so() {
        let own = std::process::id();
        assert!(is_alive(own));
        assert!(!is_server_of(own, Path::new("/tmp")));
    }

    #[test]
    fn children_get_none_of_our_environment() {
        let shown = run(&mut command(Path::new("/usr/bin/env"), None)).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&shown.stdout)
                .lines()
                .collect::<Vec<_>>(),
            ["LC_ALL=C", "PATH=/usr/bin:/bin", "TZ=UTC"]
        );
    }
}
