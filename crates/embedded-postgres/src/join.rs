//! What a command does with our folder: it works on the server that runs there, or starts one for as long as the command takes.
//! There is never a second one beside a running one, because whoever starts one has the folder's lock.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sqlx::postgres::PgConnectOptions;

use super::Options;
use super::cluster::{self, Cluster};
use super::lock::{self, Holder, Purpose};
use super::process;
use super::server::{self, Server};

/// A service that has the lock brings its server up within seconds, or recovers what a power cut left for minutes.
const PATIENCE: Duration = Duration::from_mins(5);

/// A server on our folder, for a command.
#[derive(Debug)]
pub enum Serving {
    /// The command's own; it ends with the command.
    Started(Server),
    /// That of a service that runs.
    Joined(Joined),
}

/// The server of another process.
#[derive(Clone, Debug)]
pub struct Joined {
    root: PathBuf,
}

impl Joined {
    pub fn connect_options(&self, database: &str) -> PgConnectOptions {
        server::connect_options(&self.root, database)
    }
}

/// The major version of the data in our folder; `None`: there are none.
pub fn data_major(root: &Path) -> Result<Option<u32>> {
    cluster::major_of(&cluster::data_of(root))
}

/// Starts a server, or finds the one that runs. Another command that has the folder is waited for: its server goes with it.
pub fn serve_or_join(options: &Options) -> Result<Serving> {
    let asked = Instant::now();
    loop {
        let holder = match Cluster::try_open(&options.root, Purpose::Command)? {
            Ok(cluster) => {
                let server = Server::start_on(Arc::new(cluster), options)?;
                return Ok(Serving::Started(server));
            }
            Err(holder) => holder,
        };
        // Looked at again when the server is known to run: data that are just carried over may not be joined.
        if holder.purpose == Purpose::Service
            && let Some(joined) = joined(&options.root)?
            && lock::purpose(&options.root) == Purpose::Service
        {
            return Ok(Serving::Joined(joined));
        }
        if asked.elapsed() >= holder.patience().max(PATIENCE) {
            bail!(lock::in_use(&options.root, &holder));
        }
        thread::sleep(process::POLL);
    }
}

/// Starts a server that nobody else works on. A service that runs is refused.
pub fn serve_alone(options: &Options) -> Result<Server> {
    match Cluster::try_open(&options.root, Purpose::Command)? {
        Ok(cluster) => Server::start_on(Arc::new(cluster), options),
        Err(Holder {
            pid,
            purpose: Purpose::Service,
        }) => bail!(
            "`unread run` is at work on {} (process id {pid}): stop it first",
            options.root.display()
        ),
        Err(_) => {
            let cluster = Cluster::open(&options.root, Purpose::Command)?;
            Server::start_on(Arc::new(cluster), options)
        }
    }
}

/// Puts the data of a version that is not here aside, so that new ones can be made. Tells where they are.
pub fn set_aside(root: &Path) -> Result<PathBuf> {
    let cluster = Cluster::open(root, Purpose::Command)?;
    let major = cluster.data_major()?.context("there are no data")?;
    cluster.set_aside(major)
}

/// The server of whoever has the folder, if it takes connections.
fn joined(root: &Path) -> Result<Option<Joined>> {
    let root = root
        .canonicalize()
        .with_context(|| format!("cannot look at {}", root.display()))?;
    let data = cluster::data_of(&root);
    let ready = cluster::ready_server(&data).filter(|pid| process::is_server_of(*pid, &data));
    Ok(ready.map(|_| Joined { root }))
}
