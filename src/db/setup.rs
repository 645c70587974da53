//! How far an account has come from an empty installation to its first reminder.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor};

use crate::domain::ids::AccountId;

#[derive(Clone, Debug, FromRow)]
pub struct SetupProgress {
    pub skills: i64,
    pub skills_synced_at: Option<DateTime<Utc>>,
    /// The latest complete scan of any skill.
    pub scanned_at: Option<DateTime<Utc>>,
    /// What the latest failing scan said.
    pub scan_error: Option<String>,
    pub rules_on: i64,
    pub drafts: i64,
    pub test_sent: bool,
    /// Somebody has entered the code of one.
    pub test_arrived: bool,
    pub reminder_sent: bool,
    pub live_channels: i64,
}

pub async fn progress(db: impl PgExecutor<'_>, account: &AccountId) -> sqlx::Result<SetupProgress> {
    sqlx::query_as(
        "select (select count(*) from skills where account = $1 and not deleted) as skills,
                (select skills_synced_at from accounts where id = $1) as skills_synced_at,
                (select max(succeeded_at) from scans where account = $1) as scanned_at,
                (select error from scans where account = $1 and error is not null order by started_at desc limit 1) as scan_error,
                (select count(*) from rules where account = $1 and enabled) as rules_on,
                (select count(*) from rule_drafts where account = $1) as drafts,
                exists (select from audit where account = $1 and action = 'test.send' and detail -> 'accepted' = 'true')
                    as test_sent,
                exists (select from test_recipients where account = $1 and verified_at is not null) as test_arrived,
                exists (select from reminder_counts_by_hour where account = $1 and measure = 'accepted' and n > 0)
                    or exists (select from count_deltas where account = $1 and measure = 'accepted' and n > 0) as reminder_sent,
                (select count(*) from live where account = $1) as live_channels",
    )
    .bind(account)
    .fetch_one(db)
    .await
}
