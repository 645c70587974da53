//! The servers under tests' databases: one that this process shares, and one of its own for a test that stops or kills it.
//!
//! None outlives this process: a server is a child that cannot, and folders are removed at exit (or, after `kill -9`, by the next
//! process that starts a server).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, Once, PoisonError};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use unread::postgres::{Durability, Options, Server, throwaway_root};

/// The address of the server that all tests of this process share; the first to ask starts it.
pub async fn shared_url() -> String {
    blocking(|| of_process(|ours| Ok(ours.shared_server()?.url("postgres")))).await
}

/// A server that one test may stop, kill and restart. Durable, as the one whose promises such tests are about.
pub struct OwnServer {
    pub(super) options: Options,
    pub(super) server: Option<Server>,
}

/// Starts a server of the test's own from a copy of a cluster that is made once.
pub async fn own_server() -> OwnServer {
    blocking(|| {
        let root = own_root()?;
        copy_pristine_data(&root)?;
        let options = durable(root);
        let server = Some(Server::start(&options)?);
        Ok(OwnServer { options, server })
    })
    .await
}

/// A folder for a server, which its account may pass.
pub(super) fn own_root() -> Result<PathBuf> {
    let root = throwaway_root();
    std::fs::create_dir(&root)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(&root, mode)?;
    Ok(root)
}

/// Puts the data of a new cluster into a folder; much faster than making one.
pub fn copy_pristine_data(root: &Path) -> Result<()> {
    let data = of_process(OfProcess::pristine_data)?;
    let mut copy = Command::new("cp");
    let copied = copy.arg("-a").args([&data, root]).status()?;
    ensure!(copied.success(), "cannot copy {}", data.display());
    Ok(())
}

impl OwnServer {
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("the server is not killed")
    }

    /// Stops the server cleanly, breaking off what clients do, and starts it again at the same address.
    pub async fn restart(&mut self) {
        let server = self.server.take();
        self.start_after(move || server.map_or(Ok(()), Server::stop))
            .await;
    }

    /// `kill -9` of the server's main process; the processes that serve its clients end a moment later, when they notice. The
    /// address stays the same when it is started again.
    pub async fn kill(&mut self) {
        let server = self.server.take().expect("the server is not killed yet");
        let ended = server.exited();
        kill_9(server.pid());
        ended.await;
    }

    /// An immediate shutdown: every process of the server ends at once, and the next start recovers.
    pub async fn crash(&mut self) {
        let server = self.server.take().expect("the server is not killed yet");
        let ended = server.exited();
        signal(server.pid(), Signal::QUIT);
        ended.await;
    }

    /// Starts the server after [`OwnServer::kill`] or [`OwnServer::crash`].
    pub async fn start(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        self.start_after(|| Ok(())).await;
    }

    pub(super) async fn start_after(
        &mut self,
        before: impl FnOnce() -> Result<()> + Send + 'static,
    ) {
        let options = self.options.clone();
        let server = blocking(move || {
            before()?;
            Server::start(&options)
        });
        self.server = Some(server.await);
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.server.take());
        let _ = std::fs::remove_dir_all(&self.options.root);
    }
}

/// `kill -9` of a process that this test started.
pub fn kill_9(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Any signal to a process that this test started.
pub fn signal(pid: u32, signal: Signal) {
    let id = Pid::from_raw(pid.try_into().expect("a process id")).expect("no process is 0");
    let sent = kill_process(id, signal);
    assert!(sent.is_ok(), "{signal:?} to {pid}: {sent:?}");
}

pub(super) fn durable(root: PathBuf) -> Options {
    Options {
        root,
        bin_dir: None,
        durability: Durability::Durable,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("no panic").expect("a PostgreSQL server")
}

/// What lives as long as this process: Rust drops no statics, so the C library's exit does.
#[derive(Default)]
struct OfProcess {
    server: Option<Server>,
    pristine: Option<PathBuf>,
}

static OF_PROCESS: Mutex<OfProcess> = Mutex::new(OfProcess {
    server: None,
    pristine: None,
});

impl OfProcess {
    fn shared_server(&mut self) -> Result<&Server> {
        if self.server.is_none() {
            self.server = Some(Server::start(&Options {
                root: throwaway_root(),
                bin_dir: None,
                durability: Durability::Throwaway,
            })?);
        }
        self.server.as_ref().context("started above")
    }

    /// The data folder of a cluster that was made and stopped.
    fn pristine_data(&mut self) -> Result<PathBuf> {
        if self.pristine.is_none() {
            let options = durable(throwaway_root());
            Server::start(&options)?.stop()?;
            self.pristine = Some(options.root);
        }
        let root = self.pristine.as_ref().context("made above")?;
        Ok(root.join("data"))
    }

    fn end(&mut self) {
        drop(self.server.take());
        if let Some(root) = self.pristine.take() {
            let _ = std::fs::remove_dir_all(root);
        }
    }
}

fn of_process<T>(work: impl FnOnce(&mut OfProcess) -> T) -> T {
    static AT_EXIT: Once = Once::new();
    extern "C" fn end() {
        of_process(OfProcess::end);
    }
    AT_EXIT.call_once(|| {
        #[expect(
            unsafe_code,
            reason = "atexit(3) takes a function that lives for ever and does not unwind"
        )]
        unsafe {
            libc::atexit(end);
        }
    });
    work(&mut OF_PROCESS.lock().unwrap_or_else(PoisonError::into_inner))
}
