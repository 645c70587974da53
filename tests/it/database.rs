//! Databases for tests: one for each test, on a server that all tests of this process share.
//!
//! With `DATABASE_URL` set, databases are made on that server (its role needs CREATEDB). Otherwise the first test starts a
//! throw-away server, which ends with the process. Under a runner that gives each test its own process (nextest) that is a
//! server per test: set `DATABASE_URL` there.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::sync::{Mutex, Once, PoisonError};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool};
use unread::postgres::{Durability, Options, Server, throwaway_root};
use url::Url;

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
    let server = server_url().await;
    let made = async {
        let mut admin = connect(&server).await?;
        let template = template(&mut admin, &server, fingerprint, migrate).await?;
        let name = format!("t_{:016x}", rand::random::<u64>());
        copy(&mut admin, &name, &template).await?;
        admin.close().await?;
        let url = with_database(&server, &name);
        let pool = PgPoolOptions::new()
            .max_connections(10)
            .connect_with(options(&url)?)
            .await?;
        anyhow::Ok(TestDatabase {
            pool,
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

/// A server that one test may stop, kill and restart. Durable, as the one whose promises such tests are about.
pub struct OwnServer {
    options: Options,
    server: Option<Server>,
}

/// Starts a server of the test's own from a copy of a cluster that is made once.
pub async fn own_server() -> OwnServer {
    blocking(|| {
        let root = throwaway_root();
        std::fs::create_dir(&root)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(&root, mode)?;
        let data = of_process(OfProcess::pristine_data)?;
        let copied = Command::new("cp").arg("-a").args([&data, &root]).status()?;
        ensure!(copied.success(), "cannot copy {}", data.display());
        let options = durable(root);
        let server = Some(Server::start(&options)?);
        Ok(OwnServer { options, server })
    })
    .await
}

impl OwnServer {
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("the server is not killed")
    }

    /// Stops the server cleanly, breaking off what clients do, and starts it again at the same address.
    pub async fn restart(&mut self) {
        let server = self.server.take();
        self.start_after(move || server.map_or(Ok(()), Server::stop))
            .await;
    }

    /// `kill -9` of the server. Its address stays the same when it is started again.
    pub async fn kill(&mut self) {
        let server = self.server.take().expect("the server is not killed yet");
        let ended = server.exited();
        kill_9(server.pid());
        ended.await;
    }

    /// Starts the server after [`OwnServer::kill`].
    pub async fn start(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        self.start_after(|| Ok(())).await;
    }

    async fn start_after(&mut self, before: impl FnOnce() -> Result<()> + Send + 'static) {
        let options = self.options.clone();
        let server = blocking(move || {
            before()?;
            Server::start(&options)
        });
        self.server = Some(server.await);
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.server.take());
        let _ = std::fs::remove_dir_all(&self.options.root);
    }
}

/// `kill -9` of a process that this test started.
pub fn kill_9(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.expect("kill runs").success(), "kill -9 {pid}");
}

fn durable(root: PathBuf) -> Options {
    Options {
        root,
        bin_dir: None,
        durability: Durability::Durable,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("no panic").expect("a PostgreSQL server")
}

/// What lives as long as this process: Rust drops no statics, so the C library's exit does.
#[derive(Default)]
struct OfProcess {
    server: Option<Server>,
    pristine: Option<PathBuf>,
}

static OF_PROCESS: Mutex<OfProcess> = Mutex::new(OfProcess {
    server: None,
    pristine: None,
});

impl OfProcess {
    fn shared_server(&mut self) -> Result<&Server> {
        if self.server.is_none() {
            self.server = Some(Server::start(&Options {
                root: throwaway_root(),
                bin_dir: None,
                durability: Durability::Throwaway,
            })?);
        }
        self.server.as_ref().context("started above")
    }

    /// The data folder of a cluster that was made and stopped.
    fn pristine_data(&mut self) -> Result<PathBuf> {
        if self.pristine.is_none() {
            let options = durable(throwaway_root());
            Server::start(&options)?.stop()?;
            self.pristine = Some(options.root);
        }
        let root = self.pristine.as_ref().context("made above")?;
        Ok(root.join("data"))
    }

    fn end(&mut self) {
        drop(self.server.take());
        if let Some(root) = self.pristine.take() {
            let _ = std::fs::remove_dir_all(root);
        }
    }
}

fn of_process<T>(work: impl FnOnce(&mut OfProcess) -> T) -> T {
    static AT_EXIT: Once = Once::new();
    extern "C" fn end() {
        of_process(OfProcess::end);
    }
    AT_EXIT.call_once(|| {
        #[expect(
            unsafe_code,
            reason = "atexit(3) takes a function that lives for ever and does not unwind"
        )]
        unsafe {
            libc::atexit(end);
        }
    });
    work(&mut OF_PROCESS.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn server_url() -> Url {
    let given = std::env::var_os("DATABASE_URL");
    let url = match given.as_deref().and_then(OsStr::to_str) {
        Some(url) => url.to_owned(),
        None => blocking(|| of_process(|ours| Ok(ours.shared_server()?.url("postgres")))).await,
    };
    Url::parse(&url).expect("DATABASE_URL is a URL")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(connection.execute("select 1").await.is_err());
        own.start().await;
        let rows: i64 = sqlx::query_scalar("select count(*) from thing")
            .fetch_one(&mut fresh(&own).await)
            .await
            .unwrap();
        assert_eq!(rows, 1);
        let root = own.options.root.clone();
        drop(own);
        assert!(!root.exists());
    }
}
