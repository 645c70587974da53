//! What the dashboard and the metrics read: never more than the page shows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgPool, QueryBuilder};

use super::columns::readable;
use crate::domain::channel::PerChannel;
use crate::domain::contact::Suppression;
use crate::domain::decide::{Cause, Stage, Verdict};
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::local_time::ZoneSource;
use crate::domain::outcome::{OutcomeKind, UNWRITTEN};
use crate::domain::reminder::ReminderState;
use crate::domain::rule::StepId;

/// The latest scan of a skill.
#[derive(Clone, Debug, FromRow)]
pub struct LatestScan {
    pub account: AccountId,
    pub skill: SkillId,
    pub name: Option<String>,
    pub started_at: DateTime<Utc>,
    pub succeeded_at: Option<DateTime<Utc>>,
    pub duration_ms: Option<i64>,
    pub conversations: i32,
    pub unreadable: i32,
    pub unread: i32,
    pub undecided: i32,
    pub error: Option<String>,
}

/// Of the skills of these accounts; `None`: of all.
pub async fn scans(pool: &PgPool, accounts: Option<&[AccountId]>) -> sqlx::Result<Vec<LatestScan>> {
    let rows = sqlx::query(
        "select c.account, c.skill, s.name, c.started_at, greatest(c.succeeded_at, c.recent_at) as succeeded_at, c.duration_ms, c.conversations, c.unreadable,
                c.unread, c.undecided, coalesce(c.error, c.recent_error) as error
         from scans c join skills_in_use s on s.account = c.account and s.id = c.skill
         where $1::text[] is null or c.account = any ($1)
         order by c.account, s.name nulls last, c.skill",
    )
    .bind(accounts)
    .fetch_all(pool)
    .await?;
    readable(&rows)
}

/// A reminder as a list shows it.
#[derive(Clone, Debug, FromRow)]
pub struct Reminder {
    pub id: ReminderId,
    pub account: AccountId,
    pub conversation: String,
    pub skill: SkillId,
    pub skill_name: Option<String>,
    pub channel: Channel,
    pub step: StepId,
    pub state: ReminderState,
    pub reason: Option<Cause>,
    pub episode_since: DateTime<Utc>,
    pub due_at: DateTime<Utc>,
    pub deadline: DateTime<Utc>,
    /// The zones by whose clocks its hours are read, as [`Zone::split`](crate::domain::zone::Zone::split) reads them; `None`: not known.
    pub time_zone: Option<String>,
    pub zone_source: Option<ZoneSource>,
    pub sent_at: Option<DateTime<Utc>>,
    pub next_at: Option<DateTime<Utc>>,
    pub final_at: Option<DateTime<Utc>>,
    pub returned_at: Option<DateTime<Utc>>,
    pub clicked_at: Option<DateTime<Utc>>,
    /// Of one that waits: why its address must not be written to when its moment comes.
    pub suppressed_as: Option<Suppression>,
    pub created_at: DateTime<Utc>,
}

pub(super) const REMINDER: &str = "select r.id, r.account, r.conversation, r.skill, s.name as skill_name, r.channel, r.step, r.state,
        r.reason, r.episode_since, r.due_at, r.deadline, r.time_zone, r.zone_source, r.sent_at, r.next_at, r.final_at, r.returned_at, r.clicked_at, r.created_at,
        (select p.reason from suppressions p
         where r.state = 'scheduled' and p.address_hash = r.recipient_hash and p.channel = r.channel and p.account = r.account
           and (p.expires_at is null or p.expires_at > r.next_at)) as suppressed_as
    from reminders r left join skills s on s.account = r.account and s.id = r.skill";

/// The reminders of these accounts that are due next.
pub async fn due_next(
    pool: &PgPool,
    accounts: &[AccountId],
    most: i64,
) -> sqlx::Result<Vec<Reminder>> {
    let sql = format!(
        "{REMINDER} join pending w on w.reminder = r.id where w.account = any ($2) order by w.next_at limit $1"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(most)
        .bind(accounts)
        .fetch_all(pool)
        .await?;
    readable(&rows)
}

/// One line of a reminder's story.
#[derive(Clone, Debug, FromRow)]
pub struct LoggedDecision {
    pub id: i64,
    pub reminder: Option<ReminderId>,
    pub at: DateTime<Utc>,
    pub account: AccountId,
    pub conversation: String,
    /// Of the step that it is about; `None`: of none.
    pub channel: Option<Channel>,
    pub step: Option<StepId>,
    /// By channel: why a scan passed its steps over.
    #[sqlx(try_from = "Json<BTreeMap<String, String>>")]
    pub passed_over: PerChannel<Option<Cause>>,
    pub stage: Stage,
    pub verdict: Verdict,
    pub reason: Cause,
    pub until: Option<DateTime<Utc>>,
}

const DECISION: &str = "select id, reminder, at, account, conversation, channel, step, coalesce(passed_over, '{}') as passed_over, stage, verdict, reason, until from ";

/// The decisions about these reminders, oldest first.
pub async fn decisions_about(
    pool: &PgPool,
    reminders: &[ReminderId],
) -> sqlx::Result<Vec<LoggedDecision>> {
    let sql = format!("{DECISION} decision_log where reminder = any ($1) order by id");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(reminders)
        .fetch_all(pool)
        .await?;
    readable(&rows)
}

/// The decisions about conversations of these accounts, or about one of them, newest first.
pub async fn decisions(
    pool: &PgPool,
    accounts: &[AccountId],
    conversation: Option<&str>,
    before: Option<i64>,
    most: i64,
) -> sqlx::Result<Vec<LoggedDecision>> {
    let mut query = QueryBuilder::new("select * from (");
    // Of each as many as the page takes, by its own index: of the view PostgreSQL would sort all.
    for (joint, table) in [("(", "decisions"), (") union all (", "decisions_to_send")] {
        query.push(joint).push(DECISION).push(table);
        query.push(" where account = any (").push_bind(accounts);
        query.push(")");
        if let Some(conversation) = conversation {
            query.push(" and conversation = ").push_bind(conversation);
        }
        if let Some(before) = before {
            query.push(" and id < ").push_bind(before);
        }
        // What only another version knows takes no place on the page, whose last row leads to the next.
        query
            .push(" and (channel is null or channel = any (")
            .push_bind(Channel::ALL)
            .push(")) order by id desc limit ")
            .push_bind(most);
    }
    query
        .push(")) as log order by id desc limit ")
        .push_bind(most);
    readable(&query.build().fetch_all(pool).await?)
}

/// One attempt of a reminder, without the address.
#[derive(Clone, Debug, FromRow)]
pub struct AttemptRow {
    pub reminder: ReminderId,
    pub number: i32,
    pub sender: String,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub outcome: Option<OutcomeKind>,
    pub code: Option<String>,
}

pub async fn attempts_of(pool: &PgPool, reminders: &[ReminderId]) -> sqlx::Result<Vec<AttemptRow>> {
    let rows = sqlx::query(
        "select reminder, number, sender, started_at, ended_at, outcome, code from attempts
         where reminder = any ($1) order by reminder, number",
    )
    .bind(reminders)
    .fetch_all(pool)
    .await?;
    readable(&rows)
}

/// Reminders that have ended since then because their rule's text could not be read or filled in. They were scheduled 90 days before
/// at most (the longest wait of a step); asked only when something has failed.
pub async fn unwritten(
    pool: &PgPool,
    accounts: &[AccountId],
    since: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from unsuccessful u join reminders r on r.id = u.reminder
         where u.state = 'failed' and u.created_at >= $2 - interval '91 days'
           and r.reason = $3 and r.account = any ($1) and r.final_at >= $2",
    )
    .bind(accounts)
    .bind(since)
    .bind(UNWRITTEN)
    .fetch_one(pool)
    .await
}

/// Active suppressions by account, channel and reason, for metrics.
pub async fn suppressions(
    pool: &PgPool,
) -> sqlx::Result<Vec<(AccountId, Channel, Suppression, i64)>> {
    let sql = "select account, channel, reason, count(*) from suppressions group by 1, 2, 3";
    let rows = sqlx::query(sql).fetch_all(pool).await?;
    readable(&rows)
}

/// Attempts whose outcome is being looked up at the provider.
pub async fn to_settle(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from attempts where settle_at is not null")
        .fetch_one(pool)
        .await
}

/// Reminders that are not final yet.
pub async fn not_final(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from pending")
        .fetch_one(pool)
        .await
}

/// Reminders that a provider has accepted.
pub async fn sent_in_all(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from reminders where sent_at is not null")
        .fetch_one(pool)
        .await
}

/// State and reason of the newest reminder of a conversation for a channel and step.
pub async fn reminder_of(
    pool: &PgPool,
    conversation: &str,
    channel: Channel,
    step: StepId,
) -> sqlx::Result<Option<(ReminderState, Option<Cause>)>> {
    sqlx::query_as(
        "select state, reason from reminders where conversation = $1 and channel = $2 and step = $3
         order by id desc limit 1",
    )
    .bind(conversation)
    .bind(channel)
    .bind(step)
    .fetch_optional(pool)
    .await
}

/// The reason of the last decision about a conversation.
pub async fn last_reason(pool: &PgPool, conversation: &str) -> sqlx::Result<Option<Cause>> {
    sqlx::query_scalar(
        "select reason from decision_log where conversation = $1 order by id desc limit 1",
    )
    .bind(conversation)
    .fetch_optional(pool)
    .await
}
