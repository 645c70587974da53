//! How much room there is, and how much something takes.

use std::fs;
use std::io;
use std::path::Path;

/// Bytes that an ordinary account may still write where this path is.
pub fn free(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes of all files below a folder. What vanishes meanwhile does not count.
pub fn size(folder: &Path) -> io::Result<u64> {
    let mut total = 0_u64;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(found) = entry.metadata() else {
            continue;
        };
        let bytes = if found.is_dir() {
            size(&entry.path()).unwrap_or_default()
        } else {
            found.len()
        };
        total = total.saturating_add(bytes);
    }
    Ok(total)
}

/// `1.5 GB`, `20 MB`.
pub fn shown(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    for (unit, name) in UNITS {
        if bytes >= unit {
            let tenths = bytes / (unit / 10);
            return match (tenths / 10, tenths % 10) {
                (whole, 0) => format!("{whole} {name}"),
                (whole, _) if whole >= 100 => format!("{whole} {name}"),
                (whole, tenth) => format!("{whole}.{tenth} {name}"),
            };
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_people_say_them() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1 kB"),
            (1_550_000, "1.5 MB"),
            (20_000_000, "20 MB"),
            (123_456_000, "123 MB"),
            (2_000_000_000_000, "2000 GB"),
        ] {
            assert_eq!(shown(bytes), text);
        }
    }

    #[test]
    fn a_folder_takes_what_its_files_take_and_lies_where_there_is_room() {
        let folder = std::env::temp_dir().join(format!("unread-disk-{}", std::process::id()));
        fs::create_dir_all(folder.join("below")).unwrap();
        fs::write(folder.join("a"), [0; 10]).unwrap();
        fs::write(folder.join("below/b"), [0; 5]).unwrap();
        let (taken, room) = (size(&folder).unwrap(), free(&folder).unwrap());
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(taken, 15);
        assert!(room > 0);
        assert!(free(Path::new("/nonexistent")).is_err());
    }
}
