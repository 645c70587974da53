//! Reminders that ended long ago, as a demonstration invents them. What really happened is written by whoever does it.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::domain::decide::Cause;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::reminder::ReminderState;
use crate::domain::rule::StepId;

/// A reminder that has ended.
#[derive(Clone, Debug)]
pub struct Past {
    /// Unique among all that are invented.
    pub conversation: String,
    pub skill: SkillId,
    pub channel: Channel,
    pub step: StepId,
    /// A final state, and its reason where it has one.
    pub state: ReminderState,
    pub reason: Option<Cause>,
    pub sender: &'static str,
    pub time_zone: &'static str,
    /// When the agent wrote.
    pub since: DateTime<Utc>,
    pub due_at: DateTime<Utc>,
    /// When a provider took it.
    pub sent_at: Option<DateTime<Utc>>,
    pub ended_at: DateTime<Utc>,
    pub clicked_at: Option<DateTime<Utc>>,
    pub returned_at: Option<DateTime<Utc>>,
}

/// How long after its due moment a reminder might have been sent.
const MAX_AGE: TimeDelta = TimeDelta::hours(6);

/// Whether the ledger is empty.
pub async fn is_none(db: impl PgExecutor<'_>) -> sqlx::Result<bool> {
    sqlx::query_scalar("select not exists (select from reminders)")
        .fetch_one(db)
        .await
}

/// Writes them, with the attempts and decisions that their stories are told from. Returns how many there are now that were not before.
pub async fn write(
    conn: &mut PgConnection,
    account: &AccountId,
    past: &[Past],
) -> sqlx::Result<u64> {
    sqlx::query(
        "with invented as (
             select * from unnest($2::text[], $3::bigint[], $4::text[], $5::smallint[], $6::text[], $7::text[], $8::text[],
                 $9::text[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[],
                 $15::timestamptz[])
                 as t(conversation, skill, channel, step, state, reason, sender, time_zone, since, due_at, sent_at, ended_at,
                      clicked_at, returned_at)
         ), kept as (
             insert into reminders (account, conversation, episode, channel, step, skill, state, reason, episode_since, due_at,
                 deadline, tries, token, time_zone, zone_source, counted_at, sent_at, final_at, clicked_at, returned_at,
                 first_of_episode, credited, created_at)
             select $1, conversation, conversation, channel, step, skill, state, reason, since, due_at, due_at + $16,
                 (sent_at is not null or state = 'failed')::int, 'example-' || conversation || '-' || channel || '-' || step,
                 time_zone, 'liveperson', sent_at, sent_at, ended_at, clicked_at, returned_at,
                 sent_at is not null and sent_at = min(sent_at) over (partition by conversation),
                 returned_at is not null and sent_at is not null
                     and sent_at = max(sent_at) filter (where sent_at <= returned_at) over (partition by conversation),
                 since + interval '1 minute'
             from invented order by since
             on conflict (account, conversation, episode, step) do nothing
             returning id, conversation, channel, step, state, reason, due_at, sent_at, final_at, created_at
         ), decided as (
             insert into decisions (at, account, conversation, channel, step, reminder, stage, verdict, reason, until)
             select d.at, $1, k.conversation, k.channel, k.step, k.id, d.stage, d.verdict, d.reason, d.until
             from kept k, lateral (values
                 (k.created_at, 'scan', 'schedule', 'scheduled', k.due_at),
                 (k.final_at, 'deliver', case k.state when 'cancelled' then 'cancel' when 'expired' then 'expire' end, k.reason, null)
             ) as d(at, stage, verdict, reason, until)
             where d.verdict is not null
             order by d.at
             returning id
         ), tried as (
             insert into attempts (reminder, number, sender, started_at, lease_until, ended_at, outcome, code)
             select k.id, 1, i.sender, coalesce(k.sent_at, k.final_at), coalesce(k.sent_at, k.final_at),
                 coalesce(k.sent_at, k.final_at), case when k.state = 'failed' then 'refused' else 'accepted' end,
                 case when k.state = 'failed' then k.reason end
             from kept k join invented i on i.conversation = k.conversation and i.step = k.step,
                 -- An attempt comes after what was decided before it.
                 (select count(*) from decided) as first
             where k.sent_at is not null or k.state = 'failed'
         )
         select 1 from kept",
    )
    .bind(account)
    .bind(past.iter().map(|p| p.conversation.as_str()).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.skill).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.channel).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.step).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.state).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.reason.as_ref()).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.sender).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.time_zone).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.since).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.due_at).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.sent_at).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.ended_at).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.clicked_at).collect::<Vec<_>>())
    .bind(past.iter().map(|p| p.returned_at).collect::<Vec<_>>())
    .bind(MAX_AGE)
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}
