//! The decision log: recorded answers to "should this be sent now?".

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::decide::{Reason, Stage, Verdict};
use crate::domain::ids::ReminderId;

/// One answer about a reminder.
#[derive(Clone, Copy, Debug)]
pub struct NewDecision {
    pub reminder: ReminderId,
    pub verdict: Verdict,
    pub reason: Reason,
    pub until: Option<DateTime<Utc>>,
}

/// Logs answers given at a stage. An answer equal to the reminder's last one is not repeated:
/// what is asked again every minute of an outage is logged once.
pub async fn log(
    conn: &mut PgConnection,
    stage: Stage,
    entries: &[NewDecision],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into decisions (at, account, conversation, channel, step, reminder, stage, verdict, reason, until)
         select $1, r.account, r.conversation, r.channel, r.step, r.id, $2, e.verdict, e.reason, e.until
         from unnest($3::bigint[], $4::text[], $5::text[], $6::timestamptz[]) as e(reminder, verdict, reason, until)
         join reminders r on r.id = e.reminder
         left join lateral (
             select id, verdict, reason from decisions d where d.reminder = r.id order by d.id desc limit 1
         ) last on true
         where (e.verdict, e.reason) is distinct from (last.verdict, last.reason)
            -- A decision to send, since then.
            or exists (select from attempts a where a.reminder = r.id and a.id > last.id)",
    )
    .bind(now)
    .bind(stage)
    .bind(entries.iter().map(|e| e.reminder).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.verdict).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.reason).collect::<Vec<_>>())
    .bind(entries.iter().map(|e| e.until).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}
