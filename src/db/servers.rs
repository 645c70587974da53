//! Several servers for one database, of which one takes changes: which one that is, and who has taken over.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{Connection as _, PgConnection};

use super::restore;

/// How often is looked whether another server has taken over.
const LOOK: Duration = Duration::from_secs(2);

/// A server that answers later than this is passed over.
const PATIENCE: Duration = Duration::from_secs(3);

/// The first of them that takes changes, as libpq's `target_session_attrs=read-write` finds it; all are asked at once.
pub async fn taking_changes(servers: &[PgConnectOptions]) -> Option<usize> {
    let answers = join_all(servers.iter().map(takes_changes)).await;
    answers.iter().position(|takes| *takes == Ok(true))
}

/// Whether a server takes changes; an error is why it does not answer.
pub async fn takes_changes(server: &PgConnectOptions) -> Result<bool, String> {
    let asked = tokio::time::timeout(PATIENCE, async {
        let mut conn = PgConnection::connect_with(server).await?;
        let reads: bool = sqlx::query_scalar(
            "select pg_is_in_recovery() or current_setting('transaction_read_only')::boolean",
        )
        .fetch_one(&mut conn)
        .await?;
        conn.close().await?;
        Ok::<bool, sqlx::Error>(!reads)
    });
    match asked.await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err("no answer within three seconds".to_owned()),
    }
}

/// Leads a pool to whichever of the servers takes changes, until it is closed. Connections that exist stay where they are: those to a server that
/// has stopped break, and are made anew.
pub async fn follow(pool: PgPool, servers: Vec<PgConnectOptions>, mut current: usize) {
    let closed = pool.close_event();
    let following = async {
        loop {
            tokio::time::sleep(LOOK).await;
            if takes_changes(&servers[current]).await == Ok(true) {
                continue;
            }
            if let Some(other) = taking_changes(&servers)
                .await
                .filter(|other| *other != current)
            {
                current = other;
                pool.set_connect_options(
                    servers[other]
                        .clone()
                        .application_name(restore::APPLICATION),
                );
                tracing::warn!(
                    "Another server of DATABASE_URL takes changes now: {}",
                    place(&servers[other])
                );
            }
        }
    };
    tokio::select! {
        () = closed => {}
        () = following => {}
    }
}

/// Where a server is, without user and password.
pub fn place(options: &PgConnectOptions) -> String {
    let name = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{}/{name}", socket.display()),
        None => format!("{}:{}/{name}", options.get_host(), options.get_port()),
    }
}
