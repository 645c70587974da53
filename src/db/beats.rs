//! The line that each process signs.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::domain::heartbeat::ProcessBeat;

/// Who has not beaten for so long has ended, and nobody remembers it any more.
const KEPT: TimeDelta = TimeDelta::days(400);

/// Who kept a journal then is waited for when everything is started.
const KEEPER_EXPECTED: TimeDelta = TimeDelta::days(7);

#[derive(FromRow)]
struct BeatRow {
    counter: i64,
    beat_at: DateTime<Utc>,
}

/// The line of a process, if it has one.
pub async fn line(db: impl PgExecutor<'_>, process: &str) -> sqlx::Result<Option<ProcessBeat>> {
    let row: Option<BeatRow> =
        sqlx::query_as("select counter, beat_at from beats where process = $1")
            .bind(process)
            .fetch_optional(db)
            .await?;
    Ok(row.map(|row| ProcessBeat {
        counter: row.counter,
        beat_at: row.beat_at,
    }))
}

/// The last beat before that of the first process that came after this moment.
pub async fn before_newcomers(
    db: impl PgExecutor<'_>,
    after: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar("select min(after_at) from beats where first_at > $1")
        .bind(after)
        .fetch_one(db)
        .await
}

/// What the lines of the others tell a process.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct OtherProcesses {
    /// Somebody who is trusted has beaten after this counter.
    pub vouched_for: bool,
    /// Somebody remembers the heartbeat outside, or lately did.
    pub somebody_remembers: bool,
}

/// The others, for a process that has come at this counter. `last` is the last beat of all.
pub async fn others(
    db: impl PgExecutor<'_>,
    process: &str,
    came_at: i64,
    last: DateTime<Utc>,
) -> sqlx::Result<OtherProcesses> {
    sqlx::query_as(
        "select coalesce(bool_or(trusted and counter > $2), false) as vouched_for,
                coalesce(bool_or(keeper and beat_at > $3), false) as somebody_remembers
         from beats where process <> $1",
    )
    .bind(process)
    .bind(came_at)
    .bind(last - KEEPER_EXPECTED)
    .fetch_one(db)
    .await
}

/// What a process writes in its line.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'a> {
    pub process: &'a str,
    pub line: ProcessBeat,
    /// The last beat before this one.
    pub after_at: DateTime<Utc>,
    pub trusted: bool,
    pub keeper: bool,
}

/// Signs.
pub async fn sign(conn: &mut PgConnection, signature: Signature<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into beats as b (process, counter, beat_at, first_at, after_at, trusted, keeper) values ($1, $2, $3, $3, $4, $5, $6)
         on conflict (process) do update set counter = excluded.counter, beat_at = excluded.beat_at,
             trusted = b.trusted or excluded.trusted, keeper = excluded.keeper",
    )
    .bind(signature.process)
    .bind(signature.line.counter)
    .bind(signature.line.beat_at)
    .bind(signature.after_at)
    .bind(signature.trusted)
    .bind(signature.keeper)
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes the lines of those who ended long ago, and notes up to which counter there may be none. For whoever holds the heartbeat's lock.
pub async fn prune(conn: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "with gone as (delete from beats where beat_at < $1 returning counter)
         update heartbeat set floor = greatest(floor, (select max(counter) from gone))
         where exists (select from gone)",
    )
    .bind(now - KEPT)
    .execute(conn)
    .await?;
    Ok(())
}
