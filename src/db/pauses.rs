//! What a person has paused, and what a pause held.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::columns::readable;
use crate::domain::decide::Reason;
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::pause::Scope;
use crate::domain::rule::RuleKey;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub scope: Scope,
    pub paused_by: String,
    pub paused_at: DateTime<Utc>,
    /// Why, in the person's words.
    pub note: String,
}

#[derive(FromRow)]
struct PauseRow {
    account: Option<AccountId>,
    channel: Option<Channel>,
    of_rule: bool,
    skill: Option<SkillId>,
    paused_by: String,
    paused_at: DateTime<Utc>,
    note: String,
}

impl From<PauseRow> for Pause {
    fn from(row: PauseRow) -> Self {
        let scope = match (row.account, row.channel) {
            (None, _) => Scope::Everything,
            (Some(account), None) if row.of_rule => Scope::Rule(RuleKey {
                account,
                skill: row.skill,
            }),
            (Some(account), None) => Scope::Account(account),
            (Some(account), Some(channel)) => Scope::Channel(account, channel),
        };
        Self {
            scope,
            paused_by: row.paused_by,
            paused_at: row.paused_at,
            note: row.note,
        }
    }
}

/// A scope as the table keeps it: account, channel, of a rule, skill.
type PauseColumns<'a> = (
    Option<&'a AccountId>,
    Option<Channel>,
    bool,
    Option<SkillId>,
);

fn columns(scope: &Scope) -> PauseColumns<'_> {
    match scope {
        Scope::Everything => (None, None, false, None),
        Scope::Account(account) => (Some(account), None, false, None),
        Scope::Channel(account, channel) => (Some(account), Some(*channel), false, None),
        Scope::Rule(key) => (Some(&key.account), None, true, key.skill),
    }
}

/// Everything that is paused, newest first. There are few: people make them by hand. One that cannot be read is an error: nobody may
/// think that it is not there.
pub async fn all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Pause>> {
    let rows: Vec<PauseRow> = sqlx::query_as(
        "select account, channel, of_rule, skill, paused_by, paused_at, note from pauses order by id desc",
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Pause::from).collect())
}

/// Pauses. False if it is paused already.
pub async fn add(conn: &mut PgConnection, pause: &Pause) -> sqlx::Result<bool> {
    let (account, channel, of_rule, skill) = columns(&pause.scope);
    sqlx::query(
        "insert into pauses (account, channel, of_rule, skill, paused_by, paused_at, note)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
    )
    .bind(account)
    .bind(channel)
    .bind(of_rule)
    .bind(skill)
    .bind(&pause.paused_by)
    .bind(pause.paused_at)
    .bind(&pause.note)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Ends a pause. False if there was none.
pub async fn remove(conn: &mut PgConnection, scope: &Scope) -> sqlx::Result<bool> {
    let (account, channel, of_rule, skill) = columns(scope);
    sqlx::query(
        "delete from pauses where account is not distinct from $1 and channel is not distinct from $2 and of_rule = $3
             and skill is not distinct from $4",
    )
    .bind(account)
    .bind(channel)
    .bind(of_rule)
    .bind(skill)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Brings forward to `now` what is kept back for this reason in the account (`None`: in any), the nearest deadline first. Returns who
/// must be scheduled. What something else still keeps back is put off again when it is looked at.
pub async fn release(
    conn: &mut PgConnection,
    reason: Reason,
    account: Option<&AccountId>,
    now: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<Vec<(ReminderId, AccountId, Channel)>> {
    let rows = sqlx::query(
        "with held as (
             select id from reminders where id = any (array(
                 select p.reminder from pending p
                 cross join lateral (select * from reminders where id = p.reminder offset 0) r
                 where r.state = 'scheduled' and r.reason = $4 and p.next_at > $2 and ($1::text is null or p.account = $1)
                 order by r.deadline limit $3))
               and state = 'scheduled' and reason = $4 and next_at > $2
             for update skip locked
         )
         update reminders r set next_at = $2 from held where r.id = held.id returning r.id, r.account, r.channel",
    )
    .bind(account)
    .bind(now)
    .bind(most)
    .bind(reason)
    .fetch_all(conn)
    .await?;
    readable(&rows)
}
