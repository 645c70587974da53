//! Entries of the journal on their way out of the database.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgExecutor, PgPool};

use super::columns::readable;
use crate::domain::ids::AccountId;

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

/// What is to be noted. As text: what only another version knows is noted all the same, lest a no is lost.
#[derive(Clone, Debug, FromRow)]
pub struct UnnotedEntry {
    pub at: DateTime<Utc>,
    pub kind: String,
    pub account: String,
    pub channel: Option<String>,
    pub hash: Vec<u8>,
    pub key_id: Option<String>,
    pub source: Option<String>,
    pub until: Option<DateTime<Utc>>,
}

/// An entry that is to be noted.
#[derive(Clone, Debug, FromRow)]
pub struct WaitingEntry {
    pub id: i64,
    /// The line that it was to be when it was tried before.
    pub number: Option<i64>,
    #[sqlx(flatten)]
    pub said: UnnotedEntry,
}

/// Whether anything waits for this sink, and when that was looked up.
pub async fn any_waiting(
    db: impl PgExecutor<'_>,
    sink: Sink,
) -> sqlx::Result<(DateTime<Utc>, bool)> {
    let sql = format!(
        "select now(), exists (select from journal_outbox where {} is null)",
        sink.column()
    );
    sqlx::query_as(AssertSqlSafe(sql)).fetch_one(db).await
}

/// What waits for this sink, in order.
pub async fn waiting(
    db: impl PgExecutor<'_>,
    sink: Sink,
    most: i64,
) -> sqlx::Result<Vec<WaitingEntry>> {
    let sql = format!(
        "select id, {} as number, at, kind, account, channel, hash, key_id, source, until from journal_outbox
         where {} is null order by number nulls last, id limit $1",
        sink.number(),
        sink.column()
    );
    sqlx::query_as(AssertSqlSafe(sql))
        .bind(most)
        .fetch_all(db)
        .await
}

/// Gives these of a locked sink their numbers.
pub async fn number(
    conn: &mut PgConnection,
    sink: Sink,
    (ids, numbers): (&[i64], &[i64]),
) -> sqlx::Result<()> {
    let sql = format!(
        "update journal_outbox o set {} = n.number from unnest($1::bigint[], $2::bigint[]) as n(id, number) where o.id = n.id",
        sink.number()
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(ids)
        .bind(numbers)
        .execute(&mut *conn)
        .await?;
    sqlx::query("update journal_sinks set numbered = greatest(numbered, $2) where name = $1")
        .bind(sink)
        .bind(numbers.iter().max())
        .execute(conn)
        .await?;
    Ok(())
}

/// These have got to a locked sink. What has got everywhere is removed.
pub async fn noted(conn: &mut PgConnection, sink: Sink, ids: &[i64]) -> sqlx::Result<()> {
    let sql = format!(
        "update journal_outbox set {} = clock_timestamp() where id = any ($1)",
        sink.column()
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(ids)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "delete from journal_outbox where id = any ($1)
         and (filed_at is not null or not exists (select from journal_sinks where name = 'file'))
         and (posted_at is not null or not exists (select from journal_sinks where name = 'webhook'))",
    )
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}

/// A page of the suppressions that are in force, after this one.
pub async fn in_force(
    db: impl PgExecutor<'_>,
    after: Option<&UnnotedEntry>,
    most: i64,
) -> sqlx::Result<Vec<UnnotedEntry>> {
    sqlx::query_as(
        "select created_at as at,
             case reason when 'opted_out' then 'opt_out' when 'blocked' then 'block' else reason end as kind,
             account, channel, address_hash as hash, key_id, source, expires_at as until
         from suppressions
         where ($1::bytea is null or (address_hash, channel, account) > ($1, $2, $3))
           and reason <> 'bad_address' and (expires_at is null or expires_at > now())
         order by address_hash, channel, account limit $4",
    )
    .bind(after.map(|said| said.hash.as_slice()))
    .bind(after.and_then(|said| said.channel.as_deref()))
    .bind(after.map(|said| said.account.as_str()))
    .bind(most)
    .fetch_all(db)
    .await
}

/// A page of the erasures since this moment, after this one.
pub async fn erasures(
    db: impl PgExecutor<'_>,
    since: DateTime<Utc>,
    after: Option<&UnnotedEntry>,
    most: i64,
) -> sqlx::Result<Vec<UnnotedEntry>> {
    sqlx::query_as(
        "select max(at) as at, 'erasure' as kind, account, null::text as channel, hash, max(key_id) as key_id,
             null::text as source, null::timestamptz as until
         from (select at, account, hash, key_id from erasures
               union all select at, account, hash, null from erased_conversations) as e
         where at >= $1 and ($2::text is null or (account, hash) > ($2, $3))
         group by account, hash order by account, hash limit $4",
    )
    .bind(since)
    .bind(after.map(|said| said.account.as_str()))
    .bind(after.map(|said| said.hash.as_slice()))
    .bind(most)
    .fetch_all(db)
    .await
}

/// Notes that conversations were erased, by the keyed hashes of their ids.
pub async fn erased(
    conn: &mut PgConnection,
    account: &AccountId,
    hashes: &[[u8; 16]],
) -> sqlx::Result<()> {
    let hashes: Vec<&[u8]> = hashes.iter().map(<[u8; 16]>::as_slice).collect();
    sqlx::query(
        "insert into erasures (account, hash) select $1, h from unnest($2::bytea[]) as h
         on conflict (account, hash) do update set at = excluded.at, key_id = excluded.key_id",
    )
    .bind(account)
    .bind(&hashes)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert into journal_outbox (kind, account, hash) select 'erasure', $1, h from unnest($2::bytea[]) as h
         where exists (select from journal_sinks)",
    )
    .bind(account)
    .bind(&hashes)
    .execute(conn)
    .await?;
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

/// Notes conversations that were erased in a lost time: nothing of them is stored any more.
pub async fn remember_erased(
    conn: &mut PgConnection,
    account: &AccountId,
    hashes: &[[u8; 16]],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into erased_conversations (account, hash, at) select $1, h, $3 from unnest($2::bytea[]) as h
         on conflict do nothing",
    )
    .bind(account)
    .bind(hashes)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Those of an account that were erased in a lost time: few, and mostly none.
pub async fn erased_in_lost_time(
    db: impl PgExecutor<'_>,
    account: &AccountId,
) -> sqlx::Result<Vec<[u8; 16]>> {
    let rows: Vec<Vec<u8>> =
        sqlx::query_scalar("select hash from erased_conversations where account = $1")
            .bind(account)
            .fetch_all(db)
            .await?;
    Ok(rows
        .into_iter()
        .filter_map(|hash| hash.try_into().ok())
        .collect())
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
