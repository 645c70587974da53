//! Who may use a cluster's folder: one process at a time, which holds the lock on its file `lock` until it dies.
//!
//! The service holds it for as long as it runs, and who comes second is refused: two services on one folder are a mistake. A
//! command holds it for its own short time, and is waited for.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::process;

/// For whom a folder is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// For as long as it runs.
    Service,
    /// Until the command is done, or whatever else nobody may join.
    Command,
}

/// A process that is killed while it forks holds its lock until the fork is over.
const PATIENCE_WITH_SERVICE: Duration = Duration::from_secs(1);

/// The longest of the commands carries over whole databases.
const PATIENCE_WITH_COMMAND: Duration = Duration::from_mins(10);

/// Marks a command behind its process id.
const COMMAND: &str = "command";

/// Who has the lock, as far as its file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub pid: String,
    pub purpose: Purpose,
}

impl Holder {
    fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut words = text.split_ascii_whitespace();
        let pid = words.next().unwrap_or("unknown").to_owned();
        let purpose = match words.next() {
            Some(COMMAND) => Purpose::Command,
            _ => Purpose::Service,
        };
        Self { pid, purpose }
    }

    fn write(purpose: Purpose) -> String {
        let pid = std::process::id();
        match purpose {
            Purpose::Service => format!("{pid}\n"),
            Purpose::Command => format!("{pid} {COMMAND}\n"),
        }
    }

    /// How long it is worth waiting for.
    pub fn patience(&self) -> Duration {
        match self.purpose {
            Purpose::Service => PATIENCE_WITH_SERVICE,
            Purpose::Command => PATIENCE_WITH_COMMAND,
        }
    }
}

/// Takes the lock of a folder, waiting as long as is due to its holder.
pub fn take(root: &Path, purpose: Purpose) -> Result<File> {
    let asked = Instant::now();
    let mut said = false;
    loop {
        let holder = match try_take(root, purpose)? {
            Ok(file) => return Ok(file),
            Err(holder) => holder,
        };
        if asked.elapsed() >= holder.patience() {
            bail!(in_use(root, &holder));
        }
        if holder.purpose == Purpose::Command && !said {
            said = true;
            tracing::info!(
                "{} is in use by a command (process id {}); waiting for its end",
                root.display(),
                holder.pid
            );
        }
        thread::sleep(process::POLL);
    }
}

/// What is said of a folder that somebody else has.
pub fn in_use(root: &Path, holder: &Holder) -> String {
    format!(
        "{} is in use by another process (process id {}); stop it, or choose another folder",
        root.display(),
        holder.pid
    )
}

/// Takes the lock, or tells who has it.
pub fn try_take(root: &Path, purpose: Purpose) -> Result<std::result::Result<File, Holder>> {
    let path = root.join("lock");
    loop {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).mode(0o600);
        let file = options
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Err(Holder::read(&path))),
            Err(TryLockError::Error(error)) => {
                return Err(error).context(format!("cannot lock {}", path.display()));
            }
        }
        // A lock on a file that its last user has removed meanwhile would guard nothing.
        let locked = file.metadata()?.ino();
        if fs::metadata(&path).is_ok_and(|found| found.ino() == locked) {
            say(&file, purpose)?;
            return Ok(Ok(file));
        }
    }
}

/// Says what the folder is used for from now on, in the lock's file.
pub fn say(mut file: &File, purpose: Purpose) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(Holder::write(purpose).as_bytes())
}

/// What the lock's file says.
pub fn purpose(root: &Path) -> Purpose {
    Holder::read(&root.join("lock")).purpose
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_tells_who_it_is_and_what_for() {
        for purpose in [Purpose::Service, Purpose::Command] {
            let read = Holder::parse(&Holder::write(purpose));
            assert_eq!(read.pid, std::process::id().to_string());
            assert_eq!(read.purpose, purpose);
        }
        // Just taken and not yet written.
        assert_eq!(Holder::parse("").purpose, Purpose::Service);
    }

    #[test]
    fn one_at_a_time_has_the_lock_and_the_others_hear_who() {
        let root = std::env::temp_dir().join(format!("unread-lock-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let held = try_take(&root, Purpose::Command).unwrap().unwrap();
        let holder = try_take(&root, Purpose::Service).unwrap().unwrap_err();
        assert_eq!(holder.purpose, Purpose::Command);
        say(&held, Purpose::Service).unwrap();
        assert_eq!(purpose(&root), Purpose::Service);
        let refused = in_use(&root, &holder);
        let user = format!("process id {}", std::process::id());
        assert!(refused.contains(&user), "{refused}");
        held.unlock().unwrap();
        take(&root, Purpose::Service).unwrap();
        fs::remove_dir_all(&root).unwrap();
    }
}
