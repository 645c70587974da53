//! What people say about further reminders: each answer once, how far it reaches, and the doubtful ones that a person should look at.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::columns::readable;
use super::suppressions::{AddressHash, Source};
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::opt_out::Doubt;

/// Notes that a message is acted on, in the transaction that does. False if it has been already, also by somebody who does so at
/// this moment and commits. `lifts`: it lifts opt-outs.
pub async fn first_time(
    conn: &mut PgConnection,
    sid: &str,
    lifts: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "insert into answered_messages (sid_hash, at, lifts) values ($1, $2, $3) on conflict (sid_hash) do nothing",
    )
    .bind(&Sha256::digest(sid)[..16])
    .bind(now)
    .bind(lifts)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// The addresses that an opt-out is about.
pub type Addresses = [(Channel, AddressHash)];

/// Suppresses addresses because of a text that may have been meant so. An opt-out that nobody doubts, a complaint and a block stay
/// what they are.
pub async fn doubt(
    conn: &mut PgConnection,
    accounts: &[AccountId],
    addresses: &Addresses,
    (doubt, language): (Doubt, Option<&str>),
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    sqlx::query(
        "insert into suppressions as s (account, channel, address_hash, reason, source, created_at, doubt, doubt_language)
         select a.account, t.channel, t.hash, 'opted_out', $4, $5, $6, $7
         from unnest($1::text[]) as a(account), unnest($2::text[], $3::bytea[]) as t(channel, hash)
         order by t.hash, t.channel, a.account
         on conflict (address_hash, channel, account) do update
             set reason = 'opted_out', source = excluded.source, created_at = excluded.created_at, expires_at = null,
                 doubt = excluded.doubt, doubt_language = excluded.doubt_language
             where s.reason = 'bad_address' or s.expires_at <= $5",
    )
    .bind(accounts)
    .bind(addresses.iter().map(|(channel, _)| *channel).collect::<Vec<_>>())
    .bind(addresses.iter().map(|(_, hash)| hash.as_slice()).collect::<Vec<_>>())
    .bind(Source::SmsText)
    .bind(now)
    .bind(doubt)
    .bind(language)
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}

/// The other addresses of the consumer who was written to at this one, as far as the ledger still knows them: by the conversations
/// of these accounts, and by the consumer's other conversations.
pub async fn other_addresses(
    conn: &mut PgConnection,
    accounts: &[AccountId],
    hash: &AddressHash,
) -> sqlx::Result<Vec<(Channel, AddressHash)>> {
    const MOST: i64 = 100;
    let rows = sqlx::query(
        "with met as (
             select distinct account, conversation from reminders where recipient_hash = $1 and account = any ($2)
         ), people as (
             select distinct c.account, c.kind, c.consumer from consumers c
             join met m on m.account = c.account and m.conversation = c.conversation
         ), theirs as (
             select account, conversation from met
             union
             select c.account, c.conversation from consumers c
             join people p on p.account = c.account and p.consumer = c.consumer and p.kind = c.kind
         )
         select distinct r.channel, r.recipient_hash from reminders r
         join theirs t on t.account = r.account and t.conversation = r.conversation
         where r.recipient_hash is not null and r.recipient_hash <> $1 limit $3",
    )
    .bind(hash.as_slice())
    .bind(accounts)
    .bind(MOST)
    .fetch_all(conn)
    .await?;
    let known = readable::<(Channel, Vec<u8>)>(&rows)?.into_iter();
    Ok(known
        .filter_map(|(channel, hash)| Some((channel, hash.try_into().ok()?)))
        .collect())
}

/// Those of these accounts that send SMS from one of `senders`, by their rules (in those of `usual`, rules that name no sender use it) or
/// because they did so to this number.
pub async fn sharing_sender(
    conn: &mut PgConnection,
    (accounts, usual): (&[AccountId], &[AccountId]),
    senders: &[&str],
    hash: &AddressHash,
) -> sqlx::Result<Vec<AccountId>> {
    let found: BTreeSet<String> = sqlx::query_scalar(
        r#"select account from rules
         where account = any ($1) and settings -> 'steps' @> '[{"channel": "sms"}]'
           and (settings #>> '{channels,sms,sender}' = any ($2) or (account = any ($3) and settings #>> '{channels,sms,sender}' is null))
         union
         select r.account from reminders r join attempts a on a.reminder = r.id
         where r.channel = 'sms' and r.recipient_hash = $4 and r.account = any ($1) and split_part(a.sender, ' (', 1) = any ($2)"#,
    )
    .bind(accounts)
    .bind(senders)
    .bind(usual)
    .bind(hash.as_slice())
    .fetch_all(conn)
    .await?
    .into_iter()
    .collect();
    Ok(accounts
        .iter()
        .filter(|id| found.contains(id.as_str()))
        .cloned()
        .collect())
}

/// A doubtful opt-out: one for an address, however many accounts it holds in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubtful {
    pub channel: Channel,
    pub hash: AddressHash,
    pub accounts: Vec<AccountId>,
    pub doubt: Doubt,
    /// The language that it seems to be written in.
    pub language: Option<String>,
    /// The newest reminder to this address that is still known, to see what it was about.
    pub reminder: Option<ReminderId>,
    pub since: DateTime<Utc>,
}

/// Those to be looked at in these accounts, the oldest first.
pub async fn to_review(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
    most: i64,
) -> sqlx::Result<Vec<Doubtful>> {
    #[derive(FromRow)]
    struct DoubtfulOptOutColumns {
        channel: Channel,
        address_hash: Vec<u8>,
        accounts: Vec<String>,
        doubt: String,
        language: Option<String>,
        reminder: Option<ReminderId>,
        since: DateTime<Utc>,
    }
    let rows = sqlx::query(
        "select channel, address_hash, array_agg(account order by account) as accounts, min(doubt) as doubt,
                min(doubt_language) as language, min(created_at) as since,
                (select max(r.id) from reminders r
                 where r.recipient_hash = s.address_hash and r.channel = s.channel and r.account = any ($1)) as reminder
         from suppressions s where doubt is not null and account = any ($1)
         group by channel, address_hash order by since, address_hash, channel limit $2",
    )
    .bind(accounts)
    .bind(most)
    .fetch_all(db)
    .await?;
    let broken = || sqlx::Error::Decode("a hash of another length".into());
    let rows = readable::<DoubtfulOptOutColumns>(&rows)?.into_iter();
    rows.map(|raw| {
        Ok(Doubtful {
            channel: raw.channel,
            hash: raw.address_hash.try_into().map_err(|_| broken())?,
            accounts: raw
                .accounts
                .iter()
                .filter_map(|id| id.parse().ok())
                .collect(),
            // A newer version may have reasons of its own.
            doubt: Doubt::parse(&raw.doubt).unwrap_or(Doubt::StopWord),
            language: raw.language,
            reminder: raw.reminder,
            since: raw.since,
        })
    })
    .collect()
}

/// Settles a doubt: the opt-out stays without it (`keep`), or goes. Returns in which accounts.
pub async fn settle(
    conn: &mut PgConnection,
    accounts: &[AccountId],
    (channel, hash): (Channel, &AddressHash),
    keep: bool,
) -> sqlx::Result<Vec<AccountId>> {
    let sql = if keep {
        "update suppressions set doubt = null, doubt_language = null
         where address_hash = $1 and channel = $2 and account = any ($3) and doubt is not null returning account"
    } else {
        "delete from suppressions
         where address_hash = $1 and channel = $2 and account = any ($3) and doubt is not null and reason = 'opted_out'
         returning account"
    };
    sqlx::query_scalar(sql)
        .bind(hash.as_slice())
        .bind(channel)
        .bind(accounts)
        .fetch_all(conn)
        .await
}
