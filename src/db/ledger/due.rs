//! The delivery's side of the ledger before an attempt: what is due, what it is decided by, and the answers other than "send".

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgExecutor};

use crate::db::columns::readable;
use crate::db::suppressions::AddressHash;
use crate::domain::decide::Reason;
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::local_time::LocalTime;
use crate::domain::reached::StepReminder;
use crate::domain::reminder::ReminderState;
use crate::domain::rule::StepId;
use crate::domain::zone::Zone;

/// A reminder that waits for its moment, as delivery needs to know it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the row"
)]
#[derive(Clone, Debug, FromRow)]
pub struct DueReminder {
    pub id: ReminderId,
    pub account: AccountId,
    pub conversation: String,
    pub episode: String,
    pub episode_since: DateTime<Utc>,
    pub skill: SkillId,
    pub channel: Channel,
    pub step: StepId,
    pub due_at: DateTime<Utc>,
    pub deadline: DateTime<Utc>,
    /// Attempts so far that count against the retry policy.
    #[sqlx(try_from = "i32")]
    pub tries: u32,
    /// One of them met a full mailbox or a phone that is off.
    pub soft_failed: bool,
    /// One of them may have been sent, and was not settled since.
    pub maybe_sent: bool,
    pub token: String,
    pub next_at: DateTime<Utc>,
    /// `next_at` has not come yet, by the clock that counts.
    pub early: bool,
    /// It has waited for a turn under the provider's limit before.
    pub lined_up: bool,
    /// A person has had it sent again.
    pub restarted: bool,
}

/// Those of these reminders that still wait to be sent. Without `now` the database's clock says which are early.
pub async fn owed(
    db: impl PgExecutor<'_>,
    ids: &[ReminderId],
    now: Option<DateTime<Utc>>,
) -> sqlx::Result<Vec<DueReminder>> {
    select_owed(db, ids, now, "").await
}

/// The same, locked until the transaction ends: nobody else begins, cancels or expires them meanwhile.
pub async fn lock_owed(
    db: impl PgExecutor<'_>,
    ids: &[ReminderId],
    now: Option<DateTime<Utc>>,
) -> sqlx::Result<Vec<DueReminder>> {
    select_owed(db, ids, now, "order by id for update").await
}

async fn select_owed(
    db: impl PgExecutor<'_>,
    ids: &[ReminderId],
    now: Option<DateTime<Utc>>,
    locking: &'static str,
) -> sqlx::Result<Vec<DueReminder>> {
    let sql = format!(
        "select id, account, conversation, episode, episode_since, skill, channel, step, due_at, deadline, tries, soft_failed,
                counted_at is not null as maybe_sent, token, next_at, next_at > coalesce($2, clock_timestamp()) as early,
                coalesce(reason = 'rate_limit', false) as lined_up, restarted_at is not null as restarted
         from reminders where id = any ($1) and state = 'scheduled' {locking}"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(ids)
        .bind(now)
        .fetch_all(db)
        .await?;
    readable(&rows)
}

/// When a reminder's hours and deadline are, as they were found when it was looked at.
#[derive(Clone, Debug)]
pub struct RecheckedReminder {
    pub reminder: ReminderId,
    pub deadline: DateTime<Utc>,
    pub latest_at: DateTime<Utc>,
    pub local: LocalTime,
}

/// Writes down hours and deadlines that are not what they were: the consumer has another clock, or the rule was changed. Rows that
/// stay the same are not touched, and those that change keep their place in every index.
pub async fn note_hours(conn: &mut PgConnection, looked: &[RecheckedReminder]) -> sqlx::Result<()> {
    sqlx::query(
        "update reminders r set deadline = i.deadline, latest_at = i.latest_at, time_zone = i.time_zone, zone_source = i.zone_source
         from unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::text[])
             as i(id, deadline, latest_at, time_zone, zone_source)
         where r.id = i.id and r.state = 'scheduled' and i.deadline >= r.due_at
           and (r.deadline, r.latest_at, r.time_zone, r.zone_source)
               is distinct from (i.deadline, i.latest_at, i.time_zone, i.zone_source)",
    )
    .bind(looked.iter().map(|l| l.reminder).collect::<Vec<_>>())
    .bind(looked.iter().map(|l| l.deadline).collect::<Vec<_>>())
    .bind(looked.iter().map(|l| l.latest_at).collect::<Vec<_>>())
    .bind(looked.iter().map(|l| Zone::join(&l.local.zones)).collect::<Vec<_>>())
    .bind(looked.iter().map(|l| l.local.source).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Serialises whoever decides about the same consumer or recipient until the transaction ends, so that two workers cannot
/// both find a cap not yet reached. Keys are taken in order: no deadlock.
pub async fn lock_keys(conn: &mut PgConnection, mut keys: Vec<i64>) -> sqlx::Result<()> {
    keys.sort_unstable();
    keys.dedup();
    sqlx::query("select pg_advisory_xact_lock(k) from unnest($1::bigint[]) as k")
        .bind(keys)
        .execute(conn)
        .await?;
    Ok(())
}

/// Another reminder of the consumer, or to the same address.
#[derive(Clone, Debug, FromRow)]
pub struct OtherReminder {
    pub id: ReminderId,
    pub account: AccountId,
    pub conversation: String,
    pub episode: String,
    #[sqlx(flatten)]
    pub of_step: StepReminder,
    pub recipient_hash: Option<Vec<u8>>,
    /// When it was, or may have been, sent.
    pub counted_at: Option<DateTime<Utc>>,
    /// By which of the consumer ids that were asked for it was found, if by one.
    pub consumer: Option<String>,
}

impl OtherReminder {
    /// It was sent, and did not arrive.
    pub fn came_back(&self) -> bool {
        let StepReminder {
            state,
            sent_at,
            clicked,
            ..
        } = self.of_step;
        match state {
            ReminderState::Undelivered => !clicked,
            ReminderState::Failed | ReminderState::Expired => sent_at.is_some() && !clicked,
            _ => false,
        }
    }
}

/// What is decided by beside the record: every reminder of these conversations; and what was, or may have been, sent since `since` to these
/// recipients by any account, and about any conversation of these consumers.
///
/// Finds them as [`existing`](super::existing) does. The time is compared in the rows: as a condition of the look-up it made a plan that read all of
/// the day's reminders at every batch.
pub async fn others(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    conversations: &[&str],
    recipients: &[AddressHash],
    consumers: &[&str],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<OtherReminder>> {
    let rows = sqlx::query(
        "with found as (
             select r.*, null::text as consumer from (select distinct * from unnest($3::bytea[])) as i(recipient)
             cross join lateral (select * from reminders where recipient_hash = i.recipient offset 0) as r
             where r.counted_at > $5
             union all
             select r.*, null from (select distinct * from unnest($2::text[])) as i(conversation)
             cross join lateral (
                 select * from reminders where account = $1 and conversation = i.conversation offset 0
             ) as r
             union all
             select r.*, c.consumer from unnest($4::text[]) as i(consumer)
             cross join lateral (
                 select consumer, conversation from consumers
                 where account = $1 and consumer = i.consumer and kind = 'liveperson' offset 0
             ) as c
             cross join lateral (
                 select * from reminders where account = $1 and conversation = c.conversation offset 0
             ) as r
             where r.counted_at > $5
         )
         select r.id, r.account, r.conversation, r.episode, r.step, r.channel, r.state, r.reason, r.recipient_hash, r.counted_at,
                r.sent_at, r.final_at, r.clicked_at is not null as clicked, null as said_no, r.consumer,
                case when r.state in ('scheduled', 'cancelled')
                     then (select a.id from attempts a where a.reminder = r.id limit 1) is not null
                     else true end as tried
         from found r",
    )
    .bind(account)
    .bind(conversations)
    .bind(
        recipients
            .iter()
            .map(<[u8; 16]>::as_slice)
            .collect::<Vec<_>>(),
    )
    .bind(consumers)
    .bind(since)
    .fetch_all(db)
    .await?;
    readable(&rows)
}

/// An answer other than "send": the reminder's next state, and when to ask again.
#[derive(Clone, Debug)]
pub struct Transition {
    pub reminder: ReminderId,
    pub state: ReminderState,
    pub reason: Reason,
    pub next_at: Option<DateTime<Utc>>,
}

/// Applies answers to reminders that are still scheduled.
pub async fn apply(
    conn: &mut PgConnection,
    answers: &[Transition],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if answers.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update reminders r set state = i.state, reason = i.reason, next_at = i.next_at,
             final_at = case when i.next_at is null then $5 end,
             recipient_hash = case when i.next_at is not null or r.counted_at is not null then r.recipient_hash end
         from unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[]) as i(id, state, reason, next_at)
         where r.id = i.id and r.state = 'scheduled'",
    )
    .bind(answers.iter().map(|a| a.reminder).collect::<Vec<_>>())
    .bind(answers.iter().map(|a| a.state).collect::<Vec<_>>())
    .bind(answers.iter().map(|a| a.reason).collect::<Vec<_>>())
    .bind(answers.iter().map(|a| a.next_at).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Brings forward to `now` the next reminders of an account on a channel that are lined up for a turn and would come back before `until`.
/// Returns whom to wake. Those that somebody is changing just now are left alone.
pub async fn call_up(
    conn: &mut PgConnection,
    (account, channel): (&AccountId, Channel),
    (now, until): (DateTime<Utc>, DateTime<Utc>),
    most: usize,
) -> sqlx::Result<Vec<ReminderId>> {
    let rows = sqlx::query(
        "with next as (
             select id from reminders where id = any (array(
                 select p.reminder from pending p
                 cross join lateral (select * from reminders where id = p.reminder offset 0) r
                 where p.next_at > $2 and p.next_at <= $3 and p.account = $5 and r.state = 'scheduled'
                   and r.reason = 'rate_limit' and r.channel = $1
                 order by p.next_at limit $4))
               and next_at > $2 and state = 'scheduled' and reason = 'rate_limit'
             for update skip locked
         )
         update reminders r set next_at = $2 from next where r.id = next.id returning r.id",
    )
    .bind(channel)
    .bind(now)
    .bind(until)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .bind(account)
    .fetch_all(conn)
    .await?;
    let ids = readable::<(ReminderId,)>(&rows)?.into_iter();
    Ok(ids.map(|(id,)| id).collect())
}
