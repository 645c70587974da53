//! The file of a backup while it is written: under another name, so that a backup that has its name is whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::WrittenBackup;

/// Only its owner may read it: it holds what the database holds.
const MODE: u32 = 0o600;

/// Removed when dropped before it is finished.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    target: PathBuf,
    force: bool,
    file: File,
    finished: bool,
}

impl Partial {
    /// Begins the file that will be `target`. What a killed predecessor left is begun anew; one that is still at it is not disturbed.
    pub fn create(target: &Path, force: bool) -> Result<Self> {
        let target = std::path::absolute(target)?;
        let Some(name) = target.file_name() else {
            bail!("{} is not a valid file name", target.display());
        };
        ensure!(
            name != "-",
            "a backup is looked at when it is written, so it needs a file and cannot go to standard output"
        );
        check_free(&target, force)?;
        let mut name = name.to_owned();
        name.push(".partial");
        let path = target.with_file_name(name);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).mode(MODE);
        let file = options
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("{} is being written by another process", path.display())
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        // Between opening and locking it may have been finished: then it is a backup, and not to be touched.
        let opened = file.metadata()?.ino();
        ensure!(
            fs::metadata(&path).is_ok_and(|found| found.ino() == opened),
            "{} was just written by another process",
            target.display()
        );
        file.set_len(0)?;
        // One that was there may have had other rights.
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
        Ok(Self {
            path,
            target,
            force,
            file,
            finished: false,
        })
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It is whole: it gets its name, and is on the disk.
    pub fn finish(mut self) -> Result<WrittenBackup> {
        self.file.sync_all()?;
        check_free(&self.target, self.force)?;
        fs::rename(&self.path, &self.target)
            .with_context(|| format!("cannot write {}", self.target.display()))?;
        self.finished = true;
        if let Some(folder) = self.target.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(WrittenBackup {
            file: self.target.clone(),
            bytes: self.file.metadata()?.len(),
        })
    }
}

fn check_free(target: &Path, force: bool) -> Result<()> {
    ensure!(
        !target.is_dir(),
        "{} is a folder: name a file in it",
        target.display()
    );
    ensure!(
        force || !target.exists(),
        "{} is there already; `--force` replaces it",
        target.display()
    );
    Ok(())
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("unread-backup-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name());
            let mut names: Vec<String> = names
                .map(|name| name.to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole_and_only_its_owner_reads_it() {
        let folder = Folder::new("whole");
        let target = folder.0.join("a.dump");
        let partial = Partial::create(&target, false).unwrap();
        assert_eq!(folder.names(), ["a.dump.partial"]);
        let busy = Partial::create(&target, false).unwrap_err();
        assert!(busy.to_string().contains("by another process"), "{busy}");
        partial.file().write_all(b"whole").unwrap();
        let written = partial.finish().unwrap();
        assert_eq!((written.file.as_path(), written.bytes), (&*target, 5));
        assert_eq!(folder.names(), ["a.dump"]);
        let mode = fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing_and_what_was_left_is_begun_anew() {
        let folder = Folder::new("left");
        let target = folder.0.join("a.dump");
        fs::write(
            folder.0.join("a.dump.partial"),
            "of a predecessor that was killed",
        )
        .unwrap();
        let partial = Partial::create(&target, false).unwrap();
        assert_eq!(partial.file().metadata().unwrap().len(), 0);
        drop(partial);
        assert!(folder.names().is_empty());
    }

    #[test]
    fn a_file_that_is_there_is_replaced_only_by_force() {
        let folder = Folder::new("force");
        let target = folder.0.join("a.dump");
        let late = Partial::create(&target, false).unwrap();
        fs::write(&target, "mine").unwrap();
        let error = late.finish().unwrap_err().to_string();
        assert!(error.contains("--force"), "{error}");
        let error = Partial::create(&target, false).unwrap_err().to_string();
        assert!(error.contains("--force"), "{error}");
        assert_eq!(fs::read(&target).unwrap(), b"mine");
        Partial::create(&target, true).unwrap().finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"");
    }

    #[test]
    fn what_is_no_name_for_a_file_is_refused() {
        let folder = Folder::new("names");
        let stdout = Partial::create(Path::new("-"), false).unwrap_err();
        assert!(stdout.to_string().contains("standard output"), "{stdout}");
        let error = Partial::create(&folder.0, true).unwrap_err();
        assert!(error.to_string().contains("is a folder"), "{error}");
        let missing = Partial::create(&folder.0.join("no/a.dump"), false).unwrap_err();
        assert!(missing.to_string().contains("cannot write"), "{missing}");
    }
}
