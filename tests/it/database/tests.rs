use super::servers::OwnServer;
use super::*;
use crate::harness::PATIENCE;

async fn one_table(pool: &PgPool) -> Result<()> {
    pool.execute("create table thing (id int primary key)")
        .await?;
    Ok(())
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let one = database(b"one table", one_table).await;
    let two = database(b"one table", one_table).await;
    let insert = "insert into thing values (1)";
    one.pool.execute(insert).await.unwrap();
    two.pool.execute(insert).await.unwrap();
    assert_ne!(one.url, two.url);
}

#[tokio::test]
async fn the_template_is_migrated_once_even_when_tests_start_together() {
    let key = rand::random::<u64>().to_be_bytes();
    let migrations = std::sync::atomic::AtomicU32::new(0);
    let migrate = async |pool: &PgPool| {
        migrations.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        one_table(pool).await
    };
    let made = tokio::join!(
        database(&key, migrate),
        database(&key, migrate),
        database(&key, migrate)
    );
    assert_eq!(migrations.into_inner(), 1);
    let server = &made.0.server;
    let mut admin = connect(server).await.unwrap();
    let template = template(&mut admin, server, &key, one_table).await.unwrap();
    run(&mut admin, format!("drop database {template}"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_dropped_test_database_is_gone_although_its_pool_is_in_use() {
    let ours = database(b"one table", one_table).await;
    let (server, name, pool) = (ours.server.clone(), ours.name.clone(), ours.pool.clone());
    drop(ours);
    let mut admin = connect(&server).await.unwrap();
    assert!(!exists(&mut admin, &name).await.unwrap());
    assert!(pool.execute("select 1").await.is_err());
}

#[tokio::test]
async fn an_own_server_keeps_committed_rows_over_restart_and_kill() {
    let mut own = own_server().await;
    let pool = PgPool::connect_with(own.server().connect_options("postgres"))
        .await
        .unwrap();
    one_table(&pool).await.unwrap();
    own.restart().await;
    let fresh = async |own: &OwnServer| {
        PgConnection::connect_with(&own.server().connect_options("postgres"))
            .await
            .unwrap()
    };
    let mut connection = fresh(&own).await;
    connection
        .execute("insert into thing values (1)")
        .await
        .unwrap();
    own.kill().await;
    // Its processes end by themselves, when they notice; then the connection breaks.
    let broken = async { while connection.execute("select 1").await.is_ok() {} };
    tokio::time::timeout(PATIENCE, broken).await.unwrap();
    own.start().await;
    let rows: i64 = sqlx::query_scalar("select count(*) from thing")
        .fetch_one(&mut fresh(&own).await)
        .await
        .unwrap();
    assert_eq!(rows, 1);
    let root = own.server().root().to_owned();
    drop(own);
    assert!(!root.exists());
}
