//! Physical backups of a server, put back while the service lives on: as a base backup, until a moment from the archive of its log, and as a
//! snapshot of its disk. Server and database are the same afterwards, and say nothing of it.

use std::path::PathBuf;

use tokio::sync::Mutex;

use super::JournalStage;
use super::story::restored_after;
use crate::database::{OwnServer, own_server};
use crate::harness::{Setup, migrated_on, skipped};

/// The story on a server of its own, which is made ready before anything happens.
async fn physically_after<R, B>(
    minutes: i64,
    ready: impl AsyncFnOnce(&mut OwnServer) -> R,
    make: impl AsyncFnOnce(&mut OwnServer) -> B,
    put_back: impl AsyncFnOnce(&mut OwnServer, R, B),
) {
    let mut server = own_server().await;
    if !server.has_pg_basebackup().await {
        return skipped("PostgreSQL's programs here have no pg_basebackup");
    }
    let ready = ready(&mut server).await;
    let kept = JournalStage::new();
    let setup = Setup {
        database: Some(migrated_on(&server).await),
        ..kept.setup()
    };
    let server = Mutex::new(server);
    restored_after(
        minutes,
        (&kept, setup),
        async |_| make(&mut *server.lock().await).await,
        async |_, backup| put_back(&mut *server.lock().await, ready, backup).await,
    )
    .await;
}

#[tokio::test]
async fn a_base_backup_that_is_put_back_doubles_nothing_and_forgets_no_no() {
    physically_after(
        60,
        async |_| (),
        async |server| server.base_backup().await,
        async |server, (), base| server.put_back(&base).await,
    )
    .await;
}

#[tokio::test]
async fn a_server_brought_back_to_a_moment_doubles_nothing_and_forgets_no_no() {
    // The base is from before the database, and all until the moment is in the archive.
    physically_after(
        3,
        async |server| {
            let archive = server.archives().await;
            (server.base_backup().await, archive)
        },
        async |server| server.now().await,
        async |server, (base, archive): (PathBuf, PathBuf), moment| {
            server.archive_all().await;
            server.put_back_until(&base, &archive, &moment).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_snapshot_of_the_disk_doubles_nothing_and_forgets_no_no() {
    physically_after(
        60,
        async |_| (),
        async |server| server.snapshot().await,
        async |server, (), snapshot| server.put_back(&snapshot).await,
    )
    .await;
}
