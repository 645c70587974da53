//! What a person has paused, and what a pause held.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::pause::Scope;
use crate::domain::rule::Key;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    pub scope: Scope,
    pub paused_by: String,
    pub paused_at: DateTime<Utc>,
    /// Why, in the person's words.
    pub note: String,
}

#[derive(FromRow)]
struct Row {
    account: Option<String>,
    channel: Option<String>,
    of_rule: bool,
    skill: Option<i64>,
    paused_by: String,
    paused_at: DateTime<Utc>,
    note: String,
}

impl TryFrom<Row> for Pause {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
            raw: Option<String>,
        ) -> sqlx::Result<Option<T>> {
            let parsed = raw.map(|raw| raw.parse()).transpose();
            parsed.map_err(|e| sqlx::Error::Decode(Box::new(e)))
        }
        let account: Option<AccountId> = parsed(row.account)?;
        let channel: Option<Channel> = parsed(row.channel)?;
        let scope = match (account, channel) {
            (None, _) => Scope::Everything,
            (Some(account), None) => Scope::Account(account),
            (Some(account), Some(channel)) if row.of_rule => Scope::Rule(Key {
                account,
                skill: row.skill.map(SkillId),
                channel,
            }),
            (Some(account), Some(channel)) => Scope::Channel(account, channel),
        };
        Ok(Self {
            scope,
            paused_by: row.paused_by,
            paused_at: row.paused_at,
            note: row.note,
        })
    }
}

/// A scope as the table keeps it: account, channel, of a rule, skill.
type Columns<'a> = (Option<&'a str>, Option<&'static str>, bool, Option<i64>);

fn columns(scope: &Scope) -> Columns<'_> {
    match scope {
        Scope::Everything => (None, None, false, None),
        Scope::Account(account) => (Some(account.as_str()), None, false, None),
        Scope::Channel(account, channel) => {
            (Some(account.as_str()), Some(channel.as_str()), false, None)
        }
        Scope::Rule(key) => (
            Some(key.account.as_str()),
            Some(key.channel.as_str()),
            true,
            key.skill.map(|skill| skill.0),
        ),
    }
}

/// Everything that is paused, newest first. There are few: people make them by hand.
pub async fn all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Pause>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select account, channel, of_rule, skill, paused_by, paused_at, note from pauses order by id desc",
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Pause::try_from).collect()
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

/// Brings forward to `now` what pauses hold in the account (`None`: in any), the nearest deadline first. Returns who must be woken.
/// What is still paused by another pause is held again when it is looked at.
pub async fn release(
    conn: &mut PgConnection,
    account: Option<&AccountId>,
    now: DateTime<Utc>,
    most: i64,
) -> sqlx::Result<Vec<(ReminderId, AccountId, Channel)>> {
    let rows: Vec<(i64, String, String)> = sqlx::query_as(
        "with held as (
             select id from reminders
             where state = 'scheduled' and reason = 'paused' and next_at > $2 and ($1::text is null or account = $1)
             order by deadline limit $3 for update skip locked
         )
         update reminders r set next_at = $2 from held where r.id = held.id returning r.id, r.account, r.channel",
    )
    .bind(account.map(AccountId::as_str))
    .bind(now)
    .bind(most)
    .fetch_all(conn)
    .await?;
    let decoded = |e: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(e);
    rows.into_iter()
        .map(|(id, account, channel)| {
            Ok((
                ReminderId(id),
                account.parse().map_err(|e| decoded(Box::new(e)))?,
                channel.parse().map_err(|e| decoded(Box::new(e)))?,
            ))
        })
        .collect()
}
