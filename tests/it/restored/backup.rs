//! Backups of a test's database: what is in its tables, put back later under processes that live on.

use sqlx::PgPool;

/// Remembers every row of the ledger and the queue, and where sequences are.
pub async fn make(pool: &PgPool) {
    sqlx::raw_sql(
        "do $$ declare t record; begin
             drop schema if exists backup cascade;
             create schema backup;
             for t in select schemaname, tablename from pg_tables where schemaname in ('public', 'apalis') loop
                 execute format('create table backup.%I as table %I.%I', t.schemaname || '.' || t.tablename,
                     t.schemaname, t.tablename);
             end loop;
             create table backup.sequences as
                 select schemaname, sequencename, last_value from pg_sequences where schemaname in ('public', 'apalis');
         end $$",
    )
    .execute(pool)
    .await
    .unwrap();
}

/// Puts all of it back; what came since is gone. No trigger sees it, as none sees a real restore.
pub async fn restore(pool: &PgPool) {
    // Against what still runs it may lose a deadlock, and is undone as a whole then.
    for _ in 0..20 {
        match try_to_restore(pool).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("40P01") => {}
            other => return other.unwrap(),
        }
    }
    panic!("twenty deadlocks");
}

async fn try_to_restore(pool: &PgPool) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "do $$ declare t record; all_tables text; own text; begin
             set local session_replication_role = replica;
             select string_agg(format('%I.%I', schemaname, tablename), ', ') into all_tables
                 from pg_tables where schemaname in ('public', 'apalis');
             execute 'truncate ' || all_tables;
             for t in select schemaname, tablename from pg_tables where schemaname in ('public', 'apalis') loop
                 select string_agg(format('%I', column_name), ', ') into own from information_schema.columns
                     where table_schema = t.schemaname and table_name = t.tablename and is_generated = 'NEVER';
                 execute format('insert into %I.%I (%s) overriding system value select %s from backup.%I', t.schemaname,
                     t.tablename, own, own, t.schemaname || '.' || t.tablename);
             end loop;
             for t in select * from backup.sequences loop
                 perform setval(format('%I.%I', t.schemaname, t.sequencename)::regclass, coalesce(t.last_value, 1),
                     t.last_value is not null);
             end loop;
         end $$",
    )
    .execute(pool)
    .await
    .map(drop)
}
