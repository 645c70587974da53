//! What a reminder's link leads to, and what following it tells us.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, PgPool};

use crate::domain::ids::{AccountId, Channel, ReminderId};

/// The reminder behind an unguessable word.
#[derive(Clone, Debug, FromRow)]
pub struct Linked {
    pub id: ReminderId,
    pub account: AccountId,
    pub channel: Channel,
    pub recipient_hash: Option<Vec<u8>>,
    /// Of its text.
    pub language: Option<String>,
    pub created_at: DateTime<Utc>,
}

pub async fn find(pool: &PgPool, token: &str) -> sqlx::Result<Option<Linked>> {
    sqlx::query_as(
        "select id, account, channel, recipient_hash, language, created_at from reminders where token = $1",
    )
    .bind(token)
    .fetch_optional(pool)
    .await
}

/// A click counts as having been seen: the first is a return if it came in time, and it settles whether the message arrived; the newest
/// holds the next step back. Clicks within a second are one.
pub async fn clicked(pool: &PgPool, reminder: ReminderId, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "update reminders r set clicked_at = coalesce(clicked_at, $2), last_click_at = $2,
             returned_at = coalesce(returned_at,
                 case when coalesce(sent_at, counted_at) + interval '24 hours' >= $2 then $2 end),
             credited = credited or (returned_at is null and coalesce(sent_at, counted_at) + interval '24 hours' >= $2
                 and not exists (select from reminders o where o.account = r.account and o.conversation = r.conversation
                     and o.episode = r.episode and o.credited)),
             sent_at = case when state = 'unknown' then coalesce(sent_at, counted_at) else sent_at end,
             state = case when state = 'unknown' then 'delivered' else state end
         where id = $1 and (last_click_at is null or last_click_at <= $2 - interval '1 second')",
    )
    .bind(reminder)
    .bind(now)
    .execute(pool)
    .await?;
    Ok(())
}

/// The newest click on a link of each of these episodes (conversation, first message), on any channel; those without one are left out.
///
/// Finds them as [`existing`](super::ledger::existing) does.
pub async fn newest_clicks(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    episodes: &[(&str, &str)],
) -> sqlx::Result<HashMap<(String, String), DateTime<Utc>>> {
    let rows: Vec<(String, String, DateTime<Utc>)> = sqlx::query_as(
        "select conversation, episode, max(at) from (
             select distinct * from unnest($2::text[], $3::text[])
         ) as i(conversation, episode)
         cross join lateral (
             select greatest(clicked_at, last_click_at) as at from reminders
             where account = $1 and conversation = i.conversation and episode = i.episode offset 0
         ) as r
         where at is not null group by conversation, episode",
    )
    .bind(account)
    .bind(
        episodes
            .iter()
            .map(|(conversation, _)| *conversation)
            .collect::<Vec<_>>(),
    )
    .bind(
        episodes
            .iter()
            .map(|(_, episode)| *episode)
            .collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?;
    let clicks = rows.into_iter();
    Ok(clicks
        .map(|(conversation, episode, at)| ((conversation, episode), at))
        .collect())
}
