//! What the planner believes of the tables' sizes.

use sqlx::{AssertSqlSafe, PgPool};

/// Pages that a table may have before it matters how it is read.
const FEW_PAGES: i32 = 8;

/// Analyses the tables that have more than doubled since the planner last heard of them; connections then plan anew what they ask of
/// them. The server does so by itself, after a minute or later, and at some installations at night: until then a plan that was made while a
/// table was nearly empty reads all of it, once for each batch. Returns which.
pub async fn refresh(pool: &PgPool) -> sqlx::Result<Vec<String>> {
    let grown: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname in (current_schema(), 'apalis') and c.relkind = 'r'
           and pg_relation_size(c.oid) > 2 * greatest(c.relpages, $1)::bigint * current_setting('block_size')::bigint
         order by c.oid",
    )
    .bind(FEW_PAGES)
    .fetch_all(pool)
    .await?;
    for table in &grown {
        // Whom somebody else has in hand (autovacuum) is analysed by that.
        let analyse = format!("analyze (skip_locked) {table}");
        sqlx::raw_sql(AssertSqlSafe(analyse)).execute(pool).await?;
    }
    Ok(grown)
}
