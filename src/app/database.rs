//! Which database this process works on, and the server behind it if it is our own.
//!
//! `DATABASE_URL` comes first. Without it a service keeps a PostgreSQL of its own in a folder, and commands work on that: over the
//! server that runs there, else over one that they start for as long as they take.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tracing::info;

use crate::backup::{self, Nightly};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, SettingProblem};
use crate::control::hold;
use crate::db;
use crate::metrics::Metrics;
use crate::postgres::{self, Address, DATABASE, Durability, OtherMajor, Server, Serving};

/// How the folder below a user's data is called.
const NAME: &str = "unread";

/// A database to work with, and the server behind it if it is our own.
pub struct Database {
    /// Of the server that takes changes; of the first where none does yet.
    pub options: PgConnectOptions,
    server: Behind,
}

enum Behind {
    /// The one that is configured, or several of which one takes changes.
    Configured(ConfiguredServers),
    /// Our own, in this process.
    Own(Server),
    /// That of a service of ours that runs.
    Running,
}

/// The servers of `DATABASE_URL`.
struct ConfiguredServers {
    all: Vec<PgConnectOptions>,
    /// The one that is used.
    current: usize,
}

impl ConfiguredServers {
    /// `None`: the settings name none.
    async fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(url) = &config.database_url else {
            return Ok(None);
        };
        let all = url.servers().iter();
        let all = all.map(|server| server.expose().parse::<PgConnectOptions>());
        let all = all.collect::<Result<Vec<_>, _>>();
        let all = all.context("DATABASE_URL is not a PostgreSQL URL")?;
        // One that is alone is waited for, whatever it is by now.
        let current = if all.len() > 1 {
            db::servers::taking_changes(&all).await.unwrap_or_default()
        } else {
            0
        };
        Ok(Some(Self { all, current }))
    }
}

/// Where a command finds its database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseSource {
    /// At `DATABASE_URL`.
    Configured,
    /// In this folder there is a cluster of `unread run`.
    Own(PathBuf),
}

impl Database {
    /// For a service: the configured server; without one, a PostgreSQL of our own, made if there is none yet.
    pub async fn open(config: &Config, durability: Durability) -> anyhow::Result<Self> {
        if let Some(servers) = ConfiguredServers::of(config).await? {
            return Ok(Self {
                options: servers.all[servers.current].clone(),
                server: Behind::Configured(servers),
            });
        }
        let root = match durability {
            Durability::Throwaway => postgres::throwaway_root(),
            Durability::Durable => root(config),
        };
        let options = own(config, root.clone(), durability);
        let started = tokio::task::spawn_blocking(move || Server::start(&options)).await?;
        let server = started.map_err(|error| with_way_back(error, config))?;
        info!("PostgreSQL of our own runs in {}", root.display());
        Ok(Self::of(server))
    }

    /// For a command: the configured server, else that of an installation which is there. Makes none.
    pub async fn find(config: &Config) -> anyhow::Result<Self> {
        let root = match locate(config)? {
            DatabaseSource::Configured => return Self::open(config, Durability::Durable).await,
            DatabaseSource::Own(root) => root,
        };
        let options = own(config, root, Durability::Durable);
        let serving =
            tokio::task::spawn_blocking(move || postgres::serve_or_join(&options)).await?;
        match serving.map_err(|error| with_way_back(error, config))? {
            Serving::Started(server) => Ok(Self::of(server)),
            Serving::Joined(joined) => Ok(Self {
                options: joined.connect_options(DATABASE),
                server: Behind::Running,
            }),
        }
    }

    /// For what takes the place of a database: the configured server, else our own, made if there is none, on which nobody else
    /// works. Data of a version whose programs are not here are put aside if they are to be replaced.
    pub async fn alone(config: &Config, replace: bool) -> anyhow::Result<Self> {
        if config.database_url.is_some() {
            return Self::open(config, Durability::Durable).await;
        }
        let root = root(config);
        let options = own(config, root.clone(), Durability::Durable);
        let started = tokio::task::spawn_blocking(move || {
            let started = postgres::serve_alone(&options);
            match started {
                Err(error) if replace && error.is::<OtherMajor>() => {
                    let kept = postgres::set_aside(&options.root)?;
                    tracing::warn!("{error}. Its data are kept as {}", kept.display());
                    postgres::serve_alone(&options)
                }
                started => started,
            }
        });
        let server = started.await?;
        Ok(Self::of(
            server.map_err(|error| with_way_back(error, config))?,
        ))
    }

    fn of(server: Server) -> Self {
        Self {
            options: server.connect_options(DATABASE),
            server: Behind::Own(server),
        }
    }

    /// Whether it is on a PostgreSQL of our own.
    pub fn is_own(&self) -> bool {
        !matches!(self.server, Behind::Configured(_))
    }

    /// Where it is, without user and password.
    pub fn place(&self) -> String {
        db::servers::place(&self.options)
    }

    /// Every server that the settings name; none if it is our own.
    pub fn servers(&self) -> &[PgConnectOptions] {
        match &self.server {
            Behind::Configured(servers) => &servers.all,
            Behind::Own(_) | Behind::Running => &[],
        }
    }

    /// Has a pool follow the database to whichever of its servers takes changes. Nothing to do where there is one.
    pub(super) fn followed_by(&self, pool: &PgPool) {
        if let Behind::Configured(servers) = &self.server
            && servers.all.len() > 1
        {
            let (all, current) = (servers.all.clone(), servers.current);
            tokio::spawn(db::servers::follow(pool.clone(), all, current));
        }
    }

    /// The same database for a backup.
    pub fn for_backup(&self, config: &Config) -> anyhow::Result<backup::BackupDatabase> {
        let address = match (&self.server, &config.database_url) {
            (Behind::Configured(servers), Some(url)) => {
                Address::of_url(url.servers()[servers.current].expose())?
            }
            _ => Address::of_socket(&self.options),
        };
        Ok(backup::BackupDatabase {
            options: self.options.clone(),
            address,
            bin_dir: config.postgres_bin.clone(),
        })
    }

    /// What backs our own PostgreSQL up every night; `None`: it is not our own, or the settings want none.
    pub(super) fn nightly(
        &self,
        config: &Config,
        clock: &Clock,
        metrics: &Metrics,
    ) -> anyhow::Result<Option<Nightly>> {
        let Behind::Own(server) = &self.server else {
            return Ok(None);
        };
        let keep = config.backups_kept;
        if keep == 0 || !server.is_durable() {
            return Ok(None);
        }
        Ok(Some(Nightly {
            database: self.for_backup(config)?,
            folder: backups(config),
            keep,
            zone: config.zone(),
            since: made_at(server.root())?,
            clock: clock.clone(),
            metrics: metrics.clone(),
        }))
    }

    /// Called when the tables are up to date: what must be done once after our data were carried over to another version of
    /// PostgreSQL. Their server is a new one, which is all that has changed.
    pub(super) async fn settle(&self, pool: &PgPool) -> anyhow::Result<()> {
        let Behind::Own(server) = &self.server else {
            return Ok(());
        };
        if server.was_carried_over() {
            after_carrying_over(pool).await?;
            server.note_carried_over()?;
        }
        Ok(())
    }

    /// Ends when a server of our own ends without having been asked to; never for a configured one.
    pub(super) fn lost(&self) -> impl Future<Output = String> + Send + use<> {
        let exited = match &self.server {
            Behind::Own(server) => Some(server.exited()),
            Behind::Configured(_) | Behind::Running => None,
        };
        async move {
            match exited {
                Some(exited) => exited.await,
                None => std::future::pending().await,
            }
        }
    }

    pub async fn close(self) -> anyhow::Result<()> {
        if let Behind::Own(server) = self.server {
            tokio::task::spawn_blocking(move || server.stop()).await??;
        }
        Ok(())
    }
}

/// The server is a new one with the same data. The planner's figures are made anew.
async fn after_carrying_over(pool: &PgPool) -> anyhow::Result<()> {
    let mut tx = pool.begin().await?;
    hold::carried_over(&mut tx)
        .await
        .context("taking over the data that were carried over")?;
    tx.commit().await?;
    db::restore::analyze(pool)
        .await
        .context("looking at the data that were carried over")
}

/// Which database a command works on: the configured one, else that of an installation in its folder.
pub fn locate(config: &Config) -> Result<DatabaseSource, ConfigError> {
    if config.database_url.is_some() {
        return Ok(DatabaseSource::Configured);
    }
    let (existing, looked_in) = match &config.data_dir {
        Some(folder) => {
            let root = cluster_in(folder);
            // What may not be looked at is there, and the error that opening it brings says more.
            let there = postgres::data_major(&root).map_or(true, |major| major.is_some());
            (there.then_some(root), format!("in {}", folder.display()))
        }
        None => (
            postgres::existing_root(NAME),
            "in the usual folder".to_owned(),
        ),
    };
    existing.map(DatabaseSource::Own).ok_or_else(|| {
        ConfigError(vec![SettingProblem::new(
            "DATABASE_URL",
            format!("is not set, and there is no database of `unread run` {looked_in}"),
            "Set DATABASE_URL to postgres://user:password@host/name, or UNREAD_DATA_DIR to the folder in which `unread run` keeps \
             its PostgreSQL.",
        )])
    })
}

/// Where the nightly backups are.
pub fn backups(config: &Config) -> PathBuf {
    match &config.data_dir {
        Some(folder) => folder.join(backup::FOLDER),
        None => root(config).join(backup::FOLDER),
    }
}

/// The folder of our own cluster.
fn root(config: &Config) -> PathBuf {
    match &config.data_dir {
        Some(folder) => cluster_in(folder),
        None => postgres::default_root(NAME),
    }
}

fn cluster_in(folder: &Path) -> PathBuf {
    folder.join("postgres")
}

fn own(config: &Config, root: PathBuf, durability: Durability) -> postgres::Options {
    postgres::Options {
        root,
        bin_dir: config.postgres_bin.clone(),
        durability,
    }
}

/// When the cluster was made.
fn made_at(root: &Path) -> anyhow::Result<DateTime<Utc>> {
    let file = root.join("data/PG_VERSION");
    let made = fs::metadata(&file).and_then(|found| found.modified());
    Ok(made
        .with_context(|| format!("cannot look at {}", file.display()))?
        .into())
}

/// Data of another version can also be left behind for the newest backup.
fn with_way_back(error: anyhow::Error, config: &Config) -> anyhow::Error {
    if !error.is::<OtherMajor>() {
        return error;
    }
    let newest = backup::newest(&backups(config));
    let file = newest.map_or("FILE".to_owned(), |newest| {
        newest.path.display().to_string()
    });
    anyhow::anyhow!(
        "{error}. Or begin with a backup, which puts the old data aside: unread restore --replace {file}"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{ProcessRole, Sources};
    use crate::domain::zone::Zone;

    fn config(settings: &[(&str, &str)]) -> Config {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let environment: BTreeMap<String, String> = settings.iter().map(own).collect();
        let sources = Sources {
            environment,
            file: None,
            read_secret: |path| fs::read_to_string(path),
        };
        Config::read(&sources, ProcessRole::Migrate).unwrap()
    }

    #[test]
    fn a_command_works_on_the_configured_database_else_on_the_one_in_the_folder() {
        let folder = std::env::temp_dir().join(format!("unread-locate-{}", std::process::id()));
        let (full, empty) = (folder.join("full"), folder.join("empty"));
        fs::create_dir_all(full.join("postgres/data")).unwrap();
        fs::create_dir_all(empty.join("postgres")).unwrap();
        fs::write(full.join("postgres/data/PG_VERSION"), "15\n").unwrap();
        let url = ("DATABASE_URL", "postgres://localhost/unread");
        let (full_dir, empty_dir) = (
            ("UNREAD_DATA_DIR", full.to_str().unwrap()),
            ("UNREAD_DATA_DIR", empty.to_str().unwrap()),
        );
        let found: Vec<Result<DatabaseSource, ConfigError>> = [
            &[url][..],
            &[url, full_dir],
            &[url, empty_dir],
            &[full_dir],
            &[empty_dir],
        ]
        .into_iter()
        .map(|settings| locate(&config(settings)))
        .collect();
        fs::remove_dir_all(&folder).unwrap();
        let [by_url, also, still, own, neither] = &found[..] else {
            panic!("{found:?}");
        };
        for configured in [by_url, also, still] {
            assert_eq!(configured, &Ok(DatabaseSource::Configured));
        }
        assert_eq!(own, &Ok(DatabaseSource::Own(full.join("postgres"))));
        let said = neither.as_ref().unwrap_err().to_string();
        for name in ["DATABASE_URL", "UNREAD_DATA_DIR", empty.to_str().unwrap()] {
            assert!(said.contains(name), "{name} is not in: {said}");
        }
    }

    #[test]
    fn the_night_is_that_of_the_first_account_that_names_a_zone() {
        let account = |more: &[(&str, &str)]| {
            let all = [&[("LE_ACCOUNT", "12345678")], more].concat();
            config(&all)
        };
        assert_eq!(config(&[]).zone(), Zone::UTC);
        assert_eq!(account(&[]).zone(), Zone::UTC);
        let berlin = account(&[("UNREAD_TIME_ZONE", "Europe/Berlin")]);
        assert_eq!(berlin.zone().to_string(), "Europe/Berlin");
    }
}
