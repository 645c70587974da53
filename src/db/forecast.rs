//! Who is to be reminded soon, and who is not and why, as the ledger and the latest scans know it.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor};

use super::columns::readable;
use crate::domain::decide::Cause;
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};

/// Whom a forecast is about.
#[derive(Clone, Copy, Debug)]
pub struct ForecastScope<'a> {
    pub account: &'a AccountId,
    pub channel: Channel,
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
    pub step: i16,
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
    sqlx::query_as(
        "select r.id, r.conversation, r.skill, s.name as skill_name, r.step, r.due_at, r.next_at, r.reason, r.time_zone
         from reminders r left join skills s on s.account = r.account and s.id = r.skill
         where r.next_at <= $4 and r.state = 'scheduled' and r.account = $1 and r.channel = $2
             and ($3::bigint is null or r.skill = $3)
         order by r.next_at, r.id limit $5",
    )
    .bind(about.account)
    .bind(about.channel)
    .bind(about.skill)
    .bind(until)
    .bind(most)
    .fetch_all(db)
    .await
}

/// Unread conversations by the latest scan's reason, with one of them as an example.
#[derive(Clone, Debug, FromRow)]
pub struct UnreadCount {
    /// `None`: the channel has no rule at all.
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
             select id, reasons ->> $2 as reason
             from conversations
             where account = $1 and open and read_state = 'unread' and ($3::bigint is null or skill = $3)
             order by unread_since desc limit $4
         ) newest
         group by reason order by conversations desc, reason",
    )
    .bind(about.account)
    .bind(about.channel)
    .bind(about.skill)
    .bind(most)
    .fetch_all(db)
    .await?;
    readable(&rows)
}
