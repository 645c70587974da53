//! Migrations that are to come: what they may do to tables that are being worked on, and how long it takes.

mod effects;
mod indexes;
mod million;
mod released;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType};
use sqlx::{AssertSqlSafe, PgPool};

/// A version that comes after all that there are.
const TO_COME: i64 = 99_991_231_000_000;

/// A migration as a file with this text would be.
fn to_come(sql: &str) -> Migration {
    let no_transaction = sql.starts_with("-- no-transaction");
    Migration::new(
        TO_COME,
        "to come".into(),
        MigrationType::Simple,
        AssertSqlSafe(sql.to_owned()).into_sql_str(),
        no_transaction,
    )
}

async fn run(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(pool)
        .await
        .unwrap();
}

async fn is_so(pool: &PgPool, condition: &str) -> bool {
    sqlx::query_scalar(AssertSqlSafe(format!("select {condition}")))
        .fetch_one(pool)
        .await
        .unwrap()
}
