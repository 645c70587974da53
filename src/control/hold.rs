//! What holds sending because this database may not be the one that sent, and how a person decides for it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;

use super::ControlError;
use super::rules::ChangeAuthor;
use crate::clock::Clock;
use crate::db;
use crate::db::audit::NewAuditEntry;
use crate::domain::decide::Reason;
use crate::domain::heartbeat::{
    ALIVE, Beat, RememberedHeartbeat, RestoreDecision, StoredHeartbeat, judge,
};
use crate::domain::hold::{Hold, HoldEnd, HoldKind};
use crate::jobs::heartbeat;
use crate::jobs::release::release;

/// A hold as it is shown.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HoldView {
    /// `restored`, `other`, `copied` or `silence`.
    #[schema(example = "restored")]
    pub kind: &'static str,
    pub found_at: DateTime<Utc>,
    /// The last moment that the database knows of.
    pub lost_from: Option<DateTime<Utc>>,
    /// The last moment that a process or the journal knows of.
    pub lost_until: Option<DateTime<Utc>>,
    /// Only reminders due before this are held; left out: all.
    pub due_before: Option<DateTime<Utc>>,
    /// What is held and why.
    pub said: String,
    /// What a person does about it.
    pub fix: String,
}

impl From<Hold> for HoldView {
    fn from(hold: Hold) -> Self {
        Self {
            kind: hold.kind.as_str(),
            found_at: hold.found_at,
            lost_from: hold.lost_from,
            lost_until: hold.lost_until,
            due_before: hold.due_before,
            said: hold.said(),
            fix: hold.fix(),
        }
    }
}

/// Everything that holds sending; none in the usual course.
pub async fn list(pool: &PgPool) -> Result<Vec<HoldView>, ControlError> {
    let holds = db::holds::active(pool).await?;
    Ok(holds.into_iter().map(HoldView::from).collect())
}

/// A later decision must have a later moment, whatever the clock says.
const TICK: TimeDelta = TimeDelta::microseconds(1);

/// `unread moved`: this database takes over from the one that it comes from. Refuses if it has forgotten something, and if processes work
/// on it that have nothing to ask. `journal` is what was remembered outside.
pub async fn moved(
    pool: &PgPool,
    clock: &Clock,
    journal: Option<&RememberedHeartbeat>,
    by: ChangeAuthor<'_>,
) -> Result<(), ControlError> {
    let mut tx = pool.begin().await?;
    let beat = heartbeat::read_beat(&mut tx, clock).await?;
    let holds = db::holds::active(&mut *tx).await?;
    let asked = |kind| holds.iter().any(|hold| hold.kind == kind);
    let journal = heartbeat::recall(&mut tx, journal.cloned()).await?;
    let forgotten = judge(None, journal.as_ref(), &beat).contradicts();
    if forgotten || asked(HoldKind::Restored) || asked(HoldKind::Other) {
        return Err(ControlError::Conflict(
            "This database does not know everything that was sent: it is not merely moved. Use `unread restored --lost-from`."
                .to_owned(),
        ));
    }
    let alive = beat
        .before
        .as_ref()
        .is_some_and(|pulse| (beat.after.beat_at - pulse.beat_at).abs() < ALIVE);
    if alive && !asked(HoldKind::Copied) {
        return Err(ControlError::Conflict(
            "Processes work on this database, and nothing says that it was moved. If it is about to take over, stop them first."
                .to_owned(),
        ));
    }
    decide(&mut tx, clock, HoldDecision::Moved, by).await?;
    tx.commit().await?;
    Ok(())
}

/// `unread restored --nothing-lost`: nobody worked on the database for long because it was down, or somebody else's process took it for
/// its own.
pub async fn nothing_lost(
    pool: &PgPool,
    clock: &Clock,
    by: ChangeAuthor<'_>,
) -> Result<(), ControlError> {
    let mut tx = pool.begin().await?;
    db::heartbeat::lock(&mut tx).await?;
    let holds = db::holds::active(&mut *tx).await?;
    if holds.is_empty() {
        return Err(ControlError::Conflict("Nothing is on hold.".to_owned()));
    }
    let may_be_said = |hold: &&Hold| matches!(hold.kind, HoldKind::Silence | HoldKind::Other);
    if let Some(hold) = holds.iter().find(|hold| !may_be_said(hold)) {
        return Err(ControlError::Conflict(format!(
            "{} {}",
            hold.said(),
            hold.fix()
        )));
    }
    decide(&mut tx, clock, HoldDecision::NothingLost, by).await?;
    tx.commit().await?;
    Ok(())
}

/// `unread restore`: whoever restored it says what comes next, before anything is sent. `made_at` is when the backup was made.
pub async fn after_restore(
    pool: &PgPool,
    made_at: Option<DateTime<Utc>>,
    by: ChangeAuthor<'_>,
) -> Result<(), ControlError> {
    let mut tx = pool.begin().await?;
    db::heartbeat::lock(&mut tx).await?;
    if db::heartbeat::read(&mut *tx).await?.is_some() {
        let hold = Hold {
            kind: HoldKind::Copied,
            found_at: by.now,
            lost_from: made_at,
            lost_until: None,
            due_before: None,
            counter: 0,
            installation: None,
        };
        db::holds::begin(&mut tx, &hold).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Our own data are on a server of another major version now. That is where they belong from now on, and says nothing about whether they
/// are the ones that sent: what is held stays so, and the next beat finds what it would have found without.
pub async fn carried_over(tx: &mut PgConnection) -> sqlx::Result<()> {
    db::heartbeat::lock(tx).await?;
    let Some(pulse) = db::heartbeat::read(&mut *tx).await? else {
        return Ok(());
    };
    let server = db::heartbeat::server(tx).await?;
    let pulse = StoredHeartbeat {
        server: server.or(pulse.server.clone()),
        ..pulse
    };
    db::heartbeat::write(tx, &pulse).await
}

/// What a person has decided.
#[derive(Clone, Copy, Debug)]
pub enum HoldDecision<'a> {
    /// What was done until this moment may be lost, and is dealt with. `journal` is what was remembered outside.
    Restored {
        lost_until: DateTime<Utc>,
        journal: Option<&'a RememberedHeartbeat>,
    },
    Moved,
    NothingLost,
}

impl HoldDecision<'_> {
    fn end(self) -> HoldEnd {
        match self {
            Self::Restored { .. } => HoldEnd::Restored,
            Self::Moved => HoldEnd::Moved,
            Self::NothingLost => HoldEnd::NothingLost,
        }
    }
}

/// Ends what is held as a person has decided. Nobody who remembers the database from before objects to that again; whoever finds
/// something missing that was not decided about still does.
pub async fn decide(
    tx: &mut PgConnection,
    clock: &Clock,
    decision: HoldDecision<'_>,
    by: ChangeAuthor<'_>,
) -> Result<(), ControlError> {
    db::heartbeat::lock(tx).await?;
    let holds = db::holds::active(&mut *tx).await?;
    let server = db::heartbeat::server(tx).await?;
    let now = db::heartbeat::now(&mut *tx, clock.instead_of_database()).await?;
    let before = db::heartbeat::read(&mut *tx).await?;
    let Some(pulse) = after(before, &holds, decision, now) else {
        // Nobody has ever sent from it.
        return Ok(());
    };
    let pulse = StoredHeartbeat {
        server: server.or(pulse.server.clone()),
        ..pulse
    };
    db::heartbeat::write(tx, &pulse).await?;
    let how = decision.end();
    db::holds::end(tx, &HoldKind::ALL, (by.name, how), by.now).await?;
    release(tx, clock, (Reason::Held, None), by.now).await?;
    let entry = NewAuditEntry {
        by: by.name,
        action: "hold.end",
        account: None,
        subject: how.as_str(),
        detail: json!({ "held": holds.iter().map(|hold| hold.kind.as_str()).collect::<Vec<_>>() }),
    };
    db::audit::record(tx, &entry, by.now).await?;
    Ok(())
}

/// What the database holds after a decision; `None`: nobody has ever worked on it, and nobody remembers another.
fn after(
    before: Option<StoredHeartbeat>,
    holds: &[Hold],
    decision: HoldDecision<'_>,
    now: DateTime<Utc>,
) -> Option<StoredHeartbeat> {
    let elsewhere = holds.iter().find_map(|hold| hold.installation.clone());
    let (lost_until, journal) = match decision {
        HoldDecision::Moved => return before.map(|pulse| undisturbed(pulse, now)),
        HoldDecision::NothingLost => {
            return before.map(|mut pulse| {
                let unknown = elsewhere.filter(|name| !pulse.names.strangers.contains(name));
                pulse.names.strangers.extend(unknown);
                undisturbed(pulse, now)
            });
        }
        HoldDecision::Restored {
            lost_until,
            journal,
        } => (lost_until, journal),
    };
    let name = elsewhere.or_else(|| journal.map(|seen| seen.installation.clone()));
    let before = match (before, &name) {
        (None, None) => return None,
        (Some(pulse), _) => pulse,
        (None, Some(name)) => Beat::next(None, name, None, now).after,
    };
    let name = name.unwrap_or_else(|| before.installation.clone());
    let mut names = before.names.clone();
    names.strangers.retain(|stranger| *stranger != name);
    names.former.retain(|former| *former != name);
    if before.installation != name {
        names.former.push(before.installation.clone());
    }
    let known = holds.iter().map(|hold| hold.counter);
    let known = known.chain(journal.map(|seen| seen.counter)).max();
    let earlier = before.decided.map(|decided| decided.at);
    let earlier = earlier.max(journal.and_then(|seen| seen.decided_at));
    let decided = RestoreDecision {
        at: earlier.map_or(now, |earlier| now.max(earlier + TICK)),
        until: lost_until,
    };
    let pulse = StoredHeartbeat {
        installation: name,
        // An older version compares only this.
        counter: before.counter.max(known.unwrap_or_default()) + 1,
        names,
        decided: Some(decided),
        ..before
    };
    Some(undisturbed(pulse, now))
}

/// A silence until now has been decided about.
fn undisturbed(pulse: StoredHeartbeat, now: DateTime<Utc>) -> StoredHeartbeat {
    StoredHeartbeat {
        beat_at: now,
        gap: None,
        ..pulse
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::heartbeat::{HeartbeatVerdict, Memory};

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn seen(installation: &str, decided_at: Option<i64>) -> RememberedHeartbeat {
        RememberedHeartbeat {
            installation: installation.to_owned(),
            counter: 70_000,
            at: at(59),
            server: None,
            process: Some("p".to_owned()),
            decided_at: decided_at.map(at),
        }
    }

    fn restored(journal: &RememberedHeartbeat) -> HoldDecision<'_> {
        HoldDecision::Restored {
            lost_until: at(60),
            journal: Some(journal),
        }
    }

    #[test]
    fn after_a_decision_the_database_has_the_name_that_others_know_and_nobody_objects_again() {
        let ours = Beat::next(None, "ours", None, at(3)).after;
        for (what, before, known) in [
            ("a backup", Some(ours.clone()), seen("ours", None)),
            (
                "a fresh database that ran",
                Some(ours.clone()),
                seen("theirs", None),
            ),
            (
                "a fresh database that never ran",
                None,
                seen("theirs", None),
            ),
            // The clock stands before the decision that was made last.
            ("a backup again", Some(ours), seen("ours", Some(600))),
        ] {
            let pulse = after(before.clone(), &[], restored(&known), at(61)).expect(what);
            assert_eq!(pulse.installation, known.installation, "{what}");
            assert!(pulse.counter > known.counter, "{what}");
            let beat = Beat::next(Some(pulse), "", None, at(62));
            let own = before.map(|before| RememberedHeartbeat {
                installation: before.installation,
                counter: 5_000,
                ..known.clone()
            });
            for seen in [Some(known), own].into_iter().flatten() {
                let memory = Memory {
                    seen,
                    line: None,
                    before_newcomers: None,
                };
                assert_eq!(
                    judge(None, Some(&memory), &beat),
                    HeartbeatVerdict::Same,
                    "{what}"
                );
            }
        }
    }

    #[test]
    fn who_remembers_more_than_was_decided_about_still_objects_and_a_stranger_is_remembered_as_one()
    {
        let ours = Beat::next(None, "ours", None, at(3)).after;
        let known = seen("ours", None);
        let pulse = after(Some(ours.clone()), &[], restored(&known), at(300)).unwrap();
        let beat = Beat::next(Some(pulse), "", None, at(301));
        let later = Memory {
            seen: RememberedHeartbeat {
                at: at(70),
                ..known
            },
            line: None,
            before_newcomers: None,
        };
        let verdict = HeartbeatVerdict::Restored {
            lost_from: at(60),
            lost_until: at(70),
            counter: 70_000,
        };
        assert_eq!(judge(None, Some(&later), &beat), verdict);

        let hold = Hold {
            kind: HoldKind::Other,
            found_at: at(4),
            lost_from: None,
            lost_until: None,
            due_before: None,
            counter: 7,
            installation: Some("theirs".to_owned()),
        };
        let pulse = after(Some(ours), &[hold], HoldDecision::NothingLost, at(5)).unwrap();
        assert_eq!(pulse.installation, "ours");
        let beat = Beat::next(Some(pulse), "", None, at(50));
        let stranger = Memory {
            seen: seen("theirs", None),
            line: None,
            before_newcomers: None,
        };
        assert_eq!(
            judge(None, Some(&stranger), &beat),
            HeartbeatVerdict::Stranger
        );
    }
}
