//! The rules as a list to choose from: each key with its rule, its draft and the skill's name.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor};

use super::columns::readable;
use super::rules::{self, LiveSince, Stored, live_since};
use crate::domain::ids::{AccountId, SkillId};
use crate::domain::rule::{Rule, RuleKey};

/// One key under which there is a rule, a draft, or both.
#[derive(Clone, Debug)]
pub struct Listed {
    pub key: RuleKey,
    pub skill_name: Option<String>,
    pub rule: Option<Rule>,
    pub updated_at: Option<DateTime<Utc>>,
    /// Who has last written a draft that is not published, and when.
    pub draft: Option<(String, DateTime<Utc>)>,
}

#[derive(FromRow)]
struct RuleListRow {
    account: AccountId,
    skill: Option<SkillId>,
    skill_name: Option<String>,
    id: Option<i64>,
    enabled: Option<bool>,
    version: Option<i32>,
    settings: Option<Stored>,
    updated_at: Option<DateTime<Utc>>,
    #[sqlx(flatten)]
    live: LiveSince,
    lost_until: Option<DateTime<Utc>>,
    drafted_by: Option<String>,
    drafted_at: Option<DateTime<Utc>>,
}

impl From<RuleListRow> for Listed {
    fn from(row: RuleListRow) -> Self {
        let key = RuleKey {
            account: row.account,
            skill: row.skill,
        };
        let rule = match (row.id, row.enabled, row.version, row.settings) {
            (Some(id), Some(enabled), Some(version), Some(stored)) => Some(Rule {
                id,
                account: key.account.clone(),
                skill: key.skill,
                enabled,
                version,
                settings: rules::settings(&key, version, &stored),
                live: row.live.by_channel(),
                lost_until: row.lost_until,
            }),
            _ => None,
        };
        Self {
            key,
            skill_name: row.skill_name,
            rule,
            updated_at: row.updated_at,
            draft: row.drafted_by.zip(row.drafted_at),
        }
    }
}

/// Rules and drafts of these accounts, or of all, in the order of account and skill (the default first), from after a key on.
pub async fn list(
    db: impl PgExecutor<'_>,
    accounts: Option<&[AccountId]>,
    after: Option<&RuleKey>,
    most: i64,
) -> sqlx::Result<Vec<Listed>> {
    let rows = sqlx::query(
        concat!("with keys as (
             select account, skill from rules union select account, skill from rule_drafts
         ), page as (
             -- No skill has the lowest number there is: it stands for the default.
             select *, coalesce(skill, -9223372036854775808) as place from keys
             where ($1::text[] is null or account = any ($1))
                 and ($2::text is null or (account, coalesce(skill, -9223372036854775808))
                     > ($2, coalesce($3::bigint, -9223372036854775808)))
             order by account, place limit $4
         )
         select p.account, p.skill, coalesce(s.name, case p.skill when -1 then 'Unassigned' end) as skill_name,
                r.id, r.enabled, r.version, r.settings, r.updated_at, ", live_since!("p"), ",
                (select max(lost_until) from lost_times) as lost_until, d.changed_by as drafted_by, d.changed_at as drafted_at
         from page p
         left join skills s on s.account = p.account and s.id = p.skill
         left join rules r on r.account = p.account and r.skill is not distinct from p.skill
         left join rule_drafts d on d.account = p.account and d.skill is not distinct from p.skill
         order by p.account, p.place"),
    )
    .bind(accounts)
    .bind(after.map(|key| &key.account))
    .bind(after.and_then(|key| key.skill))
    .bind(most)
    .fetch_all(db)
    .await?;
    let known = readable::<RuleListRow>(&rows)?;
    Ok(known.into_iter().map(Listed::from).collect())
}

/// The keys of rules for single skills of these accounts.
pub async fn of_skills(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
) -> sqlx::Result<Vec<RuleKey>> {
    let rows = sqlx::query(
        "select account, skill from rules where skill is not null and account = any ($1)",
    )
    .bind(accounts)
    .fetch_all(db)
    .await?;
    let known = readable::<(AccountId, SkillId)>(&rows)?.into_iter();
    let keys = known.map(|(account, skill)| RuleKey {
        account,
        skill: Some(skill),
    });
    Ok(keys.collect())
}

/// A key's account and skill, as far as they are known.
#[derive(Clone, Debug, FromRow)]
pub struct KnownRuleKey {
    pub account_known: bool,
    /// Of the skill; `None` also where LivePerson lists no such skill.
    pub skill_name: Option<String>,
}

/// Where a rule under this key would apply.
pub async fn place(db: impl PgExecutor<'_>, key: &RuleKey) -> sqlx::Result<KnownRuleKey> {
    sqlx::query_as(
        "select exists (select from accounts where id = $1) as account_known,
                coalesce((select name from skills where account = $1 and id = $2), case $2::bigint when -1 then 'Unassigned' end)
                    as skill_name",
    )
    .bind(&key.account)
    .bind(key.skill)
    .fetch_one(db)
    .await
}
