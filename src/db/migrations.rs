//! Applies migrations: each is a transaction of its own, but for those that build an index while everybody goes on.
//!
//! `create index concurrently` waits for every transaction that is older, and keeps nobody waiting meanwhile. So it may take its time. Where it
//! breaks off, an index stays behind that is kept up to date and that no statement may use; the next attempt drops it and begins anew.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::MIGRATION_LOCK_TIMEOUT;

/// So long an index waits for the transactions of others. A dump of a large ledger takes minutes.
const PATIENCE: &str = "30min";

/// Nobody else builds indexes for a migration: what is unfinished then was left behind. Any number of our own.
const BUILDERS_LOCK: i64 = 0x756e_7265_6164_0001;

/// Brings the tables up to date, over connections of [`super::pool_for_migrations`].
pub async fn apply(pool: &PgPool, migrator: &Migrator) -> Result<(), MigrateError> {
    let mut conn = pool.acquire().await?;
    for index in migrator.iter().filter(|migration| migration.no_tx) {
        if is_applied(&mut conn, index.version).await? {
            continue;
        }
        migrator.run_to(index.version - 1, &mut *conn).await?;
        sqlx::query("select pg_advisory_lock($1)")
            .bind(BUILDERS_LOCK)
            .execute(&mut *conn)
            .await?;
        drop_unfinished_indexes(&mut conn).await?;
        wait_for_locks(&mut conn, PATIENCE).await?;
        migrator.run_to(index.version, &mut *conn).await?;
        wait_for_locks(&mut conn, MIGRATION_LOCK_TIMEOUT).await?;
        sqlx::query("select pg_advisory_unlock($1)")
            .bind(BUILDERS_LOCK)
            .execute(&mut *conn)
            .await?;
    }
    migrator.run(&mut *conn).await
}

async fn is_applied(conn: &mut PgConnection, version: i64) -> sqlx::Result<bool> {
    let noted = "select to_regclass('_sqlx_migrations') is not null";
    if !sqlx::query_scalar(noted).fetch_one(&mut *conn).await? {
        return Ok(false);
    }
    sqlx::query_scalar("select exists (select from _sqlx_migrations where version = $1)")
        .bind(version)
        .fetch_one(conn)
        .await
}

async fn wait_for_locks(conn: &mut PgConnection, time: &str) -> sqlx::Result<()> {
    sqlx::query("select set_config('lock_timeout', $1, false)")
        .bind(time)
        .execute(conn)
        .await?;
    Ok(())
}

/// What an attempt has left behind that was killed, or gave up.
async fn drop_unfinished_indexes(conn: &mut PgConnection) -> sqlx::Result<()> {
    let unfinished: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', n.nspname, c.relname)
         from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
         where not i.indisvalid and n.nspname = current_schema() order by 1",
    )
    .fetch_all(&mut *conn)
    .await?;
    for index in unfinished {
        tracing::warn!(
            "The index {index} was not finished by an earlier attempt and is built again"
        );
        let drop = format!("drop index concurrently if exists {index}");
        sqlx::raw_sql(AssertSqlSafe(drop))
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// How far the server is with an index that is being built, in words.
pub async fn index_progress(pool: &PgPool) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "select format('%s: %s', p.index_relid::regclass, p.phase)
             || case when p.blocks_total > 0 then format(', %s of %s blocks', p.blocks_done, p.blocks_total) else '' end
             || case when p.lockers_total > p.lockers_done
                 then format(', waits for the transaction of pid %s', p.current_locker_pid) else '' end
         from pg_stat_progress_create_index p where p.datname = current_database() limit 1",
    )
    .fetch_optional(pool)
    .await
}
