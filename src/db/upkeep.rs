//! What the sweep and the pruning need: found by state in the ledger, never by having heard of an event.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};

use super::columns::readable;
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};

/// Scheduled reminders whose deadline has passed, by whatever clock, become `expired`, with the reason that held them up last; each is logged.
/// Returns whose they were, and their channels.
pub async fn expire_overdue(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<Vec<(AccountId, String, Channel)>> {
    let rows = sqlx::query(
        "with late as (
             select id from reminders where id = any (array(
                 select p.reminder from pending p
                 cross join lateral (select * from reminders where id = p.reminder offset 0) r
                 where p.next_at <= $1 and r.state = 'scheduled' and coalesce(r.latest_at, r.deadline) < $1
                 order by p.next_at limit $2))
               and state = 'scheduled' and next_at <= $1 and coalesce(latest_at, deadline) < $1
             for update skip locked
         ), expired as (
             update reminders r set state = 'expired', reason = coalesce(r.reason, 'too_late'), next_at = null, final_at = $1,
                 recipient_hash = case when r.counted_at is not null then r.recipient_hash end
             from late where r.id = late.id
             returning r.id, r.account, r.conversation, r.channel, r.step, r.reason
         ), logged as (
             insert into decisions (at, account, conversation, channel, step, reminder, stage, verdict, reason)
             select $1, account, conversation, channel, step, id, 'sweep', 'expire', reason from expired
         )
         select account, conversation, channel from expired",
    )
    .bind(now)
    .bind(most)
    .fetch_all(conn)
    .await?;
    readable(&rows)
}

/// Scheduled reminders that were to be looked at before `before`. Whether somebody will the queue knows.
pub async fn overdue(
    db: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<Vec<(ReminderId, AccountId, Channel)>> {
    let rows = sqlx::query(
        "select r.id, r.account, r.channel from pending p join reminders r on r.id = p.reminder
         where r.state = 'scheduled' and p.next_at <= $1 order by p.next_at limit $2",
    )
    .bind(before)
    .bind(most)
    .fetch_all(db)
    .await?;
    readable(&rows)
}

/// An attempt whose outcome is open: its sender has gone silent, or its answer was lost.
#[derive(Clone, FromRow)]
pub struct InFlight {
    pub reminder: ReminderId,
    pub attempt: i64,
    pub account: AccountId,
    pub conversation: String,
    pub skill: SkillId,
    pub channel: Channel,
    pub tries: i32,
    pub deadline: DateTime<Utc>,
    pub token: String,
    pub address: Option<String>,
    /// Whom it comes from, as limits call it.
    pub sender: String,
    pub started_at: DateTime<Utc>,
    pub looks: i16,
    /// Its outcome has been recorded as unknown.
    pub settling: bool,
    /// The provider's ids of the reminder's other attempts.
    pub other_ids: Vec<String>,
    /// An earlier attempt of the reminder may have been sent as well.
    pub maybe_sent_before: bool,
}

const IN_FLIGHT: &str = "select r.id as reminder, a.id as attempt, r.account, r.conversation, r.skill, r.channel, r.tries, r.deadline, r.token,
        a.address, a.sender, a.started_at, a.looks, a.outcome is not null as settling,
        array(select b.provider_id from attempts b
            where b.reminder = r.id and b.id <> a.id and b.provider_id is not null) as other_ids,
        exists (select from attempts b where b.reminder = r.id and b.id < a.id and b.outcome = 'unknown') as maybe_sent_before
    from attempts a join reminders r on r.id = a.reminder";

/// Attempts past their lease without an outcome.
pub async fn overdue_leases(db: impl PgExecutor<'_>, most: i64) -> sqlx::Result<Vec<InFlight>> {
    let sql = format!(
        "{IN_FLIGHT} where a.outcome is null and a.lease_until < now() order by a.lease_until limit $1"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(most)
        .fetch_all(db)
        .await?;
    readable(&rows)
}

/// Unknown attempts whose time has come to look at the provider. Also those of a reminder that is settled already, by a report on
/// another attempt: each keeps the number that it went to until its own outcome is known.
pub async fn to_settle(
    db: impl PgExecutor<'_>,
    channels: &[Channel],
    most: i64,
) -> sqlx::Result<Vec<InFlight>> {
    let sql = format!(
        "{IN_FLIGHT} where a.settle_at <= now() and r.channel = any ($2) order by a.settle_at limit $1"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(most)
        .bind(channels)
        .fetch_all(db)
        .await?;
    readable(&rows)
}

/// Puts off the next look at an unknown attempt; `looked` says whether this look counts (the provider answered). Two who look at
/// once count once.
pub async fn look_again(
    db: impl PgExecutor<'_>,
    attempt: &InFlight,
    pause: TimeDelta,
    looked: bool,
) -> sqlx::Result<()> {
    sqlx::query(
        "update attempts set settle_at = now() + make_interval(secs => $2), looks = looks + $3::int
         where id = $1 and looks = $4 and settle_at is not null",
    )
    .bind(attempt.attempt)
    .bind(pause.as_seconds_f64())
    .bind(looked)
    .bind(attempt.looks)
    .execute(db)
    .await?;
    Ok(())
}

/// How long rows are kept after they are of no more use to a decision.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub decisions: TimeDelta,
    pub conversations: TimeDelta,
    pub reminders: TimeDelta,
    /// Superseded versions of rules.
    pub audit: TimeDelta,
}

/// How long the keyed hash of a recipient stays with a reminder: as long as its unsubscribe link works.
pub const RECIPIENT_KEPT: TimeDelta = TimeDelta::days(60);

/// How long a STOP is known again that arrives a second time. Played again after that it would suppress once more somebody who has
/// said START since: a reminder too few, not one too many.
const ANSWERS_KEPT: TimeDelta = TimeDelta::days(400);

/// How long it is known that a person has logged in from a network.
pub const NETWORK_KNOWN: TimeDelta = TimeDelta::days(30);

/// Rows deleted per statement: short transactions, whatever has piled up.
const CHUNK: i64 = 5_000;

/// Rows that say themselves when they are over.
const OVER: [&str; 4] = [
    "delete from password_links where ctid in (select ctid from password_links where expires_at < $1 limit $2)",
    "delete from sso_logins where ctid in (select ctid from sso_logins where expires_at < $1 limit $2)",
    "delete from pending_logins where ctid in (select ctid from pending_logins where expires_at < $1 limit $2)",
    "delete from known_devices where ctid in (select ctid from known_devices where expires_at < $1 limit $2)",
];

/// Statements with the time before which rows go.
fn past_retention(keep: Retention, now: DateTime<Utc>) -> Vec<(&'static str, DateTime<Utc>)> {
    let mut statements = vec![
        (
            "delete from decisions where id in (select id from decisions where at < $1 order by at limit $2)",
            now - keep.decisions,
        ),
        (
            "delete from conversations where (account, id) in (
                 select account, id from conversations where not open and closed_at < $1 order by closed_at limit $2)",
            now - keep.conversations,
        ),
        (
            "delete from reminders where id in (
                 select r.id from reminders r where r.created_at < $1 and r.next_at is null
                     -- The key of an episode that is still open keeps it from being reminded of again.
                     and not exists (select from conversations c
                         where c.account = r.account and c.id = r.conversation and c.open)
                 order by r.created_at limit $2 for update of r skip locked)",
            now - keep.reminders,
        ),
        (
            // Caps need a recipient's hash for a day, the unsubscribe link for two months. Rows of the last week of that only:
            // this runs every hour and must not read the whole ledger.
            "update reminders set recipient_hash = null where id in (
                 select id from reminders where created_at between $1 - interval '7 days' and $1 and next_at is null
                     and recipient_hash is not null limit $2)",
            now - RECIPIENT_KEPT,
        ),
        (
            "delete from rule_versions where ctid in (
                 select v.ctid from rule_versions v where v.changed_at < $1 and exists (
                     select from rule_versions n where n.account = v.account
                         and n.skill is not distinct from v.skill and n.version > v.version)
                 limit $2)",
            now - keep.audit,
        ),
        (
            // Of skills that are not scanned any more.
            "delete from scans where ctid in (select ctid from scans where started_at < $1 limit $2)",
            now - TimeDelta::days(1),
        ),
        (
            // Pages that show them may say so again at this moment.
            "delete from open_badges where ctid in (select ctid from open_badges where shown_at < $1 limit $2 for update skip locked)",
            now - super::open_badges::OPEN_FOR,
        ),
        (
            "delete from hints where ctid in (select ctid from hints where at < $1 limit $2)",
            now - super::hints::KEPT,
        ),
        (
            "delete from unreadable where ctid in (select ctid from unreadable where last_at < $1 limit $2)",
            now - super::unreadable::OVER_AFTER,
        ),
        (
            "delete from suppressions where ctid in (select ctid from suppressions where expires_at < $1 limit $2)",
            now,
        ),
        (
            // Past the time in which they are looked at together (`domain::refusals`).
            "delete from refusals where ctid in (select ctid from refusals where at < $1 limit $2)",
            now - TimeDelta::days(1),
        ),
        (
            // Those that lifted an opt-out stay, few as they are: see the table.
            "delete from answered_messages where sid_hash in (
                 select sid_hash from answered_messages where at < $1 and not lifts order by at limit $2)",
            now - ANSWERS_KEPT,
        ),
        (
            "delete from audit where id in (select id from audit where at < $1 order by at limit $2)",
            now - keep.audit,
        ),
        (
            // LivePerson has forgotten them by then.
            "delete from erased_conversations where ctid in (select ctid from erased_conversations where at < $1 limit $2)",
            now - TimeDelta::days(400),
        ),
        (
            "delete from erasures where ctid in (select ctid from erasures where at < $1 limit $2)",
            now - TimeDelta::days(400),
        ),
        (
            // No login lasts longer without being used, however it is configured.
            "delete from sessions where token_hash in (select token_hash from sessions where seen_at < $1 limit $2)",
            now - TimeDelta::days(1),
        ),
        (
            "delete from known_networks where ctid in (select ctid from known_networks where seen_at < $1 limit $2)",
            now - NETWORK_KNOWN,
        ),
        (
            "delete from idempotency where ctid in (select ctid from idempotency where created_at < $1 limit $2)",
            now - super::idempotency::KEPT,
        ),
        (
            // The names and addresses of whoever tried to log in. Limits go by the database's clock, which only tests leave behind.
            "delete from limits where ctid in (
                 select ctid from limits where key like 'login:%' and tat < least(now(), $1) limit $2)",
            now,
        ),
    ];
    statements.extend(OVER.map(|sql| (sql, now)));
    statements
}

/// Deletes what is past its retention. Returns how many rows went.
pub async fn prune(pool: &PgPool, keep: Retention, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let mut gone = 0;
    for (sql, before) in past_retention(keep, now) {
        loop {
            let deleted = sqlx::query(sql)
                .bind(before)
                .bind(CHUNK)
                .execute(pool)
                .await?
                .rows_affected();
            gone += deleted;
            if i64::try_from(deleted).unwrap_or(i64::MAX) < CHUNK {
                break;
            }
        }
    }
    gone += super::journal::prune(&mut *pool.acquire().await?).await?;
    gone += super::incidents::prune(&mut *pool.acquire().await?, now - keep.audit, now).await?;
    Ok(gone + super::reminder_counts::prune(pool, now).await?)
}
