//! Addresses that must not be written to, by keyed hash.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};

use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel};

/// The keyed hash of an address (see `crate::hashing`).
pub type AddressHash = [u8; 16];

/// Which of these addresses are suppressed on their channel and account right now.
pub async fn active(
    db: impl PgExecutor<'_>,
    hashes: &[AddressHash],
    now: DateTime<Utc>,
) -> sqlx::Result<HashMap<(AddressHash, Channel, String), Suppression>> {
    let hashes: Vec<&[u8]> = hashes.iter().map(<[u8; 16]>::as_slice).collect();
    let rows: Vec<(Vec<u8>, String, String, String)> = sqlx::query_as(
        "select address_hash, channel, account, reason from suppressions
         where address_hash = any ($1) and (expires_at is null or expires_at > $2)",
    )
    .bind(hashes)
    .bind(now)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(hash, channel, account, reason)| {
            let key = (hash.try_into().ok()?, channel.parse().ok()?, account);
            Some((key, Suppression::parse(&reason)?))
        })
        .collect())
}

/// Where a suppression comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The provider's answer or report.
    Provider,
    /// STOP and the like.
    SmsKeyword,
    /// "Please stop texting me".
    SmsText,
    /// The link, or a mail program's button.
    UnsubscribeLink,
    /// A bounce or complaint that the mail provider told of.
    MailEvent,
    Operator,
    Import,
}

impl Source {
    pub const ALL: [Self; 7] = [
        Self::Provider,
        Self::SmsKeyword,
        Self::SmsText,
        Self::UnsubscribeLink,
        Self::MailEvent,
        Self::Operator,
        Self::Import,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::SmsKeyword => "sms keyword",
            Self::SmsText => "sms text",
            Self::UnsubscribeLink => "unsubscribe link",
            Self::MailEvent => "mail event",
            Self::Operator => "operator",
            Self::Import => "import",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

/// What a person lifts who texts START: what they said by text message, or what Twilio says they said.
pub const SAID_BY_TEXT: [Source; 3] = [Source::SmsKeyword, Source::SmsText, Source::Provider];

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub account: AccountId,
    pub channel: Channel,
    pub hash: AddressHash,
    pub reason: Suppression,
    pub source: Source,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// Suppresses an address in these accounts for as long as the reason lasts.
pub async fn add(
    conn: &mut PgConnection,
    accounts: &[AccountId],
    channel: Channel,
    hash: &AddressHash,
    (reason, source): (Suppression, Source),
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let rows: Vec<Row> = accounts
        .iter()
        .map(|account| Row {
            account: account.clone(),
            channel,
            hash: *hash,
            reason,
            source,
            created_at: now,
            expires_at: reason.lasts().map(|span| now + span),
        })
        .collect();
    store(conn, &rows, now).await
}

/// Stores rows. A person's wish (`opted_out`, `complaint`, `blocked`) is never weakened to a technical reason, nor a block or a
/// complaint to an opt-out, nor an opt-out to one that START would lift when it would not have lifted the former. What is stored is
/// not doubtful any more. Returns how many rows are new or changed.
pub async fn store(conn: &mut PgConnection, rows: &[Row], now: DateTime<Utc>) -> sqlx::Result<u64> {
    sqlx::query(
        "insert into suppressions as s (account, channel, address_hash, reason, source, created_at, expires_at)
         select distinct on (address_hash, channel, account) * from unnest($1::text[], $2::text[], $3::bytea[], $4::text[],
             $5::text[], $6::timestamptz[], $7::timestamptz[])
             as t(account, channel, address_hash, reason, source, created_at, expires_at)
         order by address_hash, channel, account
         on conflict (address_hash, channel, account) do update
             set reason = excluded.reason, source = excluded.source, created_at = excluded.created_at,
                 expires_at = excluded.expires_at, doubt = null
             where s.reason = 'bad_address' or s.expires_at <= $8
                or (s.reason = 'opted_out' and excluded.reason in ('complaint', 'blocked'))
                or (s.reason = 'complaint' and excluded.reason = 'blocked')
                or (s.reason = 'opted_out' and excluded.reason = 'opted_out'
                    and (s.doubt is not null or s.expires_at < coalesce(excluded.expires_at, 'infinity')
                         or (s.source = any ($9) and excluded.source <> 'provider')))",
    )
    .bind(rows.iter().map(|r| r.account.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.channel.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.hash.as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.reason.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.source.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.created_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.expires_at).collect::<Vec<_>>())
    .bind(now)
    .bind(SAID_BY_TEXT.map(Source::as_str))
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}

/// Lifts an opt-out in these accounts if it came from one of `sources`. Technical reasons, complaints and blocks stay.
pub async fn lift(
    conn: &mut PgConnection,
    accounts: &[AccountId],
    channel: Channel,
    hash: &AddressHash,
    sources: &[Source],
) -> sqlx::Result<u64> {
    sqlx::query(
        "delete from suppressions
         where account = any ($1) and channel = $2 and address_hash = $3 and reason = 'opted_out'
           and source = any ($4)",
    )
    .bind(accounts.iter().map(AccountId::as_str).collect::<Vec<_>>())
    .bind(channel.as_str())
    .bind(hash.as_slice())
    .bind(sources.iter().map(|s| s.as_str()).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}

/// Removes a suppression whatever its reason: an operator's decision.
pub async fn remove(
    conn: &mut PgConnection,
    account: &AccountId,
    channel: Channel,
    hash: &AddressHash,
) -> sqlx::Result<bool> {
    sqlx::query(
        "delete from suppressions where account = $1 and channel = $2 and address_hash = $3",
    )
    .bind(account.as_str())
    .bind(channel.as_str())
    .bind(hash.as_slice())
    .execute(conn)
    .await
    .map(|done| done.rows_affected() > 0)
}

/// What is looked for in the list; what is not given does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those the caller may see.
    pub accounts: Vec<AccountId>,
    pub channel: Option<Channel>,
    pub reason: Option<Suppression>,
    pub hash: Option<AddressHash>,
}

/// The place after which the next page begins.
pub type Place = (DateTime<Utc>, AddressHash, Channel, AccountId);

/// Those that fit, newest first.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: &Filter,
    after: Option<Place>,
    most: i64,
) -> sqlx::Result<Vec<Row>> {
    let mut query = QueryBuilder::new(
        "select account, channel, address_hash, reason, source, created_at, expires_at from suppressions where account = any (",
    );
    query
        .push_bind(
            filter
                .accounts
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
        )
        .push(")");
    if let Some(hash) = filter.hash {
        query.push(" and address_hash = ").push_bind(hash.to_vec());
    }
    if let Some((at, hash, channel, account)) = after {
        // The first condition is the index's, the second is exact.
        query.push(" and created_at <= ").push_bind(at);
        query
            .push(" and (created_at, address_hash, channel, account) < (")
            .push_bind(at);
        query.push(", ").push_bind(hash.to_vec());
        query.push(", ").push_bind(channel.as_str());
        query.push(", ").push_bind(account.to_string()).push(")");
    }
    // Always said, so that the index of channel and reason serves a rare reason.
    let channels = filter
        .channel
        .map_or_else(|| Channel::ALL.to_vec(), |channel| vec![channel]);
    query.push(" and channel = any (");
    query
        .push_bind(
            channels
                .into_iter()
                .map(Channel::as_str)
                .collect::<Vec<_>>(),
        )
        .push(")");
    if let Some(reason) = filter.reason {
        query.push(" and reason = ").push_bind(reason.as_str());
    }
    query.push(" order by created_at desc, address_hash desc, channel desc, account desc limit ");
    query.push_bind(most);
    let rows: Vec<Raw> = query.build_query_as().fetch_all(db).await?;
    rows.into_iter().map(Row::try_from).collect()
}

/// The rows of these addresses.
pub async fn of(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    hashes: &[AddressHash],
) -> sqlx::Result<Vec<Row>> {
    let rows: Vec<Raw> = sqlx::query_as(
        "select account, channel, address_hash, reason, source, created_at, expires_at from suppressions
         where account = $1 and address_hash = any ($2) order by created_at desc",
    )
    .bind(account.as_str())
    .bind(hashes.iter().map(<[u8; 16]>::as_slice).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Row::try_from).collect()
}

/// A page of the table in the order of its key, after the row given.
pub async fn page(
    db: impl PgExecutor<'_>,
    after: Option<&Row>,
    most: i64,
) -> sqlx::Result<Vec<Row>> {
    let rows: Vec<Raw> = sqlx::query_as(
        "select account, channel, address_hash, reason, source, created_at, expires_at from suppressions
         where $1::bytea is null or (address_hash, channel, account) > ($1, $2, $3)
         order by address_hash, channel, account limit $4",
    )
    .bind(after.map(|row| row.hash.as_slice()))
    .bind(after.map(|row| row.channel.as_str()))
    .bind(after.map(|row| row.account.as_str()))
    .bind(most)
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Row::try_from).collect()
}

#[derive(FromRow)]
struct Raw {
    account: String,
    channel: String,
    address_hash: Vec<u8>,
    reason: String,
    source: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

impl TryFrom<Raw> for Row {
    type Error = sqlx::Error;

    fn try_from(raw: Raw) -> sqlx::Result<Self> {
        let broken = || sqlx::Error::Decode("a suppression with an unknown word".into());
        Ok(Self {
            account: raw.account.parse().map_err(|_| broken())?,
            channel: raw.channel.parse().map_err(|_| broken())?,
            hash: raw.address_hash.try_into().map_err(|_| broken())?,
            reason: Suppression::parse(&raw.reason).ok_or_else(broken)?,
            source: Source::parse(&raw.source).ok_or_else(broken)?,
            created_at: raw.created_at,
            expires_at: raw.expires_at,
        })
    }
}
