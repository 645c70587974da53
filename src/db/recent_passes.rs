//! The recent passes of each account: over which skills, what the latest found, and whether LivePerson's filter shows what it should.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgExecutor, PgPool};

use super::scans::Summary;
use crate::domain::ids::{AccountId, SkillId};

/// A filter that missed an agent message is tried again after so long.
pub const DISTRUSTED_FOR: TimeDelta = TimeDelta::days(1);

/// A skill that a recent pass is to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct DueSkill {
    pub skill: SkillId,
    /// When the last pass that succeeded began, of either kind: what was updated before then is known.
    pub known_at: DateTime<Utc>,
    /// LivePerson refuses questions because of it: it is asked for by itself.
    pub alone: bool,
}

/// The skills that no pass which has succeeded has begun on since `before`. A skill of which no full pass has succeeded is not among them: what
/// is new in it does not tell what there is.
pub async fn due(
    pool: &PgPool,
    account: &AccountId,
    only: Option<&[SkillId]>,
    before: DateTime<Utc>,
) -> sqlx::Result<Vec<DueSkill>> {
    sqlx::query_as(
        "with used as materialized (
             select id from skills_in_use where account = $1 and ($2::bigint[] is null or id = any ($2))
         )
         select c.skill, greatest(c.full_at, c.recent_at) as known_at, c.alone
         from used s cross join lateral (select * from scans where account = $1 and skill = s.id limit 1) c
         where c.full_at is not null and greatest(c.full_at, c.recent_at) < $3
         order by known_at desc, skill",
    )
    .bind(account)
    .bind(only)
    .bind(before)
    .fetch_all(pool)
    .await
}

/// Writes down how a recent pass that began at `started_at` ended in each skill. What it counted is not what is open: that a full pass
/// tells.
pub async fn finished(
    pool: &PgPool,
    account: &AccountId,
    found: &[(SkillId, Summary)],
    started_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update scans c set recent_at = case when r.error is null then greatest(c.recent_at, $2) else c.recent_at end,
             recent_error = r.error, alone = r.alone or c.alone
         from unnest($3::bigint[], $4::bool[], $5::text[]) as r (skill, alone, error)
         where c.account = $1 and c.skill = r.skill",
    )
    .bind(account)
    .bind(started_at)
    .bind(found.iter().map(|(skill, _)| *skill).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, of)| of.alone).collect::<Vec<_>>())
    .bind(found.iter().map(|(_, of)| of.error.as_deref()).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}

/// What a recent pass over all skills of an account took and found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentPassTotals {
    pub calls: u32,
    pub met: u32,
    pub changed: u32,
}

/// Writes down the totals of a pass that is over.
pub async fn note(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    totals: RecentPassTotals,
    started_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    sqlx::query(
        "insert into recent_passes (account, started_at, calls, met, changed) values ($1, $2, $3, $4, $5)
         on conflict (account) do update set
             started_at = excluded.started_at, calls = excluded.calls, met = excluded.met, changed = excluded.changed",
    )
    .bind(account)
    .bind(started_at)
    .bind(number(totals.calls))
    .bind(number(totals.met))
    .bind(number(totals.changed))
    .execute(db)
    .await?;
    Ok(())
}

/// What asking about open badges took and found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BadgeCheckTotals {
    pub calls: u32,
    /// Conversations that were asked about.
    pub asked: u32,
    /// Those that were read, answered or closed, or had another message.
    pub changed: u32,
}

/// Writes down what open badges were found to be.
pub async fn note_badges(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    totals: BadgeCheckTotals,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    sqlx::query(
        "insert into recent_passes (account, badges_at, badge_calls, badge_asked, badge_changed) values ($1, $2, $3, $4, $5)
         on conflict (account) do update set badges_at = excluded.badges_at, badge_calls = excluded.badge_calls,
             badge_asked = excluded.badge_asked, badge_changed = excluded.badge_changed",
    )
    .bind(account)
    .bind(now)
    .bind(number(totals.calls))
    .bind(number(totals.asked))
    .bind(number(totals.changed))
    .execute(db)
    .await?;
    Ok(())
}

/// Writes down that a full pass found agent messages which a recent pass should have: for a day there are no recent passes.
pub async fn distrust(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    missed: u32,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into recent_passes as p (account, missed, distrusted_at) values ($1, $2, $3)
         on conflict (account) do update set missed = p.missed + excluded.missed, distrusted_at = excluded.distrusted_at",
    )
    .bind(account)
    .bind(i64::from(missed))
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// When this account's filter was last found to miss an agent message, if that counts still.
pub async fn distrusted_at(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar(
        "select distrusted_at from recent_passes where account = $1 and distrusted_at > $2",
    )
    .bind(account)
    .bind(now - DISTRUSTED_FOR)
    .fetch_optional(db)
    .await
}

/// What the passes over an account's skills took and found the last time.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct LatestPasses {
    pub account: AccountId,
    /// When the last full pass over the skill that has waited longest for one began; `None`: one has had none yet.
    pub full_at: Option<DateTime<Utc>>,
    pub full_calls: f64,
    pub full_changed: i64,
    pub recent_at: Option<DateTime<Utc>>,
    pub recent_calls: i32,
    pub recent_met: i32,
    pub recent_changed: i32,
    pub missed: i64,
    pub distrusted_at: Option<DateTime<Utc>>,
    /// When open badges were last asked about, and with what result.
    pub badges_at: Option<DateTime<Utc>>,
    pub badge_calls: i32,
    pub badge_asked: i32,
    pub badge_changed: i32,
}

/// Of these accounts, in their order, of the skills in use of each.
pub async fn latest(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<LatestPasses>> {
    sqlx::query_as(
        "select a.account, f.full_at, f.calls as full_calls, f.changed as full_changed,
             p.started_at as recent_at, coalesce(p.calls, 0) as recent_calls, coalesce(p.met, 0) as recent_met,
             coalesce(p.changed, 0) as recent_changed, coalesce(p.missed, 0) as missed,
             case when p.distrusted_at > $2 then p.distrusted_at end as distrusted_at,
             p.badges_at, coalesce(p.badge_calls, 0) as badge_calls, coalesce(p.badge_asked, 0) as badge_asked,
             coalesce(p.badge_changed, 0) as badge_changed
         from unnest($1::text[]) with ordinality as a (account, place)
         cross join lateral (
             select case when bool_and(c.full_at is not null) then min(c.full_at) end as full_at,
                 coalesce(sum(c.calls), 0) as calls, coalesce(sum(c.changed), 0)::bigint as changed
             from scans c join skills_in_use s on s.account = c.account and s.id = c.skill where c.account = a.account
         ) f
         left join recent_passes p on p.account = a.account
         order by a.place",
    )
    .bind(accounts)
    .bind(now - DISTRUSTED_FOR)
    .fetch_all(db)
    .await
}
