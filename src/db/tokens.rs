//! Tokens of programs that call the config API.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::domain::access::Permission;

/// A token, without itself.
#[derive(Clone, Debug)]
pub struct Token {
    pub id: i64,
    pub name: String,
    pub scopes: Vec<Permission>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    name: String,
    scopes: Vec<String>,
    created_by: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl From<Row> for Token {
    fn from(row: Row) -> Self {
        let granted = |permission: &Permission| row.scopes.iter().any(|s| s == permission.as_str());
        Self {
            id: row.id,
            scopes: Permission::ALL.into_iter().filter(granted).collect(),
            name: row.name,
            created_by: row.created_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        }
    }
}

const TOKEN: &str =
    "select id, name, scopes, created_by, created_at, expires_at, last_used_at from access_tokens";

pub async fn all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Token>> {
    let sql = format!("{TOKEN} order by name");
    let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(Token::from).collect())
}

/// The token with this hash, if it has not expired.
pub async fn find(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Token>> {
    let sql = format!("{TOKEN} where token_hash = $1 and (expires_at is null or expires_at > $2)");
    let row: Option<Row> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(token_hash)
        .bind(now)
        .fetch_optional(db)
        .await?;
    Ok(row.map(Token::from))
}

/// What is known of a token before it is made.
pub struct New<'a> {
    pub name: &'a str,
    pub token_hash: &'a [u8],
    pub scopes: &'a [Permission],
    pub created_by: &'a str,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Stores a token; `None`: the name is taken.
pub async fn add(
    conn: &mut PgConnection,
    new: &New<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    let scopes: Vec<&str> = new.scopes.iter().map(|scope| scope.as_str()).collect();
    sqlx::query_scalar(
        "insert into access_tokens (name, token_hash, scopes, created_by, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6) on conflict (name) do nothing returning id",
    )
    .bind(new.name)
    .bind(new.token_hash)
    .bind(scopes)
    .bind(new.created_by)
    .bind(now)
    .bind(new.expires_at)
    .fetch_optional(conn)
    .await
}

/// Notes that a token is being used.
pub async fn used(db: impl PgExecutor<'_>, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("update access_tokens set last_used_at = $2 where id = $1")
        .bind(id)
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}

/// Removes a token. Returns its name, if there was one.
pub async fn remove(conn: &mut PgConnection, id: i64) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("delete from access_tokens where id = $1 returning name")
        .bind(id)
        .fetch_optional(conn)
        .await
}
