//! The folder of a cluster: who may use it, how it is made, and what a dead predecessor left in it.
//!
//! ```text
//! root/lock       held by the process that uses the folder; the kernel lets go of it at death (see `lock`)
//! root/data       the cluster (mode 0700, of the account that runs the server)
//! root/new-<n>    a cluster being made; renamed to `data` when it is whole
//! root/next       a whole cluster that is about to take the place of `data`
//! root/carried-over  it has; until that is noted in the database
//! root/data-<n>   a cluster of PostgreSQL <n>, whose data `data` has taken over; kept until somebody removes it
//! root/s          the socket (mode 0700: the folder is the access control)
//! root/log        what the server said since its last start; `log.1`: in the start before
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Durability;
use super::account::Account;
use super::find::Programs;
use super::lock::{self, Holder, Purpose};
use super::process::{self, Signal};

/// The longest path of a unix socket that every system takes (macOS: 104 bytes with the final zero).
const LONGEST_SOCKET: usize = 103;

/// Whole data that are to take the place of those that are there.
const NEXT: &str = "next";

/// The end of the log that is shown in errors.
const LOG_TAIL_BYTES: u64 = 2_000;

/// A folder that this process alone may use as long as this value lives.
#[derive(Debug)]
pub struct Cluster {
    root: PathBuf,
    lock: File,
}

impl Cluster {
    /// Makes the folder if it is missing, and takes its lock. Fails if another service has it; a command is waited for.
    pub fn open(root: &Path, purpose: Purpose) -> Result<Self> {
        let root = prepared(root)?;
        let lock = lock::take(&root, purpose)?;
        Ok(Self { root, lock })
    }

    /// The same if nobody has the lock; else who has it.
    pub fn try_open(root: &Path, purpose: Purpose) -> Result<std::result::Result<Self, Holder>> {
        let root = prepared(root)?;
        Ok(lock::try_take(&root, purpose)?.map(|lock| Self { root, lock }))
    }

    /// Says what we use the folder for from now on.
    pub fn use_for(&self, purpose: Purpose) -> io::Result<()> {
        lock::say(&self.lock, purpose)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn data(&self) -> PathBuf {
        data_of(&self.root)
    }

    pub fn socket_folder(&self) -> PathBuf {
        socket_folder_of(&self.root)
    }

    fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The major version that made the data; `None`: there are none yet.
    pub fn data_major(&self) -> Result<Option<u32>> {
        major_of(&self.data())
    }

    /// Clears away what predecessors left that died while making a cluster.
    pub fn remove_unfinished(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("new-") {
                // Repeated, because a dying initdb may still be clearing away the same files.
                let gone = || {
                    let removed = fs::remove_dir_all(entry.path());
                    removed.is_ok() || !entry.path().exists()
                };
                ensure!(
                    process::wait_until(Duration::from_secs(5), gone),
                    "cannot remove {}",
                    entry.path().display()
                );
            }
        }
        Ok(())
    }

    /// Makes the data folder if there is none.
    pub fn make_data(
        &self,
        programs: &Programs,
        account: Option<&Account>,
        durability: Durability,
    ) -> Result<()> {
        if self.data().exists() {
            return Ok(());
        }
        let new = self.root.join(format!("new-{}", std::process::id()));
        make_private_folder(&new, account)?;
        let mut initdb = process::command(&programs.initdb, account);
        initdb
            .arg("-D")
            .arg(&new)
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8"])
            .args(["--no-locale", "--no-instructions"]);
        if durability == Durability::Throwaway {
            initdb.arg("--no-sync");
        }
        let made = process::run(&mut initdb)
            .with_context(|| format!("cannot run {}", programs.initdb.display()))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr);
            bail!("initdb failed ({}):\n{}", made.status, said.trim());
        }
        fs::rename(&new, self.data())?;
        if durability == Durability::Durable {
            File::open(&self.root)?.sync_all()?;
        }
        Ok(())
    }

    /// Puts the whole data of another cluster, on the same file system, in the place of ours, which are kept. After a crash on the
    /// way [`Cluster::finish_exchange`] does the rest.
    pub fn exchange(&self, other: &Self) -> Result<()> {
        File::create(self.carried_over())?.sync_all()?;
        fs::rename(other.data(), self.root.join(NEXT))?;
        self.finish_exchange()
    }

    /// Does what is left of an exchange.
    pub fn finish_exchange(&self) -> Result<()> {
        let next = self.root.join(NEXT);
        if !next.exists() {
            return Ok(());
        }
        if let Some(major) = self.data_major()? {
            self.set_aside(major)?;
        }
        fs::rename(next, self.data())?;
        Ok(File::open(&self.root)?.sync_all()?)
    }

    /// Keeps the data, which this major version made, under another name, and tells which.
    pub fn set_aside(&self, major: u32) -> Result<PathBuf> {
        let names = std::iter::once(format!("data-{major}"))
            .chain((2_u32..).map(|n| format!("data-{major}-{n}")));
        let free = names
            .map(|name| self.root.join(name))
            .find(|path| !path.exists());
        let kept = free.context("no name is free for the old data")?;
        fs::rename(self.data(), &kept)?;
        File::open(&self.root)?.sync_all()?;
        Ok(kept)
    }

    /// Is there from an exchange until somebody has taken note of it.
    pub fn carried_over(&self) -> PathBuf {
        self.root.join("carried-over")
    }

    pub fn make_socket_folder(&self, account: Option<&Account>) -> Result<()> {
        let folder = self.socket_folder();
        if folder.exists() {
            fs::remove_dir_all(&folder)?; // a socket of a dead server, perhaps of another account
        }
        make_private_folder(&folder, account)
    }

    /// A new log; the one of the last start is kept beside it.
    pub fn new_log(&self) -> Result<File> {
        let log = self.log();
        match fs::rename(&log, self.root.join("log.1")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let options = options.create_new(true).append(true).mode(0o600);
        options
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))
    }

    /// The last lines of the log, for an error message.
    pub fn log_tail(&self) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(self.log())?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut tail = Vec::new();
            file.take(LOG_TAIL_BYTES).read_to_end(&mut tail)?;
            Ok(tail)
        };
        match read() {
            Ok(tail) => String::from_utf8_lossy(&tail).trim().to_owned(),
            Err(error) => format!("(the log cannot be read: {error})"),
        }
    }

    /// Whether the server with this process id says that it takes connections.
    pub fn is_ready(&self, pid: u32) -> bool {
        ready_server(&self.data()) == Some(pid)
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }

    /// Makes the data free for a new server, whatever happened to the last one.
    pub fn recover(&self) -> Result<()> {
        let file = self.pid_file();
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).context(format!("cannot read {}", file.display())),
        };
        let data = self.data();
        match text.lines().next().and_then(|line| line.parse().ok()) {
            Some(pid) if process::is_server_of(pid, &data) => stop_orphan(pid, &data),
            // PostgreSQL clears away a dead server's file itself, after making sure that none of its processes is left.
            Some(pid) if !process::is_alive(pid) => Ok(()),
            // The process id is somebody else's by now, or the file was cut off by a crash: PostgreSQL would refuse to start.
            // A server that is just ending may be quicker and remove the file itself.
            _ => absent_is_fine(fs::remove_file(&file))
                .with_context(|| format!("cannot remove {}", file.display())),
        }
    }

    /// Removes what we made in the folder, then the folder if nothing else is in it: its path may have been a mistake.
    /// The lock goes last; who takes it then starts from nothing.
    pub fn remove(&self) -> io::Result<()> {
        for folder in ["data", "s"] {
            absent_is_fine(fs::remove_dir_all(self.root.join(folder)))?;
        }
        for file in ["log", "log.1", "lock"] {
            absent_is_fine(fs::remove_file(self.root.join(file)))?;
        }
        match fs::remove_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => absent_is_fine(removed),
        }
    }
}

/// The cluster in this folder.
pub fn data_of(root: &Path) -> PathBuf {
    root.join("data")
}

/// Where the server of this folder is reached.
pub fn socket_folder_of(root: &Path) -> PathBuf {
    root.join("s")
}

/// The major version that made the data; `None`: there are none.
pub fn major_of(data: &Path) -> Result<Option<u32>> {
    let file = data.join("PG_VERSION");
    match fs::read_to_string(&file) {
        Ok(text) => {
            let major = text.trim().parse();
            let major = major.with_context(|| format!("{} is damaged", file.display()))?;
            Ok(Some(major))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// The process id of the server on these data that says that it takes connections. What `pg_ctl -w` reads: line 1 is the process
/// id, line 8 the status.
pub fn ready_server(data: &Path) -> Option<u32> {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    (lines.nth(6)?.trim() == "ready").then_some(pid)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that another thread is just forking has a copy of it until it runs its
        // program, and the lock with it.
        let _ = self.lock.unlock();
    }
}

fn absent_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a folder, and its parents, which others may pass but not list: root's child must reach its data through it.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o711).create(folder)
}

fn make_private_folder(folder: &Path, account: Option<&Account>) -> Result<()> {
    let make = || -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(folder)?;
        account.map_or(Ok(()), |account| {
            lchown(folder, Some(account.uid), Some(account.gid))
        })
    };
    make().with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// The folder, made if it is missing, by the path that everybody uses: absolute and without symbolic links.
fn prepared(root: &Path) -> Result<PathBuf> {
    let shown = root.display();
    make_folder(root).with_context(|| format!("cannot make the folder {shown}"))?;
    // Children have another working folder, and the server tells its folder without symbolic links.
    let root = root
        .canonicalize()
        .with_context(|| format!("cannot look at {shown}"))?;
    let (owner, own) = (fs::metadata(&root)?.uid(), process::own_uid());
    ensure!(
        owner == own,
        "{shown} belongs to uid {owner} and we run as uid {own}: run this as that account, choose another folder, or change its owner"
    );
    ensure!(root.to_str().is_some(), "the path {shown} is not UTF-8");
    let socket = root.join("s/.s.PGSQL.5432");
    let length = socket.as_os_str().len();
    ensure!(
        length <= LONGEST_SOCKET,
        "the socket's path {} has {length} bytes and may have {LONGEST_SOCKET}; choose a folder with a shorter path",
        socket.display()
    );
    Ok(root)
}

/// Stops a server whose parent died. It was told to by the kernel and is usually on its way.
fn stop_orphan(pid: u32, data: &Path) -> Result<()> {
    for (signal, patience) in [(Signal::Interrupt, 10), (Signal::Quit, 10)] {
        process::signal(pid, signal);
        let gone = || !process::is_server_of(pid, data);
        if process::wait_until(Duration::from_secs(patience), gone) {
            return Ok(());
        }
    }
    bail!(
        "an older PostgreSQL (process id {pid}) still uses {} and does not stop",
        data.display()
    )
}

/// Removes a folder of a dead process, if nobody uses it.
pub fn remove_abandoned(root: &Path) -> Result<()> {
    let Ok(cluster) = Cluster::try_open(root, Purpose::Service)? else {
        return Ok(()); // somebody is at it
    };
    cluster.recover()?;
    cluster.remove_unfinished()?;
    Ok(cluster.remove()?)
}
