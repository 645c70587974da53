//! Which channels of which accounts have gone live.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::columns::readable;
use crate::domain::ids::{AccountId, Channel, SkillId};

/// A channel of an account from which reminders may go out.
#[derive(Clone, Debug, FromRow)]
pub struct LiveChannel {
    /// Agent messages from before count as read.
    pub since: DateTime<Utc>,
    pub by_whom: String,
    pub at: DateTime<Utc>,
}

pub async fn find(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    channel: Channel,
) -> sqlx::Result<Option<LiveChannel>> {
    sqlx::query_as("select since, by_whom, at from live where account = $1 and channel = $2")
        .bind(account)
        .bind(channel)
        .fetch_optional(db)
        .await
}

/// Which of these accounts' channels are live.
pub async fn of_accounts(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
) -> sqlx::Result<Vec<(AccountId, Channel)>> {
    let rows = sqlx::query("select account, channel from live where account = any ($1)")
        .bind(accounts)
        .fetch_all(db)
        .await?;
    readable(&rows)
}

/// Keeps others from going live or back with this account's channels until the end of the transaction.
pub async fn lock(conn: &mut PgConnection, account: &AccountId) -> sqlx::Result<()> {
    sqlx::query("select from accounts where id = $1 for no key update")
        .bind(account)
        .execute(conn)
        .await?;
    Ok(())
}

/// Who has taken a channel back from live, and when.
#[derive(Clone, Debug, FromRow)]
pub struct TakenBack {
    pub by_whom: String,
    pub at: DateTime<Utc>,
}

pub async fn taken_back(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    channel: Channel,
) -> sqlx::Result<Option<TakenBack>> {
    sqlx::query_as("select by_whom, at from live_taken_back where account = $1 and channel = $2")
        .bind(account)
        .bind(channel)
        .fetch_optional(db)
        .await
}

/// Lets a channel's reminders out. Returns whether they were not let out before: then nothing changes.
pub async fn begin(
    conn: &mut PgConnection,
    (account, channel): (&AccountId, Channel),
    live: &LiveChannel,
) -> sqlx::Result<bool> {
    let begun = sqlx::query(
        "with again as (delete from live_taken_back where account = $1 and channel = $2)
         insert into live (account, channel, since, by_whom, at) values ($1, $2, $3, $4, $5) on conflict do nothing",
    )
    .bind(account)
    .bind(channel)
    .bind(live.since)
    .bind(&live.by_whom)
    .bind(live.at)
    .execute(conn)
    .await?;
    Ok(begun.rows_affected() > 0)
}

/// Keeps a channel's reminders back from now on, and remembers who wanted it. Returns whether they were let out before.
pub async fn end(
    conn: &mut PgConnection,
    (account, channel): (&AccountId, Channel),
    by_whom: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    lock(conn, account).await?;
    let ended = sqlx::query(
        "with ended as (delete from live where account = $1 and channel = $2 returning account, channel)
         insert into live_taken_back (account, channel, by_whom, at) select account, channel, $3, $4 from ended
         on conflict (account, channel) do update set by_whom = excluded.by_whom, at = excluded.at",
    )
    .bind(account)
    .bind(channel)
    .bind(by_whom)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(ended.rows_affected() > 0)
}

/// Takes the turn to look whether a channel can go live by the setting. `false`: somebody has looked, and it is not time again: after a
/// minute, two, four, up to an hour. A process that has just started need not wait out the hour: its settings may be better.
pub async fn not_live_counts(
    db: impl PgExecutor<'_>,
    (account, channel): (&AccountId, Channel),
    first: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let taken = sqlx::query(
        "insert into live_looks as l (account, channel, looks, at, next_at) values ($1, $2, 1, $4, $4 + interval '1 minute')
         on conflict (account, channel) do update set at = $4, looks = case when $3 then 1 else l.looks + 1 end,
             next_at = $4 + least(interval '1 hour', interval '1 minute' * power(2, case when $3 then 0 else least(l.looks, 6) end))
         where l.next_at <= $4 or ($3 and l.at <= $4 - interval '1 minute')",
    )
    .bind(account)
    .bind(channel)
    .bind(first)
    .bind(now)
    .execute(db)
    .await?;
    Ok(taken.rows_affected() > 0)
}

/// Whether somebody has shown that test messages over this account's channel arrive.
pub async fn is_tested(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    channel: Channel,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from test_recipients
         where account = $1 and channel = $2 and verified_at is not null)",
    )
    .bind(account)
    .bind(channel)
    .fetch_one(db)
    .await
}

/// What the last scans found of an account's channel that is not live, and how complete they were.
#[derive(Clone, Debug, Default, FromRow)]
pub struct NotLiveCounts {
    /// Customers whom a reminder would be scheduled for.
    pub would_be_reminded: i64,
    pub without_address: i64,
    /// Every skill that scans cover has been scanned to its end, and there are some.
    pub scanned: bool,
}

pub async fn found(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    channel: Channel,
    only: Option<&[SkillId]>,
) -> sqlx::Result<NotLiveCounts> {
    sqlx::query_as(
        "with used as materialized (
             select id from skills_in_use where account = $1 and ($3::bigint[] is null or id = any ($3))
         )
         select count(*) filter (where passed_over ->> $2 = 'not_live' or (reason = 'not_live' and channel = $2)) as would_be_reminded,
                count(*) filter (where passed_over ->> $2 = 'no_address') as without_address,
                (select coalesce(bool_and(s.succeeded_at is not null), false) from used u
                 left join lateral (select succeeded_at from scans where account = $1 and skill = u.id limit 1) s on true) as scanned
         from conversations where account = $1 and open and read_state = 'unread'",
    )
    .bind(account)
    .bind(channel)
    .bind(only)
    .fetch_one(db)
    .await
}

/// Channels of an account that are configured, have not gone live, and whose account has been scanned to the end of some skill.
pub async fn waiting(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    channels: &[Channel],
) -> sqlx::Result<Vec<Channel>> {
    sqlx::query_scalar(
        "select c from unnest($2::text[]) c
         where not exists (select from live l where l.account = $1 and l.channel = c)
           and exists (select from scans where account = $1 and succeeded_at is not null)",
    )
    .bind(account)
    .bind(channels)
    .fetch_all(db)
    .await
}
