//! The delivery's side of the ledger from an attempt on: beginning it, looking once more before it leaves, recording what became of it.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::db::suppressions::AddressHash;
use crate::domain::decide::Cause;
use crate::domain::heartbeat::trust::SendingMark;
use crate::domain::ids::{ReminderId, SkillId};
use crate::domain::outcome::OutcomeKind;
use crate::domain::reminder::ReminderState;

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
    /// Keyed hashes of the consumer's addresses on other channels: a no to any of them ends the episode.
    pub others: Vec<AddressHash>,
    /// Nothing was, or may have been, sent in its episode before.
    pub first: bool,
    /// Of the text.
    pub language: String,
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
             union all select from heartbeat h where h.only_one and (r.due_at < h.held_before
                 or coalesce((select b.counter from beats b where b.process = ",
            $process,
            "), 0) < ",
            $seen,
            ")
             union all select from pauses p where p.account is null or (p.account = r.account and (p.channel is null or
                 p.channel = r.channel) and (not p.of_rule or p.skill is not distinct from ",
            $skill,
            "))"
        )
    };
}

/// What [`begin`] asks of the database.
pub const BEGIN: &str = concat!(
    "with input as (
         select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::float8[], $7::bigint[], $10::boolean[], $13::text[])
             as t(id, sender, address, recipient, lease, rule_skill, first, language)
     ), noes as (
         select o.id, s.account, s.created_at from unnest($11::bigint[], $12::bytea[]) as o(id, hash)
         join suppressions s on s.address_hash = o.hash
         where s.reason in ('opted_out', 'complaint') and s.source <> 'provider' and (s.expires_at is null or s.expires_at > $6)
     ), claimed as (
         update reminders r set state = 'sending', reason = 'due', recipient_hash = i.recipient, counted_at = $6,
             first_of_episode = r.first_of_episode or i.first, language = i.language
         from input i where r.id = i.id and r.state = 'scheduled'
           and not exists (
               select from suppressions s
               where s.address_hash = i.recipient and s.channel = r.channel and s.account = r.account
                 and (s.expires_at is null or s.expires_at > $6))
           and not exists (
               select from noes where noes.id = r.id and noes.account = r.account and noes.created_at >= r.episode_since)
           and not exists (",
    pause_of!("i.rule_skill", "$9", "$8"),
    ")
         returning r.id
     )
     insert into attempts (reminder, number, sender, address, started_at, lease_until)
     select i.id, 1 + (select count(*) from attempts a where a.reminder = i.id), i.sender, i.address, $6,
            now() + make_interval(secs => i.lease)
     from input i join claimed c on c.id = i.id
     returning reminder, id",
);

/// Commits to attempts: the reminders become `sending`, each with one open attempt under a lease, which is the logged decision to send.
/// Must be committed before any provider is called.
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
    let others = attempts.iter().flat_map(|a| {
        a.others
            .iter()
            .map(move |hash| (a.reminder, hash.as_slice()))
    });
    let (of, others): (Vec<ReminderId>, Vec<&[u8]>) = others.unzip();
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
        .bind(attempts.iter().map(|a| a.first).collect::<Vec<_>>())
        .bind(of)
        .bind(others)
        .bind(
            attempts
                .iter()
                .map(|a| a.language.as_str())
                .collect::<Vec<_>>(),
        )
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BegunAttempt {
    pub attempt: i64,
    pub recipient: AddressHash,
    /// The consumer's addresses on other channels.
    pub others: Vec<AddressHash>,
    pub rule_skill: Option<SkillId>,
}

/// What forbids these attempts by now, for a process that has seen this; nothing where nothing does. In their order.
pub async fn forbidden(
    db: impl PgExecutor<'_>,
    begun: &[BegunAttempt],
    seen: &SendingMark,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Option<Forbidden>>> {
    let others = begun.iter().flat_map(|b| {
        b.others
            .iter()
            .map(move |hash| (b.attempt, hash.as_slice()))
    });
    let (of, others): (Vec<i64>, Vec<&[u8]>) = others.unzip();
    let found: Vec<(i64, bool, bool)> = sqlx::query_as(concat!(
        "select i.attempt, exists (
                    select from suppressions s
                    -- A process with another key may have moved it meanwhile, and the reminder with it.
                    where s.address_hash in (i.recipient, r.recipient_hash) and s.channel = r.channel and s.account = r.account
                      and (s.expires_at is null or s.expires_at > $4))
                or exists (
                    select from unnest($7::bigint[], $8::bytea[]) as o(attempt, hash)
                    join suppressions s on s.address_hash = o.hash and s.account = r.account
                    where o.attempt = i.attempt and s.reason in ('opted_out', 'complaint') and s.source <> 'provider' and s.created_at >= r.episode_since
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
    .bind(of)
    .bind(others)
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
    /// The same, if the provider reports by that id: only then attempts are found by it, and an index is written.
    pub reported_as: Option<String>,
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
                                  $8::timestamptz[], $9::boolean[], $10::boolean[], $11::float8[], $13::boolean[], $14::text[])
                 as t(reminder, attempt, outcome, code, provider_id, state, reason, next_at, counts, maybe_sent, settle_in,
                      soft, reported_as)
         ), ended as (
             update attempts a set ended_at = $12, outcome = i.outcome, code = i.code,
                 provider_id = i.reported_as,
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
    .bind(results.iter().map(|r| r.reported_as.as_deref()).collect::<Vec<_>>())
    .fetch_all(conn)
    .await
}
