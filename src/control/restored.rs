//! `unread restored`: what a database that was restored from a backup must learn before it sends again.
//!
//! What fell due in the lost time counts as perhaps sent; text messages of it are looked up at the provider. Opt-outs, complaints and
//! erasures of it come back from the journal. All of that, and the end of the hold, is one transaction.

mod look_up;
mod lost;
mod replay;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::Connection as _;

use super::ControlError;
use super::hold::{HoldDecision, decide};
use super::rules::ChangeAuthor;
use crate::db;
use crate::db::restored::LostPeriod;
use crate::domain::heartbeat::RememberedHeartbeat;
use crate::domain::hold::{Hold, HoldKind};
use crate::domain::ids::Channel;
use crate::jobs::context::Context;
use crate::journal::JournalEntry;

use self::look_up::lookups;
use self::lost::checked;
use self::replay::replay;

pub use lost::lost_time;

/// What a person says about the restore.
#[derive(Clone, Debug)]
pub struct RestoredRequest {
    /// When the backup was made.
    pub lost_from: DateTime<Utc>,
    /// When the last message was sent before the restore; left out: when somebody last knew the database.
    pub lost_until: Option<DateTime<Utc>>,
    /// What was noted outside; `None`: go on without.
    pub journal: Option<Vec<JournalEntry>>,
    /// The heartbeat that is remembered beside the journal, if one is.
    pub remembered: Option<RememberedHeartbeat>,
    /// A backup was restored, although nobody has found it out.
    pub unnoticed: bool,
}

const AT_WORK: &str =
    "Someone else is running `unread restored` on this database right now. Check its result first.";

const DECIDED: &str = "Someone else has ended the hold in the meantime (`unread restored --nothing-lost`, or the dashboard). Nothing was \
                       changed.";

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreResult {
    /// Reminders that may have been sent, by channel.
    pub unknown: Vec<(Channel, i64)>,
    /// Of these, text messages that are being looked up.
    pub looked_up: u64,
    /// Addresses that must not be written to, from the journal.
    pub suppressed: usize,
    pub lifted: usize,
    /// Conversations erased again.
    pub erased: usize,
    /// The time that was lost.
    pub lost: Option<LostPeriod>,
}

/// Ends a hold after a restore. One at a time: a second one begins to work when nothing is held any more, and says so.
pub async fn restored(
    ctx: &Context,
    wish: &RestoredRequest,
    by: ChangeAuthor<'_>,
) -> Result<RestoreResult, ControlError> {
    let Some(alone) = db::restored::alone(&ctx.pool).await? else {
        return Err(ControlError::Conflict(AT_WORK.to_owned()));
    };
    let done = restore_lost_time(ctx, wish, by).await;
    // The end of the connection lets the next one begin, too.
    let _ = alone.close().await;
    done
}

async fn restore_lost_time(
    ctx: &Context,
    wish: &RestoredRequest,
    by: ChangeAuthor<'_>,
) -> Result<RestoreResult, ControlError> {
    let lost = lost_time(ctx, wish, by.now).await?;
    hold(ctx, lost, by.now).await?;
    let lookups = lookups(ctx, lost).await?;
    let mut tx = ctx.pool.begin().await?;
    db::heartbeat::lock(&mut tx).await?;
    let holds = db::holds::active(&mut *tx).await?;
    if holds.is_empty() {
        return Err(ControlError::Conflict(DECIDED.to_owned()));
    }
    // Meanwhile another process may have remembered more.
    let lost = checked(&holds, wish, by.now)?;
    let mut done = RestoreResult {
        unknown: db::restored::make_unknown(&mut tx, lost, by.now).await?,
        looked_up: db::restored::look_up(&mut tx, &lookups, lost, by.now).await?,
        lost: Some(lost),
        ..RestoreResult::default()
    };
    db::restored::note(&mut tx, lost).await?;
    if let Some(entries) = &wish.journal {
        replay(ctx, &mut tx, entries, (lost, by.now), &mut done).await?;
    }
    // What they have is not what this database has by now.
    db::journal::begin_anew(&mut tx).await?;
    let decision = HoldDecision::Restored {
        lost_until: lost.until,
        journal: wish.remembered.as_ref(),
    };
    decide(&mut tx, &ctx.clock, decision, by).await?;
    let entry = db::audit::NewAuditEntry {
        by: by.name,
        action: "hold.restored",
        account: None,
        subject: "database",
        detail: json!({
            "lost_from": lost.from, "lost_until": lost.until, "journal": wish.journal.is_some(),
            "unknown": done.unknown.iter().map(|(_, count)| count).sum::<i64>(), "looked_up": done.looked_up,
            "suppressed": done.suppressed, "lifted": done.lifted, "erased": done.erased,
        }),
    };
    db::audit::record(&mut tx, &entry, by.now).await?;
    tx.commit().await?;
    Ok(done)
}

/// Nothing is sent while this works, even if nobody has found out by himself that the database was restored.
async fn hold(ctx: &Context, lost: LostPeriod, now: DateTime<Utc>) -> Result<(), ControlError> {
    let mut tx = ctx.pool.begin().await?;
    db::heartbeat::lock(&mut tx).await?;
    let hold = Hold {
        kind: HoldKind::Restored,
        found_at: now,
        lost_from: Some(lost.from),
        lost_until: Some(lost.until),
        due_before: None,
        counter: 0,
        installation: None,
    };
    db::holds::begin(&mut tx, &hold).await?;
    Ok(tx.commit().await?)
}
