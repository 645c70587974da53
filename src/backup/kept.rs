//! The nightly backups that are there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, Utc};

use crate::domain::backup;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFile {
    pub path: PathBuf,
    pub day: NaiveDate,
    pub made_at: DateTime<Utc>,
    pub bytes: u64,
}

/// All in a folder, the newest first; files of other names are left out. A folder that is not there has none.
pub fn kept(folder: &Path) -> io::Result<Vec<BackupFile>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Some(day) = entry.file_name().to_str().and_then(backup::day_of) else {
            continue;
        };
        let found = entry.metadata()?;
        all.push(BackupFile {
            path: entry.path(),
            day,
            made_at: found.modified()?.into(),
            bytes: found.len(),
        });
    }
    all.sort_by_key(|one| std::cmp::Reverse(one.day));
    Ok(all)
}

/// The newest, if there is one and the folder can be read.
pub fn newest(folder: &Path) -> Option<BackupFile> {
    kept(folder).ok()?.into_iter().next()
}

/// Removes the oldest beyond `keep`.
pub fn prune(folder: &Path, keep: usize) -> io::Result<()> {
    let all = kept(folder)?;
    let days = all.iter().map(|one| one.day).collect();
    let superseded = backup::superseded(days, keep);
    for one in all.iter().filter(|one| superseded.contains(&one.day)) {
        fs::remove_file(&one.path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_ours_go_and_others_files_stay() {
        let folder = std::env::temp_dir().join(format!("unread-kept-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for day in 1..=4 {
            fs::write(folder.join(format!("unread-2026-11-0{day}.dump")), "x").unwrap();
        }
        fs::write(folder.join("before-the-upgrade.dump"), "mine").unwrap();
        prune(&folder, 2).unwrap();
        let days: Vec<String> = kept(&folder)
            .unwrap()
            .iter()
            .map(|one| one.day.to_string())
            .collect();
        let (newest, mine) = (
            newest(&folder).unwrap(),
            folder.join("before-the-upgrade.dump").exists(),
        );
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(days, ["2026-11-04", "2026-11-03"]);
        assert_eq!((newest.bytes, newest.day.to_string()), (1, days[0].clone()));
        assert!(mine);
        assert_eq!(kept(&folder).unwrap(), []);
    }
}
