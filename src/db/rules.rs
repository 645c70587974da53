//! Rules and their versions.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::columns::readable;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::{Rule, RuleKey, RuleSettings};

/// Settings as a table has them, read for a key when the row is.
pub(super) type Stored = Json<Box<RawValue>>;

/// Reads stored settings; says once in a process what it cannot use of which version of a rule.
pub(super) fn settings(key: &RuleKey, version: i32, stored: &RawValue) -> RuleSettings {
    let settings = RuleSettings::stored(key.channel, stored.get());
    if !settings.newer.is_empty() {
        warn_of_newer(key, version, &settings);
    }
    settings
}

fn warn_of_newer(key: &RuleKey, version: i32, settings: &RuleSettings) {
    static SAID: Mutex<BTreeSet<(RuleKey, i32)>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() >= MOST_SAID {
        said.clear();
    }
    if !said.insert((key.clone(), version)) {
        return;
    }
    let (rule, newer) = (key.to_string(), &settings.newer);
    if newer.holds() {
        tracing::error!(
            rule, version, settings = ?newer.unreadable,
            "A rule was stored by a newer version of unread, with settings that this version does not understand. This process sends \
             nothing by it: complete the update, or restore an earlier version of the rule"
        );
    } else {
        tracing::warn!(
            rule, version, settings = ?newer.unknown,
            "A rule was stored by a newer version of unread, with settings that this version does not know and passes over"
        );
    }
}

/// Versions of rules that are remembered as said.
const MOST_SAID: usize = 1_000;

#[derive(FromRow)]
struct StoredRuleRow {
    id: i64,
    account: AccountId,
    skill: Option<SkillId>,
    channel: Channel,
    enabled: bool,
    version: i32,
    settings: Stored,
    live: Option<DateTime<Utc>>,
    lost_until: Option<DateTime<Utc>>,
}

impl From<StoredRuleRow> for Rule {
    fn from(row: StoredRuleRow) -> Self {
        let key = RuleKey {
            account: row.account,
            skill: row.skill,
            channel: row.channel,
        };
        Self {
            id: row.id,
            settings: settings(&key, row.version, &row.settings),
            account: key.account,
            skill: key.skill,
            channel: key.channel,
            enabled: row.enabled,
            version: row.version,
            live: row.live,
            lost_until: row.lost_until,
        }
    }
}

macro_rules! rules {
    () => {
        "select id, account, skill, channel, enabled, version, settings,
             (select l.since from live l where l.account = rules.account and l.channel = rules.channel) as live,
             (select max(lost_until) from lost_times) as lost_until
         from rules"
    };
}

/// The rules among the rows. One of a channel that only a newer version has is that version's business.
fn known(rows: &[PgRow]) -> sqlx::Result<Vec<Rule>> {
    let known = readable::<StoredRuleRow>(rows)?;
    Ok(known.into_iter().map(Rule::from).collect())
}

/// Every rule of these accounts.
pub async fn of_accounts(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
) -> sqlx::Result<Vec<Rule>> {
    let rows = sqlx::query(concat!(
        rules!(),
        "
         where account = any ($1) order by account, skill nulls first, channel"
    ))
    .bind(accounts)
    .fetch_all(db)
    .await?;
    known(&rows)
}

/// Whether any rule of these accounts is switched on.
pub async fn any_on(db: impl PgExecutor<'_>, accounts: &[AccountId]) -> sqlx::Result<bool> {
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
    let rows = sqlx::query(
        concat!(rules!(), "
         where account = $1 and (skill is null or skill = any ($2)) order by skill nulls first, channel"),
    )
    .bind(account)
    .bind(skills)
    .fetch_all(db)
    .await?;
    known(&rows)
}

/// The rule under a key.
pub async fn find(db: impl PgExecutor<'_>, key: &RuleKey) -> sqlx::Result<Option<Rule>> {
    let row: Option<StoredRuleRow> = sqlx::query_as(concat!(
        rules!(),
        "
         where account = $1 and skill is not distinct from $2 and channel = $3"
    ))
    .bind(&key.account)
    .bind(key.skill)
    .bind(key.channel)
    .fetch_optional(db)
    .await?;
    Ok(row.map(Rule::from))
}

/// Lets one transaction at a time change what is under a key, whether there is a rule or not.
pub async fn lock(conn: &mut PgConnection, key: &RuleKey) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('rule ' || $1, 0))")
        .bind(key.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// Every rule there is.
pub async fn all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Rule>> {
    let rows = sqlx::query(concat!(
        rules!(),
        "
         order by account, skill nulls first, channel"
    ))
    .fetch_all(db)
    .await?;
    known(&rows)
}

/// Stores a rule under its key as a new version, unless nothing changes. `by` says who, for the history. Returns the version if
/// it is a new one. A rule that was deleted and comes back goes on counting.
pub async fn put(
    conn: &mut PgConnection,
    key: &RuleKey,
    enabled: bool,
    settings: &RuleSettings,
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
    .bind(&key.account)
    .bind(key.skill)
    .bind(key.channel)
    .bind(enabled)
    .bind(Json(settings))
    .bind(now)
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(version) = version {
        let stored = serde_json::value::to_raw_value(settings)
            .map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
        let is = (version, enabled, false);
        remember(conn, key, is, &stored, by, now).await?;
    }
    Ok(version)
}

/// Deletes the rule under a key; the history says so. Returns the version that says it, `None` if there was no rule.
pub async fn remove(
    conn: &mut PgConnection,
    key: &RuleKey,
    by: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i32>> {
    lock(conn, key).await?;
    let removed: Option<(i32, bool, Stored)> = sqlx::query_as(
        "delete from rules where account = $1 and skill is not distinct from $2 and channel = $3
         returning version + 1, enabled, settings",
    )
    .bind(&key.account)
    .bind(key.skill)
    .bind(key.channel)
    .fetch_optional(&mut *conn)
    .await?;
    let Some((version, enabled, Json(settings))) = removed else {
        return Ok(None);
    };
    let is = (version, enabled, true);
    remember(conn, key, is, &settings, by, now).await?;
    Ok(Some(version))
}

/// One entry of a rule's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    pub version: i32,
    pub enabled: bool,
    pub settings: RuleSettings,
    pub changed_by: String,
    pub changed_at: DateTime<Utc>,
    /// The rule was deleted; the settings are its last.
    pub deleted: bool,
}

/// Adds an entry to a rule's history: its version, whether it is switched on, whether it is deleted. The settings are those of the
/// table, with what a newer version may have put there.
async fn remember(
    conn: &mut PgConnection,
    key: &RuleKey,
    (version, enabled, deleted): (i32, bool, bool),
    settings: &RawValue,
    by: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into rule_versions (account, skill, channel, version, enabled, settings, changed_by, changed_at, deleted)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (account, skill, channel, version) do update
             set enabled = $5, settings = $6, changed_by = $7, changed_at = $8, deleted = $9",
    )
    .bind(&key.account)
    .bind(key.skill)
    .bind(key.channel)
    .bind(version)
    .bind(enabled)
    .bind(Json(settings))
    .bind(by)
    .bind(now)
    .bind(deleted)
    .execute(conn)
    .await?;
    Ok(())
}

type VersionRow = (i32, bool, Stored, String, DateTime<Utc>, bool);

/// The history of what is under a key, newest first, from before a version on.
pub async fn versions(
    db: impl PgExecutor<'_>,
    key: &RuleKey,
    before: Option<i32>,
    most: i64,
) -> sqlx::Result<Vec<Version>> {
    let rows: Vec<VersionRow> = sqlx::query_as(
        "select version, enabled, settings, changed_by, changed_at, deleted from rule_versions
         where account = $1 and skill is not distinct from $2 and channel = $3 and ($4::int is null or version < $4)
         order by version desc limit $5",
    )
    .bind(&key.account)
    .bind(key.skill)
    .bind(key.channel)
    .bind(before)
    .bind(most)
    .fetch_all(db)
    .await?;
    let version =
        |(version, enabled, Json(stored), changed_by, changed_at, deleted): VersionRow| Version {
            version,
            enabled,
            settings: settings(key, version, &stored),
            changed_by,
            changed_at,
            deleted,
        };
    Ok(rows.into_iter().map(version).collect())
}

/// Which rule was in force at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct InForce {
    /// `None`: the account's default.
    pub skill: Option<SkillId>,
    pub version: i32,
}

/// The rule that applied to a skill on a channel at some moment: its own, else the account's default. `None`: there was none, or the
/// history does not go back so far.
pub async fn in_force(
    db: impl PgExecutor<'_>,
    (account, skill): (&AccountId, SkillId),
    channel: Channel,
    at: DateTime<Utc>,
) -> sqlx::Result<Option<InForce>> {
    sqlx::query_as(
        "select skill, version from (
             select distinct on (skill) skill, version, deleted from rule_versions
             where account = $1 and (skill = $2 or skill is null) and channel = $3 and changed_at <= $4
             order by skill, version desc
         ) v where not deleted order by skill is null limit 1",
    )
    .bind(account)
    .bind(skill)
    .bind(channel)
    .bind(at)
    .fetch_optional(db)
    .await
}

/// Gives an account its default rules, once in its life: whoever deletes or switches them off keeps it so. True if this call
/// made them.
pub async fn make_defaults(
    conn: &mut PgConnection,
    account: &AccountId,
    defaults: &[(Channel, RuleSettings)],
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let first = sqlx::query(
        "update accounts set default_rules_at = $2
         where id = $1 and default_rules_at is null and not exists (select from rules where account = $1)",
    )
    .bind(account)
    .bind(now)
    .execute(&mut *conn)
    .await?
    .rows_affected()
        == 1;
    if first {
        for (channel, settings) in defaults {
            let key = RuleKey {
                account: account.clone(),
                skill: None,
                channel: *channel,
            };
            put(conn, &key, true, settings, "first start", now).await?;
        }
    }
    Ok(first)
}
