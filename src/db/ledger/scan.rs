//! The scan's side of the ledger: reminders that become owed, those that an ended episode cancels, and who came back.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::db::columns::readable;
use crate::db::suppressions::AddressHash;
use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::local_time::LocalTime;
use crate::domain::reached::{COMES_BACK, StepReminder, comes_back};
use crate::domain::reminder::ReminderState;
use crate::domain::rule::StepId;
use crate::domain::zone::Zone;

/// How long after a reminder a consumer's coming back is put down to it.
const ATTRIBUTION: TimeDelta = TimeDelta::hours(24);

/// A reminder that exists for a conversation, as a scan needs to know it.
#[derive(Clone, Debug, FromRow)]
pub struct ExistingReminder {
    pub id: ReminderId,
    pub conversation: String,
    pub episode: String,
    pub due_at: DateTime<Utc>,
    /// Its consumer's return is put down to it already.
    pub returned: bool,
    #[sqlx(flatten)]
    pub of_step: StepReminder,
}

impl ExistingReminder {
    /// Whether a consumer who wrote or read at `active_at` has come back after it, which is not written down yet.
    pub fn is_unnoted_return(&self, active_at: DateTime<Utc>) -> bool {
        let in_time = |sent: DateTime<Utc>| sent < active_at && active_at - sent <= ATTRIBUTION;
        !self.returned && self.of_step.sent_at.is_some_and(in_time)
    }

    /// Not final yet.
    pub fn is_pending(&self) -> bool {
        matches!(
            self.of_step.state,
            ReminderState::Scheduled | ReminderState::Sending
        )
    }

    /// It was passed over untried, and is scheduled anew when its step is due after all.
    pub fn may_come_back(&self) -> bool {
        let StepReminder {
            state,
            tried,
            reason,
            ..
        } = &self.of_step;
        let reason = reason.as_ref().and_then(Cause::reason);
        *state == ReminderState::Cancelled && !tried && reason.is_some_and(comes_back)
    }
}

/// The reminders of these conversations.
///
/// `offset 0` makes it one index look-up per conversation. As a plain condition, a plan made while the table was small would go
/// through all of the account's reminders, at every page until the next `analyze`. For the same reason attempts are looked for by
/// `limit 1`: with `exists` such a plan reads all of them into a hash table.
pub async fn existing(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    conversations: &[&str],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<ExistingReminder>> {
    let rows = sqlx::query(
        "select r.id, r.conversation, r.episode, r.step, r.channel, r.state, r.reason, r.due_at, r.sent_at, r.final_at, r.returned_at is not null as returned,
                r.clicked_at is not null as clicked,
                case when r.state in ('scheduled', 'cancelled')
                     then (select a.id from attempts a where a.reminder = r.id limit 1) is not null
                     else true end as tried,
                -- While it was being tried; what a provider refuses was said before.
                case when r.state = 'cancelled' and r.reason in ('opted_out', 'complaint')
                         and (select a.id from attempts a where a.reminder = r.id limit 1) is not null
                         and (select a.id from attempts a where a.reminder = r.id and a.outcome = 'refused' limit 1) is null
                     then r.reason
                     when r.recipient_hash is not null then (
                    select s.reason from suppressions s
                    where s.address_hash = r.recipient_hash and s.channel = r.channel and s.account = r.account
                      and s.reason in ('opted_out', 'complaint') and s.source <> 'provider' and s.created_at >= r.episode_since
                      and (s.expires_at is null or s.expires_at > $3)) end as said_no
         from unnest($2::text[]) as i(conversation)
         cross join lateral (
             select * from reminders where account = $1 and conversation = i.conversation offset 0
         ) as r",
    )
    .bind(account)
    .bind(conversations)
    .bind(now)
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
    pub step: StepId,
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
    /// The reminder that it takes the place of: scheduled, and not tried yet.
    pub instead_of: Option<Replaced>,
}

/// A reminder that gives way to another step.
#[derive(Clone, Copy, Debug)]
pub struct Replaced {
    pub id: ReminderId,
    pub step: StepId,
    /// The other step has a reminder already, which was passed over and comes back.
    pub comes_back: bool,
}

/// Writes reminders into the ledger. Those whose key is there already are left alone and not returned, but for one that was passed over
/// untried; and so are those of a conversation that has another one pending: one row per (account, conversation, episode, step), and one
/// pending per conversation, whoever races.
pub async fn schedule(
    conn: &mut PgConnection,
    account: &AccountId,
    new: &[NewReminder],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(ReminderId, Channel, DateTime<Utc>)>> {
    let gives_way = new
        .iter()
        .filter_map(|n| n.instead_of)
        .filter(|replaced| replaced.comes_back);
    let gives_way: Vec<ReminderId> = gives_way.map(|replaced| replaced.id).collect();
    supersede(&mut *conn, &gives_way, now).await?;
    let becomes = |n: &&NewReminder| n.instead_of.is_some_and(|replaced| !replaced.comes_back);
    let (instead, new): (Vec<&NewReminder>, Vec<&NewReminder>) = new.iter().partition(becomes);
    let mut scheduled = replace(&mut *conn, &instead).await?;
    scheduled.extend(insert(conn, account, &new, now).await?);
    Ok(scheduled)
}

async fn insert(
    conn: &mut PgConnection,
    account: &AccountId,
    new: &[&NewReminder],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(ReminderId, Channel, DateTime<Utc>)>> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as(
        "insert into reminders as r (account, conversation, episode, episode_since, skill, channel, step, due_at, next_at,
             deadline, token, recipient_hash, latest_at, time_zone, zone_source, created_at)
         select $1, conversation, episode, episode_since, skill, channel, step, due_at, due_at, deadline, token, recipient,
             latest_at, time_zone, zone_source, $2
         from unnest($3::text[], $4::text[], $5::timestamptz[], $6::bigint[], $7::text[], $8::smallint[],
                     $9::timestamptz[], $10::timestamptz[], $11::text[], $12::bytea[], $13::timestamptz[], $14::text[], $15::text[])
             as t(conversation, episode, episode_since, skill, channel, step, due_at, deadline, token, recipient,
                  latest_at, time_zone, zone_source)
         where not exists (
             select from pending p where p.account = $1 and p.conversation = t.conversation)
         order by conversation
         on conflict (account, conversation, episode, step) do update
             set state = 'scheduled', reason = null, final_at = null, due_at = excluded.due_at, next_at = excluded.next_at,
                 deadline = excluded.deadline, latest_at = excluded.latest_at, time_zone = excluded.time_zone,
                 zone_source = excluded.zone_source, recipient_hash = excluded.recipient_hash, skill = excluded.skill
             where r.state = 'cancelled' and r.reason = any ($16) and r.channel = excluded.channel
               and not exists (select from attempts a where a.reminder = r.id)
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
    .bind(COMES_BACK)
    .fetch_all(conn)
    .await
}

/// Ends these for now, if they wait and nobody has tried them: another step of their conversations goes first, and they may come back.
pub async fn supersede(
    conn: &mut PgConnection,
    reminders: &[ReminderId],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if reminders.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "with free as (
             select r.id from reminders r where r.id = any ($1) and r.state = 'scheduled'
               and not exists (select from attempts a where a.reminder = r.id)
             order by r.id for update
         ), ended as (
             update reminders r set state = 'cancelled', reason = 'superseded', next_at = null, final_at = $2, recipient_hash = null
             from free where r.id = free.id and r.state = 'scheduled'
             returning r.id, r.account, r.conversation, r.channel, r.step
         )
         insert into decisions (at, account, conversation, channel, step, reminder, stage, verdict, reason)
         select $2, account, conversation, channel, step, id, 'scan', 'cancel', 'superseded' from ended",
    )
    .bind(reminders)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Turns reminders that wait, and that nobody has tried, into those of other steps: of what is next there is one. Those that somebody has
/// begun meanwhile stay as they are.
async fn replace(
    conn: &mut PgConnection,
    new: &[&NewReminder],
) -> sqlx::Result<Vec<(ReminderId, Channel, DateTime<Utc>)>> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as(
        "with input as (
             select * from unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                 $7::timestamptz[], $8::text[], $9::text[], $10::bytea[], $11::bigint[])
                 as t(id, was, step, channel, due_at, deadline, latest_at, time_zone, zone_source, recipient, skill)
         ), free as (
             select r.id from input i join reminders r on r.id = i.id
             where r.state = 'scheduled' and r.step = i.was and not exists (select from attempts a where a.reminder = r.id)
             order by r.id for update of r
         )
         update reminders r set step = i.step, channel = i.channel, skill = i.skill, reason = null, due_at = i.due_at,
             next_at = i.due_at, deadline = i.deadline, latest_at = i.latest_at, time_zone = i.time_zone,
             zone_source = i.zone_source, recipient_hash = i.recipient
         from input i join free f on f.id = i.id
         where r.id = f.id and r.state = 'scheduled'
           and not exists (
               select from reminders o where o.account = r.account and o.conversation = r.conversation and o.episode = r.episode
                 and o.step = i.step and o.id <> r.id)
         returning r.id, r.channel, r.due_at",
    )
    .bind(new.iter().filter_map(|n| n.instead_of).map(|replaced| replaced.id).collect::<Vec<_>>())
    .bind(new.iter().filter_map(|n| n.instead_of).map(|replaced| replaced.step).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.step).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.channel).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.due_at).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.deadline).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.latest_at).collect::<Vec<_>>())
    .bind(new.iter().map(|n| Zone::join(&n.local.zones)).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.local.source).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.recipient.as_ref().map(<[u8; 16]>::as_slice)).collect::<Vec<_>>())
    .bind(new.iter().map(|n| n.skill).collect::<Vec<_>>())
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
             returning r.id, r.conversation, r.channel, r.step, r.reason
         ), logged as (
             insert into decisions (at, account, conversation, channel, step, reminder, stage, verdict, reason)
             select $5, $1, conversation, channel, step, id, 'scan', 'cancel', reason from cancelled
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
/// held out, too: the window begins when they would have been sent. It is put down to the last one that was sent before, once per episode.
///
/// Finds them as [`existing`] does.
pub async fn mark_returns(
    conn: &mut PgConnection,
    account: &AccountId,
    active: &[(&str, DateTime<Utc>)],
) -> sqlx::Result<u64> {
    sqlx::query(
        "with known as (
             select s.*, i.at from unnest($2::text[], $3::timestamptz[]) as i(conversation, at)
             cross join lateral (
                 select id, conversation, episode, returned_at, credited,
                        case when sent_at is not null then sent_at when reason = 'held_out' then final_at end as begun_at
                 from reminders
                 where account = $1 and conversation = i.conversation
                 offset 0
             ) as s
         ), found as (
             select k.id, k.at, k.begun_at, k.conversation, k.episode,
                    not exists (select from known c where c.conversation = k.conversation and c.episode = k.episode and c.credited)
                        and not exists (select from known l where l.conversation = k.conversation and l.episode = k.episode
                            and l.begun_at <= l.at and (l.begun_at, l.id) > (k.begun_at, k.id)) as credited
             from known k
             where k.returned_at is null and k.begun_at between k.at - make_interval(secs => $4) and k.at
         )
         update reminders r set returned_at = f.at, credited = f.credited
         from found f where r.id = f.id and r.returned_at is null",
    )
    .bind(account)
    .bind(active.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(active.iter().map(|(_, at)| *at).collect::<Vec<_>>())
    .bind(ATTRIBUTION.as_seconds_f64())
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}
