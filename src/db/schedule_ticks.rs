//! Claiming the slots of a schedule: one caller per slot, however many schedulers run, and no leader.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use crate::domain::ids::AccountId;

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
        "insert into schedule_ticks (name, slot) select * from unnest($1::text[], $2::bigint[]) as t(name, slot) order by name
         on conflict (name) do update set slot = excluded.slot where schedule_ticks.slot < excluded.slot
         returning name",
    )
    .bind(schedules.iter().map(|(name, _)| *name).collect::<Vec<_>>())
    .bind(schedules.iter().map(|(_, period)| slot_of(now, *period)).collect::<Vec<_>>())
    .fetch_all(db)
    .await
}

/// Claims the current scan slot of an account. Returns when the slot began if this call won it. Accounts are spread over the period
/// so that they do not all start at once.
pub async fn claim_scan(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    period: TimeDelta,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let offset = spread(account, period);
    let name = format!("scan:{account}");
    let won = claim(db, &[(&name, period)], now + offset).await?;
    let began = || {
        let began = slot_of(now + offset, period) * period.num_milliseconds().max(1);
        DateTime::from_timestamp_millis(began).map(|began| began - offset)
    };
    Ok(if won.is_empty() { None } else { began() })
}

/// An account's place in a period, the same for all schedulers.
fn spread(account: &AccountId, period: TimeDelta) -> TimeDelta {
    let name = account.as_str().bytes();
    let number = name.fold(0_i64, |n, byte| (n * 31 + i64::from(byte)) % 1_000_003);
    TimeDelta::milliseconds(number * 7_919 % period.num_milliseconds().max(1))
}
