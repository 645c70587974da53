//! Accounts and their skills as LivePerson lists them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};

use crate::domain::ids::{AccountId, SkillId};

/// Makes the accounts of the configuration known to the database.
pub async fn ensure(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into accounts (id, created_at) select id, $2 from unnest($1::text[]) as t(id)
         on conflict (id) do nothing",
    )
    .bind(accounts)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Whether we hold a list of the account's skills, and LivePerson's revision of it.
pub async fn skills_revision(
    pool: &PgPool,
    account: &AccountId,
) -> sqlx::Result<(bool, Option<String>)> {
    let found = sqlx::query_as(
        "select skills_synced_at is not null, skills_revision from accounts where id = $1",
    )
    .bind(account)
    .fetch_optional(pool)
    .await?;
    Ok(found.unwrap_or_default())
}

/// Replaces the skill list of an account. Skills that LivePerson no longer lists are kept, marked deleted: old conversations
/// still carry them.
pub async fn store_skills(
    conn: &mut PgConnection,
    account: &AccountId,
    skills: &[(SkillId, String)],
    revision: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<SkillId> = skills.iter().map(|(id, _)| *id).collect();
    let names: Vec<&str> = skills.iter().map(|(_, name)| name.as_str()).collect();
    sqlx::query(
        "insert into skills (account, id, name) select $1, * from unnest($2::bigint[], $3::text[])
         on conflict (account, id) do update set name = excluded.name, deleted = false",
    )
    .bind(account)
    .bind(&ids)
    .bind(names)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "update skills set deleted = true where account = $1 and not deleted and id <> all ($2)",
    )
    .bind(account)
    .bind(&ids)
    .execute(&mut *conn)
    .await?;
    sqlx::query("update accounts set skills_revision = $2, skills_synced_at = $3 where id = $1")
        .bind(account)
        .bind(revision)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether the database knows the account.
pub async fn known(db: impl PgExecutor<'_>, account: &AccountId) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from accounts where id = $1)")
        .bind(account)
        .fetch_one(db)
        .await
}

/// A skill of an account.
#[derive(Clone, Debug, FromRow)]
pub struct Skill {
    pub account: AccountId,
    pub id: SkillId,
    pub name: String,
}

/// The skills of an account that LivePerson still lists, by name. "Unassigned" is LivePerson's own and never listed.
pub async fn skills(db: impl PgExecutor<'_>, account: &AccountId) -> sqlx::Result<Vec<Skill>> {
    sqlx::query_as(
        "select account, id, name from skills where account = $1 and not deleted order by name, id",
    )
    .bind(account)
    .fetch_all(db)
    .await
}

/// When the skills of each account were last read at LivePerson.
pub async fn synced(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
) -> sqlx::Result<Vec<(AccountId, Option<DateTime<Utc>>)>> {
    sqlx::query_as("select id, skills_synced_at from accounts where id = any ($1) order by id")
        .bind(accounts)
        .fetch_all(db)
        .await
}

/// The names of all skills of these accounts, deleted ones too, by account and id.
pub async fn skill_names(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
) -> sqlx::Result<HashMap<(AccountId, SkillId), String>> {
    let rows: Vec<(AccountId, SkillId, String)> =
        sqlx::query_as("select account, id, name from skills where account = any ($1)")
            .bind(accounts)
            .fetch_all(db)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(account, id, name)| ((account, id), name))
        .collect())
}
