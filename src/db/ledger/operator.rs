//! What an operator does to single reminders of the ledger: starts them anew, cancels them.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::reminder::ReminderState;

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
/// and channel if its state allowed it, and no other reminder of its conversation waits.
pub async fn restart(
    conn: &mut PgConnection,
    id: ReminderId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(AccountId, Channel)>> {
    sqlx::query_as(
        "update reminders r set state = 'scheduled', reason = 'by_operator', due_at = $2, next_at = $2,
             deadline = $2 + greatest(deadline - due_at, interval '10 minutes'),
             latest_at = $2 + greatest(coalesce(latest_at, deadline) - due_at, interval '10 minutes'), tries = 0, soft_failed = false, final_at = null,
             restarted_at = $2
         where id = $1 and (state in ('unknown', 'undelivered', 'failed', 'expired')
             or (state = 'cancelled' and reason = 'by_operator'))
           and not exists (
               select from pending p where p.account = r.account and p.conversation = r.conversation)
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

/// Keeps scans and whoever else sets something back from scheduling anything for the conversations of these reminders until the transaction
/// ends. Before anything of the ledger is locked.
pub async fn lock_conversations(conn: &mut PgConnection, ids: &[ReminderId]) -> sqlx::Result<()> {
    sqlx::query(
        "select from conversations c
         where (c.account, c.id) in (select account, conversation from reminders where id = any ($1))
         order by c.account, c.id for update",
    )
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}

/// Of these that have ended: other reminders of their conversations that wait.
pub async fn pending_beside(
    db: impl PgExecutor<'_>,
    ids: &[ReminderId],
) -> sqlx::Result<Vec<ReminderId>> {
    let found: Vec<(ReminderId,)> = sqlx::query_as(
        "select p.reminder from reminders r join pending p on p.account = r.account and p.conversation = r.conversation
         where r.id = any ($1) and r.next_at is null and p.reminder <> r.id",
    )
    .bind(ids)
    .fetch_all(db)
    .await?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// The state of a reminder.
pub async fn state(db: impl PgExecutor<'_>, id: ReminderId) -> sqlx::Result<Option<ReminderState>> {
    sqlx::query_scalar("select state from reminders where id = $1")
        .bind(id)
        .fetch_optional(db)
        .await
}
