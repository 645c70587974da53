//! Rules and their versions.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::{Key, Rule, Settings};

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

/// Whether any rule of these accounts is switched on.
pub async fn any_on(db: impl PgExecutor<'_>, accounts: &[&str]) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from rules where account = any ($1) and enabled)")
        .bind(accounts)
        .fetch_one(db)
        .await
}

/// The rules that may apply to conversations of these skills: their own and the account's defaults.
pub async fn of_skills(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    skills: &[SkillId],
) -> sqlx::Result<Vec<Rule>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select id, account, skill, channel, enabled, version, settings from rules
         where account = $1 and (skill is null or skill = any ($2)) order by skill nulls first, channel",
    )
    .bind(account.as_str())
    .bind(skills.iter().map(|s| s.0).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Rule::try_from).collect()
}

/// The rule under a key.
pub async fn find(db: impl PgExecutor<'_>, key: &Key) -> sqlx::Result<Option<Rule>> {
    let row: Option<Row> = sqlx::query_as(
        "select id, account, skill, channel, enabled, version, settings from rules
         where account = $1 and skill is not distinct from $2 and channel = $3",
    )
    .bind(key.account.as_str())
    .bind(key.skill.map(|s| s.0))
    .bind(key.channel.as_str())
    .fetch_optional(db)
    .await?;
    row.map(Rule::try_from).transpose()
}

/// Lets one transaction at a time change what is under a key, whether there is a rule or not.
pub async fn lock(conn: &mut PgConnection, key: &Key) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('rule ' || $1, 0))")
        .bind(key.to_string())
        .execute(conn)
        .await?;
    Ok(())
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

/// Stores a rule under its key as a new version, unless nothing changes. `by` says who, for the history. Returns the version if
/// it is a new one. A rule that was deleted and comes back goes on counting.
pub async fn put(
    conn: &mut PgConnection,
    key: &Key,
    enabled: bool,
    settings: &Settings,
    by: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i32>> {
    lock(conn, key).await?;
    let version: Option<i32> = sqlx::query_scalar(
        "insert into rules as r (account, skill, channel, version, enabled, settings, updated_at)
         select $1, $2, $3, coalesce(max(v.version), 0) + 1, $4, $5, $6 from rule_versions v
         where v.account = $1 and v.skill is not distinct from $2 and v.channel = $3
         on conflict (account, skill, channel) do update
             set enabled = $4, settings = $5, version = r.version + 1, updated_at = $6
             where (r.enabled, r.settings) is distinct from ($4, $5)
         returning version",
    )
    .bind(key.account.as_str())
    .bind(key.skill.map(|s| s.0))
    .bind(key.channel.as_str())
    .bind(enabled)
    .bind(Json(settings))
    .bind(now)
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(version) = version {
        let entry = Version {
            version,
            enabled,
            settings: settings.clone(),
            changed_by: by.to_owned(),
            changed_at: now,
            deleted: false,
        };
        remember(conn, key, &entry).await?;
    }
    Ok(version)
}

/// Deletes the rule under a key; the history says so. Returns the version that says it, `None` if there was no rule.
pub async fn remove(
    conn: &mut PgConnection,
    key: &Key,
    by: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i32>> {
    lock(conn, key).await?;
    let removed: Option<(i32, bool, Json<Settings>)> = sqlx::query_as(
        "delete from rules where account = $1 and skill is not distinct from $2 and channel = $3
         returning version + 1, enabled, settings",
    )
    .bind(key.account.as_str())
    .bind(key.skill.map(|s| s.0))
    .bind(key.channel.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let Some((version, enabled, Json(settings))) = removed else {
        return Ok(None);
    };
    let entry = Version {
        version,
        enabled,
        settings,
        changed_by: by.to_owned(),
        changed_at: now,
        deleted: true,
    };
    remember(conn, key, &entry).await?;
    Ok(Some(version))
}

/// One entry of a rule's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    pub version: i32,
    pub enabled: bool,
    pub settings: Settings,
    pub changed_by: String,
    pub changed_at: DateTime<Utc>,
    /// The rule was deleted; the settings are its last.
    pub deleted: bool,
}

async fn remember(conn: &mut PgConnection, key: &Key, entry: &Version) -> sqlx::Result<()> {
    sqlx::query(
        "insert into rule_versions (account, skill, channel, version, enabled, settings, changed_by, changed_at, deleted)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (account, skill, channel, version) do update
             set enabled = $5, settings = $6, changed_by = $7, changed_at = $8, deleted = $9",
    )
    .bind(key.account.as_str())
    .bind(key.skill.map(|s| s.0))
    .bind(key.channel.as_str())
    .bind(entry.version)
    .bind(entry.enabled)
    .bind(Json(&entry.settings))
    .bind(&entry.changed_by)
    .bind(entry.changed_at)
    .bind(entry.deleted)
    .execute(conn)
    .await?;
    Ok(())
}

type VersionRow = (i32, bool, Json<Settings>, String, DateTime<Utc>, bool);

/// The history of what is under a key, newest first, from before a version on.
pub async fn versions(
    db: impl PgExecutor<'_>,
    key: &Key,
    before: Option<i32>,
    most: i64,
) -> sqlx::Result<Vec<Version>> {
    let rows: Vec<VersionRow> = sqlx::query_as(
        "select version, enabled, settings, changed_by, changed_at, deleted from rule_versions
         where account = $1 and skill is not distinct from $2 and channel = $3 and ($4::int is null or version < $4)
         order by version desc limit $5",
    )
    .bind(key.account.as_str())
    .bind(key.skill.map(|s| s.0))
    .bind(key.channel.as_str())
    .bind(before)
    .bind(most)
    .fetch_all(db)
    .await?;
    let version = |(version, enabled, Json(settings), changed_by, changed_at, deleted)| Version {
        version,
        enabled,
        settings,
        changed_by,
        changed_at,
        deleted,
    };
    Ok(rows.into_iter().map(version).collect())
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
            let key = Key {
                account: account.clone(),
                skill: None,
                channel: *channel,
            };
            put(conn, &key, true, settings, "first start", now).await?;
        }
    }
    Ok(first)
}
