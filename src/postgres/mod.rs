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
//! - `roots`: where folders are by default
//! - `server`: start, readiness, stop
//!
//! Everything here blocks; async callers use `spawn_blocking`.

mod account;
mod cluster;
mod find;
mod process;
mod roots;
mod server;

use std::path::PathBuf;

pub use roots::{default_root, throwaway_root};
pub use server::Server;

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
