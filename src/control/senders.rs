//! Senders that are paused because something is wrong with them (open circuits), in words; try one now, or open it again.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{PgConnection, PgPool};

use super::Error;
use crate::clock::Clock;
use crate::db;
use crate::db::audit;
use crate::domain::ids::Channel;
use crate::domain::trouble::Trouble;
use crate::jobs::names;
use crate::jobs::queue::{self, When};

/// A sender that is paused.
#[derive(Clone, Debug)]
pub struct Paused {
    /// `smtp` or `twilio`.
    pub provider: String,
    pub channel: Channel,
    pub sender: String,
    pub since: DateTime<Utc>,
    /// When one reminder is let through to see whether the trouble is over.
    pub probe_at: DateTime<Utc>,
    pub code: String,
    pub trouble: Trouble,
}

/// The senders that are paused, longest first.
pub async fn paused(pool: &PgPool) -> Result<Vec<Paused>, Error> {
    let open = db::circuits::open_ones(pool).await?;
    Ok(open
        .into_iter()
        .map(|circuit| Paused {
            trouble: Trouble::of(&circuit.provider, &circuit.code),
            channel: channel_of(&circuit.provider),
            provider: circuit.provider,
            sender: circuit.sender,
            since: circuit.opened_at,
            probe_at: circuit.probe_at,
            code: circuit.code,
        })
        .collect())
}

fn channel_of(provider: &str) -> Channel {
    if provider == "twilio" {
        Channel::Sms
    } else {
        Channel::Email
    }
}

/// Reminders that are woken at once; the rest follows when its own moment comes.
const MOST_WOKEN: i64 = 500;

/// Lets one reminder of the sender through now: if it goes, others follow.
pub async fn probe(pool: &PgPool, clock: &Clock, by: &str, key: (&str, &str)) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    if !db::circuits::probe_now(&mut tx, key, clock.now()).await? {
        return Err(not_paused(key));
    }
    // Any of them may be another sender's; it is then put off again, at no cost.
    wake(&mut tx, clock, channel_of(key.0), 1 + MOST_WOKEN / 10).await?;
    note(&mut tx, by, "circuit.probe", key, clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// Sends from the sender again as if nothing had been; if the trouble is still there, the next message pauses it anew.
pub async fn close(pool: &PgPool, clock: &Clock, by: &str, key: (&str, &str)) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    if !db::circuits::close(&mut tx, key).await? {
        return Err(not_paused(key));
    }
    wake(&mut tx, clock, channel_of(key.0), MOST_WOKEN).await?;
    note(&mut tx, by, "circuit.close", key, clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

async fn wake(
    tx: &mut PgConnection,
    clock: &Clock,
    channel: Channel,
    most: i64,
) -> Result<(), Error> {
    let now = clock.now();
    let held = db::circuits::held(tx, channel, now, most).await?;
    let wakeups = held
        .iter()
        .map(|(id, account)| names::deliver(account, *id, now));
    queue::wake(
        tx,
        clock,
        names::deliver_queue(channel),
        When::NoLaterThan,
        wakeups,
    )
    .await?;
    Ok(())
}

fn not_paused((_, sender): (&str, &str)) -> Error {
    Error::NotFound(format!("pause of {sender}: it may have ended by itself"))
}

async fn note(
    conn: &mut PgConnection,
    by: &str,
    action: &str,
    (provider, sender): (&str, &str),
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let entry = audit::Entry {
        by,
        action,
        account: None,
        subject: sender,
        detail: json!({ "provider": provider }),
    };
    audit::record(conn, &entry, now).await
}
