//! The ledger of reminders and their attempts: every change of state of promise 2 (never twice) and 3 (never lost).
//!
//! A reminder moves only by compare-and-set on its state, and each change is one statement for a whole batch. Nothing here
//! decides; it writes down what `domain` decided.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgExecutor};

use super::columns::readable;
use super::suppressions::AddressHash;
use crate::domain::decide::{Cause, Reason};
use crate::domain::heartbeat::trust::SendingMark;
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::local_time::LocalTime;
use crate::domain::outcome::OutcomeKind;
use crate::domain::reminder::ReminderState;
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
    pub skill: SkillId,
    pub channel: Channel,
    pub step: i16,
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
        "select id, account, conversation, episode, skill, channel, step, due_at, deadline, tries, soft_failed,
                counted_at is not null as maybe_sent, token, next_at, next_at > coalesce($2, clock_timestamp()) as early,
                coalesce(reason = 'rate_limit', false) as lined_up
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

/// Serialises whoever decides about the same conversation or recipient until the transaction ends, so that two workers cannot
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

/// A reminder that was, or may have been, sent.
#[derive(Clone, Debug)]
pub struct SentRecord {
    pub reminder: ReminderId,
    pub account: AccountId,
    pub conversation: String,
    pub channel: Channel,
    pub recipient: Option<AddressHash>,
    pub at: DateTime<Utc>,
}

type CountedRow = (
    ReminderId,
    AccountId,
    String,
    Channel,
    Option<Vec<u8>>,
    DateTime<Utc>,
);

/// What caps are counted over: what was sent since `since` in these conversations or to these recipients.
///
/// Finds them as [`existing`] does. The time is compared in the rows: as a condition of the look-up it made a plan that read all of
/// the day's reminders at every batch.
pub async fn counted(
    db: impl PgExecutor<'_>,
    conversations: &[(&AccountId, &str)],
    recipients: &[AddressHash],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<SentRecord>> {
    let rows = sqlx::query(
        "select r.* from (select distinct * from unnest($3::bytea[])) as i(recipient)
         cross join lateral (
             select id, account, conversation, channel, recipient_hash, counted_at from reminders
             where recipient_hash = i.recipient offset 0
         ) as r
         where r.counted_at > $4
         union
         select r.* from unnest($1::text[], $2::text[]) as i(account, conversation)
         cross join lateral (
             select id, account, conversation, channel, recipient_hash, counted_at from reminders
             where account = i.account and conversation = i.conversation offset 0
         ) as r
         where r.counted_at > $4",
    )
    .bind(
        conversations
            .iter()
            .map(|(account, _)| *account)
            .collect::<Vec<_>>(),
    )
    .bind(
        conversations
            .iter()
            .map(|(_, conversation)| *conversation)
            .collect::<Vec<_>>(),
    )
    .bind(
        recipients
            .iter()
            .map(<[u8; 16]>::as_slice)
            .collect::<Vec<_>>(),
    )
    .bind(since)
    .fetch_all(db)
    .await?;
    let counted = readable::<CountedRow>(&rows)?.into_iter();
    Ok(counted
        .map(
            |(reminder, account, conversation, channel, recipient, at)| SentRecord {
                reminder,
                account,
                conversation,
                channel,
                recipient: recipient.and_then(|hash| hash.try_into().ok()),
                at,
            },
        )
        .collect())
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
             select id from reminders
             where next_at > $2 and next_at <= $3 and state = 'scheduled' and reason = 'rate_limit' and channel = $1 and account = $5
             order by next_at limit $4 for update skip locked
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

/// An attempt about to be made.
#[derive(Clone)]
pub struct NewAttempt {
    pub reminder: ReminderId,
    /// The skill that the rule is for; nothing: the account's default.
    pub rule_skill: Option<SkillId>,
    pub sender: String,
    /// Kept only where an unknown outcome is settled by searching for the address (SMS), and only until it is.
    pub address: Option<String>,
    pub recipient: AddressHash,
    /// How long, in real seconds, nobody else touches the attempt; longer than the provider can take.
    pub lease: TimeDelta,
}

/// What keeps the reminder `r` back under the rule for skill `$s` (null: the account's default): a pause, as
/// `domain::pause::Scope::holds`, that its channel is not live, or a hold, as `domain::hold::Gate::holds` for a process that has seen
/// the counter `$seen` in its own line.
macro_rules! pause_of {
    ($skill:literal, $process:literal, $seen:literal) => {
        concat!(
            "select where not exists (select from live l where l.account = r.account and l.channel = r.channel)
             -- By its key: a table that a session may not read from end to end outweighs every other cost in the plan.
             union all select from heartbeat h where h.only_one and (r.due_at < h.held_before
                 or coalesce((select b.counter from beats b where b.process = ",
            $process,
            "), 0) < ",
            $seen,
            ")
             union all select from pauses p where (p.account is null or (p.account = r.account and (p.channel is null or
                 (p.channel = r.channel and (not p.of_rule or p.skill is not distinct from ",
            $skill,
            ")))))"
        )
    };
}

/// What [`begin`] asks of the database.
pub const BEGIN: &str = concat!(
    "with input as (
         select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::float8[], $7::bigint[])
             as t(id, sender, address, recipient, lease, rule_skill)
     ), claimed as (
         update reminders r set state = 'sending', reason = 'due', recipient_hash = i.recipient, counted_at = $6
         from input i where r.id = i.id and r.state = 'scheduled'
           and not exists (
               select from suppressions s
               where s.address_hash = i.recipient and s.channel = r.channel and s.account = r.account
                 and (s.expires_at is null or s.expires_at > $6))
           and not exists (",
    pause_of!("i.rule_skill", "$9", "$8"),
    ")
         returning r.id, r.account, r.conversation, r.channel
     ), logged as (
         insert into decisions (at, account, conversation, channel, reminder, stage, verdict, reason)
         select $6, account, conversation, channel, id, 'deliver', 'send', 'due' from claimed
     )
     insert into attempts (reminder, number, sender, address, started_at, lease_until)
     select i.id, 1 + (select count(*) from attempts a where a.reminder = i.id), i.sender, i.address, $6,
            now() + make_interval(secs => i.lease)
     from input i join claimed c on c.id = i.id
     returning reminder, id",
);

/// Commits to attempts: the reminders become `sending`, each with one open attempt under a lease, and each decision to send is
/// logged. Must be committed before any provider is called.
///
/// Looks once more, in the same statement, whether the recipient may be written to: a reminder that has been suppressed, paused or held
/// since it was decided about does not begin. Nor does any if the process's line is behind `seen`, what it remembers.
/// Returns those that did.
///
/// Changes no indexed column of the reminder: `next_at` stays in the past, the lease is the attempt's.
pub async fn begin(
    conn: &mut PgConnection,
    attempts: &[NewAttempt],
    seen: &SendingMark,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<(ReminderId, i64)>> {
    if attempts.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as(BEGIN)
        .bind(attempts.iter().map(|a| a.reminder).collect::<Vec<_>>())
        .bind(
            attempts
                .iter()
                .map(|a| a.sender.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            attempts
                .iter()
                .map(|a| a.address.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(
            attempts
                .iter()
                .map(|a| a.recipient.as_slice())
                .collect::<Vec<_>>(),
        )
        .bind(
            attempts
                .iter()
                .map(|a| a.lease.as_seconds_f64())
                .collect::<Vec<_>>(),
        )
        .bind(now)
        .bind(attempts.iter().map(|a| a.rule_skill).collect::<Vec<_>>())
        .bind(seen.counter)
        .bind(&seen.process)
        .fetch_all(conn)
        .await
}

/// What forbids an attempt that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    Suppressed,
    /// By a person, or held.
    Paused,
    /// Its outcome has been recorded: it is nobody's any more.
    Over,
}

/// An attempt that was begun, for this recipient, under the rule for this skill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BegunAttempt {
    pub attempt: i64,
    pub recipient: AddressHash,
    pub rule_skill: Option<SkillId>,
}

/// What forbids these attempts by now, for a process that has seen this; nothing where nothing does. In their order.
pub async fn forbidden(
    db: impl PgExecutor<'_>,
    begun: &[BegunAttempt],
    seen: &SendingMark,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Option<Forbidden>>> {
    let found: Vec<(i64, bool, bool)> = sqlx::query_as(concat!(
        "select i.attempt, exists (
                    select from suppressions s
                    -- A process with another key may have moved it meanwhile, and the reminder with it.
                    where s.address_hash in (i.recipient, r.recipient_hash) and s.channel = r.channel and s.account = r.account
                      and (s.expires_at is null or s.expires_at > $4)),
                exists (",
        pause_of!("i.rule_skill", "$6", "$5"),
        ")
         from unnest($1::bigint[], $2::bytea[], $3::bigint[]) as i(attempt, recipient, rule_skill)
         join attempts a on a.id = i.attempt join reminders r on r.id = a.reminder
         where a.outcome is null and a.lease_until > clock_timestamp() and r.state = 'sending'"
    ))
    .bind(begun.iter().map(|b| b.attempt).collect::<Vec<_>>())
    .bind(begun.iter().map(|b| b.recipient.as_slice()).collect::<Vec<_>>())
    .bind(begun.iter().map(|b| b.rule_skill).collect::<Vec<_>>())
    .bind(now)
    .bind(seen.counter)
    .bind(&seen.process)
    .fetch_all(db)
    .await?;
    let of = |begun: &BegunAttempt| {
        let found = found.iter().find(|(attempt, ..)| *attempt == begun.attempt);
        match found {
            None => Some(Forbidden::Over),
            Some((_, true, _)) => Some(Forbidden::Suppressed),
            Some((_, _, true)) => Some(Forbidden::Paused),
            Some((_, false, false)) => None,
        }
    };
    Ok(begun.iter().map(of).collect())
}

/// Which of these attempts exist and are open. An attempt is told by when it was begun, too: a server that crashed may give the number
/// of one that was never committed to another.
pub async fn begun(
    db: impl PgExecutor<'_>,
    attempts: &[(i64, ReminderId)],
    at: DateTime<Utc>,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "select a.id from unnest($1::bigint[], $2::bigint[]) as i(id, reminder)
         join attempts a on a.id = i.id and a.reminder = i.reminder
         where a.started_at = $3 and a.outcome is null",
    )
    .bind(attempts.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(
        attempts
            .iter()
            .map(|(_, reminder)| *reminder)
            .collect::<Vec<_>>(),
    )
    .bind(at)
    .fetch_all(db)
    .await
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub reminder: ReminderId,
    pub attempt: i64,
    pub outcome: OutcomeKind,
    pub code: Option<String>,
    pub provider_id: Option<String>,
    /// The reminder's next state.
    pub state: ReminderState,
    pub reason: Option<Cause>,
    pub next_at: Option<DateTime<Utc>>,
    /// The attempt counts against the retry policy.
    pub counts: bool,
    /// It was, or may have been, sent: it counts against the caps.
    pub may_have_been_sent: bool,
    /// It met a full mailbox or a phone that is off.
    pub soft: bool,
    /// Look at the provider after this time whether it arrived.
    pub settle_in: Option<TimeDelta>,
}

/// Records outcomes. An attempt is recorded once, with two exceptions: an answer that comes after its attempt was given up as
/// unknown still counts when it says accepted, and an unknown attempt that is being settled gets the settlement's outcome. Returns the reminders that changed.
pub async fn record(
    conn: &mut PgConnection,
    results: &[Recorded],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<ReminderId>> {
    sqlx::query_scalar(
        "with input as (
             select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                                  $8::timestamptz[], $9::boolean[], $10::boolean[], $11::float8[], $13::boolean[])
                 as t(reminder, attempt, outcome, code, provider_id, state, reason, next_at, counts, maybe_sent, settle_in,
                      soft)
         ), ended as (
             update attempts a set ended_at = $12, outcome = i.outcome, code = i.code, provider_id = i.provider_id,
                 address = case when i.settle_in is not null then a.address end,
                 settle_at = now() + make_interval(secs => i.settle_in)
             from input i
             where a.id = i.attempt
               and (a.outcome is null or (a.outcome = 'unknown' and (i.outcome = 'accepted' or a.settle_at is not null)))
             returning a.id
         )
         update reminders r set state = i.state, reason = i.reason, next_at = i.next_at,
             tries = r.tries + i.counts::int, soft_failed = r.soft_failed or i.soft,
             counted_at = case when i.maybe_sent then r.counted_at end,
             provider_id = coalesce(i.provider_id, r.provider_id),
             sent_at = case when i.outcome = 'accepted' then coalesce(r.sent_at, $12) else r.sent_at end,
             final_at = case when i.next_at is null then $12 end
         from input i join ended e on e.id = i.attempt
         where r.id = i.reminder
           and (r.state = 'sending' or (i.outcome = 'accepted' and r.state in ('unknown', 'scheduled', 'expired')))
         returning r.id",
    )
    .bind(results.iter().map(|r| r.reminder).collect::<Vec<_>>())
    .bind(results.iter().map(|r| r.attempt).collect::<Vec<_>>())
    .bind(results.iter().map(|r| r.outcome).collect::<Vec<_>>())
    .bind(results.iter().map(|r| r.code.as_deref()).collect::<Vec<_>>())
    .bind(results.iter().map(|r| r.provider_id.as_deref()).collect::<Vec<_>>())
    .bind(results.iter().map(|r| r.state).collect::<Vec<_>>())
    .bind(results.iter().map(|r| r.reason.as_ref()).collect::<Vec<_>>())
    .bind(results.iter().map(|r| r.next_at).collect::<Vec<_>>())
    .bind(results.iter().map(|r| r.counts).collect::<Vec<_>>())
    .bind(results.iter().map(|r| r.may_have_been_sent).collect::<Vec<_>>())
    .bind(results.iter().map(|r| r.settle_in.map(chrono::TimeDelta::as_seconds_f64)).collect::<Vec<_>>())
    .bind(now)
    .bind(results.iter().map(|r| r.soft).collect::<Vec<_>>())
    .fetch_all(conn)
    .await
}

/// What [`restart`] starts anew.
pub fn may_restart(state: ReminderState, reason: Option<&Cause>) -> bool {
    use ReminderState::{Cancelled, Expired, Failed, Undelivered, Unknown};
    match state {
        Unknown | Undelivered | Failed | Expired => true,
        Cancelled => reason == Some(&Cause::Ours(Reason::ByOperator)),
        _ => false,
    }
}

/// Makes a reminder wait for its moment anew, which is now; its deadline is as far away as it was at first. Returns its account
/// and channel if its state allowed it.
pub async fn restart(
    conn: &mut PgConnection,
    id: ReminderId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(AccountId, Channel)>> {
    sqlx::query_as(
        "update reminders set state = 'scheduled', reason = 'by_operator', due_at = $2, next_at = $2,
             deadline = $2 + greatest(deadline - due_at, interval '10 minutes'),
             latest_at = $2 + greatest(coalesce(latest_at, deadline) - due_at, interval '10 minutes'), tries = 0, soft_failed = false, final_at = null
         where id = $1 and (state in ('unknown', 'undelivered', 'failed', 'expired')
             or (state = 'cancelled' and reason = 'by_operator'))
         returning account, channel",
    )
    .bind(id)
    .bind(now)
    .fetch_optional(conn)
    .await
}

/// Cancels a reminder that waits.
pub async fn cancel(
    conn: &mut PgConnection,
    id: ReminderId,
    reason: Reason,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "update reminders set state = 'cancelled', reason = $2, next_at = null, final_at = $3,
             recipient_hash = case when counted_at is not null then recipient_hash end
         where id = $1 and state = 'scheduled'",
    )
    .bind(id)
    .bind(reason)
    .bind(now)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// The state of a reminder.
pub async fn state(db: impl PgExecutor<'_>, id: ReminderId) -> sqlx::Result<Option<ReminderState>> {
    sqlx::query_scalar("select state from reminders where id = $1")
        .bind(id)
        .fetch_optional(db)
        .await
}
