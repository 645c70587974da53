//! Physical copies of a test's own server, as operators make them and put them back, and replicas: with PostgreSQL's own programs, from
//! the folder where the server's are.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, lchown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use unread::postgres::{Options, Server};

use super::servers::{OwnServer, durable, own_root};
use crate::harness::eventually;

/// Runs statements on a server, each on its own.
async fn execute(options: &PgConnectOptions, statements: &[&str]) {
    let mut conn = options.connect().await.unwrap();
    for statement in statements {
        let sql = AssertSqlSafe((*statement).to_owned());
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();
}

/// What a server answers to a question of one row.
async fn asked<T>(options: &PgConnectOptions, question: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    let mut conn = options.connect().await.unwrap();
    let sql = AssertSqlSafe(question.to_owned());
    let answer = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    answer
}

async fn succeeds(mut command: Command) {
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

impl OwnServer {
    pub fn root(&self) -> &Path {
        &self.options.root
    }

    fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    pub async fn execute(&self, statements: &[&str]) {
        execute(&self.server().connect_options("postgres"), statements).await;
    }

    /// Whether an answer of one row is yes.
    pub async fn says(&self, question: &str) -> bool {
        asked(&self.server().connect_options("postgres"), question).await
    }

    /// The moment by its clock, in words that it understands.
    pub async fn now(&self) -> String {
        let options = self.server().connect_options("postgres");
        asked(&options, "select clock_timestamp()::text").await
    }

    /// The folder of PostgreSQL's programs.
    async fn programs(&self) -> PathBuf {
        let question = "select setting from pg_config where name = 'BINDIR'";
        let folder: String = asked(&self.server().connect_options("postgres"), question).await;
        folder.into()
    }

    /// Some packages have the server without it.
    pub async fn has_pg_basebackup(&self) -> bool {
        self.programs().await.join("pg_basebackup").is_file()
    }

    /// An empty folder of the account that the server runs as.
    fn folder(&self, path: &Path) {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
        let owner = fs::metadata(self.data()).unwrap();
        lchown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    /// A base backup while the server runs.
    async fn base_backup_in(&self, path: &Path, more: &[&str]) {
        self.folder(path);
        let mut command = Command::new(self.programs().await.join("pg_basebackup"));
        command
            .args(["--checkpoint=fast", "--no-sync", "-U", "postgres", "-h"])
            .arg(self.root().join("s"))
            .arg("-D")
            .arg(path)
            .args(more)
            .current_dir("/")
            .env_clear();
        if fs::metadata(self.root()).unwrap().uid() == 0 {
            let owner = fs::metadata(self.data()).unwrap();
            command.uid(owner.uid()).gid(owner.gid());
        }
        succeeds(command).await;
    }

    /// A base backup; where it is.
    pub async fn base_backup(&self) -> PathBuf {
        let path = self.root().join("base");
        self.base_backup_in(&path, &[]).await;
        path
    }

    /// From here on the server archives its log; the folder.
    pub async fn archives(&mut self) -> PathBuf {
        let archive = self.root().join("archive");
        self.folder(&archive);
        let command = format!(
            "alter system set archive_command = 'cp %p {}/%f'",
            archive.display()
        );
        self.execute(&["alter system set archive_mode = on", &command])
            .await;
        self.restart().await;
        archive
    }

    /// Waits until all that was done so far is in the archive.
    pub async fn archive_all(&self) {
        let file = "select pg_walfile_name(pg_switch_wal())";
        let file: String = asked(&self.server().connect_options("postgres"), file).await;
        let question =
            format!("select coalesce(last_archived_wal >= '{file}', false) from pg_stat_archiver");
        eventually("it is archived", async || self.says(&question).await).await;
    }

    /// What a snapshot of the disk has: the data as they are at a moment at which the server works. It is an image as a crash leaves it.
    pub async fn snapshot(&mut self) -> PathBuf {
        let path = self.root().join("snapshot");
        self.crash().await;
        let mut command = Command::new("cp");
        command.arg("-a").args([&self.data(), &path]);
        succeeds(command).await;
        self.start().await;
        path
    }

    /// The machine is lost, and a copy takes the place of the data.
    pub async fn put_back(&mut self, copy: &Path) {
        self.kill().await;
        let data = self.data();
        // Its last processes may be clearing away files as well.
        eventually("the old data are gone", async || {
            fs::remove_dir_all(&data).is_ok() || !data.exists()
        })
        .await;
        fs::rename(copy, data).unwrap();
        self.start().await;
    }

    /// The same, and what is in the archive is done again until a moment.
    pub async fn put_back_until(&mut self, copy: &Path, archive: &Path, moment: &str) {
        let settings = format!(
            "restore_command = 'cp {}/%f %p'\nrecovery_target_time = '{moment}'\nrecovery_target_action = 'promote'\n",
            archive.display()
        );
        let file = OpenOptions::new()
            .append(true)
            .open(copy.join("postgresql.auto.conf"));
        file.unwrap().write_all(settings.as_bytes()).unwrap();
        let signal = copy.join("recovery.signal");
        fs::write(&signal, "").unwrap();
        let owner = fs::metadata(copy).unwrap();
        lchown(&signal, Some(owner.uid()), Some(owner.gid())).unwrap();
        self.put_back(copy).await;
        self.takes_writes().await;
    }

    /// Waits until it has done all that it has received: it answers before that.
    async fn takes_writes(&self) {
        let done = "select not pg_is_in_recovery()";
        eventually("it takes writes", async || self.says(done).await).await;
    }

    /// A replica that follows this server.
    pub async fn replica(&self) -> Replica {
        let options = durable(own_root().unwrap());
        let data = options.root.join("data");
        self.base_backup_in(&data, &["--write-recovery-conf"]).await;
        let start = options.clone();
        let server = tokio::task::spawn_blocking(move || Server::start(&start));
        let server = server.await.unwrap().unwrap();
        let replica = Replica { options, server };
        let streams = "select exists (select from pg_stat_replication where state = 'streaming')";
        eventually("it follows", async || self.says(streams).await).await;
        replica
    }
}

/// A server that follows another one.
pub struct Replica {
    options: Options,
    server: Server,
}

impl Replica {
    fn address(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.socket())
            .username("postgres")
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
    }

    /// The folder of its socket.
    pub fn socket(&self) -> PathBuf {
        self.options.root.join("s")
    }

    pub async fn execute(&self, statements: &[&str]) {
        execute(&self.address(), statements).await;
    }

    /// It takes the place of the one that it followed. What it has received it does before.
    pub async fn promote(self) -> OwnServer {
        // Who waits inside is in the way of what it has yet to do.
        let begun: bool = asked(&self.address(), "select pg_promote(false)").await;
        assert!(begun, "it is to be promoted");
        let promoted = OwnServer {
            options: self.options,
            server: Some(self.server),
        };
        promoted.takes_writes().await;
        promoted
    }
}
