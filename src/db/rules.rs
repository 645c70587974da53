//! Rules and their versions.

mod history;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::columns::readable;
use crate::domain::channel::PerChannel;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::{Rule, RuleKey, RuleSettings};

use history::remember;
pub use history::{InForce, Version, in_force, known_steps, versions};

/// Settings as a table has them, read for a key when the row is.
pub(super) type Stored = Json<Box<RawValue>>;

/// Reads stored settings; says once in a process what it cannot use of which version of a rule.
pub(super) fn settings(key: &RuleKey, version: i32, stored: &RawValue) -> RuleSettings {
    let settings = RuleSettings::stored(stored.get());
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
    enabled: bool,
    version: i32,
    settings: Stored,
    #[sqlx(flatten)]
    live: LiveSince,
    lost_until: Option<DateTime<Utc>>,
}

/// Since when the channels of an account have been live, as two columns of arrays.
#[derive(FromRow)]
pub(super) struct LiveSince {
    live_channels: Vec<String>,
    live_since: Vec<DateTime<Utc>>,
}

impl LiveSince {
    /// A channel that only another version has is that version's business.
    pub fn by_channel(&self) -> PerChannel<Option<DateTime<Utc>>> {
        let since = |channel: Channel| {
            let mut words = self.live_channels.iter().zip(&self.live_since);
            let found = words.find(|(word, _)| word.as_str() == channel.as_str());
            found.map(|(_, since)| *since)
        };
        PerChannel::of(since)
    }
}

/// The columns of [`LiveSince`] for the account of `$of`.
macro_rules! live_since {
    ($of:literal) => {
        concat!(
            "array(select l.channel::text from live l where l.account = ",
            $of,
            ".account order by l.channel) as live_channels,
             array(select l.since from live l where l.account = ",
            $of,
            ".account order by l.channel) as live_since"
        )
    };
}
pub(super) use live_since;

impl From<StoredRuleRow> for Rule {
    fn from(row: StoredRuleRow) -> Self {
        let key = RuleKey {
            account: row.account,
            skill: row.skill,
        };
        Self {
            id: row.id,
            settings: settings(&key, row.version, &row.settings),
            account: key.account,
            skill: key.skill,
            enabled: row.enabled,
            version: row.version,
            live: row.live.by_channel(),
            lost_until: row.lost_until,
        }
    }
}

macro_rules! rules {
    () => {
        concat!(
            "select id, account, skill, enabled, version, settings, ",
            live_since!("rules"),
            ", (select max(lost_until) from lost_times) as lost_until
         from rules"
        )
    };
}

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
         where account = any ($1) order by account, skill nulls first"
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
    let rows = sqlx::query(concat!(
        rules!(),
        "
         where account = $1 and (skill is null or skill = any ($2)) order by skill nulls first"
    ))
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
         where account = $1 and skill is not distinct from $2"
    ))
    .bind(&key.account)
    .bind(key.skill)
    .fetch_optional(db)
    .await?;
    Ok(row.map(Rule::from))
}

/// Lets one transaction at a time change the rules of an account: the ids of their steps are the account's.
pub async fn lock(conn: &mut PgConnection, account: &AccountId) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('rules ' || $1, 0))")
        .bind(account)
        .execute(conn)
        .await?;
    Ok(())
}

/// Every rule there is.
pub async fn all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Rule>> {
    let rows = sqlx::query(concat!(
        rules!(),
        "
         order by account, skill nulls first"
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
    lock(conn, &key.account).await?;
    let version: Option<i32> = sqlx::query_scalar(
        "insert into rules as r (account, skill, version, enabled, settings, updated_at)
         select $1, $2, coalesce(max(v.version), 0) + 1, $3, $4, $5 from rule_versions v
         where v.account = $1 and v.skill is not distinct from $2
         on conflict (account, skill) do update
             set enabled = $3, settings = $4, version = r.version + 1, updated_at = $5
             where (r.enabled, r.settings) is distinct from ($3, $4)
         returning version",
    )
    .bind(&key.account)
    .bind(key.skill)
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
    lock(conn, &key.account).await?;
    let removed: Option<(i32, bool, Stored)> = sqlx::query_as(
        "delete from rules where account = $1 and skill is not distinct from $2
         returning version + 1, enabled, settings",
    )
    .bind(&key.account)
    .bind(key.skill)
    .fetch_optional(&mut *conn)
    .await?;
    let Some((version, enabled, Json(settings))) = removed else {
        return Ok(None);
    };
    let is = (version, enabled, true);
    remember(conn, key, is, &settings, by, now).await?;
    Ok(Some(version))
}

/// Gives an account its default rule, once in its life: whoever deletes or switches it off keeps it so. True if this call made it.
pub async fn make_default(
    conn: &mut PgConnection,
    account: &AccountId,
    settings: &RuleSettings,
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
        let key = RuleKey {
            account: account.clone(),
            skill: None,
        };
        put(conn, &key, true, settings, "first start", now).await?;
    }
    Ok(first)
}
