//! Wakes what was kept back by something that a person has ended.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::names;
use super::queue::{self, When};
use crate::clock::Clock;
use crate::db;
use crate::domain::decide::Reason;
use crate::domain::ids::{AccountId, Channel};

/// So many are woken at once; the others are looked at within ten minutes.
const MOST: i64 = 10_000;

/// Wakes the reminders of the account (`None`: of any) that wait for this reason. Returns how many.
pub async fn release(
    conn: &mut PgConnection,
    clock: &Clock,
    (reason, account): (Reason, Option<&AccountId>),
    now: DateTime<Utc>,
) -> sqlx::Result<usize> {
    let kept = db::pauses::release(conn, reason, account, now, MOST).await?;
    for channel in Channel::ALL {
        let of_channel = kept.iter().filter(|(_, _, c)| *c == channel);
        let wakeups = of_channel.map(|(id, account, _)| names::deliver(account, *id, now));
        let queue = names::deliver_queue(channel);
        queue::wake(conn, clock, queue, When::At, wakeups).await?;
    }
    Ok(kept.len())
}
