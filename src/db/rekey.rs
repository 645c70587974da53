//! What is kept of an address under an older key, moved to the present one. An address itself is nowhere kept, so this is done where one
//! turns up: before a delivery is decided, when its owner writes, when somebody looks it up or imports it.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::hashing::Move;

/// Moves suppressions, what caps are counted over, and by what people are found. Of two suppressions the one that forbids more stays.
///
/// A reminder that somebody else is delivering at this moment is left alone: it gets its recipient's new hash with the attempt.
pub async fn ledger(
    conn: &mut PgConnection,
    moves: &[Move],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let (old, new) = columns(moves);
    sqlx::query(
        "with moves as (
             select * from unnest($1::bytea[], $2::bytea[]) as t(old, new)
         ), met as (
             select r.id, m.new from moves m join reminders r on r.recipient_hash = m.old for update of r skip locked
         ), moved as (
             update reminders r set recipient_hash = met.new from met where r.id = met.id
         ), decided as (
             select d.id, d.account, d.conversation from decisions d where d.address_hashes && $1::bytea[]
             for update of d skip locked
         ), logged as (
             update decisions d set address_hashes = array(
                 select coalesce(m.new, h.hash) from unnest(d.address_hashes) as h(hash) left join moves m on m.old = h.hash)
             from decided where d.id = decided.id
         ), talks as (
             -- One that a scan has in hand gets the new hash from it.
             select c.account, c.id from conversations c
             where (c.account, c.id) in (select account, conversation from decided) order by c.id for update skip locked
         ), reached as (
             update conversations c set address_hashes = (
                 select jsonb_object_agg(h.channel, coalesce(encode(m.new, 'hex'), h.hash))
                 from jsonb_each_text(c.address_hashes) as h(channel, hash) left join moves m on m.old = decode(h.hash, 'hex'))
             from talks t where c.account = t.account and c.id = t.id and c.address_hashes <> '{}'
         ), gone as (
             delete from suppressions s using moves m where s.address_hash = m.old returning m.new as hash, s.*
         )
         insert into suppressions as s (account, channel, address_hash, reason, source, created_at, expires_at, doubt, doubt_language)
         select distinct on (hash, channel, account) account, channel, hash, reason, source, created_at, expires_at, doubt,
             doubt_language
         from gone where expires_at is null or expires_at > $3
         order by hash, channel, account, array_position(array['blocked', 'complaint', 'opted_out'], reason) nulls last,
             doubt nulls first
         on conflict (address_hash, channel, account) do update
             set reason = excluded.reason, source = excluded.source, created_at = excluded.created_at,
                 expires_at = excluded.expires_at, doubt = excluded.doubt,
                 doubt_language = excluded.doubt_language, key_id = excluded.key_id
             where s.reason = 'bad_address' or s.expires_at <= $3
                or (s.reason = 'opted_out' and excluded.reason in ('complaint', 'blocked'))
                or (s.reason = 'complaint' and excluded.reason = 'blocked')
                or (s.reason = 'opted_out' and excluded.reason = 'opted_out' and s.doubt is not null and excluded.doubt is null)",
    )
    .bind(old)
    .bind(new)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves what is known of test messages.
pub async fn test_messages(conn: &mut PgConnection, moves: &[Move]) -> sqlx::Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let (old, new) = columns(moves);
    sqlx::query(
        "with moves as (
             select * from unnest($1::bytea[], $2::bytea[]) as t(old, new)
         ), sent as (
             update test_messages t set recipient_hash = m.new from moves m where t.recipient_hash = m.old
         ), gone as (
             delete from test_recipients t using moves m where t.recipient_hash = m.old returning m.new as hash, t.*
         )
         insert into test_recipients (person, account, channel, recipient_hash, verified_at)
         select person, account, channel, hash, max(verified_at) from gone where verified_at is not null group by 1, 2, 3, 4
         on conflict (person, account, channel, recipient_hash) do update
             set verified_at = coalesce(test_recipients.verified_at, excluded.verified_at)",
    )
    .bind(old)
    .bind(new)
    .execute(conn)
    .await?;
    Ok(())
}

fn columns(moves: &[Move]) -> (Vec<&[u8]>, Vec<&[u8]>) {
    let pairs = moves.iter();
    pairs
        .map(|(old, new)| (old.as_slice(), new.as_slice()))
        .unzip()
}

/// Suppressions that were made under another key than this and have not been met since.
pub async fn under_other_keys(db: impl PgExecutor<'_>, key_id: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from suppressions where key_id is distinct from $1")
        .bind(key_id)
        .fetch_one(db)
        .await
}
