//! Who is to be reminded soon, and who is not and why, as the ledger and the latest scans know it.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor};

use super::columns::readable;
use crate::domain::decide::Cause;
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::rule::StepId;

/// Whom a forecast is about.
#[derive(Clone, Copy, Debug)]
pub struct ForecastScope<'a> {
    pub account: &'a AccountId,
    /// `None`: every skill.
    pub skill: Option<SkillId>,
}

/// A reminder that waits.
#[derive(Clone, Debug, FromRow)]
pub struct WaitingReminder {
    pub id: ReminderId,
    pub conversation: String,
    pub skill: SkillId,
    pub skill_name: Option<String>,
    pub step: StepId,
    pub channel: Channel,
    pub due_at: DateTime<Utc>,
    /// When it is looked at next: its due moment, or the end of what holds it up.
    pub next_at: DateTime<Utc>,
    /// What holds it up.
    pub reason: Option<Cause>,
    /// The zones by whose clocks its hours are read, as [`Zone::split`](crate::domain::zone::Zone::split) reads them.
    pub time_zone: Option<String>,
}

/// Reminders that are looked at until `until`, soonest first.
pub async fn waiting(
    db: impl PgExecutor<'_>,
    about: ForecastScope<'_>,
    until: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<Vec<WaitingReminder>> {
    let rows = sqlx::query(
        "select r.id, r.conversation, r.skill, s.name as skill_name, r.step, r.channel, r.due_at, r.next_at, r.time_zone,
                coalesce((select p.reason from suppressions p
                          where p.address_hash = r.recipient_hash and p.channel = r.channel and p.account = r.account
                            and (p.expires_at is null or p.expires_at > r.next_at)), r.reason) as reason
         from pending w join reminders r on r.id = w.reminder left join skills s on s.account = r.account and s.id = r.skill
         where w.next_at <= $3 and r.state = 'scheduled' and r.account = $1
             and ($2::bigint is null or r.skill = $2)
         order by w.next_at, w.reminder limit $4",
    )
    .bind(about.account)
    .bind(about.skill)
    .bind(until)
    .bind(most)
    .fetch_all(db)
    .await?;
    readable(&rows)
}

/// Unread conversations by the latest scan's reason, with one of them as an example.
#[derive(Clone, Debug, FromRow)]
pub struct UnreadCount {
    /// `None`: the account has no rule at all.
    pub reason: Option<Cause>,
    pub conversations: i64,
    pub example: String,
}

/// Why unread conversations are, or are not, to be reminded of. Looks at the `most` newest.
pub async fn unread(
    db: impl PgExecutor<'_>,
    about: ForecastScope<'_>,
    most: i64,
) -> sqlx::Result<Vec<UnreadCount>> {
    let rows = sqlx::query(
        "select reason, count(*) as conversations, min(id) as example from (
             select id, reason
             from conversations
             where account = $1 and open and read_state = 'unread' and ($2::bigint is null or skill = $2)
             order by unread_since desc limit $3
         ) newest
         group by reason order by conversations desc, reason",
    )
    .bind(about.account)
    .bind(about.skill)
    .bind(most)
    .fetch_all(db)
    .await?;
    readable(&rows)
}
