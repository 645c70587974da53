//! Takes entries of the journal from the database to where they are kept.
//!
//! One process at a time writes to each place, so that the order stays and no line is lost: it has a lease in the database, under a token
//! of its own, and of a file the lock. What did not arrive is tried again until it does, with the same number; it may arrive twice. A journal
//! that does not go on where the database left it is begun anew, with all that is in force.

mod begin;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::db;
use crate::db::journal::{Sink, SinkState, UnnotedEntry, WaitingEntry};
use crate::hashing;
use crate::journal::{EntryKind, JournalEntry, JournalFile, JournalLine, Tail, Webhook, Writer};

/// How often is looked whether something is to be noted.
const EVERY: Duration = Duration::from_secs(1);

/// How long a place is left alone that does not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Longer than one batch takes, however slow the place is.
const LEASE: TimeDelta = TimeDelta::seconds(60);

/// How often the lease is renewed, and the journal said to be complete.
const RENEW: Duration = Duration::from_secs(10);

/// Whoever is refused for so long is refused by a process that lives, and not by the lease of one that has ended.
const LIVES: Duration = Duration::from_secs(90);

/// Entries of one batch.
const MOST: i64 = 500;

/// How often a process says that it still keeps its journal, and removes from the file what is past its time.
const TEND_EVERY: Duration = Duration::from_hours(1);

/// A place where this process keeps a journal.
pub enum JournalSink {
    /// With the time after which erasures are removed from it.
    File(JournalFile, TimeDelta),
    Webhook(Webhook),
}

impl JournalSink {
    fn sink(&self) -> Sink {
        match self {
            Self::File(..) => Sink::File,
            Self::Webhook(_) => Sink::Webhook,
        }
    }
}

/// Keeps a journal in one place.
pub struct JournalKeeper {
    pool: PgPool,
    clock: Clock,
    place: JournalSink,
    /// Short name of the key that hashes are made with.
    key: Option<String>,
    /// Tells this process from others that would write.
    token: String,
    writer: Option<Arc<Mutex<Writer>>>,
    renewed: Option<Instant>,
    refused: Option<Instant>,
    said: bool,
    marked: Option<Instant>,
}

/// What became of a batch.
enum BatchOutcome {
    /// So many entries were noted.
    Noted(usize),
    /// Another process has the lease by now.
    Lost,
    /// The journal does not go on where the database left it.
    Broken,
}

impl JournalKeeper {
    /// From here on what is to be noted is noted.
    pub async fn start(
        pool: PgPool,
        clock: Clock,
        place: JournalSink,
        key: Option<String>,
    ) -> anyhow::Result<Self> {
        db::journal::keep(&pool, place.sink())
            .await
            .context("registering the journal")?;
        Ok(Self {
            pool,
            clock,
            place,
            key,
            token: hashing::token(),
            writer: None,
            renewed: None,
            refused: None,
            said: false,
            marked: None,
        })
    }

    /// Notes until `shutdown`, and then what is left.
    pub async fn run(mut self, shutdown: CancellationToken) -> &'static str {
        let mut failing = false;
        let mut tended: Option<Instant> = None;
        loop {
            let last = shutdown.is_cancelled();
            if last {
                self.marked = None;
            }
            let noted = self.turn().await;
            let pause = if noted.is_ok() { EVERY } else { AFTER_FAILURE };
            match noted {
                Ok(()) if failing => {
                    tracing::info!("The journal can be written again");
                    failing = false;
                }
                Err(error) if !failing => {
                    tracing::error!(
                        "The journal cannot be written, trying again; opt-outs hold all the same: {error:#}"
                    );
                    failing = true;
                }
                Ok(()) | Err(_) => {}
            }
            if tended.is_none_or(|at| at.elapsed() > TEND_EVERY) {
                match self.tend().await {
                    Ok(()) => tended = Some(Instant::now()),
                    Err(error) => tracing::warn!(
                        "What is past its time cannot be removed from the journal: {error:#}"
                    ),
                }
            }
            if last {
                self.end().await;
                return "journal";
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Lets others go on at once.
    pub async fn end(mut self) {
        self.writer = None;
        let sink = self.place.sink();
        if let Err(error) = db::journal::give_back(&self.pool, sink, &self.token).await {
            tracing::warn!("The journal cannot be given back: {error}");
        }
    }

    /// Notes what waits, if the journal is this process's, and says that it is complete.
    pub async fn turn(&mut self) -> anyhow::Result<()> {
        loop {
            let (at, waits) = db::journal::any_waiting(&self.pool, self.place.sink()).await?;
            let due = self.marked.is_none_or(|at| at.elapsed() >= RENEW);
            if !(waits || due) || !self.holds().await? {
                return Ok(());
            }
            match self.batch().await? {
                BatchOutcome::Noted(0) => {
                    if !waits {
                        self.write(move |writer| writer.complete(at)).await?;
                    }
                    self.marked = Some(Instant::now());
                    return Ok(());
                }
                BatchOutcome::Noted(_) => {}
                BatchOutcome::Lost => {
                    self.renewed = None;
                    return Ok(());
                }
                BatchOutcome::Broken => self.begin().await?,
            }
        }
    }

    /// Whether the journal is this process's to write.
    async fn holds(&mut self) -> anyhow::Result<bool> {
        if let (JournalSink::File(file, _), None) = (&self.place, &self.writer) {
            let file = file.clone();
            let writer = tokio::task::spawn_blocking(move || file.writer()).await??;
            let Some(writer) = writer else {
                self.is_refused(
                    "Another process writes to the journal's file, and this one stands by",
                );
                return Ok(false);
            };
            self.writer = Some(Arc::new(Mutex::new(writer)));
        }
        if self.renewed.is_some_and(|at| at.elapsed() < RENEW) {
            return Ok(true);
        }
        let asked = Instant::now();
        let taken = db::journal::take(&self.pool, self.place.sink(), &self.token, LEASE).await?;
        self.renewed = taken.then_some(asked);
        if taken {
            (self.refused, self.said) = (None, false);
        } else if self.writer.is_some() {
            self.is_refused(
                "Another process keeps the journal in another file, and nothing is written to this one: give UNREAD_JOURNAL_FILE to one \
                 worker only (docs/operate.md)",
            );
        }
        Ok(taken)
    }

    /// Said once, and only of a process that lives.
    fn is_refused(&mut self, said: &str) {
        let since = *self.refused.get_or_insert_with(Instant::now);
        if since.elapsed() > LIVES && !self.said {
            tracing::error!("{said}");
            self.said = true;
        }
    }

    async fn batch(&mut self) -> anyhow::Result<BatchOutcome> {
        let sink = self.place.sink();
        let tail = self.write(Writer::tail).await?;
        let mut tx = self.pool.begin().await?;
        let Some(known) = db::journal::lock(&mut tx, sink, &self.token).await? else {
            return Ok(BatchOutcome::Lost);
        };
        let waiting = db::journal::waiting(&mut *tx, sink, MOST).await?;
        let first = waiting.first().and_then(|waiting| waiting.number);
        if !goes_on(&known, tail.as_ref(), first) {
            return Ok(BatchOutcome::Broken);
        }
        if waiting.is_empty() {
            return Ok(BatchOutcome::Noted(0));
        }
        let ids: Vec<i64> = waiting.iter().map(|waiting| waiting.id).collect();
        let numbers = numbered(&waiting, known.numbered);
        db::journal::number(&mut tx, sink, (&ids, &numbers)).await?;
        tx.commit().await?;
        let lines = waiting.iter().zip(&numbers);
        let lines = lines.map(|(waiting, number)| line(&waiting.said, *number, None));
        self.note(lines.collect()).await?;
        let mut tx = self.pool.begin().await?;
        if db::journal::lock(&mut tx, sink, &self.token)
            .await?
            .is_none()
        {
            return Ok(BatchOutcome::Lost);
        }
        db::journal::noted(&mut tx, sink, &ids).await?;
        tx.commit().await?;
        Ok(BatchOutcome::Noted(ids.len()))
    }

    async fn note(&mut self, lines: Vec<JournalLine>) -> anyhow::Result<()> {
        if let JournalSink::Webhook(webhook) = &self.place {
            return webhook.post(&lines, self.clock.now()).await;
        }
        self.write(move |writer| writer.append(&lines)).await?;
        Ok(())
    }

    /// Does something with the file, off the threads that must not wait; nothing if the place is none.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<Option<T>> {
        if matches!(self.place, JournalSink::Webhook(_)) {
            return Ok(None);
        }
        let Some(writer) = self.writer.clone() else {
            bail!("the journal's file is another process's");
        };
        let work = move || work(&mut writer.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(work).await?.map(Some)
    }

    async fn tend(&mut self) -> anyhow::Result<()> {
        db::journal::keep(&self.pool, self.place.sink()).await?;
        let JournalSink::File(_, keep) = self.place else {
            return Ok(());
        };
        if self.renewed.is_none() || !self.holds().await? {
            return Ok(());
        }
        // By the clock that dates entries.
        let before = db::server::now(&self.pool).await? - keep;
        self.write(move |writer| writer.forget_erasures(before))
            .await?;
        Ok(())
    }
}

/// Whether a journal goes on where the database left it. `first` is the number of an entry that was tried before: it and those after it may
/// have arrived, those before it have. One that is longer was written from this database before it was restored; one that is shorter, or
/// another one, has lost something. What was posted nobody can ask.
fn goes_on(known: &SinkState, tail: Option<&Tail>, first: Option<i64>) -> bool {
    let arrived = first.map_or(known.numbered, |first| first - 1);
    known.journal.is_some()
        && tail.is_none_or(|tail| {
            tail.journal == known.journal && (arrived..=known.numbered).contains(&tail.last)
        })
}

/// The lines that entries will be: those that were tried before are the same, the others follow.
fn numbered(waiting: &[WaitingEntry], last: i64) -> Vec<i64> {
    let mut last = last;
    let mut next = || {
        last += 1;
        last
    };
    let numbers = waiting.iter();
    numbers
        .map(|waiting| waiting.number.unwrap_or_else(&mut next))
        .collect()
}

/// The line of what was said; one of a kind that only a newer version knows is that version's, and leaves its number.
fn line(said: &UnnotedEntry, number: i64, snapshot: Option<DateTime<Utc>>) -> JournalLine {
    let (Some(kind), Ok(hash)) = (
        EntryKind::parse(&said.kind),
        said.hash.as_slice().try_into(),
    ) else {
        return JournalLine::forgotten(number);
    };
    JournalLine::Entry(JournalEntry {
        number,
        at: said.at,
        kind,
        account: said.account.clone(),
        channel: said.channel.clone(),
        hash,
        key: said.key_id.clone(),
        source: said.source.clone(),
        until: said.until,
        snapshot,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_goes_on_only_where_the_database_left_it() {
        let known = |journal: Option<&str>, numbered| SinkState {
            journal: journal.map(str::to_owned),
            numbered,
        };
        let tail = |journal: &str, last| Tail {
            journal: Some(journal.to_owned()),
            last,
        };
        #[rustfmt::skip]
        let cases = [
            ("as it was left", known(Some("ours"), 57), Some(tail("ours", 57)), None, true),
            ("a batch did not arrive", known(Some("ours"), 57), Some(tail("ours", 54)), Some(55), true),
            ("a batch arrived in part", known(Some("ours"), 57), Some(tail("ours", 56)), Some(55), true),
            ("a batch arrived, and nobody was told", known(Some("ours"), 57), Some(tail("ours", 57)), Some(55), true),
            ("the database was restored", known(Some("ours"), 50), Some(tail("ours", 57)), None, false),
            ("the database was restored, with something on its way", known(Some("ours"), 50), Some(tail("ours", 57)), Some(49), false),
            ("the file was restored, or lost its end", known(Some("ours"), 57), Some(tail("ours", 50)), None, false),
            ("the same, with something on its way", known(Some("ours"), 57), Some(tail("ours", 53)), Some(55), false),
            ("the file was removed", known(Some("ours"), 57), Some(Tail::default()), None, false),
            ("it is another file", known(Some("ours"), 57), Some(tail("another", 57)), None, false),
            ("nobody has kept it for long", known(None, 0), Some(tail("ours", 57)), None, false),
            ("what is posted", known(Some("ours"), 57), None, None, true),
            ("what is posted, for the first time", known(None, 0), None, None, false),
        ];
        for (what, known, tail, first, goes) in cases {
            assert_eq!(goes_on(&known, tail.as_ref(), first), goes, "{what}");
        }
    }
}
