//! Where clusters are when nobody chose a folder.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::account::Account;
use super::cluster;
use super::process;

const THROWAWAY_PREFIX: &str = "unread-pg-";

/// The longest temporary folder that leaves room for our names within a socket's path.
const LONGEST_TEMPORARY: usize = 50;

/// The folder of a lasting cluster: below root's `/var/lib` (made here, to find out whether it can be), or below the user's
/// data folder.
///
/// Where root may not write `/var/lib` (a read-only container) it is a folder below `/tmp` that is the same for every start from
/// the same working folder. Home folders do not serve for root: the account that runs the server may not enter them.
pub fn default_root(name: &str) -> PathBuf {
    let (lasting, other) = default_roots(name);
    match other {
        // Whether root may write there shows only when it does.
        Some(other) if cluster::make_folder(&lasting).is_err() => other,
        _ => lasting,
    }
}

/// The folder of a lasting cluster that is there already; makes nothing.
pub fn existing_root(name: &str) -> Option<PathBuf> {
    let (lasting, other) = default_roots(name);
    let has_data = |root: &PathBuf| cluster::data_of(root).join("PG_VERSION").exists();
    Some(lasting).into_iter().chain(other).find(has_data)
}

/// Where it is, and where root has it if that cannot be made.
fn default_roots(name: &str) -> (PathBuf, Option<PathBuf>) {
    if process::own_uid() == 0 {
        let here = env::current_dir().unwrap_or_default();
        let hash = Sha256::digest(here.as_os_str().as_encoded_bytes());
        let hash = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        let other = PathBuf::from(format!("/tmp/{name}-{hash:08x}"));
        return (Path::new("/var/lib").join(name), Some(other));
    }
    let absolute = |key| {
        env::var_os(key)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let lasting = absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("data"))
        .join(name);
    (lasting, None)
}

/// A new path for a cluster that lives no longer than this process. Removes those that dead processes left.
pub fn throwaway_root() -> PathBuf {
    let base = temporary_folder();
    remove_abandoned(&base);
    let unique: u32 = rand::random();
    base.join(format!(
        "{THROWAWAY_PREFIX}{}-{unique:08x}",
        std::process::id()
    ))
}

fn temporary_folder() -> PathBuf {
    let chosen = env::temp_dir();
    let reachable = match Account::for_data(Path::new("/nonexistent")) {
        Ok(Some(account)) => account.check_way_to(&chosen).is_ok(),
        _ => true,
    };
    if reachable && chosen.is_absolute() && chosen.as_os_str().len() <= LONGEST_TEMPORARY {
        chosen
    } else {
        PathBuf::from("/tmp")
    }
}

/// Best effort: what is left now is tried again at the next start.
fn remove_abandoned(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        // The process id guards a folder whose owner has not locked it yet; the lock guards it against a process id of
        // another container.
        let abandoned = name
            .to_str()
            .and_then(maker)
            .is_some_and(|pid| !process::is_alive(pid))
            && entry
                .metadata()
                .is_ok_and(|found| found.is_dir() && found.uid() == process::own_uid());
        if abandoned && let Err(error) = cluster::remove_abandoned(&entry.path()) {
            tracing::debug!(folder = %entry.path().display(), "cannot remove an abandoned cluster: {error:#}");
        }
    }
}

/// The process that made a throw-away folder of this name.
fn maker(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix(THROWAWAY_PREFIX)?.split_once('-')?;
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throwaway_path_is_new_each_time_short_and_tells_its_maker() {
        let (one, two) = (throwaway_root(), throwaway_root());
        assert_ne!(one, two);
        assert!(one.as_os_str().len() < 80, "{}", one.display());
        let name = one.file_name().and_then(|name| name.to_str()).unwrap();
        assert_eq!(maker(name), Some(std::process::id()));
    }

    #[test]
    fn only_names_of_ours_have_a_maker() {
        for name in ["unread-pg-", "unread-pg-x-1", "unread-pg-1", "other-1-2"] {
            assert_eq!(maker(name), None, "{name}");
        }
    }

    #[test]
    fn a_folder_of_a_dead_process_is_removed_and_one_of_a_live_process_is_kept() {
        let base = env::temp_dir().join(format!("unread-roots-{}", std::process::id()));
        let dead = base.join(format!("{THROWAWAY_PREFIX}{}-1", i32::MAX));
        let alive = base.join(format!("{THROWAWAY_PREFIX}{}-1", std::process::id()));
        for folder in [&dead, &alive] {
            fs::create_dir_all(folder.join("data")).unwrap();
        }
        remove_abandoned(&base);
        let kept = (dead.exists(), alive.exists());
        fs::remove_dir_all(&base).unwrap();
        assert_eq!(kept, (false, true));
    }
}
