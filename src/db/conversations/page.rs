//! A page of snapshots: what of it is new, and storing that.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::ConversationSnapshot;
use crate::db::changes;
use crate::domain::ids::{AccountId, Channel};

/// One column of a page.
macro_rules! column {
    ($page:expr, |$snapshot:ident| $value:expr) => {
        $page.iter().map(|$snapshot| $value).collect::<Vec<_>>()
    };
}

/// Binds what a page says, as `input` of [`NEWS`] and [`STORE`] reads it.
macro_rules! bind_page {
    ($query:expr, $account:expr, $page:expr, $seen_at:expr) => {{
        let page = $page;
        $query
            .bind($account)
            .bind($seen_at)
            .bind(column!(page, |s| s.id.clone()))
            .bind(column!(page, |s| s.skill))
            .bind(column!(page, |s| s.started_at))
            .bind(column!(page, |s| s.open))
            .bind(column!(page, |s| s.read_state))
            .bind(column!(page, |s| s.episode.clone()))
            .bind(column!(page, |s| s.unread_since))
            .bind(column!(page, |s| i32::try_from(s.unread_count).unwrap_or(i32::MAX)))
            .bind(column!(page, |s| s.time_zone.clone()))
            .bind(column!(page, |s| s.language.clone()))
            .bind(column!(page, |s| s.closed_at))
            .bind(column!(page, |s| s.hashes(|known| Some(known.now))))
            .bind(column!(page, |s| s.hashes(|known| known.before)))
            .bind(Channel::ALL.map(Channel::as_str))
            .bind(column!(page, |s| s.decided.reason))
            .bind(column!(page, |s| s.decided.step.map(|(step, _)| step)))
            .bind(column!(page, |s| s
                .decided
                .step
                .map(|(_, channel)| channel)))
            .bind(column!(page, |s| s.passed_over()))
            .bind(column!(page, |s| s.agent_wrote_at))
    }};
}

/// A snapshot that says something new.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct News {
    pub id: String,
    /// An agent message is new of a conversation that is known, and the last recent pass over its skill should have shown it.
    pub missed: bool,
}

/// Those of a page of snapshots taken at `seen_at` that are not what is stored already, and not older. Locks nothing and writes nothing: a
/// scan that finds nothing new ends here. What an agent wrote longer than `shown_within` before a recent pass began, that pass should have
/// shown.
pub async fn news(
    conn: &mut PgConnection,
    account: &AccountId,
    page: &[ConversationSnapshot],
    seen_at: DateTime<Utc>,
    shown_within: TimeDelta,
) -> sqlx::Result<Vec<News>> {
    let (kinds, consumers, conversations) = consumer_ids(page.iter());
    let query = sqlx::query_as(NEWS);
    bind_page!(query, account, page, seen_at)
        .bind(kinds)
        .bind(consumers)
        .bind(conversations)
        .bind(shown_within)
        .fetch_all(conn)
        .await
}

/// Every id of the consumers of these snapshots: kinds, ids, conversations.
fn consumer_ids<'a>(
    page: impl Iterator<Item = &'a ConversationSnapshot>,
) -> (Vec<&'static str>, Vec<&'a str>, Vec<&'a str>) {
    let (mut kinds, mut consumers, mut conversations) = (Vec::new(), Vec::new(), Vec::new());
    for snapshot in page {
        let own = snapshot.consumer_ids.iter().map(|id| ("liveperson", id));
        for (kind, id) in own.chain(snapshot.customer_id.iter().map(|id| ("customer", id))) {
            kinds.push(kind);
            consumers.push(id.as_str());
            conversations.push(snapshot.id.as_str());
        }
    }
    (kinds, consumers, conversations)
}

/// Stores a page of snapshots taken at `seen_at`, and logs each decision that differs from the conversation's last, or is about another
/// address. A snapshot older than the one we hold changes nothing; only the ids of those that were stored are returned, and only they may be acted
/// on.
///
/// Two statements, however many snapshots; one more tells listeners when something has changed.
pub async fn store(
    conn: &mut PgConnection,
    account: &AccountId,
    page: &[ConversationSnapshot],
    seen_at: DateTime<Utc>,
) -> sqlx::Result<HashSet<String>> {
    let query = sqlx::query_as(STORE);
    let stored: Vec<(String, bool)> = bind_page!(query, account, page, seen_at)
        .fetch_all(&mut *conn)
        .await?;

    let known: HashSet<&str> = stored.iter().map(|(id, _)| id.as_str()).collect();
    // Of a snapshot that was not stored not even the consumer is: the conversation may have been erased.
    let of_stored = page.iter().filter(|s| known.contains(s.id.as_str()));
    let (kinds, consumers, conversations) = consumer_ids(of_stored);
    // A new id of a known consumer changes what the badge says of that id.
    let named: Vec<String> = sqlx::query_scalar(
        "insert into consumers (account, kind, consumer, conversation)
         select distinct $1, * from unnest($2::text[], $3::text[], $4::text[]) on conflict do nothing
         returning conversation",
    )
    .bind(account)
    .bind(kinds)
    .bind(consumers)
    .bind(conversations)
    .fetch_all(&mut *conn)
    .await?;
    let mut changed = named;
    let news = stored.iter().filter(|(_, changed)| *changed);
    changed.extend(news.map(|(id, _)| id.clone()));
    changes::notify(conn, account, &changed).await?;
    Ok(stored.into_iter().map(|(id, _)| id).collect())
}

/// The page, as `bind_page` binds it.
macro_rules! input {
    () => {
        "
with input as (
    select * from unnest($3::text[], $4::bigint[], $5::timestamptz[], $6::boolean[], $7::text[], $8::text[], $9::timestamptz[],
                         $10::integer[], $11::text[], $12::text[], $13::timestamptz[], $14::jsonb[], $15::jsonb[], $17::text[],
                         $18::smallint[], $19::text[], $20::jsonb[], $21::timestamptz[])
        as t(id, skill, started_at, open, read_state, episode, unread_since, unread_count, time_zone, language,
             closed_at, address_hashes, hashes_before, reason, step, channel, passed_over, agent_wrote_at)
), "
    };
}

/// Rows are compared as [`STORE`] would write them.
const NEWS: &str = concat!(
    input!(),
    "named as (
    select distinct n.conversation from unnest($22::text[], $23::text[], $24::text[]) as n (kind, consumer, conversation)
    where not exists (
        select from consumers k
        where k.account = $1 and k.consumer = n.consumer and k.kind = n.kind and k.conversation = n.conversation)
)
select i.id,
    coalesce(c.open and i.agent_wrote_at > coalesce(c.agent_wrote_at, '-infinity')
        and i.agent_wrote_at < s.recent_at - $25::interval and c.seen_at < s.recent_at, false) as missed
from input i
left join conversations c on c.account = $1 and c.id = i.id
left join scans s on s.account = $1 and s.skill = c.skill
where c.id is null
   or c.seen_at <= $2 and (
       (c.skill, c.open, c.read_state, c.episode, c.unread_since, c.unread_count, c.time_zone, c.language, c.reason, c.step, c.channel,
        c.passed_over, c.address_hashes)
       is distinct from
       (i.skill, i.open, i.read_state, i.episode, i.unread_since, i.unread_count, coalesce(i.time_zone, c.time_zone),
        coalesce(i.language, c.language), i.reason, i.step, i.channel, i.passed_over,
        case when i.read_state = 'undecided' then c.address_hashes || i.address_hashes
            else (c.address_hashes - $16::text[]) || i.address_hashes end)
       or i.agent_wrote_at > c.agent_wrote_at or (i.agent_wrote_at is not null and c.agent_wrote_at is null)
       or i.id in (select conversation from named)
       -- It could not be read in between, and that it can again is news.
       or exists (
           select from unreadable u where u.account = $1 and u.conversation = i.id and u.last_at >= c.seen_at))"
);

/// Rows are written in id order so that two scans that meet cannot deadlock. Returns the stored ones, and whether
/// each is new or changed.
const STORE: &str = concat!(
    input!(),
    "held as (
    select c.id, c.reason, c.step, c.channel, c.passed_over, c.address_hashes from conversations c
    where c.account = $1 and c.id = any ($3::text[])
), stored as (
    insert into conversations as c (account, id, skill, started_at, open, read_state, episode, unread_since, unread_count,
            time_zone, language, reason, step, channel, passed_over, address_hashes, agent_wrote_at, closed_at, seen_at,
            changed_at)
    select $1, id, skill, started_at, open, read_state, episode, unread_since, unread_count,
            time_zone, language, reason, step, channel, passed_over, address_hashes, agent_wrote_at,
            case when not open then coalesce(closed_at, $2) end, $2, $2
    from input order by id
    on conflict (account, id) do update set
        skill = excluded.skill, open = excluded.open, read_state = excluded.read_state, episode = excluded.episode,
        unread_since = excluded.unread_since, unread_count = excluded.unread_count,
        time_zone = coalesce(excluded.time_zone, c.time_zone), language = coalesce(excluded.language, c.language),
        reason = excluded.reason, step = excluded.step, channel = excluded.channel, passed_over = excluded.passed_over,
        -- A record that is incomplete says nothing about addresses either; of a channel that only another version knows its own scans
        -- speak.
        address_hashes = case when excluded.read_state = 'undecided' then c.address_hashes || excluded.address_hashes
            else (c.address_hashes - $16::text[]) || excluded.address_hashes end,
        agent_wrote_at = greatest(c.agent_wrote_at, excluded.agent_wrote_at),
        closed_at = case when not excluded.open then coalesce(c.closed_at, excluded.closed_at) end,
        changed_at = case when (c.open, c.read_state, c.episode, c.unread_count)
                is distinct from (excluded.open, excluded.read_state, excluded.episode, excluded.unread_count)
            then excluded.changed_at else c.changed_at end,
        seen_at = excluded.seen_at
    where c.seen_at <= excluded.seen_at
    returning c.id, c.changed_at
), logged as (
    insert into decisions (at, account, conversation, channel, step, stage, verdict, reason, passed_over, address_hashes)
    select $2, $1, i.id, i.channel, i.step, 'scan', case i.reason when 'scheduled' then 'schedule' else 'none' end, i.reason,
        nullif(i.passed_over, '{}'),
        nullif(array(select decode(n.hash, 'hex') from jsonb_each_text(i.address_hashes) as n(channel, hash)), '{}')
    from input i left join held h on h.id = i.id
    where i.id in (select id from stored) and i.reason is not null
      and ((i.reason, i.step, i.channel, i.passed_over) is distinct from (h.reason, h.step, h.channel, h.passed_over)
           -- Another address; the same one under another key is none.
           or exists (
               select from jsonb_each_text(i.address_hashes) as n(channel, hash)
               where h.address_hashes ->> n.channel is distinct from n.hash
                 and (h.address_hashes ->> n.channel is null
                      or i.hashes_before ->> n.channel is distinct from h.address_hashes ->> n.channel)))
    order by i.id
)
select id, changed_at = $2 from stored"
);
