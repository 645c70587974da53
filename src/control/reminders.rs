//! Single reminders: look them up, tell their story, cancel one that waits, send one again, tell where one goes.

mod view;

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::accounts::Accounts;
use super::rules::Governing;
use super::{ControlError, obstacles, story};
use crate::clock::Clock;
use crate::db;
use crate::db::audit;
use crate::db::decisions::NewDecision;
use crate::db::reminders::{ReminderCursor, ReminderFilter};
use crate::db::reports::Reminder;
use crate::domain::contact::{self, Address};
use crate::domain::decide::{Reason, Stage, Verdict};
use crate::domain::ids::{Channel, ReminderId};
use crate::domain::reminder::ReminderState;
use crate::jobs::context::Context;
use crate::jobs::names::{self, DueDelivery};
use crate::jobs::queue::When;
use crate::liveperson::Purpose;

pub use view::{AttemptView, DecisionView, Detail, ReminderList, ReminderView, StateCounts};

/// A page of the reminders that fit, newest first.
pub async fn search(
    pool: &PgPool,
    accounts: &Accounts,
    filter: ReminderFilter,
    after: Option<ReminderCursor>,
    most: i64,
) -> Result<ReminderList, ControlError> {
    let filter = ReminderFilter {
        accounts: accounts.ids().to_vec(),
        ..filter
    };
    let mut page = db::reminders::search(pool, &filter, after, most).await?;
    obstacles::mark(&obstacles::of(pool, accounts).await?, &mut page.reminders);
    Ok(ReminderList {
        reminders: page.reminders.into_iter().map(ReminderView::from).collect(),
        next: page.next,
    })
}

/// The same of several states, as one list.
pub async fn search_states(
    pool: &PgPool,
    accounts: &Accounts,
    filter: ReminderFilter,
    states: &[ReminderState],
    after: Option<ReminderCursor>,
    most: i64,
) -> Result<ReminderList, ControlError> {
    let filter = ReminderFilter {
        accounts: accounts.ids().to_vec(),
        ..filter
    };
    let mut page = db::reminders::search_states(pool, &filter, states, after, most).await?;
    obstacles::mark(&obstacles::of(pool, accounts).await?, &mut page.reminders);
    Ok(ReminderList {
        reminders: page.reminders.into_iter().map(ReminderView::from).collect(),
        next: page.next,
    })
}

/// The reminders that are looked at next, soonest first.
pub async fn coming(
    pool: &PgPool,
    accounts: &Accounts,
    most: i64,
) -> Result<Vec<ReminderView>, ControlError> {
    let mut next = db::reports::due_next(pool, accounts.ids(), most).await?;
    obstacles::mark(&obstacles::of(pool, accounts).await?, &mut next);
    Ok(next.into_iter().map(ReminderView::from).collect())
}

/// How many reminders there are of each state: of those that ended, since `since`.
pub async fn counts(
    pool: &PgPool,
    accounts: &Accounts,
    channel: Option<Channel>,
    since: DateTime<Utc>,
) -> Result<StateCounts, ControlError> {
    let counts = db::reminder_counts::by_state_of(pool, accounts.ids(), channel, since).await?;
    Ok(StateCounts::new(since, counts))
}

/// Reminders of one conversation shown beside each other.
const MOST_OTHERS: i64 = 20;

/// Everything about one reminder.
pub async fn detail(
    pool: &PgPool,
    accounts: &Accounts,
    id: ReminderId,
    now: DateTime<Utc>,
) -> Result<Detail, ControlError> {
    let mut reminder = find(pool, accounts, id).await?;
    let decisions = db::reports::decisions_about(pool, &[id]).await?;
    let attempts = db::reports::attempts_of(pool, &[id]).await?;
    let filter = ReminderFilter {
        accounts: accounts.ids().to_vec(),
        whose: Some(db::reminders::ReminderOwner::Conversation(
            reminder.conversation.clone(),
        )),
        ..ReminderFilter::default()
    };
    let mut others = db::reminders::search(pool, &filter, None, MOST_OTHERS)
        .await?
        .reminders;
    others.retain(|other| other.id != reminder.id);
    let known = obstacles::of(pool, accounts).await?;
    obstacles::mark(&known, others.iter_mut().chain([&mut reminder]));
    let same_episode = |other: &&Reminder| other.episode_since == reminder.episode_since;
    let earlier: Vec<&Reminder> = others.iter().filter(same_episode).collect();
    let kept = db::reminders::kept_address(pool, id).await?;
    let has_recipient = db::reminders::recipient(pool, id).await?.is_some();
    let is_erased = is_erased(&reminder.conversation);
    let at = reminder.sent_at.or(reminder.final_at).unwrap_or(now);
    let of = (&reminder.account, reminder.skill);
    let rule = Governing::at(pool, of, at).await?;
    Ok(Detail {
        lines: story::story_lines(&reminder, &earlier, &decisions, &attempts),
        decisions: decisions.into_iter().map(DecisionView::from).collect(),
        attempts: attempts.into_iter().map(AttemptView::from).collect(),
        may_cancel: reminder.state == ReminderState::Scheduled,
        may_send_again: db::ledger::may_restart(reminder.state, reminder.reason.as_ref())
            && !is_erased,
        may_reveal: !is_erased && (is_owed(&reminder) || kept.is_some()),
        may_opt_out: has_recipient,
        rule,
        others: others.into_iter().map(ReminderView::from).collect(),
        reminder: reminder.into(),
    })
}

/// The decisions about conversations of these accounts, or about one conversation, newest first.
pub async fn decisions(
    pool: &PgPool,
    accounts: &Accounts,
    conversation: Option<&str>,
    before: Option<i64>,
    most: i64,
) -> Result<Vec<DecisionView>, ControlError> {
    let rows = db::reports::decisions(pool, accounts.ids(), conversation, before, most).await?;
    Ok(rows.into_iter().map(DecisionView::from).collect())
}

/// A reminder of an erased consumer names nobody any more.
pub fn is_erased(conversation: &str) -> bool {
    conversation.starts_with("erased:")
}

fn is_owed(reminder: &Reminder) -> bool {
    matches!(
        reminder.state,
        ReminderState::Scheduled | ReminderState::Sending
    )
}

/// Where a reminder goes, told to a person who asked and is on record for it.
#[derive(Clone, Debug)]
pub struct RevealedAddress {
    /// Masked wherever it is not exposed on purpose.
    pub address: Address,
    pub from: AddressOrigin,
}

/// Where an address came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressOrigin {
    /// It is kept with an attempt whose fate is being looked up.
    Attempt,
    /// LivePerson told it now, as it will when the reminder is due.
    LivePerson,
}

impl AddressOrigin {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::LivePerson => "liveperson",
        }
    }
}

/// Tells a reminder's address, while there is one to tell. Addresses live no longer than a delivery needs them: they are kept with
/// an SMS until its fate is known, and a reminder that is owed has its address at LivePerson. That it was told is audited first.
pub async fn reveal(
    ctx: &Context,
    by: &str,
    accounts: &Accounts,
    id: ReminderId,
) -> Result<RevealedAddress, ControlError> {
    let reminder = find(&ctx.pool, accounts, id).await?;
    if is_erased(&reminder.conversation) {
        return Err(ControlError::Conflict(
            "the address is gone: the customer's data was erased".to_owned(),
        ));
    }
    let kept = db::reminders::kept_address(&ctx.pool, id).await?;
    let kept = kept.and_then(|raw| Address::of(reminder.channel, &raw, None));
    let revealed = match kept {
        Some(address) => RevealedAddress {
            address,
            from: AddressOrigin::Attempt,
        },
        None if is_owed(&reminder) => RevealedAddress {
            address: at_liveperson(ctx, &reminder).await?,
            from: AddressOrigin::LivePerson,
        },
        None => {
            return Err(ControlError::Conflict(
                "the address is no longer stored: it was needed only until the message was sent, and only an anonymous code remains"
                    .to_owned(),
            ));
        }
    };
    let entry = audit::NewAuditEntry {
        by,
        action: "reminder.reveal_address",
        account: Some(&reminder.account),
        subject: &reminder.id.to_string(),
        detail: json!({ "channel": reminder.channel, "from": revealed.from.as_str() }),
    };
    let mut conn = ctx.pool.acquire().await?;
    audit::record(&mut conn, &entry, ctx.clock.now()).await?;
    Ok(revealed)
}

/// The address that a delivery would choose at this moment.
async fn at_liveperson(ctx: &Context, reminder: &Reminder) -> Result<Address, ControlError> {
    let account = ctx
        .accounts
        .get(&reminder.account)
        .ok_or_else(|| ControlError::NotFound(format!("account {}", reminder.account)))?;
    let answer = account
        .by_ids_for(
            Purpose::Person,
            std::slice::from_ref(&reminder.conversation),
        )
        .await?;
    let record = answer
        .records
        .iter()
        .find(|r| r.id == reminder.conversation);
    let contact =
        record.and_then(|r| contact::choose(&r.contact, reminder.channel, &account.contact_policy));
    contact.map(|contact| contact.address).ok_or_else(|| {
        ControlError::Conflict("LivePerson has no usable address for this customer".to_owned())
    })
}

/// Whether there is such a reminder that the caller may see.
pub async fn exists(
    pool: &PgPool,
    accounts: &Accounts,
    id: ReminderId,
) -> Result<bool, ControlError> {
    match find(pool, accounts, id).await {
        Ok(_) => Ok(true),
        Err(ControlError::NotFound(_)) => Ok(false),
        Err(other) => Err(other),
    }
}

async fn find(
    pool: &PgPool,
    accounts: &Accounts,
    id: ReminderId,
) -> Result<Reminder, ControlError> {
    db::reminders::one(pool, id)
        .await?
        .filter(|reminder| accounts.named(reminder.account.as_str()).is_ok())
        .ok_or_else(|| ControlError::NotFound(format!("reminder {id}")))
}

/// Cancels a reminder that waits. One that is being sent cannot be called back.
pub async fn cancel(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    accounts: &Accounts,
    id: ReminderId,
) -> Result<(), ControlError> {
    let reminder = find(pool, accounts, id).await?;
    let now = clock.now();
    let mut tx = pool.begin().await?;
    if !db::ledger::cancel(&mut tx, id, Reason::ByOperator, now).await? {
        return Err(not_now(&mut tx, id, "cancelled", "one that waits").await?);
    }
    db::decisions::log(
        &mut tx,
        Stage::Operator,
        &[entry(id, Verdict::Cancel, now)],
        now,
    )
    .await?;
    note(&mut tx, by, "reminder.cancel", &reminder, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Starts a reminder anew whose end satisfies nobody: `unknown`, `undelivered`, `failed`, `expired`, or cancelled by a person. It
/// goes the ordinary way: read state, opt-outs, caps and quiet hours are checked again, and the deadline is as far away as it
/// was at first.
pub async fn send_again(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    accounts: &Accounts,
    id: ReminderId,
) -> Result<(), ControlError> {
    const WHICH: &str = "one that failed, expired, did not arrive, may not have arrived, or was cancelled by a person";
    let reminder = find(pool, accounts, id).await?;
    if is_erased(&reminder.conversation) {
        return Err(ControlError::Conflict(format!(
            "reminder {id} is for a customer whose data was erased"
        )));
    }
    let now = clock.now();
    let mut tx = pool.begin().await?;
    if db::ledger::may_restart(reminder.state, reminder.reason.as_ref()) {
        // The next step comes after it: a customer gets one message at a time.
        db::ledger::lock_conversations(&mut tx, &[id]).await?;
        let beside = db::ledger::pending_beside(&mut *tx, &[id]).await?;
        db::ledger::supersede(&mut tx, &beside, now).await?;
    }
    let Some((account, channel)) = db::ledger::restart(&mut tx, id, now).await? else {
        if let Some(other) = db::ledger::pending_beside(&mut *tx, &[id]).await?.first() {
            return Err(ControlError::Conflict(format!(
                "reminder {other} of the same conversation is being sent: wait until that is over. A customer gets one message at a time."
            )));
        }
        return Err(not_now(&mut tx, id, "sent again", WHICH).await?);
    };
    db::decisions::log(
        &mut tx,
        Stage::Operator,
        &[entry(id, Verdict::Schedule, now)],
        now,
    )
    .await?;
    let wake = DueDelivery {
        channel,
        account: &account,
        reminder: id,
        at: now,
    };
    names::schedule_deliveries(&mut tx, clock, When::At, [wake]).await?;
    note(&mut tx, by, "reminder.send_again", &reminder, now).await?;
    tx.commit().await?;
    Ok(())
}

fn entry(reminder: ReminderId, verdict: Verdict, now: DateTime<Utc>) -> NewDecision {
    NewDecision {
        reminder,
        verdict,
        reason: Reason::ByOperator,
        until: (verdict == Verdict::Schedule).then_some(now),
    }
}

async fn note(
    conn: &mut PgConnection,
    by: &str,
    action: &str,
    reminder: &Reminder,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let entry = audit::NewAuditEntry {
        by,
        action,
        account: Some(&reminder.account),
        subject: &reminder.id.to_string(),
        detail: json!({ "channel": reminder.channel, "step": reminder.step, "was": reminder.state }),
    };
    audit::record(conn, &entry, now).await
}

/// Why it cannot be done: the state it is in by now.
async fn not_now(
    conn: &mut PgConnection,
    id: ReminderId,
    done: &str,
    which: &str,
) -> Result<ControlError, ControlError> {
    Ok(match db::ledger::state(conn, id).await? {
        Some(state) => ControlError::Conflict(format!(
            "reminder {id} is {state}; only {which} can be {done}"
        )),
        None => ControlError::NotFound(format!("reminder {id}")),
    })
}
