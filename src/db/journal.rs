//! Entries of the journal on their way out of the database.

mod lost_time;
mod outbox;

use chrono::TimeDelta;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgExecutor, PgPool};

use super::columns::readable;

pub use lost_time::{erased_in_lost_time, remember_erased};
pub use outbox::{
    UnnotedEntry, WaitingEntry, any_waiting, erased, erasures, in_force, noted, number, waiting,
};

/// Where a journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    File,
    Webhook,
}

impl Sink {
    pub const ALL: [Self; 2] = [Self::File, Self::Webhook];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Webhook => "webhook",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sink| sink.as_str() == word)
    }

    /// The column that says which line an entry is.
    fn number(self) -> &'static str {
        match self {
            Self::File => "file_number",
            Self::Webhook => "post_number",
        }
    }

    /// The column that says when an entry got there.
    fn column(self) -> &'static str {
        match self {
            Self::File => "filed_at",
            Self::Webhook => "posted_at",
        }
    }
}

/// A sink that nobody has kept for so long is none any more.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::days(7);

/// Says that this process keeps a journal there: from now on what is to be noted is noted.
pub async fn keep(db: impl PgExecutor<'_>, sink: Sink) -> sqlx::Result<()> {
    sqlx::query(
        "insert into journal_sinks (name, seen_at) values ($1, clock_timestamp())
         on conflict (name) do update set seen_at = excluded.seen_at",
    )
    .bind(sink)
    .execute(db)
    .await?;
    Ok(())
}

/// Takes the sink for so long, or keeps it, unless another process has it. False if it has.
pub async fn take(
    db: impl PgExecutor<'_>,
    sink: Sink,
    holder: &str,
    lease: TimeDelta,
) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into journal_sinks as s (name, seen_at, holder, lease_until)
         values ($1, clock_timestamp(), $2, clock_timestamp() + make_interval(secs => $3))
         on conflict (name) do update
             set seen_at = excluded.seen_at, holder = excluded.holder, lease_until = excluded.lease_until
             where s.holder = $2 or s.lease_until is null or s.lease_until < clock_timestamp()",
    )
    .bind(sink)
    .bind(holder)
    .bind(lease.as_seconds_f64())
    .execute(db)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Gives it back, if it is still the holder's.
pub async fn give_back(db: impl PgExecutor<'_>, sink: Sink, holder: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update journal_sinks set lease_until = null, holder = null where name = $1 and holder = $2",
    )
    .bind(sink)
    .bind(holder)
    .execute(db)
    .await?;
    Ok(())
}

/// What the database knows of the journal in a sink.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SinkState {
    /// Its name; `None`: it is to be begun anew.
    pub journal: Option<String>,
    /// The last number that was given to a line of it.
    pub numbered: i64,
}

/// Locks the sink of its holder; `None`: somebody else has it by now.
pub async fn lock(
    conn: &mut PgConnection,
    sink: Sink,
    holder: &str,
) -> sqlx::Result<Option<SinkState>> {
    sqlx::query_as(
        "select journal, numbered from journal_sinks where name = $1 and holder = $2 for update",
    )
    .bind(sink)
    .bind(holder)
    .fetch_optional(conn)
    .await
}

/// The journal in this locked sink goes on from here: what waits gets numbers after this one.
pub async fn begun(
    conn: &mut PgConnection,
    sink: Sink,
    journal: &str,
    numbered: i64,
) -> sqlx::Result<()> {
    sqlx::query("update journal_sinks set journal = $2, numbered = $3 where name = $1")
        .bind(sink)
        .bind(journal)
        .bind(numbered)
        .execute(&mut *conn)
        .await?;
    let sql = format!(
        "update journal_outbox set {} = null where {} is null",
        sink.number(),
        sink.column()
    );
    sqlx::query(AssertSqlSafe(sql)).execute(conn).await?;
    Ok(())
}

/// All journals are begun anew: what they have is not what this database has.
pub async fn begin_anew(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("update journal_sinks set journal = null")
        .execute(conn)
        .await?;
    Ok(())
}

/// Waits until all that was said before the sink was there is committed: it is seen by whoever looks from now on, and what is said from
/// now on is noted. One table at a time, so that nobody waits for this while this waits for them.
pub async fn settle(pool: &PgPool) -> sqlx::Result<()> {
    for table in ["suppressions", "erasures"] {
        let mut tx = pool.begin().await?;
        sqlx::query("set local lock_timeout = '1s'")
            .execute(&mut *tx)
            .await?;
        let sql = format!("lock table {table} in share mode");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// For how long the oldest entry has been waiting for each sink.
pub async fn lag(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<(Sink, f64)>> {
    let rows = sqlx::query(
        "select name, coalesce(extract(epoch from clock_timestamp() - (
                 select min(at) from journal_outbox
                 where case name when 'file' then filed_at else posted_at end is null)), 0)::float8
         from journal_sinks",
    )
    .fetch_all(db)
    .await?;
    let known = readable::<(Sink, f64)>(&rows)?.into_iter();
    Ok(known
        .map(|(sink, seconds)| (sink, seconds.max(0.0)))
        .collect())
}

/// Forgets sinks that nobody keeps any more, with what only they waited for.
pub async fn prune(conn: &mut PgConnection) -> sqlx::Result<u64> {
    sqlx::query(
        "delete from journal_sinks where seen_at < clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(FORGOTTEN_AFTER.as_seconds_f64())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "delete from journal_outbox
         where (filed_at is not null or not exists (select from journal_sinks where name = 'file'))
           and (posted_at is not null or not exists (select from journal_sinks where name = 'webhook'))",
    )
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}

/// Whether the file, and not the webhook, goes on with one of these journals, as far as the database knows.
pub async fn is_a_file(db: impl PgExecutor<'_>, journals: &[&str]) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from journal_sinks where name = 'file' and journal = any ($1))",
    )
    .bind(journals)
    .fetch_one(db)
    .await
}
