//! Indexes on tables that are being written to.

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use unread::db;

use super::{is_so, run, to_come};
use crate::harness::{eventually, migrated};

const INDEX: &str = "-- no-transaction\ncreate index concurrently if not exists of_the_future on reminders (due_at)";

const IS_BUILT: &str = "exists (select from pg_index i join pg_class c on c.oid = i.indexrelid
     where c.relname = 'of_the_future' and i.indisvalid)";

const IS_NOTED: &str =
    "exists (select from _sqlx_migrations where version = 99991231000000 and success)";

/// This version's migrations, and one more.
fn with(sql: &str) -> Migrator {
    let mut all: Vec<_> = sqlx::migrate!().iter().cloned().collect();
    all.push(to_come(sql));
    Migrator::with_migrations(all)
}

async fn apply(pool: &PgPool, migrator: &Migrator) {
    let connections = db::pool_for_migrations((*pool.connect_options()).clone());
    db::migrations::apply(&connections, migrator).await.unwrap();
    connections.close().await;
}

#[tokio::test]
async fn an_index_that_an_earlier_attempt_left_unfinished_is_built_anew() {
    let db = migrated().await;
    // One that cannot be finished, under the name of the one that is to come.
    run(
        &db.pool,
        "create table twice (n int); insert into twice values (1), (1)",
    )
    .await;
    let broken = sqlx::raw_sql("create unique index concurrently of_the_future on twice (n)");
    broken.execute(&db.pool).await.unwrap_err();
    assert!(!is_so(&db.pool, IS_BUILT).await);

    let migrator = with(INDEX);
    apply(&db.pool, &migrator).await;
    assert!(is_so(&db.pool, IS_BUILT).await && is_so(&db.pool, IS_NOTED).await);
    let on = "'of_the_future'::regclass in (select indexrelid from pg_index where indrelid = 'reminders'::regclass)";
    assert!(
        is_so(&db.pool, on).await,
        "and on the table of the migration"
    );
    apply(&db.pool, &migrator).await;

    // Finished and not noted: its process was killed in between.
    run(
        &db.pool,
        "delete from _sqlx_migrations where version = 99991231000000",
    )
    .await;
    apply(&db.pool, &migrator).await;
    assert!(is_so(&db.pool, IS_BUILT).await && is_so(&db.pool, IS_NOTED).await);
}

#[tokio::test]
async fn an_index_waits_for_a_long_transaction_and_keeps_nobody_waiting_meanwhile() {
    let db = migrated().await;
    let mut dump = db.pool.begin().await.unwrap();
    sqlx::raw_sql(
        "set transaction isolation level repeatable read; select count(*) from reminders",
    )
    .execute(&mut *dump)
    .await
    .unwrap();
    let beside = async {
        // Longer than any other migration waits.
        let waits = "exists (select from pg_stat_activity where datname = current_database()
             and query like '%create index concurrently%' and pid <> pg_backend_pid() and wait_event_type = 'Lock'
             and clock_timestamp() - query_start > interval '3 seconds')";
        eventually("the index waits", async || is_so(&db.pool, waits).await).await;
        let told = db::migrations::index_progress(&db.pool)
            .await
            .unwrap()
            .unwrap();
        assert!(
            told.contains("of_the_future") && told.contains("waits for the transaction of pid"),
            "{told}"
        );
        let write = "set lock_timeout = '1s';
             update reminders set due_at = due_at; select count(*) from reminders; reset lock_timeout";
        run(&db.pool, write).await;
        dump.rollback().await.unwrap();
    };
    let migrator = with(INDEX);
    tokio::join!(apply(&db.pool, &migrator), beside);
    assert!(is_so(&db.pool, IS_BUILT).await && is_so(&db.pool, IS_NOTED).await);
}
