//! What is to be noted, until it has got to every sink.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgExecutor};

use super::Sink;
use crate::domain::ids::AccountId;

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
