//! Databases for tests: one for each test, on a server that all tests of this process share.
//!
//! With `DATABASE_URL` set, databases are made on that server (its role needs CREATEDB). Otherwise the first test starts a
//! throw-away server, which ends with the process. Under a runner that gives each test its own process (nextest) that is a
//! server per test: set `DATABASE_URL` there.

mod copies;
mod servers;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::str::FromStr;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool};
use url::Url;

pub use copies::Replica;
pub use servers::{OwnServer, copy_pristine_data, kill_9, own_server, signal};

/// Any number, the same for all that share a server: who holds this advisory lock makes the template.
const TEMPLATE_LOCK: i64 = 0x756e_7265_6164;

/// An own, migrated, empty database; dropped when this value is.
pub struct TestDatabase {
    pub pool: PgPool,
    pub url: String,
    name: String,
    server: Url,
}

/// A new database with the schema that `migrate` makes.
///
/// Migrating takes longer than copying, so it happens once for each `fingerprint`, which must differ whenever the schema does
/// (the migrations' checksums, for example).
pub async fn database(
    fingerprint: &[u8],
    migrate: impl AsyncFnOnce(&PgPool) -> Result<()>,
) -> TestDatabase {
    database_on(server_url().await, fingerprint, migrate).await
}

/// The same on a server of the test's own.
pub async fn database_on(
    server: Url,
    fingerprint: &[u8],
    migrate: impl AsyncFnOnce(&PgPool) -> Result<()>,
) -> TestDatabase {
    let made = async {
        let mut admin = connect(&server).await?;
        let template = template(&mut admin, &server, fingerprint, migrate).await?;
        let name = format!("t_{:016x}", rand::random::<u64>());
        copy(&mut admin, &name, &template).await?;
        admin.close().await?;
        let url = with_database(&server, &name);
        anyhow::Ok(TestDatabase {
            pool: unread::db::pool(options(&url)?, 10),
            url: url.into(),
            name,
            server: server.clone(),
        })
    };
    made.await.expect("a database for the test")
}

impl Drop for TestDatabase {
    /// Best effort: databases left on a server of ours go with the server.
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), std::mem::take(&mut self.name));
        // Its own thread, because the test's runtime is busy running this function.
        let dropped = std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut admin = connect(&server).await?;
                run(&mut admin, format!("drop database {name} with (force)")).await
            })
        });
        if let Ok(Err(error)) = dropped.join() {
            eprintln!("a test's database is left: {error:#}");
        }
    }
}

/// The template's name; makes it if this is the first test that needs it, in this process or another.
async fn template(
    admin: &mut PgConnection,
    server: &Url,
    fingerprint: &[u8],
    migrate: impl AsyncFnOnce(&PgPool) -> Result<()>,
) -> Result<String> {
    let hash = Sha256::digest(fingerprint);
    let hash = hash[..8]
        .iter()
        .fold(0, |hash, byte| hash << 8 | u64::from(*byte));
    let name = format!("tpl_{hash:016x}");
    if exists(admin, &name).await? {
        return Ok(name);
    }
    run(admin, format!("select pg_advisory_lock({TEMPLATE_LOCK})")).await?;
    if !exists(admin, &name).await? {
        // Made under another name, so that a template that exists is whole.
        let unfinished = format!("{name}_{:08x}", rand::random::<u32>());
        run(admin, format!("create database {unfinished}")).await?;
        let pool = PgPool::connect_with(options(&with_database(server, &unfinished))?).await?;
        let migrated = migrate(&pool).await;
        pool.close().await;
        if let Err(error) = migrated {
            run(admin, format!("drop database {unfinished} with (force)")).await?;
            return Err(error).context("the migrations failed");
        }
        // A template must have no connections, so none may come.
        run(
            admin,
            format!("alter database {unfinished} allow_connections false"),
        )
        .await?;
        run(
            admin,
            format!("alter database {unfinished} rename to {name}"),
        )
        .await?;
    }
    run(admin, format!("select pg_advisory_unlock({TEMPLATE_LOCK})")).await?;
    Ok(name)
}

async fn exists(admin: &mut PgConnection, name: &str) -> Result<bool> {
    let query = sqlx::query_scalar("select exists (select from pg_database where datname = $1)");
    Ok(query.bind(name).fetch_one(admin).await?)
}

/// `strategy file_copy` is much faster for small databases; version 14 has no other and not the word.
async fn copy(admin: &mut PgConnection, name: &str, template: &str) -> Result<()> {
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
        .fetch_one(&mut *admin)
        .await?;
    let strategy = if version >= 150_000 {
        "strategy file_copy"
    } else {
        ""
    };
    run(
        admin,
        format!("create database {name} template {template} {strategy}"),
    )
    .await
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<()> {
    connection.execute(AssertSqlSafe(sql)).await?;
    Ok(())
}

async fn connect(url: &Url) -> Result<PgConnection> {
    Ok(options(url)?.connect().await?)
}

fn options(url: &Url) -> Result<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(url.as_str())?)
}

fn with_database(server: &Url, name: &str) -> Url {
    let mut url = server.clone();
    url.set_path(name);
    url
}

async fn server_url() -> Url {
    let given = std::env::var_os("DATABASE_URL");
    let url = match given.as_deref().and_then(OsStr::to_str) {
        Some(url) => url.to_owned(),
        None => servers::shared_url().await,
    };
    Url::parse(&url).expect("DATABASE_URL is a URL")
}
