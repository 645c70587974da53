//! Snapshots of conversations, as scans and re-checks leave them.

mod page;

use std::collections::BTreeMap;

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

pub use page::{News, news, store};

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
    /// The newest agent message that the consumer can see.
    pub agent_wrote_at: Option<DateTime<Utc>>,
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

/// Open conversations of these skills that began in `[from, to)`, that a pass begun at `scanned_at` did not meet among `met`, and of which
/// nothing has been written since: closed, moved to another skill, or skipped while LivePerson's pages shifted.
pub async fn missing(
    pool: &PgPool,
    account: &AccountId,
    skills: &[SkillId],
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    met: &[String],
    scanned_at: DateTime<Utc>,
    most: u16,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select id from conversations
         where account = $1 and skill = any ($2) and open and started_at >= $3 and started_at < $4 and id <> all ($5) and seen_at < $6
         order by seen_at limit $7",
    )
    .bind(account)
    .bind(skills)
    .bind(from)
    .bind(to)
    .bind(met)
    .bind(scanned_at)
    .bind(i64::from(most))
    .fetch_all(pool)
    .await
}

/// Open conversations that no scan has met since `before`, whatever their skill: in a skill of which no full pass has begun since then and
/// succeeded, or begun before `window`, which ordinary passes do not look at. At most `most`, longest unseen first.
pub async fn forgotten(
    pool: &PgPool,
    account: &AccountId,
    (before, window): (DateTime<Utc>, DateTime<Utc>),
    most: u16,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select c.id from conversations c
         where c.account = $1 and c.open and c.seen_at < $2
           and (c.started_at < $3
                or not exists (select from scans s where s.account = $1 and s.skill = c.skill and s.full_at >= $2))
         order by c.seen_at limit $4",
    )
    .bind(account)
    .bind(before)
    .bind(window)
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
    /// The conversations with something unread, a few of them at most.
    pub conversations: Vec<String>,
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
                    -- What a pass has met and found unchanged, it did not write. A recent pass shows what agents write; that somebody has
                    -- read, a check by id does.
                    min(greatest(v.seen_at, s.full_at, case when v.read_state = 'unread' then o.checked_at else s.recent_at end))
                        filter (where v.open) as seen_at,
                    coalesce((array_agg(v.id order by v.unread_since) filter (where v.open and v.read_state = 'unread'))[:5], '{}')
                        as conversations
             from (select distinct conversation from consumers
                   where account = a.account and consumer = a.consumer and (kind = 'liveperson' or a.by_customer_id)) c
             join conversations v on v.account = a.account and v.id = c.conversation
             left join scans s on s.account = v.account and s.skill = v.skill
             left join open_badges o on o.account = v.account and o.conversation = v.id) u
         order by a.place",
    )
    .bind(accounts)
    .bind(consumers)
    .bind(by_customer_id)
    .fetch_all(pool)
    .await
}
