//! What keeps reminders back that wait: pauses, holds, and channels that are not live. Lists, forecast and people say it before their moment.

use sqlx::PgPool;

use super::accounts::Accounts;
use super::{ControlError, pause};
use crate::db;
use crate::db::reports::Reminder;
use crate::domain::obstacles::Obstacles;
use crate::domain::reminder::ReminderState;

/// What stands in the way at this moment in the accounts that the caller may see.
pub async fn of(pool: &PgPool, accounts: &Accounts) -> Result<Obstacles, ControlError> {
    let live = db::live::of_accounts(pool, accounts.ids()).await?;
    Ok(Obstacles {
        pauses: pause::held(pool, accounts).await?,
        // Of nobody: what a sender remembers is its own.
        gate: db::holds::gate(pool, "").await?,
        live: live.into_iter().collect(),
    })
}

/// A reminder that waits for its moment and will not go then has what stands in its way as its reason already: who looks it up is not
/// promised a message that will not go.
pub(super) fn mark<'r>(
    obstacles: &Obstacles,
    reminders: impl IntoIterator<Item = &'r mut Reminder>,
) {
    for reminder in reminders {
        if reminder.state == ReminderState::Scheduled
            && let Some(reason) = obstacles.reason(
                &reminder.account,
                (reminder.skill, reminder.channel),
                reminder.due_at,
            )
        {
            reminder.reason = Some(reason.into());
        }
    }
}
