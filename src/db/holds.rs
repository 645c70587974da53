//! What holds sending until a person decides.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::columns::readable;
use crate::domain::hold::{Hold, HoldEnd, HoldGate, HoldKind};

#[derive(FromRow)]
struct HoldRow {
    kind: HoldKind,
    found_at: DateTime<Utc>,
    lost_from: Option<DateTime<Utc>>,
    lost_until: Option<DateTime<Utc>>,
    due_before: Option<DateTime<Utc>>,
    counter: i64,
    installation: Option<String>,
}

/// Those that last, the worst first.
pub async fn active(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Hold>> {
    let rows = sqlx::query(
        "select kind, found_at, lost_from, lost_until, due_before, counter, installation from holds where ended_at is null",
    )
    .fetch_all(db)
    .await?;
    let known = readable::<HoldRow>(&rows)?.into_iter();
    let mut holds: Vec<Hold> = known
        .map(|row| Hold {
            kind: row.kind,
            found_at: row.found_at,
            lost_from: row.lost_from,
            lost_until: row.lost_until,
            due_before: row.due_before,
            counter: row.counter,
            installation: row.installation,
        })
        .collect();
    holds.sort_by_key(|hold| hold.kind);
    Ok(holds)
}

/// Holds sending. One that lasts already learns what others remember. Returns whether it is new.
pub async fn begin(conn: &mut PgConnection, hold: &Hold) -> sqlx::Result<bool> {
    let new: bool = sqlx::query_scalar(
        "insert into holds as h (kind, found_at, lost_from, lost_until, due_before, counter, installation)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (kind) where ended_at is null do update
             set lost_from = least(h.lost_from, excluded.lost_from), lost_until = greatest(h.lost_until, excluded.lost_until),
                 counter = greatest(h.counter, excluded.counter), installation = coalesce(h.installation, excluded.installation)
         returning xmax = 0",
    )
    .bind(hold.kind)
    .bind(hold.found_at)
    .bind(hold.lost_from)
    .bind(hold.lost_until)
    .bind(hold.due_before)
    .bind(hold.counter)
    .bind(&hold.installation)
    .fetch_one(&mut *conn)
    .await?;
    apply(conn).await?;
    Ok(new)
}

/// Ends holds of these kinds. Returns which there were.
pub async fn end(
    conn: &mut PgConnection,
    kinds: &[HoldKind],
    (by, how): (&str, HoldEnd),
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<HoldKind>> {
    let ended = sqlx::query(
        "update holds set ended_at = $2, ended_by = $3, how = $4 where ended_at is null and kind = any ($1) returning kind",
    )
    .bind(kinds)
    .bind(now)
    .bind(by)
    .bind(how)
    .fetch_all(&mut *conn)
    .await?;
    if !ended.is_empty() {
        apply(conn).await?;
    }
    let kinds = readable::<(HoldKind,)>(&ended)?;
    Ok(kinds.into_iter().map(|(kind,)| kind).collect())
}

/// Whether one has ended since then.
pub async fn ended_since(db: impl PgExecutor<'_>, since: DateTime<Utc>) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from holds where ended_at >= $1)")
        .bind(since)
        .fetch_one(db)
        .await
}

/// Writes what is held where the statement that begins an attempt looks.
async fn apply(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "update heartbeat set held_before =
             (select max(coalesce(due_before, 'infinity')) from holds where ended_at is null)",
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What the statement that begins an attempt of this process will look at.
pub async fn gate(db: impl PgExecutor<'_>, process: &str) -> sqlx::Result<HoldGate> {
    let row: Option<(i64, bool, Option<DateTime<Utc>>)> = sqlx::query_as(
        "select coalesce((select counter from beats where process = $1), 0), coalesce(held_before = 'infinity', false),
                nullif(held_before, 'infinity')
         from heartbeat",
    )
    .bind(process)
    .fetch_optional(db)
    .await?;
    Ok(
        row.map_or(HoldGate::default(), |(counter, closed, due_before)| {
            HoldGate {
                counter: Some(counter),
                closed,
                due_before,
            }
        }),
    )
}
