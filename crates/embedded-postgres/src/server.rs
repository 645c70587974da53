//! A running server: start, readiness, stop.

use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::account::Account;
use super::cluster::{self, Cluster};
use super::find::{self, Programs};
use super::lock::Purpose;
use super::process::{self, Running, Signal};
use super::upgrade;
use super::{Durability, Options, OtherMajor};

/// Only a name within the socket's folder: nothing listens on the network, so it cannot collide.
const PORT: u16 = 5432;

/// Recovery after a power cut replays what was written since the last checkpoint, which can take minutes.
const START_PATIENCE: Duration = Duration::from_mins(5);

/// How long the processes of a killed server may take to notice.
const REMNANT_PATIENCE: Duration = Duration::from_secs(10);

const SETTINGS: &[&str] = &[
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    "max_connections=200",
    "shared_buffers=64MB",
    "jit=off",
    "log_checkpoints=off",
    // Statements and details of errors hold people's addresses.
    "log_error_verbosity=terse",
    "log_min_error_statement=panic",
];

const THROWAWAY_SETTINGS: &[&str] = &[
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=1GB",
    "checkpoint_timeout=30min",
];

/// A database server that runs as our child and ends when this value is dropped, or when our process ends in any way.
#[derive(Debug)]
pub struct Server {
    running: Running,
    durability: Durability,
    stopped: bool,
    /// Last, so that the folder stays locked until the server is gone.
    cluster: Arc<Cluster>,
}

impl Server {
    /// Starts a server on `options.root` and returns when it takes connections; makes the cluster first if there is none, and
    /// carries lasting data over to a newer major version.
    /// Blocks: 0.05 s, or about a second the first time.
    ///
    /// # Errors
    /// No usable programs, the folder is in use or cannot be used by the account that root becomes, its data are of another
    /// major version ([`OtherMajor`]), or the server does not come up; the message says what to do or shows the end of the server's
    /// log.
    pub fn start(options: &Options) -> Result<Self> {
        let cluster = Arc::new(Cluster::open(&options.root, Purpose::Service)?);
        if options.durability == Durability::Durable {
            upgrade::if_newer(&cluster, options.bin_dir.as_deref())?;
        }
        Self::start_on(cluster, options)
    }

    /// The same on a folder that we have, with the version that its data are of.
    pub(super) fn start_on(cluster: Arc<Cluster>, options: &Options) -> Result<Self> {
        cluster.finish_exchange()?;
        let account = account(&cluster)?;
        let bin_dir = options.bin_dir.as_deref();
        let programs = programs(&cluster, bin_dir, account.as_ref())?;
        Self::start_with(cluster, &programs, account.as_ref(), options.durability)
    }

    pub(super) fn start_with(
        cluster: Arc<Cluster>,
        programs: &Programs,
        account: Option<&Account>,
        durability: Durability,
    ) -> Result<Self> {
        cluster.remove_unfinished()?;
        cluster.recover()?;
        cluster.make_data(programs, account, durability)?;
        cluster.make_socket_folder(account)?;
        let running = launch(&cluster, programs, account, durability)?;
        tracing::debug!(
            pid = running.pid,
            major = programs.major,
            folder = %cluster.root().display(),
            "PostgreSQL started"
        );
        Ok(Self {
            running,
            durability,
            stopped: false,
            cluster,
        })
    }

    /// The address of a database of this server. It holds no secret: access is by the socket's folder.
    pub fn url(&self, database: &str) -> String {
        let encode = |bytes| percent_encode(bytes, NON_ALPHANUMERIC);
        let folder = self.cluster.socket_folder();
        format!(
            "postgres://postgres@{}:{PORT}/{}",
            encode(folder.as_os_str().as_encoded_bytes()),
            encode(database.as_bytes())
        )
    }

    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        connect_options(self.cluster.root(), database)
    }

    /// Whether the data outlive it.
    pub fn is_durable(&self) -> bool {
        self.durability == Durability::Durable
    }

    /// Whether the data were carried over from another major version, and nobody has said yet that this is known.
    pub fn was_carried_over(&self) -> bool {
        self.cluster.carried_over().exists()
    }

    /// From now on it is known.
    pub fn note_carried_over(&self) -> Result<()> {
        std::fs::remove_file(self.cluster.carried_over())
            .with_context(|| format!("cannot remove {}", self.cluster.carried_over().display()))
    }

    pub fn pid(&self) -> u32 {
        self.running.pid
    }

    /// The folder, absolute and without symbolic links.
    pub fn root(&self) -> &Path {
        self.cluster.root()
    }

    /// Resolves when the server has ended, to how it ended. Not tied to the life of this value.
    pub fn exited(&self) -> impl Future<Output = String> + Send + use<> {
        let mut ended = self.running.ended.clone();
        let log = self.cluster.root().join("log");
        async move {
            let status = match ended.wait_for(Option::is_some).await {
                Ok(status) => status.clone().unwrap_or_default(),
                Err(_) => "unknown status".into(),
            };
            format!("{status}, log in {}", log.display())
        }
    }

    /// Stops the server cleanly, and less cleanly if that takes more than 20 s. A throw-away cluster is removed.
    ///
    /// # Errors
    /// The server does not even react to SIGKILL, or the throw-away folder cannot be removed.
    pub fn stop(mut self) -> Result<()> {
        self.shut_down(Duration::from_secs(20))
    }

    /// SIGINT breaks off what clients do and shuts down. Not SIGTERM: it waits for the clients, perhaps for ever.
    fn shut_down(&mut self, patience: Duration) -> Result<()> {
        if self.stopped {
            return Ok(()); // and the folder may be somebody else's by now
        }
        self.stopped = true;
        stop(&self.running, patience)?;
        if self.durability == Durability::Throwaway {
            let removed = self.cluster.remove();
            let root = self.cluster.root().display();
            removed.with_context(|| format!("cannot remove {root}"))?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down(Duration::from_secs(3)) {
            tracing::warn!("PostgreSQL was not stopped cleanly: {error:#}");
        }
    }
}

/// How the server of this folder is reached, whoever runs it.
pub fn connect_options(root: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(cluster::socket_folder_of(root))
        .port(PORT)
        .username("postgres")
        .database(database)
        .ssl_mode(PgSslMode::Disable)
}

/// Who is to run the programs.
pub(super) fn account(cluster: &Cluster) -> Result<Option<Account>> {
    let account = Account::for_data(&cluster.data())?;
    if let Some(account) = &account {
        account.check_way_to(cluster.root())?;
    }
    Ok(account)
}

/// The programs that can read the data. Where only those of another version are, that is told apart from having none.
fn programs(
    cluster: &Cluster,
    bin_dir: Option<&Path>,
    account: Option<&Account>,
) -> Result<Programs> {
    let made_by = cluster.data_major()?;
    let found = find::programs(bin_dir, account, made_by);
    match (made_by, found) {
        (Some(made_by), Err(error)) => match find::programs(bin_dir, account, None) {
            Ok(others) => Err(OtherMajor {
                data: cluster.data(),
                made_by,
                here: others.major,
            }
            .into()),
            Err(_) => Err(error),
        },
        (_, found) => found,
    }
}

fn stop(running: &Running, patience: Duration) -> Result<()> {
    let then = Duration::from_secs(5);
    for (signal, patience) in [
        (Signal::Interrupt, patience),
        (Signal::Quit, then),
        (Signal::Kill, then),
    ] {
        if running.has_ended() {
            return Ok(());
        }
        process::signal(running.pid, signal);
        if process::wait_until(patience, || running.has_ended()) {
            return Ok(());
        }
        tracing::warn!(
            pid = running.pid,
            "PostgreSQL did not end within {patience:?} of {signal:?}"
        );
    }
    bail!("PostgreSQL (process id {}) does not end", running.pid)
}

/// Runs the server and waits until it is ready. Processes of a server that was killed may hold its shared memory for a moment
/// longer, and `postgres` rightly refuses to start beside them.
fn launch(
    cluster: &Cluster,
    programs: &Programs,
    account: Option<&Account>,
    durability: Durability,
) -> Result<Running> {
    let started = std::time::Instant::now();
    loop {
        let mut command = server_command(cluster, programs, account, durability);
        let log = cluster.new_log()?;
        command.stdout(log.try_clone()?).stderr(log);
        let running = process::spawn(command)
            .with_context(|| format!("cannot run {}", programs.postgres.display()))?;
        match wait_until_ready(cluster, &running) {
            Ok(()) => return Ok(running),
            Err(error) => {
                stop(&running, Duration::from_secs(3))?;
                let remnant = cluster
                    .log_tail()
                    .contains("pre-existing shared memory block");
                if !remnant || started.elapsed() > REMNANT_PATIENCE {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn server_command(
    cluster: &Cluster,
    programs: &Programs,
    account: Option<&Account>,
    durability: Durability,
) -> Command {
    let mut command = process::command(&programs.postgres, account);
    command.arg("-D").arg(cluster.data());
    // Quoted, because the setting is a list: a comma in the path would separate.
    let socket_folder = cluster.socket_folder().display().to_string();
    command
        .arg("-k")
        .arg(format!("\"{}\"", socket_folder.replace('"', "\"\"")));
    let throwaway = match durability {
        Durability::Durable => &[],
        Durability::Throwaway => THROWAWAY_SETTINGS,
    };
    for setting in SETTINGS.iter().chain(throwaway) {
        command.args(["-c", setting]);
    }
    command
}

fn wait_until_ready(cluster: &Cluster, running: &Running) -> Result<()> {
    let ready = || cluster.is_ready(running.pid);
    let settled = process::wait_until(START_PATIENCE, || running.has_ended() || ready());
    if let Some(status) = &*running.ended.borrow() {
        bail!(
            "PostgreSQL ended while starting ({status}):\n{}",
            cluster.log_tail()
        );
    }
    ensure!(
        settled,
        "PostgreSQL was not ready after {START_PATIENCE:?}:\n{}",
        cluster.log_tail()
    );
    Ok(())
}
