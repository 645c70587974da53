//! Rules and their versions.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::{Rule, Settings};

#[derive(FromRow)]
struct Row {
    id: i64,
    account: String,
    skill: Option<i64>,
    channel: String,
    enabled: bool,
    version: i32,
    settings: Json<Settings>,
}

impl TryFrom<Row> for Rule {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(e);
        Ok(Self {
            id: row.id,
            account: row.account.parse().map_err(|e| broken(Box::new(e)))?,
            skill: row.skill.map(SkillId),
            channel: row.channel.parse().map_err(|e| broken(Box::new(e)))?,
            enabled: row.enabled,
            version: row.version,
            settings: row.settings.0,
        })
    }
}

/// Every rule of these accounts.
pub async fn of_accounts(db: impl PgExecutor<'_>, accounts: &[&str]) -> sqlx::Result<Vec<Rule>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select id, account, skill, channel, enabled, version, settings from rules
         where account = any ($1) order by account, skill nulls first, channel",
    )
    .bind(accounts)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Rule::try_from).collect()
}

/// Every rule there is.
pub async fn all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Rule>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select id, account, skill, channel, enabled, version, settings from rules
         order by account, skill nulls first, channel",
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Rule::try_from).collect()
}

/// Stores a rule under its key (account, skill, channel) as a new version, unless nothing changes. `by` says who, for the
/// history. True if it changed.
pub async fn put(
    conn: &mut PgConnection,
    key: (&AccountId, Option<SkillId>, Channel),
    enabled: bool,
    settings: &Settings,
    by: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let (account, skill, channel) = key;
    let version: Option<i32> = sqlx::query_scalar(
        "insert into rules as r (account, skill, channel, enabled, settings, updated_at) values ($1, $2, $3, $4, $5, $6)
         on conflict (account, skill, channel) do update
             set enabled = $4, settings = $5, version = r.version + 1, updated_at = $6
             where (r.enabled, r.settings) is distinct from ($4, $5)
         returning version",
    )
    .bind(account.as_str())
    .bind(skill.map(|s| s.0))
    .bind(channel.as_str())
    .bind(enabled)
    .bind(Json(settings))
    .bind(now)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(version) = version else {
        return Ok(false);
    };
    sqlx::query(
        "insert into rule_versions (account, skill, channel, version, enabled, settings, changed_by, changed_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (account, skill, channel, version) do update
             set enabled = $5, settings = $6, changed_by = $7, changed_at = $8",
    )
    .bind(account.as_str())
    .bind(skill.map(|s| s.0))
    .bind(channel.as_str())
    .bind(version)
    .bind(enabled)
    .bind(Json(settings))
    .bind(by)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(true)
}

/// Gives an account its default rules, once in its life: whoever deletes or switches them off keeps it so. True if this call
/// made them.
pub async fn make_defaults(
    conn: &mut PgConnection,
    account: &AccountId,
    defaults: &[(Channel, Settings)],
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let first = sqlx::query(
        "update accounts set default_rules_at = $2
         where id = $1 and default_rules_at is null and not exists (select from rules where account = $1)",
    )
    .bind(account.as_str())
    .bind(now)
    .execute(&mut *conn)
    .await?
    .rows_affected()
        == 1;
    if first {
        for (channel, settings) in defaults {
            put(
                conn,
                (account, None, *channel),
                true,
                settings,
                "first start",
                now,
            )
            .await?;
        }
    }
    Ok(first)
}
