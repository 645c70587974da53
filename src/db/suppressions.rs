//! Addresses that must not be written to, by keyed hash.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};

use super::columns::readable;
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel};

/// The keyed hash of an address (see `crate::hashing`).
pub type AddressHash = [u8; 16];

/// Why an address must not be written to, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveSuppression {
    pub reason: Suppression,
    pub source: Source,
    pub since: DateTime<Utc>,
}

impl ActiveSuppression {
    /// Whether its owner has said no since then: what a provider refuses was said before.
    pub fn is_a_no_since(&self, then: DateTime<Utc>) -> bool {
        self.reason.is_a_no() && self.source != Source::Provider && self.since >= then
    }
}

type ActiveRow = (
    Vec<u8>,
    Channel,
    AccountId,
    Suppression,
    Source,
    DateTime<Utc>,
);

/// Which of these addresses are suppressed on their channel and account right now.
pub async fn active(
    db: impl PgExecutor<'_>,
    hashes: &[AddressHash],
    now: DateTime<Utc>,
) -> sqlx::Result<HashMap<(AddressHash, Channel, AccountId), ActiveSuppression>> {
    let hashes: Vec<&[u8]> = hashes.iter().map(<[u8; 16]>::as_slice).collect();
    let rows = sqlx::query(
        "select address_hash, channel, account, reason, source, created_at from suppressions
         where address_hash = any ($1) and (expires_at is null or expires_at > $2)",
    )
    .bind(hashes)
    .bind(now)
    .fetch_all(db)
    .await?;
    let known: Vec<ActiveRow> = readable(&rows)?;
    Ok(known
        .into_iter()
        .filter_map(|(hash, channel, account, reason, source, since)| {
            let active = ActiveSuppression {
                reason,
                source,
                since,
            };
            Some(((hash.try_into().ok()?, channel, account), active))
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

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a person lifts who texts START: what they said by text message, or what Twilio says they said.
pub const SAID_BY_TEXT: [Source; 3] = [Source::SmsKeyword, Source::SmsText, Source::Provider];

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SuppressionRow {
    pub account: AccountId,
    pub channel: Channel,
    #[sqlx(rename = "address_hash")]
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
    let rows: Vec<SuppressionRow> = accounts
        .iter()
        .map(|account| SuppressionRow {
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

/// Under which key the hashes of rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKey<'a> {
    /// That of this process.
    Present,
    /// The one with this short name; `None`: from before keys had names.
    Named(Option<&'a str>),
}

/// Stores rows. A person's wish (`opted_out`, `complaint`, `blocked`) is never weakened to a technical reason, nor a block or a
/// complaint to an opt-out, nor an opt-out to one that START would lift when it would not have lifted the former. What is stored is
/// not doubtful any more. Returns how many rows are new or changed.
pub async fn store(
    conn: &mut PgConnection,
    rows: &[SuppressionRow],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    store_under(conn, HashKey::Present, rows, now).await
}

/// The same for hashes that may be of another key, as their source says.
pub async fn store_under(
    conn: &mut PgConnection,
    key: HashKey<'_>,
    rows: &[SuppressionRow],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let name = match key {
        HashKey::Present => None,
        HashKey::Named(name) => name,
    };
    sqlx::query(
        "insert into suppressions as s (account, channel, address_hash, reason, source, created_at, expires_at, key_id)
         select distinct on (address_hash, channel, account) t.*,
             case when $10 then nullif(current_setting('unread.address_key', true), '') else $11 end
         from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[])
             as t(account, channel, address_hash, reason, source, created_at, expires_at)
         order by address_hash, channel, account
         on conflict (address_hash, channel, account) do update
             set reason = excluded.reason, source = excluded.source, created_at = excluded.created_at,
                 expires_at = excluded.expires_at, doubt = null, doubt_language = null
             where s.reason = 'bad_address' or s.expires_at <= $8
                or (s.reason = 'opted_out' and excluded.reason in ('complaint', 'blocked'))
                or (s.reason = 'complaint' and excluded.reason = 'blocked')
                or (s.reason = 'opted_out' and excluded.reason = 'opted_out'
                    and (s.doubt is not null or s.expires_at < coalesce(excluded.expires_at, 'infinity')
                         or (s.source = any ($9) and excluded.source <> 'provider')))",
    )
    .bind(rows.iter().map(|r| &r.account).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.channel).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.hash.as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.reason).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.source).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.created_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.expires_at).collect::<Vec<_>>())
    .bind(now)
    .bind(SAID_BY_TEXT)
    .bind(key == HashKey::Present)
    .bind(name)
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}

/// What this transaction stores is hashed with a key from before: it is not labelled with the present one, since it must still be moved.
pub async fn by_an_older_key(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select set_config('unread.address_key', '', true)")
        .execute(conn)
        .await?;
    Ok(())
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
    .bind(accounts)
    .bind(channel)
    .bind(hash.as_slice())
    .bind(sources)
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
    .bind(account)
    .bind(channel)
    .bind(hash.as_slice())
    .execute(conn)
    .await
    .map(|done| done.rows_affected() > 0)
}

/// Removes what anybody said no by until this moment; what was said later stays, and what only says that an address does not work.
/// Returns whether there was something.
pub async fn lift_whatever(
    conn: &mut PgConnection,
    account: &AccountId,
    channel: Channel,
    hash: &AddressHash,
    until: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sqlx::query(
        "delete from suppressions
         where account = $1 and channel = $2 and address_hash = $3 and reason <> 'bad_address' and created_at <= $4",
    )
    .bind(account)
    .bind(channel)
    .bind(hash.as_slice())
    .bind(until)
    .execute(conn)
    .await
    .map(|done| done.rows_affected() > 0)
}

/// What is looked for in the list; what is not given does not matter.
#[derive(Clone, Debug, Default)]
pub struct SuppressionFilter {
    /// Those the caller may see.
    pub accounts: Vec<AccountId>,
    pub channel: Option<Channel>,
    pub reason: Option<Suppression>,
    pub hash: Option<AddressHash>,
}

/// The place after which the next page begins.
pub type SuppressionCursor = (DateTime<Utc>, AddressHash, Channel, AccountId);

/// Those that fit, newest first.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: &SuppressionFilter,
    after: Option<SuppressionCursor>,
    most: i64,
) -> sqlx::Result<Vec<SuppressionRow>> {
    let mut query = QueryBuilder::new(
        "select account, channel, address_hash, reason, source, created_at, expires_at from suppressions where account = any (",
    );
    query.push_bind(filter.accounts.clone()).push(")");
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
        query.push(", ").push_bind(channel);
        query.push(", ").push_bind(account).push(")");
    }
    // Always said, so that the index of channel and reason serves a rare reason.
    let channels = filter
        .channel
        .map_or_else(|| Channel::ALL.to_vec(), |channel| vec![channel]);
    query.push(" and channel = any (");
    query.push_bind(channels).push(")");
    // What only another version knows takes no place on the page.
    query
        .push(" and source = any (")
        .push_bind(Source::ALL)
        .push(")");
    if let Some(reason) = filter.reason {
        query.push(" and reason = ").push_bind(reason);
    }
    query.push(" order by created_at desc, address_hash desc, channel desc, account desc limit ");
    query.push_bind(most);
    readable(&query.build().fetch_all(db).await?)
}

/// The rows of these addresses.
pub async fn of(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    hashes: &[AddressHash],
) -> sqlx::Result<Vec<SuppressionRow>> {
    let rows = sqlx::query(
        "select account, channel, address_hash, reason, source, created_at, expires_at from suppressions
         where account = $1 and address_hash = any ($2) order by created_at desc",
    )
    .bind(account)
    .bind(hashes)
    .fetch_all(db)
    .await?;
    readable(&rows)
}

/// A page of the table in the order of its key, after the row given: of these accounts, or of all. What only another version knows is
/// left out: a page may be short and still have a next one.
pub async fn page(
    db: impl PgExecutor<'_>,
    accounts: Option<&[AccountId]>,
    after: Option<&SuppressionRow>,
    most: i64,
) -> sqlx::Result<Vec<SuppressionRow>> {
    let rows = sqlx::query(
        "select account, channel, address_hash, reason, source, created_at, expires_at from suppressions
         where ($1::bytea is null or (address_hash, channel, account) > ($1, $2, $3))
           and ($5::text[] is null or account = any ($5))
         order by address_hash, channel, account limit $4",
    )
    .bind(after.map(|row| row.hash.as_slice()))
    .bind(after.map(|row| row.channel))
    .bind(after.map(|row| &row.account))
    .bind(most)
    .bind(accounts)
    .fetch_all(db)
    .await?;
    readable(&rows)
}

/// How many people have opted out of messages of these accounts within a span, by their addresses.
pub async fn opted_out(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
    (from, until): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(distinct address_hash) from suppressions
         where account = any ($1) and reason = 'opted_out' and source <> 'import' and created_at >= $2 and created_at < $3",
    )
    .bind(accounts)
    .bind(from)
    .bind(until)
    .fetch_one(db)
    .await
}
