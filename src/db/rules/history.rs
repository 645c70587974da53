//! What a rule was before: its versions, and the steps that it has had.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::{Stored, find, settings};
use crate::db::columns::readable;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::rule::{KnownSteps, RuleKey, RuleSettings, StepId};

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
pub(super) async fn remember(
    conn: &mut PgConnection,
    key: &RuleKey,
    (version, enabled, deleted): (i32, bool, bool),
    settings: &RawValue,
    by: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into rule_versions (account, skill, version, enabled, settings, changed_by, changed_at, deleted)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (account, skill, version) do update
             set enabled = $4, settings = $5, changed_by = $6, changed_at = $7, deleted = $8",
    )
    .bind(&key.account)
    .bind(key.skill)
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
         where account = $1 and skill is not distinct from $2 and ($3::int is null or version < $3)
         order by version desc limit $4",
    )
    .bind(&key.account)
    .bind(key.skill)
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

/// The rule that applied to a skill at some moment: its own, else the account's default. `None`: there was none, or the
/// history does not go back so far.
pub async fn in_force(
    db: impl PgExecutor<'_>,
    (account, skill): (&AccountId, SkillId),
    at: DateTime<Utc>,
) -> sqlx::Result<Option<InForce>> {
    sqlx::query_as(
        "select skill, version from (
             select distinct on (skill) skill, version, deleted from rule_versions
             where account = $1 and (skill = $2 or skill is null) and changed_at <= $3
             order by skill, version desc
         ) v where not deleted order by skill is null limit 1",
    )
    .bind(account)
    .bind(skill)
    .bind(at)
    .fetch_optional(db)
    .await
}

/// The steps that the rule under a key and the other rules of its account have, or have had.
pub async fn known_steps(conn: &mut PgConnection, key: &RuleKey) -> sqlx::Result<KnownSteps> {
    let present = find(&mut *conn, key).await?;
    let rows = sqlx::query(
        "select distinct (s ->> 'id')::smallint as id, s ->> 'channel' as channel, v.skill is not distinct from $2 as own
         from rule_versions v, jsonb_array_elements(v.steps) s
         where v.account = $1 and jsonb_typeof(v.steps) = 'array' and s ->> 'id' ~ '^[0-9]{1,4}$'",
    )
    .bind(&key.account)
    .bind(key.skill)
    .fetch_all(conn)
    .await?;
    let known: Vec<(StepId, Channel, bool)> = readable(&rows)?;
    let steps = |of_own: bool| {
        let steps = known.iter().filter(|(.., own)| *own == of_own);
        steps.map(|(id, channel, _)| (*id, *channel)).collect()
    };
    Ok(KnownSteps {
        present: present.map(|rule| rule.settings.steps).unwrap_or_default(),
        ever: steps(true),
        elsewhere: steps(false),
    })
}
