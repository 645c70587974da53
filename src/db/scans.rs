//! The full passes over each skill: which come next, who is at work on them, and what the latest found.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgExecutor, PgPool};

use crate::domain::ids::{AccountId, SkillId};
use crate::domain::round::Round;

/// What a finished scan found in one skill.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub conversations: u32,
    pub unreadable: u32,
    /// Conversations with something unread, and those of which nobody can tell.
    pub unread: u32,
    pub undecided: u32,
    /// Conversations of which something was new.
    pub changed: u32,
    /// Agent messages that were new and that a recent pass should have shown before.
    pub missed: u32,
    /// Calls to LivePerson; those for several skills at once are shared among them.
    pub calls: f64,
    /// LivePerson refused it while it answered for others: it is asked for by itself until it is answered.
    pub alone: bool,
    /// Why it ended early; `None` for a complete scan.
    pub error: Option<String>,
}

/// Who asks for skills to scan, and for which.
#[derive(Clone, Debug)]
pub struct ScanClaim<'a> {
    pub account: &'a AccountId,
    /// Which of the account's scans asks. No lane runs twice at once, so what it holds when it asks was left by a crash.
    pub lane: i16,
    /// Lanes from this number on are not used any more.
    pub lanes: i16,
    /// Only skills whose last scan of this kind began before this moment.
    pub before: DateTime<Utc>,
    /// Only these, if the account's settings say so.
    pub only: Option<&'a [SkillId]>,
    /// Looks at the windows of time before the usual one, of skills that were scanned before.
    pub deep: bool,
    /// Skills at once, at most.
    pub most: usize,
    pub now: DateTime<Utc>,
}

/// A set is full with so many conversations, by what the last scans found: a larger skill is scanned by itself, beside the others.
const CONVERSATIONS_AT_ONCE: i64 = 1_000;

/// $1 account, $2 lane, $3 only these, $4 before, $5 most skills, $6 most conversations, $7 deep.
///
/// The view is read once (`materialized`), and the scans by their key (`limit`): as a join, one of them would be read once for each row
/// of the other.
const PICKED: &str = "
with used as materialized (
    select id from skills_in_use where account = $1 and ($3::bigint[] is null or id = any ($3))
), due as (
    select s.id, case when $7 then c.deep_at else c.started_at end as last,
        coalesce(c.conversations, 0) as size, coalesce(c.alone, false) as alone
    from used s left join lateral (select * from scans where account = $1 and skill = s.id limit 1) c on true
    where case when $7 then c.started_at is not null else c.lane is null or c.lane = $2 end
), ordered as (
    select id, alone, first_value(alone) over (order by last nulls first, id) as first_alone,
        row_number() over same as place, sum(size) over same - size as sooner
    from due where last is null or last < $4
    window same as (partition by alone order by last nulls first, id)
), picked as (
    select id from ordered
    where alone = first_alone and place <= case when alone then 1 else $5 end and sooner < $6
)";

/// Takes the skills of an account that were scanned longest ago, never scanned ones first, as many as go into one search. None: no
/// skill is due, or others are at work on those that are.
pub async fn claim(pool: &PgPool, claim: &ScanClaim<'_>) -> sqlx::Result<Vec<SkillId>> {
    let account = claim.account;
    let mut tx = pool.begin().await?;
    // One lane after the other: two that looked at the same moment would see the same skills due.
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('scans ' || $1, 0))")
        .bind(account)
        .execute(&mut *tx)
        .await?;
    if !claim.deep {
        sqlx::query(
            "update scans set lane = null where account = $1 and (lane = $2 or lane >= $3)",
        )
        .bind(account)
        .bind(claim.lane)
        .bind(claim.lanes)
        .execute(&mut *tx)
        .await?;
    }
    // Not before the moment that made it due, whatever this machine's clock says: else it would be due again at once.
    let taken = if claim.deep {
        "update scans set deep_at = greatest($8, $4) where account = $1 and skill in (select id from picked) returning skill"
    } else {
        "insert into scans (account, skill, started_at, lane) select $1, id, greatest($8, $4), $2 from picked order by id
         on conflict (account, skill) do update set started_at = excluded.started_at, lane = excluded.lane
         returning skill"
    };
    let mut skills: Vec<SkillId> = sqlx::query_scalar(AssertSqlSafe(format!("{PICKED} {taken}")))
        .bind(account)
        .bind(claim.lane)
        .bind(claim.only)
        .bind(claim.before)
        .bind(i64::try_from(claim.most).unwrap_or(i64::MAX))
        .bind(CONVERSATIONS_AT_ONCE)
        .bind(claim.deep)
        .bind(claim.now)
        .fetch_all(&mut *tx)
        .await?;
    tx.commit().await?;
    skills.sort_unstable();
    Ok(skills)
}

/// Writes down what a scan found in each of the skills that it had claimed. One that ended early leaves what the one before it found:
/// it has not seen everything, or nothing at all.
pub async fn finished(
    pool: &PgPool,
    account: &AccountId,
    found: &[(SkillId, Summary)],
    duration: Duration,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let numbers = |pick: fn(&Summary) -> u32| -> Vec<i32> {
        found.iter().map(|(_, of)| number(pick(of))).collect()
    };
    sqlx::query(
        "update scans c set lane = null, finished_at = $2, duration_ms = $3,
             succeeded_at = case when r.error is null then $2 else c.succeeded_at end,
             full_at = case when r.error is null then c.started_at else c.full_at end,
             conversations = case when r.error is null then r.conversations else c.conversations end,
             unreadable = case when r.error is null then r.unreadable else c.unreadable end,
             unread = case when r.error is null then r.unread else c.unread end,
             undecided = case when r.error is null then r.undecided else c.undecided end,
             changed = case when r.error is null then r.changed else c.changed end,
             calls = case when r.error is null then r.calls else greatest(r.calls, c.calls) end, error = r.error,
             recent_error = case when r.error is null then null else c.recent_error end,
             alone = r.alone or (c.alone and r.error is not null)
         from unnest($4::bigint[], $5::integer[], $6::integer[], $7::integer[], $8::integer[], $9::integer[], $10::float8[], $11::bool[],
                     $12::text[]) as r (skill, conversations, unreadable, unread, undecided, changed, calls, alone, error)
         where c.account = $1 and c.skill = r.skill",
    )
    .bind(account)
    .bind(now)
    .bind(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    .bind(found.iter().map(|(skill, _)| *skill).collect::<Vec<_>>())
    .bind(numbers(|of| of.conversations))
    .bind(numbers(|of| of.unreadable))
    .bind(numbers(|of| of.unread))
    .bind(numbers(|of| of.undecided))
    .bind(numbers(|of| of.changed))
    .bind(found.iter().map(|(_, of)| of.calls).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, of)| of.alone).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, of)| of.error.as_deref()).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}

/// What one round over an account's skills costs, or over these of them.
pub async fn round(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    only: Option<&[SkillId]>,
) -> sqlx::Result<Round> {
    let (skills, never_scanned, calls): (i64, i64, f64) = sqlx::query_as(
        "with used as materialized (
             select id from skills_in_use where account = $1 and ($2::bigint[] is null or id = any ($2))
         )
         select count(*), count(*) filter (where c.finished_at is null), coalesce(sum(c.calls), 0)
         from used s left join lateral (select * from scans where account = $1 and skill = s.id limit 1) c on true",
    )
    .bind(account)
    .bind(only)
    .fetch_one(db)
    .await?;
    let number = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(Round {
        skills: number(skills),
        never_scanned: number(never_scanned),
        calls,
    })
}

/// When each skill that is scanned was last scanned completely; one of these accounts that never was, when its account became known.
pub async fn last_success(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
) -> sqlx::Result<Vec<(AccountId, SkillId, DateTime<Utc>)>> {
    sqlx::query_as(
        "select s.account, s.id, coalesce(c.succeeded_at, a.created_at)
         from skills_in_use s join accounts a on a.id = s.account
             left join scans c on c.account = s.account and c.skill = s.id
         where c.succeeded_at is not null or s.account = any ($1)",
    )
    .bind(accounts)
    .fetch_all(db)
    .await
}
