//! The scan's side of the ledger: reminders that become owed, those that an ended episode cancels, and who came back.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::db::columns::readable;
use crate::db::suppressions::AddressHash;
use crate::domain::decide::Reason;
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::local_time::LocalTime;
use crate::domain::zone::Zone;

/// How long after a reminder a consumer's coming back is put down to it.
const ATTRIBUTION: TimeDelta = TimeDelta::hours(24);

/// A reminder that exists for a conversation, as a scan needs to know it.
#[derive(Clone, Debug, FromRow)]
pub struct ExistingReminder {
    pub conversation: String,
    pub episode: String,
    pub channel: Channel,
    pub step: i16,
    /// Not final yet.
    pub pending: bool,
}

/// The reminders of these conversations.
///
/// `offset 0` makes it one index look-up per conversation. As a plain condition, a plan made while the table was small would go
/// through all of the account's reminders, at every page until the next `analyze`.
pub async fn existing(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    conversations: &[&str],
) -> sqlx::Result<Vec<ExistingReminder>> {
    let rows = sqlx::query(
        "select r.* from unnest($2::text[]) as i(conversation)
         cross join lateral (
             select conversation, episode, channel, step, next_at is not null as pending from reminders
             where account = $1 and conversation = i.conversation offset 0
         ) as r",
    )
    .bind(account)
    .bind(conversations)
    .fetch_all(db)
    .await?;
    readable(&rows)
}

/// A reminder to be owed.
#[derive(Clone, Debug)]
pub struct NewReminder {
    pub conversation: String,
    pub episode: String,
    pub episode_since: DateTime<Utc>,
    pub skill: SkillId,
    pub channel: Channel,
    pub step: i16,
    pub due_at: DateTime<Utc>,
    /// As the consumer's clocks are known now.
    pub deadline: DateTime<Utc>,
    /// No clock's deadline is later.
    pub latest_at: DateTime<Utc>,
    /// The clocks by which its hours are read.
    pub local: LocalTime,
    /// The unguessable word of its link.
    pub token: String,
    /// Whom it goes to as things are. Written now so that beginning an attempt changes no indexed column, unless the address has
    /// changed since.
    pub recipient: Option<AddressHash>,
}

/// Writes reminders into the ledger. Those whose key is there already are left alone and not returned: one row per (account,
/// conversation, episode, channel, step), whoever races.
pub async fn schedule(
    conn: &mut PgConnection,
    account: &AccountId,
    new: &[NewReminder],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(ReminderId, Channel, DateTime<Utc>)>> {
    sqlx::query_as(
        "insert into reminders (account, conversation, episode, episode_since, skill, channel, step, due_at, next_at,
             deadline, token, recipient_hash, latest_at, time_zone, zone_source, created_at)
         select $1, conversation, episode, episode_since, skill, channel, step, due_at, due_at, deadline, token, recipient,
             latest_at, time_zone, zone_source, $2
         from unnest($3::text[], $4::text[], $5::timestamptz[], $6::bigint[], $7::text[], $8::smallint[],
                     $9::timestamptz[], $10::timestamptz[], $11::text[], $12::bytea[], $13::timestamptz[], $14::text[], $15::text[])
             as t(conversation, episode, episode_since, skill, channel, step, due_at, deadline, token, recipient,
                  latest_at, time_zone, zone_source)
         order by conversation
         on conflict (account, conversation, episode, channel, step) do nothing
         returning id, channel, due_at",
    )
    .bind(account)
    .bind(now)
    .bind(new.iter().map(|n| n.conversation.as_str()).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.episode.as_str()).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.episode_since).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.skill).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.channel).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.step).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.due_at).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.deadline).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.token.as_str()).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.recipient.as_ref().map(<[u8; 16]>::as_slice)).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.latest_at).collect::<Vec<_>>())
    .bind(new.iter().map(|n| Zone::join(&n.local.zones)).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.local.source).collect::<Vec<_>>())
    .fetch_all(conn)
    .await
}

/// An episode that a scan saw come to its end.
#[derive(Clone, Debug)]
pub struct EndedEpisode {
    pub conversation: String,
    /// The conversation's present episode; reminders of any other are cancelled. `None`: of all.
    pub present: Option<String>,
    pub reason: Reason,
}

/// Cancels the scheduled reminders of episodes that are over, and logs why. Returns how many per channel and reason.
///
/// Finds them as [`existing`] does.
pub async fn cancel_ended(
    conn: &mut PgConnection,
    account: &AccountId,
    ended: &[EndedEpisode],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(Channel, Reason)>> {
    let rows = sqlx::query(
        "with input as (
             select * from unnest($2::text[], $3::text[], $4::text[]) as t(conversation, present, reason)
         ), found as (
             select r.id from input i cross join lateral (
                 select id, episode from reminders
                 where account = $1 and conversation = i.conversation and state = 'scheduled' offset 0
             ) as r
             where r.episode is distinct from i.present
         ), over as (
             select id from reminders where id = any (array(select id from found)) and state = 'scheduled'
             order by id for update
         ), cancelled as (
             update reminders r set state = 'cancelled', reason = i.reason, next_at = null, final_at = $5,
                 recipient_hash = case when r.counted_at is not null then r.recipient_hash end
             from input i, over o
             where r.id = o.id and r.conversation = i.conversation and r.state = 'scheduled'
             returning r.id, r.conversation, r.channel, r.reason
         ), logged as (
             insert into decisions (at, account, conversation, channel, reminder, stage, verdict, reason)
             select $5, $1, conversation, channel, id, 'scan', 'cancel', reason from cancelled
         )
         select channel, reason from cancelled",
    )
    .bind(account)
    .bind(ended.iter().map(|e| e.conversation.as_str()).collect::<Vec<_>>())
    .bind(ended.iter().map(|e| e.present.as_deref()).collect::<Vec<_>>())
    .bind(ended.iter().map(|e| e.reason).collect::<Vec<_>>())
    .bind(now)
    .fetch_all(conn)
    .await?;
    readable(&rows)
}

/// Notes for sent reminders that the consumer came back: read or wrote at the given time, within the attribution window. For those
/// held out, too: the window begins when they would have been sent.
///
/// Finds them as [`existing`] does.
pub async fn mark_returns(
    conn: &mut PgConnection,
    account: &AccountId,
    active: &[(&str, DateTime<Utc>)],
) -> sqlx::Result<u64> {
    sqlx::query(
        "update reminders r set returned_at = f.at
         from (
             select s.id, i.at from unnest($2::text[], $3::timestamptz[]) as i(conversation, at)
             cross join lateral (
                 select id, case when sent_at is not null then sent_at when reason = 'held_out' then final_at end as begun_at
                 from reminders
                 where account = $1 and conversation = i.conversation and returned_at is null
                 offset 0
             ) as s
             where s.begun_at between i.at - make_interval(secs => $4) and i.at
         ) as f
         where r.id = f.id and r.returned_at is null",
    )
    .bind(account)
    .bind(active.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(active.iter().map(|(_, at)| *at).collect::<Vec<_>>())
    .bind(ATTRIBUTION.as_seconds_f64())
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}
