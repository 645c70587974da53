//! The people who log in.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::domain::access::{AccountLimit, Rights, Role};

/// A person, without the password.
#[derive(Clone, Debug, FromRow)]
pub struct User {
    pub id: i64,
    pub name: String,
    pub role: Role,
    #[sqlx(rename = "accounts")]
    pub limit: AccountLimit,
    /// Whether the person can log in with a password.
    pub has_password: bool,
    /// Whether the person has come by single sign-on.
    pub has_sso: bool,
    /// Whether the person is asked for a code beside the password.
    pub has_second_factor: bool,
    pub created_at: DateTime<Utc>,
    pub seen_at: Option<DateTime<Utc>>,
}

const USER: &str = "select id, name, role, accounts, password is not null as has_password, sso_subject is not null as has_sso,
        exists (select from second_factors f where f.user_id = users.id and f.confirmed_at is not null) as has_second_factor,
        created_at, seen_at from users";

/// All of them by name: people who look after one product are few.
pub async fn all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<User>> {
    let sql = format!("{USER} order by name");
    sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_all(db).await
}

pub async fn find(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<User>> {
    let sql = format!("{USER} where id = $1");
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(id)
        .fetch_optional(db)
        .await
}

pub async fn named(db: impl PgExecutor<'_>, name: &str) -> sqlx::Result<Option<User>> {
    let sql = format!("{USER} where name = $1");
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(name)
        .fetch_optional(db)
        .await
}

pub async fn count(db: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from users")
        .fetch_one(db)
        .await
}

/// Makes whoever changes people wait for whoever is changing them, until the transaction ends: the last administrator must not be
/// removed by two at once, and the first must not be made twice.
pub async fn lock(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("lock table users in share row exclusive mode")
        .execute(conn)
        .await?;
    Ok(())
}

/// Adds a person; `None`: the name is taken.
pub async fn add(
    conn: &mut PgConnection,
    name: &str,
    role: Role,
    password: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "insert into users (name, role, password, created_at) values ($1, $2, $3, $4)
         on conflict (name) do nothing returning id",
    )
    .bind(name)
    .bind(role)
    .bind(password)
    .bind(now)
    .fetch_optional(conn)
    .await
}

pub async fn remove(conn: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query("delete from users where id = $1")
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn set_rights(conn: &mut PgConnection, id: i64, rights: &Rights) -> sqlx::Result<()> {
    sqlx::query("update users set role = $2, accounts = $3 where id = $1")
        .bind(id)
        .bind(rights.role())
        .bind(rights.limit())
        .execute(conn)
        .await?;
    Ok(())
}

/// Whether somebody else could still look after everything.
pub async fn is_last_administrator(conn: &mut PgConnection, id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select not exists (select from users where role = 'administrator' and id <> $1)",
    )
    .bind(id)
    .fetch_one(conn)
    .await
}

pub async fn set_password(conn: &mut PgConnection, id: i64, password: &str) -> sqlx::Result<()> {
    sqlx::query("update users set password = $2 where id = $1")
        .bind(id)
        .bind(password)
        .execute(conn)
        .await?;
    Ok(())
}

/// What a login with this name is checked against.
pub async fn password_of(
    db: impl PgExecutor<'_>,
    name: &str,
) -> sqlx::Result<Option<(i64, Option<String>)>> {
    sqlx::query_as("select id, password from users where name = $1")
        .bind(name)
        .fetch_optional(db)
        .await
}

/// A link with which a password is chosen.
pub struct PasswordLink {
    /// `None`: it makes the first administrator.
    pub user: Option<i64>,
    /// Whether it lets the person in by itself.
    pub logs_in: bool,
}

pub async fn add_link(
    conn: &mut PgConnection,
    token_hash: &[u8],
    PasswordLink { user, logs_in }: PasswordLink,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into password_links (token_hash, user_id, logs_in, created_at, expires_at) values ($1, $2, $3, $4, $5)",
    )
    .bind(token_hash)
    .bind(user)
    .bind(logs_in)
    .bind(now)
    .bind(expires_at)
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn link(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<PasswordLink>> {
    let link: Option<(Option<i64>, bool)> = sqlx::query_as(
        "select user_id, logs_in from password_links where token_hash = $1 and expires_at > $2",
    )
    .bind(token_hash)
    .bind(now)
    .fetch_optional(db)
    .await?;
    Ok(link.map(|(user, logs_in)| PasswordLink { user, logs_in }))
}

/// Whether the first administrator can be made with a link that somebody has.
pub async fn has_first_link(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from password_links where user_id is null and expires_at > $1)",
    )
    .bind(now)
    .fetch_one(db)
    .await
}

/// Every link of this person, and those for a first administrator, stop working.
pub async fn drop_links(conn: &mut PgConnection, user: i64) -> sqlx::Result<()> {
    sqlx::query("delete from password_links where user_id = $1 or user_id is null")
        .bind(user)
        .execute(conn)
        .await?;
    Ok(())
}
