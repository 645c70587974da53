//! Tells every process which consumers' conversations have changed: PostgreSQL's LISTEN and NOTIFY.
//!
//! A notice names consumers by a hash, so that no id travels through the server's notice queue, and many fit into one notice
//! (8,000 bytes). It is sent in the transaction that made the change, so that nobody hears of what is not yet to be seen. Notices
//! can be lost with a connection: who listens must then take everything as changed.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use tokio::time::timeout;

use crate::domain::ids::AccountId;

const CHANNEL: &str = "unread_consumers";

/// A consumer of an account, by whichever id. Wide enough that nobody finds two ids with one key.
pub type ConsumerKey = u128;

/// Must be the hash that `tell` makes in SQL. An account's id has no colon.
pub fn consumer_key(account: &AccountId, consumer: &str) -> ConsumerKey {
    let hash = Sha256::new()
        .chain_update(account.as_str())
        .chain_update(":")
        .chain_update(consumer)
        .finalize();
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    u128::from_be_bytes(key)
}

/// Tells listeners, when the transaction commits, that these conversations have changed.
pub(super) async fn notify(
    conn: &mut PgConnection,
    account: &AccountId,
    conversations: &[String],
) -> sqlx::Result<()> {
    if conversations.is_empty() {
        return Ok(());
    }
    // 200 keys of 32 digits and a space.
    sqlx::query(
        "select pg_notify($3, string_agg(key, ' ')) from (
             select key, (row_number() over () - 1) / 200 as part from (
                 select distinct left(encode(sha256(convert_to($1 || ':' || consumer, 'UTF8')), 'hex'), 32) as key
                 from consumers where account = $1 and conversation = any ($2)) k) p
         group by part",
    )
    .bind(account)
    .bind(conversations)
    .bind(CHANNEL)
    .execute(conn)
    .await?;
    Ok(())
}

/// One connection of its own that hears of all changes.
pub struct Listener {
    connection: PgListener,
    silence: Duration,
}

/// How long the server may take to say that it is still there.
const ALIVE: Duration = Duration::from_secs(5);

impl Listener {
    /// Connects beside `pool`, whose connections are for work. After each `silence` the server is asked whether it is still
    /// there: a connection that died without a word is silent too.
    pub async fn connect(pool: &PgPool, silence: Duration) -> sqlx::Result<Self> {
        let own = PgPoolOptions::new().max_connections(1);
        let own = own.connect_lazy_with((*pool.connect_options()).clone());
        let mut connection = PgListener::connect_with(&own).await?;
        // Who reconnects by itself may be stopped in the middle, and would then not say that notices were lost.
        connection.eager_reconnect(false);
        connection.listen(CHANNEL).await?;
        Ok(Self {
            connection,
            silence,
        })
    }

    /// Waits for the next notice: who has changed. An error means that the connection is lost, and with it perhaps notices: who
    /// then connects anew must take everything as changed.
    pub async fn next(&mut self) -> sqlx::Result<Vec<ConsumerKey>> {
        loop {
            if let Ok(heard) = timeout(self.silence, self.connection.try_recv()).await {
                let notice = heard?.ok_or_else(|| lost("the connection was closed"))?;
                return Ok(parse(notice.payload()));
            }
            let alive = sqlx::query("select 1").execute(&mut self.connection);
            let alive = timeout(ALIVE, alive).await;
            alive.map_err(|_| lost("the server does not answer"))??;
        }
    }
}

fn lost(why: &'static str) -> sqlx::Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, why).into()
}

/// Anyone who may connect to the database may send notices: what is not a key is passed over.
fn parse(payload: &str) -> Vec<ConsumerKey> {
    payload
        .split(' ')
        .filter(|word| word.len() == 32)
        .filter_map(|word| ConsumerKey::from_str_radix(word, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_that_is_none_of_ours_says_nothing() {
        assert_eq!(parse(""), []);
        assert_eq!(parse("drop table"), []);
        let key = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            parse(&format!("{key} x {key}f")),
            [0x0123_4567_89ab_cdef_0123_4567_89ab_cdef]
        );
    }
}
