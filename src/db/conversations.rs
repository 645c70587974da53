//! Snapshots of conversations, as scans and re-checks leave them.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::changes;
use crate::domain::channel::PerChannel;
use crate::domain::decide::Reason;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::read_state::ReadStatus;
use crate::domain::rule::StepId;
use crate::hashing::KnownAs;

/// What one record said, and what was decided from it.
#[derive(Clone, Debug)]
pub struct ConversationSnapshot {
    pub id: String,
    pub skill: SkillId,
    pub started_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    pub open: bool,
    pub read_state: ReadStatus,
    pub episode: Option<String>,
    pub unread_since: Option<DateTime<Utc>>,
    pub unread_count: u32,
    pub time_zone: Option<String>,
    pub language: Option<String>,
    pub consumer_ids: Vec<String>,
    pub customer_id: Option<String>,
    pub decided: Decided,
    /// Where its consumer can be reached.
    pub addresses: PerChannel<Option<KnownAs>>,
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// `None` where the account has no rule to decide by.
    pub reason: Option<Reason>,
    /// What is scheduled, or would be if the account were live.
    pub step: Option<(StepId, Channel)>,
    /// Whose steps are passed over for now.
    pub passed_over: Vec<(Channel, Reason)>,
}

impl ConversationSnapshot {
    /// As a column holds it: what there is, by the words of the channels.
    fn hashes(&self, hash: impl Fn(&KnownAs) -> Option<[u8; 16]>) -> Value {
        let hex = |hash: [u8; 16]| format!("{:032x}", u128::from_be_bytes(hash));
        let known = self.addresses.iter();
        let known =
            known.filter_map(|(channel, known)| Some((channel, hex(hash(known.as_ref()?)?))));
        json!(known.collect::<BTreeMap<Channel, String>>())
    }

    fn passed_over(&self) -> Value {
        let passed_over = self.decided.passed_over.iter();
        json!(
            passed_over
                .map(|(channel, reason)| (*channel, reason.as_str()))
                .collect::<BTreeMap<Channel, &str>>()
        )
    }
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
    fn column<T>(
        page: &[ConversationSnapshot],
        value: impl Fn(&ConversationSnapshot) -> T,
    ) -> Vec<T> {
        page.iter().map(value).collect()
    }
    let stored: Vec<(String, bool)> = sqlx::query_as(STORE)
        .bind(account)
        .bind(seen_at)
        .bind(column(page, |s| s.id.clone()))
        .bind(column(page, |s| s.skill))
        .bind(column(page, |s| s.started_at))
        .bind(column(page, |s| s.open))
        .bind(column(page, |s| s.read_state))
        .bind(column(page, |s| s.episode.clone()))
        .bind(column(page, |s| s.unread_since))
        .bind(column(page, |s| {
            i32::try_from(s.unread_count).unwrap_or(i32::MAX)
        }))
        .bind(column(page, |s| s.time_zone.clone()))
        .bind(column(page, |s| s.language.clone()))
        .bind(column(page, |s| s.closed_at))
        .bind(column(page, |s| s.hashes(|known| Some(known.now))))
        .bind(column(page, |s| s.hashes(|known| known.before)))
        .bind(Channel::ALL.map(Channel::as_str))
        .bind(column(page, |s| s.decided.reason))
        .bind(column(page, |s| s.decided.step.map(|(step, _)| step)))
        .bind(column(page, |s| s.decided.step.map(|(_, channel)| channel)))
        .bind(column(page, ConversationSnapshot::passed_over))
        .fetch_all(&mut *conn)
        .await?;

    let mut kinds = Vec::new();
    let mut consumers = Vec::new();
    let mut conversations = Vec::new();
    let known: HashSet<&str> = stored.iter().map(|(id, _)| id.as_str()).collect();
    // Of a snapshot that was not stored not even the consumer is: the conversation may have been erased.
    for snapshot in page.iter().filter(|s| known.contains(s.id.as_str())) {
        let own = snapshot.consumer_ids.iter().map(|id| ("liveperson", id));
        for (kind, id) in own.chain(snapshot.customer_id.iter().map(|id| ("customer", id))) {
            kinds.push(kind);
            consumers.push(id.as_str());
            conversations.push(snapshot.id.as_str());
        }
    }
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

/// Rows are written in id order so that two scans that meet cannot deadlock. Returns the stored ones, and whether
/// each is new or changed.
const STORE: &str = "
with input as (
    select * from unnest($3::text[], $4::bigint[], $5::timestamptz[], $6::boolean[], $7::text[], $8::text[], $9::timestamptz[],
                         $10::integer[], $11::text[], $12::text[], $13::timestamptz[], $14::jsonb[], $15::jsonb[], $17::text[],
                         $18::smallint[], $19::text[], $20::jsonb[])
        as t(id, skill, started_at, open, read_state, episode, unread_since, unread_count, time_zone, language,
             closed_at, address_hashes, hashes_before, reason, step, channel, passed_over)
), held as (
    select c.id, c.reason, c.step, c.channel, c.passed_over, c.address_hashes from conversations c
    where c.account = $1 and c.id = any ($3::text[])
), stored as (
    insert into conversations as c (account, id, skill, started_at, open, read_state, episode, unread_since, unread_count,
            time_zone, language, reason, step, channel, passed_over, address_hashes, closed_at, seen_at, changed_at)
    select $1, id, skill, started_at, open, read_state, episode, unread_since, unread_count,
            time_zone, language, reason, step, channel, passed_over, address_hashes,
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
select id, changed_at = $2 from stored";

/// Lets one transaction at a time look at these conversations, as far as they are known.
pub async fn lock(conn: &mut PgConnection, account: &AccountId, ids: &[&str]) -> sqlx::Result<()> {
    sqlx::query(
        "select from conversations where account = $1 and id = any ($2) order by id for update",
    )
    .bind(account)
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}

/// Open conversations of these skills that a complete scan begun at `scanned_at` did not meet: closed, moved to another skill, or
/// skipped while LivePerson's pages shifted. At most `most`, longest unseen first.
pub async fn missing(
    pool: &PgPool,
    account: &AccountId,
    skills: &[SkillId],
    scanned_at: DateTime<Utc>,
    started_after: DateTime<Utc>,
    most: u16,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select id from conversations
         where account = $1 and skill = any ($2) and open and seen_at < $3 and started_at >= $4
         order by seen_at limit $5",
    )
    .bind(account)
    .bind(skills)
    .bind(scanned_at)
    .bind(started_after)
    .bind(i64::from(most))
    .fetch_all(pool)
    .await
}

/// Open conversations that no scan has met since `before`, whatever their skill: older than the scanned windows, or in a skill
/// that is not scanned any more. At most `most`, longest unseen first.
pub async fn forgotten(
    pool: &PgPool,
    account: &AccountId,
    before: DateTime<Utc>,
    most: u16,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select id from conversations where account = $1 and open and seen_at < $2 order by seen_at limit $3",
    )
    .bind(account)
    .bind(before)
    .bind(i64::from(most))
    .fetch_all(pool)
    .await
}

/// Marks conversations that LivePerson does not know any more as closed.
pub async fn mark_gone(
    conn: &mut PgConnection,
    account: &AccountId,
    ids: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let changed: Vec<String> = sqlx::query_scalar(
        "update conversations set open = false, read_state = 'read', episode = null, unread_since = null,
             unread_count = 0, reason = null, step = null, channel = null, passed_over = '{}',
             closed_at = coalesce(closed_at, $3), seen_at = $3, changed_at = $3
         where account = $1 and id = any ($2) and seen_at <= $3
         returning id",
    )
    .bind(account)
    .bind(ids)
    .bind(now)
    .fetch_all(&mut *conn)
    .await?;
    changes::notify(conn, account, &changed).await
}

/// Notes that these conversations were asked for and cannot be read: nobody knows any more what is unread in them, and others that
/// have not been met for longer are asked for before them.
pub async fn mark_unreadable(
    conn: &mut PgConnection,
    account: &AccountId,
    ids: &[String],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let changed: Vec<String> = sqlx::query_scalar(
        "with asked as (
             select id, read_state from conversations where account = $1 and id = any ($2) and seen_at <= $3
             order by id for update
         ), marked as (
             update conversations c set read_state = 'undecided', episode = null, unread_since = null, unread_count = 0,
                 seen_at = $3, changed_at = case when a.read_state = 'undecided' then c.changed_at else $3 end
             from asked a where c.account = $1 and c.id = a.id
         )
         select id from asked where read_state <> 'undecided'",
    )
    .bind(account)
    .bind(ids)
    .bind(now)
    .fetch_all(&mut *conn)
    .await?;
    changes::notify(conn, account, &changed).await
}

/// What the badge needs to know about one consumer.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct UnreadState {
    /// At least one conversation of the consumer is in the table.
    pub known: bool,
    pub unread: bool,
    pub count: i64,
    pub since: Option<DateTime<Utc>>,
    /// The oldest of the snapshots this answer rests on.
    pub seen_at: Option<DateTime<Utc>>,
}

/// Of whom the badge asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadQuery {
    pub account: AccountId,
    pub consumer: String,
    /// The id may also be the brand's own, not only LivePerson's.
    pub by_customer_id: bool,
}

/// What is unread for these consumers, in their order.
pub async fn unread_of(pool: &PgPool, asked: &[UnreadQuery]) -> sqlx::Result<Vec<UnreadState>> {
    let accounts: Vec<&AccountId> = asked.iter().map(|a| &a.account).collect();
    let consumers: Vec<&str> = asked.iter().map(|a| a.consumer.as_str()).collect();
    let by_customer_id: Vec<bool> = asked.iter().map(|a| a.by_customer_id).collect();
    sqlx::query_as(
        "select u.* from unnest($1::text[], $2::text[], $3::bool[])
             with ordinality as a (account, consumer, by_customer_id, place)
         cross join lateral (
             select count(*) > 0 as known,
                    coalesce(bool_or(v.open and v.read_state = 'unread'), false) as unread,
                    coalesce(sum(v.unread_count) filter (where v.open and v.read_state = 'unread'), 0)::bigint as count,
                    min(v.unread_since) filter (where v.open and v.read_state = 'unread') as since,
                    min(v.seen_at) filter (where v.open) as seen_at
             from (select distinct conversation from consumers
                   where account = a.account and consumer = a.consumer and (kind = 'liveperson' or a.by_customer_id)) c
             join conversations v on v.account = a.account and v.id = c.conversation) u
         order by a.place",
    )
    .bind(accounts)
    .bind(consumers)
    .bind(by_customer_id)
    .fetch_all(pool)
    .await
}
