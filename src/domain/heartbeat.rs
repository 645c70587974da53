//! Is this database the one that sent?
//!
//! Every process raises a counter in the database, signs its own line there with what it came to, and remembers it; so does a journal
//! outside. Nobody writes in another's line. So a database in which the line of whoever remembers is missing or behind was restored from
//! a backup, however long others have counted on since, and whatever the clocks say: it does not know whom it has reminded since, nor
//! who has said no. One in which the line is as it was left was only down.
//!
//! Who remembers nothing cannot object: when such a process may send is in [`trust`].

pub mod trust;

#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};

use trust::PriorKnowledge;

/// A silence that is longer leaves a mark.
pub const NOTABLE_GAP: TimeDelta = TimeDelta::seconds(60);

/// With nobody who remembers, a silence may be this long; after a longer one a backup may have been restored unseen.
pub const LONGEST_SILENCE: TimeDelta = TimeDelta::hours(1);

/// Whoever is stopped first when everything is stopped knew the database until so long before the silence. Who knew it only longer before
/// does not know what the others did until it began.
const STOPPED_TOGETHER: TimeDelta = TimeDelta::minutes(5);

/// A database in which somebody has beaten so lately is worked on.
pub const ALIVE: TimeDelta = TimeDelta::seconds(30);

/// After so many beats without a silence an installation goes about its usual business: whoever comes and remembers another one is
/// the stranger. It is some minutes.
pub const SETTLED_IN: i64 = 200;

/// The heartbeat as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHeartbeat {
    pub installation: String,
    pub counter: i64,
    pub beat_at: DateTime<Utc>,
    /// The server and the database on it; nothing where that cannot be read.
    pub server: Option<String>,
    pub gap: Option<Gap>,
    pub names: OtherNames,
    /// The last time that a person decided about a lost time.
    pub decided: Option<RestoreDecision>,
    /// Lines of which the counter was not higher may have been removed, since they are very old.
    pub floor: i64,
}

/// Other names than its own that a database knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherNames {
    /// Those that it had before it took another installation's place.
    pub former: Vec<String>,
    /// Installations of which a person has said that they have no business here.
    pub strangers: Vec<String>,
}

/// A silence of all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// What the counter was.
    pub counter: i64,
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

/// A person has decided for a database that had forgotten something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreDecision {
    /// When. A later decision has a later moment.
    pub at: DateTime<Utc>,
    /// The end of the lost time: who remembers the database from before has nothing to add.
    pub until: DateTime<Utc>,
}

/// What somebody outside the database remembers of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RememberedHeartbeat {
    pub installation: String,
    pub counter: i64,
    pub at: DateTime<Utc>,
    pub server: Option<String>,
    /// Whose line has this counter; nothing in what an older version remembers.
    pub process: Option<String>,
    /// The last decision that was known.
    pub decided_at: Option<DateTime<Utc>>,
}

/// The line of a process in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessBeat {
    pub counter: i64,
    pub beat_at: DateTime<Utc>,
}

/// What somebody remembers, beside what the database has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    pub seen: RememberedHeartbeat,
    /// The line that is remembered.
    pub line: Option<ProcessBeat>,
    /// The last beat before that of the first process which has come since then.
    pub before_newcomers: Option<DateTime<Utc>>,
}

impl Memory {
    /// Whether the database does not know what is remembered.
    pub fn is_behind(&self, before: &StoredHeartbeat) -> bool {
        let counter = self.seen.counter;
        match (&self.seen.process, self.line) {
            (None, _) => counter > before.counter,
            (Some(_), Some(line)) => counter > line.counter,
            (Some(_), None) => counter > before.floor,
        }
    }

    /// A moment that the database still knows, given that it is behind.
    fn last_known(&self, before: &StoredHeartbeat) -> DateTime<Utc> {
        let line = self.line.map(|line| line.beat_at);
        line.or(self.before_newcomers)
            .unwrap_or(before.beat_at)
            .min(before.beat_at)
    }
}

/// One beat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// What the database held before; `None`: it is the first beat of a fresh database.
    pub before: Option<StoredHeartbeat>,
    /// What it holds from now on.
    pub after: StoredHeartbeat,
    /// Where the database is now.
    pub server: Option<String>,
}

impl Beat {
    /// The beat that follows on what the database holds. `fresh` is the name of a new installation.
    pub fn next(
        before: Option<StoredHeartbeat>,
        fresh: &str,
        server: Option<String>,
        now: DateTime<Utc>,
    ) -> Self {
        let after = match &before {
            None => StoredHeartbeat {
                installation: fresh.to_owned(),
                counter: 1,
                beat_at: now,
                server: server.clone(),
                gap: None,
                names: OtherNames::default(),
                decided: None,
                floor: 0,
            },
            Some(pulse) => {
                let silent = now - pulse.beat_at > NOTABLE_GAP;
                let gap = silent.then_some(Gap {
                    counter: pulse.counter,
                    from: pulse.beat_at,
                    until: now,
                });
                StoredHeartbeat {
                    counter: pulse.counter + 1,
                    beat_at: now,
                    // Where it has moved is noted only once that has been judged.
                    server: pulse.server.clone().or_else(|| server.clone()),
                    gap: gap.or(pulse.gap),
                    ..pulse.clone()
                }
            }
        };
        Self {
            before,
            after,
            server,
        }
    }

    /// What the process that made this beat remembers of it.
    pub fn seen(&self, process: &str) -> RememberedHeartbeat {
        RememberedHeartbeat {
            installation: self.after.installation.clone(),
            counter: self.after.counter,
            at: self.after.beat_at,
            server: self.server.clone(),
            process: Some(process.to_owned()),
            decided_at: self.after.decided.map(|decided| decided.at),
        }
    }

    /// The counter that it found; none in a fresh database.
    pub fn found(&self) -> i64 {
        self.before.as_ref().map_or(0, |before| before.counter)
    }

    /// Whether processes of the database's own installation have worked on it for some time and go on.
    fn is_settled_in(&self, before: &StoredHeartbeat) -> bool {
        let since = before.counter - before.gap.map_or(0, |gap| gap.counter);
        since >= SETTLED_IN && (self.after.beat_at - before.beat_at).abs() < ALIVE
    }
}

/// What a beat says about the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeartbeatVerdict {
    /// Nothing speaks against it.
    Same,
    /// Somebody who remembers it from before the last silence, or from another server, finds nothing missing.
    Whole,
    /// It has forgotten what was done between these moments, at which somebody else knew this counter.
    Restored {
        lost_from: DateTime<Utc>,
        lost_until: DateTime<Utc>,
        counter: i64,
    },
    /// It is another installation's, or a fresh one.
    Other {
        lost_until: DateTime<Utc>,
        counter: i64,
        /// The one that somebody knows.
        installation: String,
    },
    /// Another installation goes about its business here: it is the process that does not belong here, not the database.
    Stranger,
    /// It is somewhere else than before, and nobody knows whether the one that sent goes on there.
    Copied,
    /// For long nothing was written into it, and nobody remembers what came before.
    Silence {
        from: DateTime<Utc>,
        until: DateTime<Utc>,
    },
}

impl HeartbeatVerdict {
    /// Whether what somebody remembers speaks against the database. The beat does not count then: what the database holds is evidence.
    pub fn contradicts(&self) -> bool {
        matches!(
            self,
            Self::Restored { .. } | Self::Other { .. } | Self::Stranger
        )
    }
}

/// Judges a beat by what the process itself and the journal remember.
pub fn judge(own: Option<&Memory>, journal: Option<&Memory>, beat: &Beat) -> HeartbeatVerdict {
    let memories = || own.into_iter().chain(journal);
    if let Some(verdict) = memories().find_map(|memory| contradiction(memory, beat)) {
        return verdict;
    }
    let Some(before) = &beat.before else {
        return HeartbeatVerdict::Same;
    };
    let moved = match (&before.server, &beat.server) {
        (Some(old), Some(new)) => old != new,
        _ => false,
    };
    let gap = beat.after.gap;
    let whole = memories().any(|memory| vouches(memory, before, gap, moved));
    match gap {
        _ if whole => HeartbeatVerdict::Whole,
        _ if moved => HeartbeatVerdict::Copied,
        Some(Gap {
            counter,
            from,
            until,
        }) if counter == before.counter && until - from > LONGEST_SILENCE => {
            HeartbeatVerdict::Silence { from, until }
        }
        _ => HeartbeatVerdict::Same,
    }
}

/// How much of the database the journal knows, given that it finds nothing missing.
pub fn knows(journal: Option<&Memory>, beat: &Beat) -> PriorKnowledge {
    match (journal, &beat.before) {
        (Some(memory), Some(before))
            if memory.seen.installation == before.installation
                && memory.seen.counter == before.counter
                && !memory.is_behind(before) =>
        {
            PriorKnowledge::Everything
        }
        (Some(_), _) => PriorKnowledge::Something,
        (None, _) => PriorKnowledge::Nothing,
    }
}

/// Whether somebody knew the database until the silence began, or where it was before, and finds it as it was. Which came first the counter
/// says; a clock may have been set.
fn vouches(memory: &Memory, before: &StoredHeartbeat, gap: Option<Gap>, moved: bool) -> bool {
    let seen = &memory.seen;
    let gap = gap.filter(|gap| seen.counter <= gap.counter);
    let then = gap.map_or(before.beat_at, |gap| gap.from);
    let from_before = if moved {
        seen.server == before.server
    } else {
        gap.is_some()
    };
    from_before
        && seen.installation == before.installation
        && !memory.is_behind(before)
        && then - seen.at <= STOPPED_TOGETHER
}

/// What somebody remembers that the database does not know.
fn contradiction(memory: &Memory, beat: &Beat) -> Option<HeartbeatVerdict> {
    let seen = &memory.seen;
    let other = || HeartbeatVerdict::Other {
        lost_until: seen.at,
        counter: seen.counter,
        installation: seen.installation.clone(),
    };
    let Some(before) = &beat.before else {
        return Some(other());
    };
    let decided = before
        .decided
        .filter(|decided| seen.decided_at.is_none_or(|known| known < decided.at));
    if seen.installation != before.installation {
        return match decided {
            Some(_) if before.names.former.contains(&seen.installation) => None,
            _ if before.names.strangers.contains(&seen.installation)
                || beat.is_settled_in(before) =>
            {
                Some(HeartbeatVerdict::Stranger)
            }
            _ => Some(other()),
        };
    }
    if !memory.is_behind(before) {
        return None;
    }
    let from = match decided {
        // A person has decided about that time.
        Some(decided) if seen.at <= decided.until => return None,
        Some(decided) => decided.until,
        None => memory.last_known(before),
    };
    Some(HeartbeatVerdict::Restored {
        lost_from: from,
        lost_until: seen.at.max(from),
        counter: seen.counter,
    })
}
