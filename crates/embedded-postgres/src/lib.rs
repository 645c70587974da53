//! The database server we bring ourselves when none is configured.
//!
//! Finds `postgres` and `initdb` on this machine, makes a cluster once, runs the server as our child on a unix socket that only we can
//! reach, and never leaves it behind: not after Ctrl-C, not after `kill -9`. It downloads nothing and never touches a server it
//! did not start.
//!
//! Why no crate: those that exist download at run time, refuse to run as root, leave the server alive after `kill -9`, or switch
//! `fsync` off for everybody. What is left to do is a few processes, files and signals, one file each:
//!
//! - `find`: which server programs to use
//! - `account`: whom root becomes, because `postgres` refuses to run as root
//! - `process`: children that cannot outlive us (all of the crate's `unsafe` is there)
//! - `cluster`: the folder: lock, `initdb`, what a dead predecessor left
//! - `lock`: who may use the folder
//! - `roots`: where folders are by default
//! - `server`: start, readiness, stop
//! - `join`: what a command does: work on the server that runs, or start one for as long as it takes
//! - `upgrade`: the data of an older major version carried over to a newer one
//!
//! And what backups of any PostgreSQL need:
//!
//! - `client`, `dump`: `pg_dump` and what brings its files back
//! - `disk`: how much room there is
//!
//! Everything here blocks; async callers use `spawn_blocking`.

mod account;
mod client;
mod cluster;
pub mod disk;
mod dump;
mod find;
mod join;
mod lock;
mod packages;
mod process;
mod roots;
mod server;
mod upgrade;

use std::path::PathBuf;

pub use client::{Address, Children, Clients};
pub use cluster::data_of;
pub use dump::Contents;
pub use join::{Joined, Serving, data_major, serve_alone, serve_or_join, set_aside};
pub use roots::{default_root, existing_root, throwaway_root};
pub use server::Server;

/// The database that is used on a server of our own.
pub const DATABASE: &str = "postgres";

/// The data are of a version whose programs are not here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the data in {} were made by PostgreSQL {made_by}, and only PostgreSQL {here} is here. Install PostgreSQL {made_by} beside it \
     ({}) and start `unread run`: it carries the data over to version {here} by itself",
    data.display(),
    packages::hint_for_major(*made_by)
)]
pub struct OtherMajor {
    pub data: PathBuf,
    pub made_by: u32,
    /// The newest that is here.
    pub here: u32,
}

/// What the data must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A power cut. The folder stays after the server stops.
    Durable,
    /// A crash of the server, but not of the machine: nothing is forced to disk. The folder's contents are removed when the
    /// server stops. For demonstrations and tests.
    Throwaway,
}

/// How to start a [`Server`].
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the cluster, its socket, lock and log; made if missing. Its path must be shorter than about 85 bytes,
    /// because a socket's path must fit into 103.
    pub root: PathBuf,
    /// The folder of `postgres` and `initdb`. `None`: search `PATH`, then the usual places. A folder that is given and does
    /// not serve is an error: whoever chose it wants to know.
    pub bin_dir: Option<PathBuf>,
    pub durability: Durability,
}
