//! The beginning of a journal: its name, and then all that is in force.

use anyhow::bail;
use chrono::{DateTime, Utc};

use super::{JournalKeeper, JournalSink, MOST, line};
use crate::db;
use crate::db::journal::{SinkState, UnnotedEntry};
use crate::hashing;
use crate::journal::{Begins, JournalLine, JournalMark, Tail, VERSION, Writer};

/// What is written one page after another.
struct JournalSnapshot {
    begins: DateTime<Utc>,
    /// The number of the last line so far.
    last: i64,
}

/// Where the journal is that is begun anew.
#[derive(Debug, PartialEq, Eq)]
struct JournalPosition {
    /// Its name, if it has one.
    journal: Option<String>,
    last: i64,
    /// It has what the database does not know of.
    is_ahead: bool,
}

impl JournalPosition {
    fn of(known: &SinkState, tail: &Tail, mark: Option<&JournalMark>) -> Self {
        let marked = mark.map(|mark| mark.journal.clone());
        let journal = tail.journal.clone().or(marked);
        let last = mark.map_or(0, |mark| mark.number).max(tail.last);
        let is_known = known.journal == journal && known.numbered >= last;
        Self {
            is_ahead: journal.is_some() && !is_known,
            journal,
            last,
        }
    }
}

/// What of it is read next.
#[derive(Clone, Copy)]
enum SnapshotPart {
    Suppressions,
    /// That were made since.
    Erasures(DateTime<Utc>),
}

impl JournalKeeper {
    /// Begins the journal anew: what it may have missed does not matter any more. The database takes it for begun when all of it is where it is
    /// kept; whoever dies before begins once more.
    pub(super) async fn begin(&mut self) -> anyhow::Result<()> {
        let sink = self.place.sink();
        db::journal::settle(&self.pool).await?;
        let begins = db::server::now(&self.pool).await?;
        let mut tx = self.pool.begin().await?;
        let Some(known) = db::journal::lock(&mut tx, sink, &self.token).await? else {
            self.renewed = None;
            return Ok(());
        };
        drop(tx);
        let tail = self.write(Writer::tail).await?.unwrap_or_default();
        let before: Option<JournalMark> = self.write(|writer| writer.mark()).await?.flatten();
        let found = JournalPosition::of(&known, &tail, before.as_ref());
        let journal = found.journal.unwrap_or_else(hashing::token);
        let number = found.last.max(known.numbered) + 1;
        let mut snapshot = JournalSnapshot {
            begins,
            last: number,
        };
        let line = Begins {
            number,
            version: VERSION,
            journal: journal.clone(),
            begins,
            key: self.key.clone(),
            before,
            behind: found.is_ahead,
        };
        self.note(vec![JournalLine::Begins(line)]).await?;
        self.snapshot(&mut snapshot).await?;

        let mut tx = self.pool.begin().await?;
        if db::journal::lock(&mut tx, sink, &self.token)
            .await?
            .is_none()
        {
            self.renewed = None;
            return Ok(());
        }
        db::journal::begun(&mut tx, sink, &journal, snapshot.last).await?;
        tx.commit().await?;
        tracing::info!(
            lines = snapshot.last - number + 1,
            "The journal was started with all that applies now"
        );
        Ok(())
    }

    async fn snapshot(&mut self, snapshot: &mut JournalSnapshot) -> anyhow::Result<()> {
        self.pages(snapshot, SnapshotPart::Suppressions).await?;
        let since = match self.place {
            JournalSink::File(_, keep) => snapshot.begins - keep,
            JournalSink::Webhook(_) => DateTime::UNIX_EPOCH,
        };
        self.pages(snapshot, SnapshotPart::Erasures(since)).await?;
        snapshot.last += 1;
        let ends = JournalLine::SnapshotEnds {
            number: snapshot.last,
            snapshot_ends: snapshot.begins,
        };
        self.note(vec![ends]).await
    }

    async fn pages(
        &mut self,
        snapshot: &mut JournalSnapshot,
        of: SnapshotPart,
    ) -> anyhow::Result<()> {
        let mut after: Option<UnnotedEntry> = None;
        loop {
            let page = match of {
                SnapshotPart::Suppressions => {
                    db::journal::in_force(&self.pool, after.as_ref(), MOST).await?
                }
                SnapshotPart::Erasures(since) => {
                    db::journal::erasures(&self.pool, since, after.as_ref(), MOST).await?
                }
            };
            if page.is_empty() {
                return Ok(());
            }
            let begins = Some(snapshot.begins);
            let lines = (snapshot.last + 1..).zip(&page);
            let lines: Vec<JournalLine> = lines
                .map(|(number, said)| line(said, number, begins))
                .collect();
            snapshot.last = lines.last().map_or(snapshot.last, JournalLine::number);
            self.note(lines).await?;
            after = page.into_iter().next_back();
            if !self.holds().await? {
                bail!("another process keeps the journal by now");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_has_what_the_database_does_not_know_of_says_so_where_it_begins_anew() {
        let known = |journal: &str, numbered| SinkState {
            journal: Some(journal.to_owned()),
            numbered,
        };
        let unknown = SinkState {
            journal: None,
            numbered: 0,
        };
        let tail = |last| Tail {
            journal: Some("ours".to_owned()),
            last,
        };
        let mark = |number| JournalMark {
            journal: "ours".to_owned(),
            number,
            at: DateTime::UNIX_EPOCH,
        };
        #[rustfmt::skip]
        let cases = [
            ("the first one", unknown.clone(), Tail::default(), None, (None, 0, false)),
            ("the file was moved away", known("ours", 57), Tail::default(), Some(mark(57)), (Some("ours"), 57, false)),
            ("it lost its end", known("ours", 57), tail(50), Some(mark(57)), (Some("ours"), 57, false)),
            ("the database was restored", known("ours", 50), tail(57), Some(mark(57)), (Some("ours"), 57, true)),
            ("it was restored, and the file was moved away", known("ours", 50), Tail::default(), Some(mark(57)), (Some("ours"), 57, true)),
            ("it was restored from before there was a journal", unknown, tail(57), Some(mark(57)), (Some("ours"), 57, true)),
            ("another file was kept last", known("theirs", 99), tail(57), Some(mark(57)), (Some("ours"), 57, true)),
        ];
        for (what, known, tail, mark, (journal, last, is_ahead)) in cases {
            let found = JournalPosition::of(&known, &tail, mark.as_ref());
            let expected = JournalPosition {
                journal: journal.map(str::to_owned),
                last,
                is_ahead,
            };
            assert_eq!(found, expected, "{what}");
        }
    }
}
