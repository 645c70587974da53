//! The journal as a file of lines, which only grows; what is past its time loses what it says when it is written anew.
//!
//! One process at a time writes to it: whoever has the lock of the file `….lock` beside it. `….complete` beside it says until when it was
//! kept.

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::EntryKind;
use super::line::{JournalLine, JournalMark, parse};
use super::small::{MODE, replace, sync_folder};

/// A journal on a disk.
#[derive(Clone, Debug)]
pub struct JournalFile {
    path: PathBuf,
}

impl JournalFile {
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All lines, in order; none if there is no such file.
    pub fn read(&self) -> anyhow::Result<Vec<JournalLine>> {
        let text = self.text().with_context(|| self.reading())?;
        Ok(parse(&text)?)
    }

    fn text(&self) -> io::Result<String> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }

    fn reading(&self) -> String {
        format!("reading the journal {}", self.path.display())
    }

    /// Until when it was kept, as its keeper has said last; `None`: nobody has.
    pub fn mark(&self) -> anyhow::Result<Option<JournalMark>> {
        let path = self.path.with_extension("complete");
        let reading = || {
            format!(
                "{} cannot be read; put its permissions or its content right, or remove it: then nothing vouches for the journal",
                path.display()
            )
        };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(reading)?,
        };
        serde_json::from_str(&text).map(Some).with_context(reading)
    }

    /// Whoever writes to it; `None`: another process does.
    pub fn writer(&self) -> anyhow::Result<Option<Writer>> {
        let path = self.path.with_extension("lock");
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(MODE);
        let lock = options
            .open(&path)
            .with_context(|| format!("writing {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Writer {
                file: self.clone(),
                _lock: lock,
                seen: None,
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {}", path.display()))
            }
        }
    }
}

/// Where a file ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The name of the journal that it is.
    pub journal: Option<String>,
    /// The number of its last line; 0: it has none.
    pub last: i64,
}

/// Tells whether somebody else has touched the file: which one it is, and how long.
type FileStamp = Option<(u64, u64, u64)>;

/// Writes to a journal, and nobody else does as long as this lives.
#[derive(Debug)]
pub struct Writer {
    file: JournalFile,
    _lock: fs::File,
    seen: Option<(FileStamp, Tail)>,
}

impl Writer {
    /// Where it ends; looked up anew if the file is not as this left it: a person may have moved or removed it.
    pub fn tail(&mut self) -> anyhow::Result<Tail> {
        let stamp = self.stamp().with_context(|| self.file.reading())?;
        if let Some((seen, tail)) = &self.seen
            && *seen == stamp
        {
            return Ok(tail.clone());
        }
        let mut tail = Tail::default();
        for line in self.file.read()? {
            tail.go_on(&line);
        }
        self.seen = Some((stamp, tail.clone()));
        Ok(tail)
    }

    fn stamp(&self) -> io::Result<FileStamp> {
        match fs::metadata(&self.file.path) {
            Ok(found) => Ok(Some((found.dev(), found.ino(), found.len()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Until when it was kept.
    pub fn mark(&self) -> anyhow::Result<Option<JournalMark>> {
        self.file.mark()
    }

    /// Adds lines; when this returns they are on the disk.
    pub fn append(&mut self, lines: &[JournalLine]) -> anyhow::Result<()> {
        let mut tail = self.tail()?;
        self.seen = None;
        self.add(lines)
            .with_context(|| format!("writing the journal {}", self.file.path.display()))?;
        for line in lines {
            tail.go_on(line);
        }
        self.seen = Some((self.stamp()?, tail));
        Ok(())
    }

    fn add(&self, lines: &[JournalLine]) -> io::Result<()> {
        let path = &self.file.path;
        let new = !path.exists();
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(MODE);
        let mut file = options.open(path)?;
        let mut text = Vec::new();
        // A line that was torn when the machine died ends here, and is passed over by whoever reads.
        if !ends_whole(&mut file)? {
            text.push(b'\n');
        }
        text.extend(written(lines)?);
        file.write_all(&text)?;
        file.sync_all()?;
        if new {
            sync_folder(path)?;
        }
        Ok(())
    }

    /// Says that all that was to be noted until this moment is in the file as it is now.
    pub fn complete(&mut self, at: DateTime<Utc>) -> anyhow::Result<()> {
        let Tail { journal, last } = self.tail()?;
        let Some(journal) = journal else {
            return Ok(());
        };
        let mark = JournalMark {
            journal,
            number: last,
            at,
        };
        let path = self.file.path.with_extension("complete");
        replace(&path, &serde_json::to_vec(&mark)?)
            .with_context(|| format!("writing {}", path.display()))
    }

    /// Leaves out what erasures noted before this moment. Returns how many entries that were.
    pub fn forget_erasures(&mut self, before: DateTime<Utc>) -> anyhow::Result<usize> {
        let mut gone = 0;
        let mut lines = self.file.read()?;
        for line in &mut lines {
            let is_old = matches!(line, JournalLine::Entry(entry) if entry.kind == EntryKind::Erasure && entry.at < before);
            if is_old {
                *line = JournalLine::forgotten(line.number());
                gone += 1;
            }
        }
        if gone > 0 {
            self.seen = None;
            let path = &self.file.path;
            replace(path, &written(&lines)?)
                .with_context(|| format!("rewriting the journal {}", path.display()))?;
        }
        Ok(gone)
    }
}

impl Tail {
    fn go_on(&mut self, line: &JournalLine) {
        if let JournalLine::Begins(begins) = line {
            self.journal = Some(begins.journal.clone());
        }
        self.last = self.last.max(line.number());
    }
}

fn written(lines: &[JournalLine]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// Whether nothing, or a whole line, stands at the end.
fn ends_whole(file: &mut fs::File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == [b'\n'])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::tests::{Folder, entry, mode, time};
    use super::super::{Begins, VERSION};
    use super::*;

    fn line(kind: EntryKind, number: u8, at: &str) -> JournalLine {
        JournalLine::Entry(entry(kind, number, at))
    }

    fn begins(number: i64) -> JournalLine {
        JournalLine::Begins(Begins {
            number,
            version: VERSION,
            journal: "ours".to_owned(),
            begins: time("2026-01-05T12:00:00Z"),
            key: None,
            before: None,
            behind: false,
        })
    }

    fn journal(folder: &Folder) -> (JournalFile, Writer) {
        let file = JournalFile::at(folder.path().join("journal.jsonl"));
        let writer = file.writer().unwrap().unwrap();
        (file, writer)
    }

    #[test]
    fn what_is_added_is_read_in_order_and_a_torn_line_hides_nothing_else() {
        let folder = Folder::new();
        let (file, mut writer) = journal(&folder);
        assert_eq!(file.read().unwrap(), []);
        let first = line(EntryKind::OptOut, 1, "2026-01-05T12:00:00Z");
        let second = line(EntryKind::Lifted, 2, "2026-01-05T12:01:00Z");
        let third = line(EntryKind::Erasure, 3, "2026-01-05T12:02:00Z");
        writer.append(&[first.clone(), second.clone()]).unwrap();
        // The machine died in the middle of a line.
        let whole = fs::read_to_string(file.path()).unwrap();
        let text = serde_json::to_string(&third).unwrap();
        for torn in [1, text.len() / 2, text.len() - 1] {
            fs::write(file.path(), format!("{whole}{}", &text[..torn])).unwrap();
            assert_eq!(file.read().unwrap(), [first.clone(), second.clone()]);
            assert_eq!(writer.tail().unwrap().last, 2);
            writer.append(std::slice::from_ref(&third)).unwrap();
            let all = [first.clone(), second.clone(), third.clone()];
            assert_eq!(file.read().unwrap(), all);
        }
        fs::write(file.path(), format!("{whole}no line of ours\n")).unwrap();
        let error = file.read().unwrap_err();
        assert!(error.to_string().contains("line 3"), "{error}");
    }

    #[test]
    fn erasures_are_forgotten_when_no_backup_is_older_and_opt_outs_never() {
        let folder = Folder::new();
        let (file, mut writer) = journal(&folder);
        let old = "2026-01-05T12:00:00Z";
        let new = "2026-02-05T12:00:00Z";
        let mut lines = [
            line(EntryKind::OptOut, 1, old),
            line(EntryKind::Erasure, 2, old),
            line(EntryKind::Erasure, 3, new),
        ];
        writer.append(&lines).unwrap();
        let tightened = fs::Permissions::from_mode(0o400);
        fs::set_permissions(file.path(), tightened).unwrap();
        let before = time("2026-02-01T00:00:00Z");
        assert_eq!(writer.forget_erasures(before).unwrap(), 1);
        lines[1] = JournalLine::forgotten(2);
        assert_eq!(file.read().unwrap(), lines);
        assert_eq!(mode(file.path()), 0o400, "as somebody has set it");
        assert_eq!(writer.forget_erasures(before).unwrap(), 0);
        assert_eq!(writer.tail().unwrap().last, 3);
    }

    #[test]
    fn one_process_writes_and_sees_what_a_person_does_to_the_file() {
        let folder = Folder::new();
        let (file, mut writer) = journal(&folder);
        assert!(file.writer().unwrap().is_none(), "somebody writes already");
        assert_eq!(writer.tail().unwrap(), Tail::default());
        writer.complete(time("2026-01-05T12:00:00Z")).unwrap();
        assert_eq!(file.mark().unwrap(), None, "nothing has begun");
        writer.append(&[begins(1)]).unwrap();
        let noted = line(EntryKind::OptOut, 2, "2026-01-05T12:01:00Z");
        writer.append(&[noted]).unwrap();
        let tail = Tail {
            journal: Some("ours".to_owned()),
            last: 2,
        };
        assert_eq!(writer.tail().unwrap(), tail);
        let at = time("2026-01-05T12:02:00Z");
        writer.complete(at).unwrap();
        let mark = JournalMark {
            journal: "ours".to_owned(),
            number: 2,
            at,
        };
        assert_eq!(file.mark().unwrap(), Some(mark));
        for name in ["journal.jsonl", "journal.complete", "journal.lock"] {
            assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
        }
        fs::rename(file.path(), folder.path().join("journal.1")).unwrap();
        assert_eq!(writer.tail().unwrap(), Tail::default());
        fs::rename(folder.path().join("journal.1"), file.path()).unwrap();
        assert_eq!(writer.tail().unwrap(), tail);
        drop(writer);
        assert!(file.writer().unwrap().is_some());
        fs::write(folder.path().join("journal.complete"), "{\"jour").unwrap();
        let error = file.mark().unwrap_err().to_string();
        assert!(error.contains("journal.complete"), "{error}");
    }
}
