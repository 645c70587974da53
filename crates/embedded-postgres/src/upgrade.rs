//! The data of an older major version, carried over to a newer one: dumped by the old server, taken in by a new one, and then the
//! two folders change places. The old one is kept.
//!
//! It happens when the service starts and finds programs of a newer version beside those of the old one, as packages leave them
//! after an upgrade of the system, until somebody clears the old ones away. Whatever goes wrong, the old data are as they were, and
//! the service goes on with the old version.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};

use super::account::Account;
use super::client::{Address, Children, Clients};
use super::cluster::Cluster;
use super::find::{self, Programs};
use super::lock::Purpose;
use super::server::{self, Server};
use super::{DATABASE, Durability, disk};

/// Carries the data over if they are of an older version than the programs that would be chosen for new data.
pub fn if_newer(cluster: &Arc<Cluster>, bin_dir: Option<&Path>) -> Result<()> {
    cluster.finish_exchange()?;
    let Some(made_by) = cluster.data_major()? else {
        return Ok(());
    };
    let account = server::account(cluster)?;
    let new = find::programs(bin_dir, account.as_ref(), None).ok();
    let Some(new) = new.filter(|new| new.major > made_by) else {
        return Ok(());
    };
    // Those that are missing are told of when the server is started.
    let Ok(old) = find::programs(None, account.as_ref(), Some(made_by)) else {
        return Ok(());
    };
    // What a command wrote into the old server now would be lost: nobody may join it.
    cluster.use_for(Purpose::Command)?;
    let carried_over = carry_over(cluster, &old, &new, account.as_ref());
    cluster.use_for(Purpose::Service)?;
    if let Err(error) = carried_over {
        tracing::error!(
            "The data could not be carried over from PostgreSQL {made_by} to {}, going on with the old version: {error:#}",
            new.major
        );
        cluster.remove_unfinished()?;
        // What was asked for by its folder is the new version: the old one is found where it was found just now.
        ensure!(
            bin_dir.is_none(),
            "UNREAD_POSTGRES_BIN names PostgreSQL {}, and the data are of version {made_by}: leave it out until they could be carried over",
            new.major
        );
    }
    Ok(())
}

fn carry_over(
    cluster: &Arc<Cluster>,
    old: &Programs,
    new: &Programs,
    account: Option<&Account>,
) -> Result<()> {
    let (from, to) = (old.major, new.major);
    let clients = Clients::find(new.postgres.parent(), to)?;
    let (needed, free) = (disk::size(&cluster.data())?, disk::free(cluster.root())?);
    ensure!(
        free > needed,
        "there are {} free in {}, and {} are needed",
        disk::shown(free),
        cluster.root().display(),
        disk::shown(needed)
    );
    tracing::info!(
        "The data in {} are of PostgreSQL {from}; carrying them over to version {to}",
        cluster.root().display()
    );
    let children = Children::default();
    let durable = Durability::Durable;

    let server = Server::start_with(cluster.clone(), old, account, durable)?;
    // Made when the start has cleared away what was left of an earlier one.
    let staging = cluster.root().join(format!("new-{to}"));
    let staging = Arc::new(Cluster::open(&staging, Purpose::Service)?);
    let dump = staging.root().join("dump");
    let address = Address::of_socket(&server.connect_options(DATABASE));
    clients.dump(&address, &File::create_new(&dump)?, &children)?;
    server.stop()?;

    let server = Server::start_with(staging.clone(), new, account, durable)?;
    let address = Address::of_socket(&server.connect_options(DATABASE));
    clients.restore(&address, &dump, "", &children)?;
    server.stop()?;

    cluster.exchange(&staging)?;
    drop(staging);
    cluster.remove_unfinished()?;
    tracing::info!(
        "The data are carried over to PostgreSQL {to}. The old ones are kept as data-{from} in {}; remove them when you are content",
        cluster.root().display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use sqlx::{Connection as _, Executor as _, PgConnection};

    use super::*;
    use crate::{Options, throwaway_root};

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn ask(server: &Server, statement: &'static str) -> Option<i32> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let options = server.connect_options(DATABASE);
            let mut connection = PgConnection::connect_with(&options).await.unwrap();
            let rows = connection.fetch_all(statement).await.unwrap();
            rows.first().map(|row| sqlx::Row::get(row, 0))
        })
    }

    /// There is one version on a machine of ours, so it is carried over to itself.
    #[test]
    fn data_are_carried_over_and_the_old_ones_are_kept() {
        let folder = Folder(throwaway_root());
        let options = Options {
            root: folder.0.clone(),
            bin_dir: None,
            durability: Durability::Durable,
        };
        let server = Server::start(&options).unwrap();
        ask(&server, "create extension hstore");
        ask(&server, "create table kept as select 7 as it");
        server.stop().unwrap();

        let cluster = Arc::new(Cluster::open(&folder.0, Purpose::Service).unwrap());
        let account = server::account(&cluster).unwrap();
        let programs = find::programs(None, account.as_ref(), None).unwrap();
        carry_over(&cluster, &programs, &programs, account.as_ref()).unwrap();
        let old = folder.0.join(format!("data-{}", programs.major));
        assert!(old.join("PG_VERSION").exists());
        let names = fs::read_dir(&folder.0).unwrap();
        for left in names.map(|entry| entry.unwrap().file_name()) {
            let left = left.to_string_lossy().into_owned();
            assert!(
                !left.starts_with("new-") && left != "next",
                "{left} is left"
            );
        }
        drop(cluster);

        let server = Server::start(&options).unwrap();
        assert_eq!(ask(&server, "select it from kept"), Some(7));
        assert!(server.was_carried_over());
        server.note_carried_over().unwrap();
        assert!(!server.was_carried_over());
        server.stop().unwrap();

        // A crash between the two renames: the next start does the rest.
        fs::rename(folder.0.join("data"), folder.0.join("next")).unwrap();
        let server = Server::start(&options).unwrap();
        assert_eq!(ask(&server, "select it from kept"), Some(7));
    }

    #[test]
    fn what_fails_on_the_way_leaves_the_data_as_they_were() {
        let folder = Folder(throwaway_root());
        let options = Options {
            root: folder.0.clone(),
            bin_dir: None,
            durability: Durability::Durable,
        };
        let server = Server::start(&options).unwrap();
        ask(&server, "create table kept as select 7 as it");
        server.stop().unwrap();

        let cluster = Arc::new(Cluster::open(&folder.0, Purpose::Service).unwrap());
        let account = server::account(&cluster).unwrap();
        let old = find::programs(None, account.as_ref(), None).unwrap();
        let broken = Programs {
            initdb: "/bin/false".into(),
            ..old.clone()
        };
        let error = carry_over(&cluster, &old, &broken, account.as_ref()).unwrap_err();
        assert!(error.to_string().contains("initdb failed"), "{error:#}");
        drop(cluster);
        let server = Server::start(&options).unwrap();
        assert_eq!(ask(&server, "select it from kept"), Some(7));
        assert!(!server.was_carried_over());
    }
}
