//! Test messages, as far as limits and verification need them: no address is kept, only its keyed hash.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::suppressions::AddressHash;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::test_message::{A_DAY, CODES_A_DAY, DAY};

/// Who sends to whom, over which account's channel.
#[derive(Clone, Copy, Debug)]
pub struct Between<'a> {
    pub person: &'a str,
    pub account: &'a AccountId,
    pub channel: Channel,
    pub recipient: &'a AddressHash,
}

/// Whether a message counts towards a limit: the same person's, to the same recipient, with a code.
type CountsTowards = fn(bool, bool, bool) -> bool;

/// Which limit is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestLimit {
    /// All test messages of a person.
    Person,
    /// A person's codes.
    PersonsCodes,
    /// The codes to an address, whoever asked for them.
    RecipientsCodes,
}

/// Counts a test message, unless a limit is used up: then says which, and how long until there is room again.
///
/// One at a time, so that of many at once no more get through. The lock ends with the transaction.
pub async fn count(
    conn: &mut PgConnection,
    between: Between<'_>,
    code: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<Result<(), (TestLimit, TimeDelta)>> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('test_messages', 0))")
        .execute(&mut *conn)
        .await?;
    sqlx::query("delete from test_messages where sent_at <= $1")
        .bind(now - DAY)
        .execute(&mut *conn)
        .await?;
    let sent: Vec<(bool, bool, bool, DateTime<Utc>)> = sqlx::query_as(
        "select person = $1, recipient_hash = $2, code, sent_at from test_messages
         where person = $1 or recipient_hash = $2 order by sent_at, id",
    )
    .bind(between.person)
    .bind(between.recipient.as_slice())
    .fetch_all(&mut *conn)
    .await?;
    let limits: [(TestLimit, i64, CountsTowards); 3] = [
        (TestLimit::Person, A_DAY, |own, _, _| own),
        (TestLimit::PersonsCodes, CODES_A_DAY, |own, _, code| {
            own && code
        }),
        (TestLimit::RecipientsCodes, CODES_A_DAY, |_, to, code| {
            to && code
        }),
    ];
    for (limit, most, is_counted) in limits.into_iter().take(if code { 3 } else { 1 }) {
        let counted = sent
            .iter()
            .filter(|(own, to, code, _)| is_counted(*own, *to, *code));
        let counted: Vec<DateTime<Utc>> = counted.map(|(.., at)| *at).collect();
        // There is room when so many have gone that fewer than the most are left.
        let room = i64::try_from(counted.len()).unwrap_or(i64::MAX) - most;
        if let Some(last) = usize::try_from(room).ok().and_then(|at| counted.get(at)) {
            return Ok(Err((limit, *last + DAY - now)));
        }
    }
    sqlx::query(
        "insert into test_messages (person, recipient_hash, code, sent_at) values ($1, $2, $3, $4)",
    )
    .bind(between.person)
    .bind(between.recipient.as_slice())
    .bind(code)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(Ok(()))
}

/// Whether this person has shown for some account that test messages to this address reach them.
pub async fn is_verified(db: impl PgExecutor<'_>, between: Between<'_>) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from test_recipients
         where person = $1 and channel = $2 and recipient_hash = $3 and verified_at is not null)",
    )
    .bind(between.person)
    .bind(between.channel)
    .bind(between.recipient.as_slice())
    .fetch_one(db)
    .await
}

/// Remembers a code that is about to be sent; one that was sent before is good no more. Rows of codes that nobody entered go.
pub async fn keep_code(
    conn: &mut PgConnection,
    between: Between<'_>,
    code_hash: &[u8; 16],
    expires_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("delete from test_recipients where verified_at is null and code_expires_at <= $1")
        .bind(now)
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "insert into test_recipients (person, account, channel, recipient_hash, code_hash, code_expires_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (person, account, channel, recipient_hash) do update
         set code_hash = excluded.code_hash, code_expires_at = excluded.code_expires_at, tries = 0",
    )
    .bind(between.person)
    .bind(between.account)
    .bind(between.channel)
    .bind(between.recipient.as_slice())
    .bind(code_hash.as_slice())
    .bind(expires_at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts a try to enter a code and gives the hash of the right one, and which try it is; `None` if no code can be entered: none was
/// sent, it is too old, or `most` tries were made. The try must be committed before anybody is told whether it was right.
pub async fn try_code(
    db: impl PgExecutor<'_>,
    between: Between<'_>,
    most: i16,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<(Vec<u8>, i16)>> {
    sqlx::query_as(
        "update test_recipients set tries = tries + 1
         where person = $1 and account = $2 and channel = $3 and recipient_hash = $4
           and code_hash is not null and code_expires_at > $5 and tries < $6
         returning code_hash, tries",
    )
    .bind(between.person)
    .bind(between.account)
    .bind(between.channel)
    .bind(between.recipient.as_slice())
    .bind(now)
    .bind(most)
    .fetch_optional(db)
    .await
}

/// The code was right: from now on own words go to this address. A code is good once.
pub async fn verify(
    conn: &mut PgConnection,
    between: Between<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update test_recipients set verified_at = $5, code_hash = null, code_expires_at = null, tries = 0
         where person = $1 and account = $2 and channel = $3 and recipient_hash = $4",
    )
    .bind(between.person)
    .bind(between.account)
    .bind(between.channel)
    .bind(between.recipient.as_slice())
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Nobody sends tests to this address any more, until it is verified anew.
pub async fn erase(conn: &mut PgConnection, recipient: &AddressHash) -> sqlx::Result<()> {
    sqlx::query("delete from test_recipients where recipient_hash = $1")
        .bind(recipient.as_slice())
        .execute(conn)
        .await?;
    Ok(())
}

/// Somebody does not send tests any more: who has the name next begins anew.
pub async fn remove_tests_of(conn: &mut PgConnection, person: &str) -> sqlx::Result<()> {
    sqlx::query("delete from test_recipients where person = $1")
        .bind(person)
        .execute(conn)
        .await?;
    Ok(())
}
