//! Which tables there are, and whether this program can work with them.
//!
//! In a roll-out old and new processes share the tables. The new ones need every migration they know. The old ones meet migrations
//! that they do not know, and must go on, also after a restart: migrations only add. One that takes something away says in the
//! database which programs can still work with it (`schema_compatible_from`); older ones stop.

use sqlx::PgPool;
use sqlx::migrate::Migrator;

static MIGRATOR: Migrator = sqlx::migrate!();

/// Tables that this program can work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Exactly those it knows.
    Own,
    /// Those of a newer program, which have all that this one uses.
    Newer,
}

#[derive(Debug, thiserror::Error)]
pub enum SchemaProblem {
    #[error(
        "the database is not migrated (migration {missing} is missing): run `unread migrate` first"
    )]
    Behind { missing: i64 },
    #[error(
        "the database was migrated by a newer version of unread (migration {unknown}), which this one cannot work beside: use that \
         version"
    )]
    Ahead { unknown: i64 },
    #[error("the database cannot be read: {0}")]
    Unreachable(#[from] sqlx::Error),
}

/// Brings the ledger's tables up to date. The queue's are migrated by `jobs::queue`.
pub async fn migrate(pool: &PgPool) -> Result<(), sqlx::migrate::MigrateError> {
    MIGRATOR.run(pool).await
}

/// Whether this program can work with the tables as they are.
pub async fn check_schema(pool: &PgPool) -> Result<Schema, SchemaProblem> {
    let known: Vec<i64> = MIGRATOR.iter().map(|m| m.version).collect();
    let applied = applied(pool).await?;
    if let Some(missing) = known.iter().find(|v| !applied.contains(v)) {
        return Err(SchemaProblem::Behind { missing: *missing });
    }
    let Some(unknown) = applied.iter().find(|v| !known.contains(v)) else {
        return Ok(Schema::Own);
    };
    let newest = known.iter().max().copied().unwrap_or_default();
    if compatible_from(pool)
        .await?
        .is_some_and(|oldest| newest >= oldest)
    {
        Ok(Schema::Newer)
    } else {
        Err(SchemaProblem::Ahead { unknown: *unknown })
    }
}

async fn applied(pool: &PgPool) -> sqlx::Result<Vec<i64>> {
    let table: Option<String> = sqlx::query_scalar("select to_regclass('_sqlx_migrations')::text")
        .fetch_one(pool)
        .await?;
    if table.is_none() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("select version from _sqlx_migrations where success order by version")
        .fetch_all(pool)
        .await
}

/// The newest migration that a program must know at least.
async fn compatible_from(pool: &PgPool) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("select value::bigint from instance where key = 'schema_compatible_from'")
        .fetch_optional(pool)
        .await
}
