//! What providers report about messages they took: proof that an attempt arrived, and how it ended.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::columns::readable;
use crate::domain::decide::Cause;
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::reminder::ReminderState;

/// One report about one message.
#[derive(Clone, Debug)]
pub struct ProviderReport<'a> {
    pub channel: Channel,
    /// Our attempt and the beginning of its reminder's token, as the callback's address names them.
    pub attempt: Option<(i64, &'a str)>,
    pub provider_id: &'a str,
    /// The reminder's state that follows: `sent`, `delivered`, `undelivered`, `failed` or `expired`.
    pub state: ReminderState,
    pub reason: Option<Cause>,
}

/// Whose message it was.
#[derive(Clone, Debug, FromRow)]
pub struct Reported {
    pub reminder: ReminderId,
    pub account: AccountId,
    pub conversation: String,
    pub sender: String,
    pub recipient_hash: Option<Vec<u8>>,
    /// No later attempt of the reminder exists.
    latest: bool,
    attempt: i64,
    /// This report is the first that says how the message ended, or does not say it.
    #[sqlx(default)]
    pub news: bool,
}

/// Applies a report. It proves that the attempt was accepted, also one whose answer was lost. It never moves a state
/// backwards and keeps the first word on how a message ended; that an *older* attempt failed says nothing about the reminder.
/// `None` if the message is not ours: a name without the token of its reminder is not believed, since another installation, or
/// this one before its database was made anew, may have used the same number.
pub async fn apply(
    conn: &mut PgConnection,
    report: &ProviderReport<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Reported>> {
    let reported: Option<Reported> = sqlx::query_as(
        "update attempts a set outcome = 'accepted', provider_id = $2, ended_at = coalesce(a.ended_at, $4), address = null,
             settle_at = null
         from reminders r
         where r.id = a.reminder and r.channel = $5 and a.id = (
             select b.id from attempts b join reminders s on s.id = b.reminder
             where s.channel = $5
               and (b.provider_id = $2 or (b.id = $1 and b.provider_id is null and starts_with(s.token, $3)))
             order by b.provider_id nulls last limit 1)
         returning a.reminder, a.id as attempt, r.account, r.conversation, a.sender, r.recipient_hash,
             not exists (select from attempts later where later.reminder = a.reminder and later.id > a.id) as latest",
    )
    .bind(report.attempt.map(|(id, _)| id))
    .bind(report.provider_id)
    .bind(report.attempt.map(|(_, token)| token))
    .bind(now)
    .bind(report.channel)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(mut reported) = reported else {
        return Ok(None);
    };
    reported.news =
        report.state == ReminderState::Sent || ends(conn, &reported, report.state).await?;
    if !reported.news {
        return Ok(Some(reported));
    }
    sqlx::query(
        "update reminders set state = $2, reason = $3, provider_id = $4, next_at = null, counted_at = coalesce(counted_at, $5),
             sent_at = coalesce(sent_at, $5), final_at = coalesce(final_at, $5)
         where id = $1 and state not in ('delivered', 'undelivered')
           and not (state in ('failed', 'expired') and sent_at is not null)
           and not (state = 'sent' and $2 = 'sent')
           and ($6 or $2 in ('sent', 'delivered'))",
    )
    .bind(reported.reminder)
    .bind(report.state)
    .bind(&report.reason)
    .bind(report.provider_id)
    .bind(now)
    .bind(reported.latest)
    .execute(conn)
    .await?;
    Ok(Some(reported))
}

/// Notes how a message ended. False if an earlier report has said so, of this message or, of the same reminder, that it arrived.
/// Of two reports at once one is the first, because both change the attempt.
async fn ends(
    conn: &mut PgConnection,
    reported: &Reported,
    state: ReminderState,
) -> sqlx::Result<bool> {
    let over: bool = sqlx::query_scalar(
        "select state = 'delivered'
             or ($2 and (state = 'undelivered' or (state in ('failed', 'expired') and sent_at is not null)))
         from reminders where id = $1 for update",
    )
    .bind(reported.reminder)
    .bind(reported.latest)
    .fetch_one(&mut *conn)
    .await?;
    let first =
        sqlx::query("update attempts set final_report = $2 where id = $1 and final_report is null")
            .bind(reported.attempt)
            .bind(state)
            .execute(conn)
            .await?
            .rows_affected()
            == 1;
    Ok(first && !over)
}

/// An e-mail's reminder, found by our own Message-ID.
#[derive(Clone, Debug, FromRow)]
pub struct Mailed {
    pub id: ReminderId,
    /// The beginning of its token, as it was named.
    pub named: String,
    pub account: AccountId,
    pub conversation: String,
    pub recipient_hash: Option<Vec<u8>>,
}

/// The reminders that these Message-IDs name, each by its id and the beginning of its token.
pub async fn mailed(conn: &mut PgConnection, names: &[(i64, String)]) -> sqlx::Result<Vec<Mailed>> {
    let rows = sqlx::query(
        "select r.id, n.token as named, r.account, r.conversation, r.recipient_hash from unnest($1::bigint[], $2::text[]) as n(id, token)
         join reminders r on r.id = n.id and starts_with(r.token, n.token) and r.channel = 'email'",
    )
    .bind(names.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(names.iter().map(|(_, token)| token.as_str()).collect::<Vec<_>>())
    .fetch_all(conn)
    .await?;
    readable(&rows)
}

/// Notes that e-mails arrived. It says that they had been sent, too, where that was unknown, or not written down yet.
pub async fn delivered(
    conn: &mut PgConnection,
    reminders: &[ReminderId],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    sqlx::query(
        "update reminders set state = 'delivered', reason = null, sent_at = coalesce(sent_at, counted_at, $2),
             final_at = coalesce(final_at, $2), next_at = null
         where id = any ($1) and state in ('sent', 'unknown', 'sending')",
    )
    .bind(reminders.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}

/// Notes that e-mails came back, also those that were said to have arrived. It says that they had been sent, too, where that was unknown, or not written down yet.
pub async fn bounced(
    conn: &mut PgConnection,
    reminders: &[(ReminderId, &str)],
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    sqlx::query(
        "update reminders r set state = 'undelivered', reason = b.reason, sent_at = coalesce(r.sent_at, r.counted_at, $3),
             final_at = case when r.state = 'delivered' then $3 else coalesce(r.final_at, $3) end, next_at = null
         from unnest($1::bigint[], $2::text[]) as b(id, reason)
         where r.id = b.id and r.state in ('sent', 'unknown', 'sending', 'delivered')",
    )
    .bind(reminders.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(reminders.iter().map(|(_, reason)| *reason).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await
    .map(|done| done.rows_affected())
}

/// A message whose text the provider need not keep any longer.
#[derive(Clone, Debug, FromRow)]
pub struct Redactable {
    pub attempt: i64,
    pub account: AccountId,
    /// Whom it came from, as limits call it.
    pub sender: String,
    pub provider_id: String,
}

/// Accepted messages of a channel whose reminder has ended: by a report or, where the carrier sends none, four hours after it was sent.
pub async fn to_redact(
    conn: &mut PgConnection,
    (channel, accounts): (Channel, &[AccountId]),
    most: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Redactable>> {
    sqlx::query_as(
        "select a.id as attempt, r.account, a.sender, a.provider_id from attempts a join reminders r on r.id = a.reminder
         where r.channel = $3 and r.account = any ($4) and a.provider_id like 'SM%' and a.redacted_at is null and a.redact_tries < 10
           and (a.redact_at is null or a.redact_at <= now())
           and r.next_at is null and (r.state <> 'sent' or r.sent_at < $2 - interval '4 hours')
         order by a.id limit $1",
    )
    .bind(most)
    .bind(now)
    .bind(channel)
    .bind(accounts)
    .fetch_all(conn)
    .await
}

/// Notes how a request to remove a text went; after a failure it is made again later, ten times at most.
pub async fn redacted(
    conn: &mut PgConnection,
    attempt: i64,
    done: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update attempts set redacted_at = case when $2 then $3::timestamptz end, redact_tries = redact_tries + 1,
             redact_at = now() + make_interval(mins => 5 * (redact_tries + 1) * (redact_tries + 1))
         where id = $1",
    )
    .bind(attempt)
    .bind(done)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}
