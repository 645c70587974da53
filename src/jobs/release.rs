//! Schedules what was kept back by something that a person has ended.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::names::{self, DueDelivery};
use super::queue::When;
use crate::clock::Clock;
use crate::db;
use crate::domain::decide::Reason;
use crate::domain::ids::AccountId;

/// So many are scheduled at once; the others are looked at within ten minutes.
const MOST: i64 = 10_000;

/// Schedules the reminders of the account (`None`: of any) that wait for this reason. Returns how many.
pub async fn release(
    conn: &mut PgConnection,
    clock: &Clock,
    (reason, account): (Reason, Option<&AccountId>),
    now: DateTime<Utc>,
) -> sqlx::Result<usize> {
    let kept = db::pauses::release(conn, reason, account, now, MOST).await?;
    let deliveries = kept.iter().map(|(reminder, account, channel)| DueDelivery {
        channel: *channel,
        account,
        reminder: *reminder,
        at: now,
    });
    names::schedule_deliveries(conn, clock, When::At, deliveries).await?;
    Ok(kept.len())
}
