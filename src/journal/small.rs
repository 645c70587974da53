//! Small files that are replaced as a whole, and what all of the journal's files have in common.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Only its owner may read what is new. What is there already keeps the rights that somebody gave it.
pub(super) const MODE: u32 = 0o600;

/// Replaces what a file says; whole or not at all, whenever the process or the machine dies.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let fresh = beside(path);
    let written = write(&fresh, path, text).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written?;
    sync_folder(path)
}

fn write(fresh: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(fresh)?;
    match fs::metadata(path) {
        Ok(old) => file.set_permissions(fs::Permissions::from_mode(old.permissions().mode()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file.write_all(text)?;
    file.sync_all()
}

/// A name that nobody else has: two containers that share a volume may both be process 1.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:016x}", rand::random::<u64>()));
    name.into()
}

/// Makes sure that a file's name is on the disk, too.
pub(super) fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) if folder.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Folder, mode};
    use super::*;

    #[test]
    fn what_is_new_only_its_owner_may_read_and_what_is_old_keeps_its_rights() {
        let folder = Folder::new();
        let path = folder.path().join("journal.heartbeat");
        replace(&path, b"one").unwrap();
        assert_eq!(mode(&path), 0o600);
        for kept in [0o400, 0o640] {
            fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
            replace(&path, b"two").unwrap();
            assert_eq!(mode(&path), kept);
        }
        assert_ne!(beside(&path), beside(&path), "of one process");
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside it");
    }
}
