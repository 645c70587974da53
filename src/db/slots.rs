//! Claiming the slots of a schedule: one caller per slot, however many schedulers run, and no leader.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::domain::ids::{AccountId, SkillId};

/// The number of the slot of `period` that `now` lies in. All schedulers name the same one.
fn slot_of(now: DateTime<Utc>, period: TimeDelta) -> i64 {
    now.timestamp_millis()
        .div_euclid(period.num_milliseconds().max(1))
}

/// Claims the current slots of schedules, each with its period, and returns the names of those that this call won: exactly one
/// caller wins each slot.
pub async fn claim(
    db: impl PgExecutor<'_>,
    schedules: &[(&str, TimeDelta)],
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "insert into slots (name, slot) select * from unnest($1::text[], $2::bigint[]) as t(name, slot) order by name
         on conflict (name) do update set slot = excluded.slot where slots.slot < excluded.slot
         returning name",
    )
    .bind(schedules.iter().map(|(name, _)| *name).collect::<Vec<_>>())
    .bind(schedules.iter().map(|(_, period)| slot_of(now, *period)).collect::<Vec<_>>())
    .fetch_all(db)
    .await
}

/// Claims the current scan slot of every skill of `account` that is in use (a rule is on for it), and returns the skills whose
/// slot this call won. Skills are spread over the period so that they do not all start at once.
///
/// `only` limits the skills, if the account's configuration does.
pub async fn claim_scans(
    conn: &mut PgConnection,
    account: &AccountId,
    only: Option<&[SkillId]>,
    kind: &str,
    period: TimeDelta,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<SkillId>> {
    let only: Option<Vec<i64>> = only.map(|skills| skills.iter().map(|s| s.0).collect());
    let won: Vec<i64> = sqlx::query_scalar(
        "with wanted as (
             select id from skills_in_use where account = $1 and ($2::bigint[] is null or id = any ($2))
         ), won as (
             insert into slots (name, slot)
             select $3 || ':' || $1 || ':' || id, ($4 + (hashtext(id::text)::bigint & 2147483647) % $5) / $5 from wanted
             order by id
             on conflict (name) do update set slot = excluded.slot where slots.slot < excluded.slot
             returning name
         )
         select id from wanted where $3 || ':' || $1 || ':' || id in (select name from won)",
    )
    .bind(account.as_str())
    .bind(only)
    .bind(kind)
    .bind(now.timestamp_millis())
    .bind(period.num_milliseconds().max(1))
    .fetch_all(conn)
    .await?;
    Ok(won.into_iter().map(SkillId).collect())
}
