//! Tokens of programs that call the config API.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::domain::access::{AccountLimit, Permission, Role};

/// A token, without itself.
#[derive(Clone, Debug)]
pub struct ApiToken {
    pub id: i64,
    pub name: String,
    /// Those it was made with; see [`ApiToken::permissions`].
    pub scopes: Vec<Permission>,
    /// The accounts it was made for; see [`ApiToken::limit`].
    pub accounts: AccountLimit,
    pub created_by: String,
    /// `None`: it was made before tokens belonged to people, and its maker is gone.
    pub owner: Option<Owner>,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
}

/// The person whose token it is, as the person is now.
#[derive(Clone, Debug)]
pub struct Owner {
    pub id: i64,
    pub name: String,
    pub role: Role,
    pub limit: AccountLimit,
}

impl ApiToken {
    /// What it may do now: of its scopes, those that its owner's role still allows.
    pub fn permissions(&self) -> Vec<Permission> {
        let owner = self.owner.as_ref();
        let allowed = |scope: &Permission| owner.is_none_or(|owner| owner.role.may(*scope));
        self.scopes.iter().copied().filter(allowed).collect()
    }

    /// The accounts that it sees now: of those it was made for, those that its owner may still see.
    pub fn limit(&self) -> AccountLimit {
        match &self.owner {
            Some(owner) => self.accounts.and(&owner.limit),
            None => self.accounts.clone(),
        }
    }
}

#[derive(FromRow)]
struct TokenRow {
    accounts: AccountLimit,
    owner_accounts: AccountLimit,
    id: i64,
    name: String,
    scopes: Vec<String>,
    created_by: String,
    owner_id: Option<i64>,
    owner_name: Option<String>,
    owner_role: Option<Role>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl From<TokenRow> for ApiToken {
    fn from(row: TokenRow) -> Self {
        let granted = |permission: &Permission| row.scopes.iter().any(|s| s == permission.as_str());
        let scopes = Permission::ALL.into_iter().filter(granted).collect();
        let owner = match (row.owner_id, row.owner_name, row.owner_role) {
            (Some(id), Some(name), Some(role)) => Some(Owner {
                id,
                name,
                role,
                limit: row.owner_accounts,
            }),
            _ => None,
        };
        Self {
            id: row.id,
            scopes,
            accounts: row.accounts,
            name: row.name,
            created_by: row.created_by,
            owner,
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        }
    }
}

const TOKEN: &str = "select t.id, t.name, t.scopes, t.accounts, t.created_by, t.created_at, t.expires_at, t.last_used_at,
        u.id as owner_id, u.name as owner_name, u.role as owner_role, u.accounts as owner_accounts
    from access_tokens t left join users u on u.id = t.owner";

pub async fn all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<ApiToken>> {
    let sql = format!("{TOKEN} order by t.name");
    let rows: Vec<TokenRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(ApiToken::from).collect())
}

/// The tokens of a person, by name.
pub async fn of(db: impl PgExecutor<'_>, owner: i64) -> sqlx::Result<Vec<ApiToken>> {
    let sql = format!("{TOKEN} where t.owner = $1 order by t.name");
    let rows: Vec<TokenRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(owner)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(ApiToken::from).collect())
}

/// The token with this hash, if it has not expired.
pub async fn find(
    db: impl PgExecutor<'_>,
    token_hash: &[u8],
    now: DateTime<Utc>,
) -> sqlx::Result<Option<ApiToken>> {
    let sql =
        format!("{TOKEN} where t.token_hash = $1 and (t.expires_at is null or t.expires_at > $2)");
    let row: Option<TokenRow> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(token_hash)
        .bind(now)
        .fetch_optional(db)
        .await?;
    Ok(row.map(ApiToken::from))
}

/// What is known of a token before it is made.
pub struct TokenInsert<'a> {
    pub name: &'a str,
    pub token_hash: &'a [u8],
    pub scopes: &'a [Permission],
    pub accounts: &'a AccountLimit,
    pub created_by: &'a str,
    pub owner: Option<i64>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Stores a token; `None`: the name is taken.
pub async fn add(
    conn: &mut PgConnection,
    new: &TokenInsert<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    let scopes: Vec<&str> = new.scopes.iter().map(|scope| scope.as_str()).collect();
    sqlx::query_scalar(
        "insert into access_tokens (name, token_hash, scopes, accounts, created_by, owner, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (name) do nothing returning id",
    )
    .bind(new.name)
    .bind(new.token_hash)
    .bind(scopes)
    .bind(new.accounts)
    .bind(new.created_by)
    .bind(new.owner)
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

/// Gives a token to another person, with these of its scopes and accounts.
pub async fn give(
    conn: &mut PgConnection,
    id: i64,
    owner: i64,
    (scopes, accounts): (&[Permission], &AccountLimit),
) -> sqlx::Result<()> {
    let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    sqlx::query("update access_tokens set owner = $2, scopes = $3, accounts = $4 where id = $1")
        .bind(id)
        .bind(owner)
        .bind(scopes)
        .bind(accounts)
        .execute(conn)
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
