//! The heartbeat of this process: it raises the counter in the database, signs its line with it, and remembers it.
//!
//! Whoever finds the database behind what is remembered holds all sending, for every process, in the transaction in which it is found
//! out. A process begins no attempt itself until it may (`domain::heartbeat::trust`), and while its line is behind its memory.

mod status;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use sqlx::{PgConnection, PgPool};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use status::HeartbeatStatus;

use super::release::release;
use crate::clock::Clock;
use crate::db;
use crate::db::beats::Signature;
use crate::domain::decide::Reason;
use crate::domain::heartbeat::trust::{PriorKnowledge, ProcessStanding, may_send};
use crate::domain::heartbeat::{
    Beat, HeartbeatVerdict, Memory, ProcessBeat, RememberedHeartbeat, StoredHeartbeat, judge, knows,
};
use crate::domain::hold::{Hold, HoldEnd, HoldKind};
use crate::hashing;
use crate::journal::HeartbeatFile;
use crate::metrics::Metrics;

/// How often a process beats: so soon a restore is found out, and so long who starts waits for the others.
const EVERY: Duration = Duration::from_secs(3);

/// How soon after a beat that failed.
const AGAIN: Duration = Duration::from_secs(2);

/// So many beats, from the end of a process's wait on, release what was put off because of it.
const RELEASES: u8 = 2;

/// For so long after the end of a hold every beat releases what was put off because of it: two beats of a process that is in time.
const RELEASED_FOR: TimeDelta = TimeDelta::seconds(10);

/// How the list of holds calls a process that ends one because nothing is missing.
const BY: &str = "unread";

/// Why a process ends that has no business with a database.
pub const STRANGER: &str = "this database is another installation's, whose processes work on it, and not the one that this machine \
    remembers (in the `.heartbeat` file beside its journal): nothing was sent and nothing is held. Correct DATABASE_URL; if this \
    machine belongs to that installation from now on, remove the file";

/// What makes the beats of a process.
pub struct HeartbeatTask {
    pool: PgPool,
    clock: Clock,
    heartbeat_status: Arc<HeartbeatStatus>,
    head: Option<HeartbeatFile>,
    /// What the journal remembered when the process began, until it has been judged by it.
    journal: Mutex<Option<RememberedHeartbeat>>,
    /// Since when the heartbeat cannot be written beside the journal.
    forgetful: Mutex<Option<Instant>>,
    /// The holds that the log has.
    said: Mutex<Vec<HoldKind>>,
    /// So many beats still release what was put off.
    to_release: AtomicU8,
    metrics: Metrics,
}

impl HeartbeatTask {
    /// With a journal that remembers, if there is one on this machine.
    pub fn new(
        pool: PgPool,
        clock: Clock,
        heartbeat_status: Arc<HeartbeatStatus>,
        head: Option<HeartbeatFile>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let journal = head
            .as_ref()
            .map(HeartbeatFile::read)
            .transpose()?
            .flatten();
        Ok(Self {
            pool,
            clock,
            heartbeat_status,
            head,
            journal: Mutex::new(journal),
            forgetful: Mutex::default(),
            said: Mutex::default(),
            to_release: AtomicU8::default(),
            metrics: metrics.clone(),
        })
    }

    /// Beats until `shutdown`, or until the process turns out to be a stranger here.
    pub async fn run(self, shutdown: CancellationToken) -> &'static str {
        // Between a process's first two beats everybody else has beaten.
        let mut pause = EVERY + AGAIN;
        let mut failing = false;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return "heartbeat",
                () = tokio::time::sleep(pause) => {}
            }
            let beaten = self.beat().await;
            pause = if beaten.is_ok() { EVERY } else { AGAIN };
            match beaten {
                Ok(HeartbeatVerdict::Stranger) => {
                    tracing::error!("Stopping: {STRANGER}");
                    return "heartbeat";
                }
                Ok(_) if failing => {
                    tracing::info!("The heartbeat can be written again");
                    failing = false;
                }
                Err(error) if !failing => {
                    tracing::warn!(
                        "The heartbeat cannot be written, trying again: {}",
                        db::explain_all(&error)
                    );
                    failing = true;
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Beats once, and judges the database by it. The beat of a stranger leaves no trace.
    pub async fn beat(&self) -> anyhow::Result<HeartbeatVerdict> {
        let mut tx = self.pool.begin().await.context("opening a heartbeat")?;
        let beat = read_beat(&mut tx, &self.clock)
            .await
            .context("a heartbeat")?;
        let own = recall(&mut tx, self.heartbeat_status.seen()).await?;
        let journal = recall(&mut tx, self.remembered()).await?;
        let verdict = judge(own.as_ref(), journal.as_ref(), &beat);
        if verdict == HeartbeatVerdict::Stranger {
            return Ok(verdict);
        }
        // A journal is forgotten once it is judged by. That it had nothing to object is not.
        let knows = knows(journal.as_ref(), &beat).max(self.heartbeat_status.knew());
        let may_send = self
            .act(&mut tx, &verdict, &beat, (own.as_ref(), knows))
            .await
            .context("judging a heartbeat")?;
        let holds = db::holds::active(&mut *tx).await?;
        let open = may_send && holds.is_empty();
        if open {
            self.release_again(&mut tx, &beat).await?;
        }
        tx.commit().await.context("committing a heartbeat")?;
        if open {
            let left = self.to_release.load(Ordering::Relaxed);
            self.to_release
                .store(left.saturating_sub(1), Ordering::Relaxed);
        }
        self.say(&holds);
        if !verdict.contradicts() {
            let seen = beat.seen(self.heartbeat_status.process());
            self.heartbeat_status
                .remember(seen.clone(), knows, may_send);
            // While anything is held, what is remembered outside is evidence.
            if holds.is_empty() {
                self.remember_outside(seen).await?;
            }
        }
        self.heartbeat_status
            .beaten(beat.found(), !holds.is_empty());
        Ok(verdict)
    }

    /// A full disk must not keep the database from being watched, so it is told and not an error.
    async fn remember_outside(&self, seen: RememberedHeartbeat) -> anyhow::Result<()> {
        let Some(head) = self.head.clone() else {
            return Ok(());
        };
        let written = tokio::task::spawn_blocking(move || head.write(&seen)).await?;
        let mut forgetful = self
            .forgetful
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match written {
            Ok(()) => {
                if forgetful.take().is_some() {
                    tracing::info!("The heartbeat can be written beside the journal again");
                }
                drop(forgetful);
                self.metrics.heartbeat_lag(Duration::ZERO);
                self.reset();
            }
            Err(error) => {
                let since = forgetful.get_or_insert_with(|| {
                    tracing::error!(
                        "The heartbeat cannot be written beside the journal, trying again; a restore might go unnoticed: {error:#}"
                    );
                    Instant::now()
                });
                // At least a second: it is late from the first failure on.
                let lag = since.elapsed().max(Duration::from_secs(1));
                drop(forgetful);
                self.metrics.heartbeat_lag(lag);
            }
        }
        Ok(())
    }

    fn remembered(&self) -> Option<RememberedHeartbeat> {
        self.journal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn reset(&self) {
        *self.journal.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Writes what a verdict asks for. Returns whether this process may send.
    async fn act(
        &self,
        tx: &mut PgConnection,
        verdict: &HeartbeatVerdict,
        beat: &Beat,
        known: (Option<&Memory>, PriorKnowledge),
    ) -> anyhow::Result<bool> {
        let counts = !verdict.contradicts();
        let mut pulse = beat.after.clone();
        if *verdict == HeartbeatVerdict::Whole {
            pulse.server = beat.server.clone().or(pulse.server);
        }
        // What speaks against the database is not counted over. A fresh one needs the row to be held.
        if counts || beat.before.is_none() {
            db::heartbeat::write(tx, &pulse).await?;
        }
        if let Some(hold) = Hold::of(verdict, beat.after.beat_at) {
            db::holds::begin(tx, &hold).await?;
        }
        if !counts {
            return Ok(false);
        }
        if *verdict == HeartbeatVerdict::Whole {
            self.found_whole(tx, beat).await?;
        }
        self.sign(tx, &pulse, beat, known).await
    }

    /// Ends what was held because nobody had vouched for the database. Of what `unread restore` has brought back a person says what it is.
    async fn found_whole(&self, tx: &mut PgConnection, beat: &Beat) -> anyhow::Result<()> {
        let holds = db::holds::active(&mut *tx).await?;
        let unvouched = |hold: &&Hold| match hold.kind {
            HoldKind::Silence => true,
            HoldKind::Copied => hold.lost_from.is_none(),
            HoldKind::Restored | HoldKind::Other => false,
        };
        let kinds: Vec<HoldKind> = holds
            .iter()
            .filter(unvouched)
            .map(|hold| hold.kind)
            .collect();
        let now = beat.after.beat_at;
        let ended = db::holds::end(tx, &kinds, (BY, HoldEnd::FoundWhole), now).await?;
        if !ended.is_empty() {
            release(tx, &self.clock, (Reason::Held, None), now).await?;
        }
        Ok(())
    }

    /// Releases what was put off until now, and once more with the next beat: a delivery may have looked before, and have put itself off after,
    /// the moment at which the others were released.
    async fn release_again(&self, tx: &mut PgConnection, beat: &Beat) -> sqlx::Result<()> {
        let now = beat.after.beat_at;
        let waits = self.to_release.load(Ordering::Relaxed) > 0
            || !self.said().is_empty()
            || db::holds::ended_since(&mut *tx, now - RELEASED_FOR).await?;
        if waits {
            release(tx, &self.clock, (Reason::Held, None), now).await?;
        }
        Ok(())
    }

    /// Signs the line of this process, and finds out whether it may send.
    async fn sign(
        &self,
        tx: &mut PgConnection,
        pulse: &StoredHeartbeat,
        beat: &Beat,
        (own, knows): (Option<&Memory>, PriorKnowledge),
    ) -> anyhow::Result<bool> {
        let process = self.heartbeat_status.process();
        let (beats, came_at) = self.heartbeat_status.course();
        let last = beat
            .before
            .as_ref()
            .map_or(pulse.beat_at, |before| before.beat_at);
        let might = self.heartbeat_status.may_send();
        let may = might || {
            let came_at = came_at.unwrap_or_else(|| beat.found());
            let others = db::beats::others(&mut *tx, process, came_at, last).await?;
            may_send(ProcessStanding {
                founded: beat.before.is_none(),
                knows,
                beats: beats.saturating_add(1),
                vouched_for: others.vouched_for,
                somebody_remembers: others.somebody_remembers,
            })
        };
        // A person has decided about that. Until now nothing left here, though nothing was held any more.
        let was_behind = own
            .zip(beat.before.as_ref())
            .is_some_and(|(own, before)| own.is_behind(before));
        let signature = Signature {
            process,
            line: ProcessBeat {
                counter: pulse.counter,
                beat_at: pulse.beat_at,
            },
            after_at: last,
            trusted: may || knows > PriorKnowledge::Nothing,
            keeper: self.head.is_some(),
        };
        db::beats::sign(tx, signature).await?;
        if beats == 0 {
            db::beats::prune(tx, pulse.beat_at).await?;
            if !may {
                tracing::info!(
                    "Nothing is sent from here yet: processes that remember this database have a few seconds, two minutes at most, to \
                     report that it was restored"
                );
            }
        } else if may && (was_behind || !might) {
            // What this process has put off meanwhile.
            self.to_release.store(RELEASES, Ordering::Relaxed);
        }
        Ok(may)
    }

    /// Says in the log, once, what is held, and when that is over.
    fn say(&self, holds: &[Hold]) {
        let mut said = self.said();
        for hold in holds.iter().filter(|hold| !said.contains(&hold.kind)) {
            tracing::error!(kind = %hold.kind, "{} {}", hold.said(), hold.fix());
        }
        if holds.is_empty() && !said.is_empty() {
            tracing::info!("Sending is no longer on hold");
        }
        *said = holds.iter().map(|hold| hold.kind).collect();
    }

    fn said(&self) -> MutexGuard<'_, Vec<HoldKind>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The beat that would follow on what the database holds. Nobody else beats until the transaction ends.
pub async fn read_beat(tx: &mut PgConnection, clock: &Clock) -> sqlx::Result<Beat> {
    db::heartbeat::lock(tx).await?;
    let server = db::heartbeat::server(tx).await?;
    let now = db::heartbeat::now(&mut *tx, clock.instead_of_database()).await?;
    let before = db::heartbeat::read(&mut *tx).await?;
    Ok(Beat::next(before, &hashing::token(), server, now))
}

/// What somebody remembers, beside what the database has of it.
pub async fn recall(
    tx: &mut PgConnection,
    seen: Option<RememberedHeartbeat>,
) -> sqlx::Result<Option<Memory>> {
    let Some(seen) = seen else { return Ok(None) };
    let line = match &seen.process {
        Some(process) => db::beats::line(&mut *tx, process).await?,
        None => None,
    };
    let before_newcomers = db::beats::before_newcomers(&mut *tx, seen.at).await?;
    Ok(Some(Memory {
        seen,
        line,
        before_newcomers,
    }))
}
