//! The counter that every process raises.

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, FromRow, PgConnection, PgExecutor};

use crate::domain::heartbeat::{Gap, OtherNames, RestoreDecision, StoredHeartbeat};

/// Who holds this lock beats, or decides about a hold: any number, the same for all.
const LOCK: i64 = 0x756e_7265_6164_6862;

/// The code of "permission denied".
const FORBIDDEN: &str = "42501";

/// Waits until nobody else beats; until the transaction ends nobody does.
pub async fn lock(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(conn)
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct HeartbeatRow {
    installation: String,
    counter: i64,
    beat_at: DateTime<Utc>,
    server: Option<String>,
    gap_counter: Option<i64>,
    gap_from: Option<DateTime<Utc>>,
    gap_until: Option<DateTime<Utc>>,
    decided_at: Option<DateTime<Utc>>,
    decided_until: Option<DateTime<Utc>>,
    former: Vec<String>,
    strangers: Vec<String>,
    floor: i64,
}

impl From<HeartbeatRow> for StoredHeartbeat {
    fn from(row: HeartbeatRow) -> Self {
        let decided = row.decided_at.zip(row.decided_until);
        let gap = row.gap_counter.zip(row.gap_from).zip(row.gap_until);
        Self {
            installation: row.installation,
            counter: row.counter,
            beat_at: row.beat_at,
            server: row.server,
            gap: gap.map(|((counter, from), until)| Gap {
                counter,
                from,
                until,
            }),
            names: OtherNames {
                former: row.former,
                strangers: row.strangers,
            },
            decided: decided.map(|(at, until)| RestoreDecision { at, until }),
            floor: row.floor,
        }
    }
}

/// What the database knows; `None`: nobody has ever worked on it.
pub async fn read(db: impl PgExecutor<'_>) -> sqlx::Result<Option<StoredHeartbeat>> {
    let row: Option<HeartbeatRow> = sqlx::query_as(
        "select installation, counter, beat_at, server, gap_counter, gap_from, gap_until, decided_at, decided_until,
                former, strangers, floor
         from heartbeat",
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(StoredHeartbeat::from))
}

/// Writes it down. What is held stays so.
pub async fn write(conn: &mut PgConnection, pulse: &StoredHeartbeat) -> sqlx::Result<()> {
    sqlx::query(
        "insert into heartbeat (installation, counter, beat_at, server, gap_counter, gap_from, gap_until, decided_at, decided_until,
             former, strangers, floor)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (only_one) do update set installation = excluded.installation, counter = excluded.counter,
             beat_at = excluded.beat_at, server = excluded.server, gap_counter = excluded.gap_counter,
             gap_from = excluded.gap_from, gap_until = excluded.gap_until, decided_at = excluded.decided_at,
             decided_until = excluded.decided_until, former = excluded.former, strangers = excluded.strangers,
             floor = excluded.floor",
    )
    .bind(&pulse.installation)
    .bind(pulse.counter)
    .bind(pulse.beat_at)
    .bind(&pulse.server)
    .bind(pulse.gap.map(|gap| gap.counter))
    .bind(pulse.gap.map(|gap| gap.from))
    .bind(pulse.gap.map(|gap| gap.until))
    .bind(pulse.decided.map(|decided| decided.at))
    .bind(pulse.decided.map(|decided| decided.until))
    .bind(&pulse.names.former)
    .bind(&pulse.names.strangers)
    .bind(pulse.floor)
    .execute(conn)
    .await?;
    Ok(())
}

/// The server and the database on it, as a word; `None`: a managed server may forbid to ask. A replica that takes over has the same,
/// a copy has another.
pub async fn server(conn: &mut PgConnection) -> sqlx::Result<Option<String>> {
    let mut savepoint = conn.begin().await?;
    let asked = sqlx::query_scalar(
        "select (select system_identifier from pg_control_system()) || '/' ||
                (select oid from pg_database where datname = current_database())",
    )
    .fetch_one(&mut *savepoint)
    .await;
    match asked {
        Ok(server) => {
            savepoint.commit().await?;
            Ok(server)
        }
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(FORBIDDEN) => {
            savepoint.rollback().await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The time by the server's clock, or by the one that a demonstration or a test goes by.
pub async fn now(
    db: impl PgExecutor<'_>,
    instead: Option<DateTime<Utc>>,
) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar("select coalesce($1, clock_timestamp())")
        .bind(instead)
        .fetch_one(db)
        .await
}
