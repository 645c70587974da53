//! What is known of one consumer, for whoever is asked about them: conversations, the addresses written to (as keyed hashes).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, PgExecutor};

use super::columns::readable;
use super::suppressions::AddressHash;
use crate::domain::channel::PerChannel;
use crate::domain::decide::Cause;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::read_state::ReadStatus;
use crate::domain::rule::StepId;

/// A conversation as the last scan left it.
#[derive(Clone, Debug, FromRow)]
pub struct Conversation {
    pub account: AccountId,
    pub id: String,
    pub skill: SkillId,
    pub skill_name: Option<String>,
    pub started_at: DateTime<Utc>,
    pub open: bool,
    pub read_state: ReadStatus,
    pub unread_since: Option<DateTime<Utc>>,
    pub unread_count: i32,
    pub time_zone: Option<String>,
    pub language: Option<String>,
    /// Why there is, or is not, a reminder now; `None`: it was never decided about.
    pub reason: Option<Cause>,
    /// The step that is scheduled, or would be if the account were live, and its channel.
    pub step: Option<StepId>,
    pub channel: Option<Channel>,
    /// Why the steps of channels are passed over for now.
    #[sqlx(try_from = "Json<BTreeMap<String, String>>")]
    pub passed_over: PerChannel<Option<Cause>>,
    pub seen_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
}

/// Notes under which of LivePerson's ids the consumers of these conversations are known.
pub async fn note(
    conn: &mut PgConnection,
    account: &AccountId,
    known: &[(&str, &str)],
) -> sqlx::Result<()> {
    if known.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into consumers (account, kind, consumer, conversation)
         select distinct $1, 'liveperson', k.consumer, c.id from unnest($2::text[], $3::text[]) as k(conversation, consumer)
         join conversations c on c.account = $1 and c.id = k.conversation
         order by 4, 3 on conflict do nothing",
    )
    .bind(account)
    .bind(known.iter().map(|(conversation, _)| *conversation).collect::<Vec<_>>())
    .bind(known.iter().map(|(_, consumer)| *consumer).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Conversations told of at once.
const MOST: i64 = 100;

/// These conversations, newest first.
pub async fn conversations(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    ids: &[String],
) -> sqlx::Result<Vec<Conversation>> {
    sqlx::query_as(
        "select c.account, c.id, c.skill, s.name as skill_name, c.started_at, c.open, c.read_state, c.unread_since,
                c.unread_count, c.time_zone, c.language, c.reason, c.step, c.channel, c.passed_over,
                -- What a full pass has met and found unchanged, it did not write.
                case when c.open then greatest(c.seen_at, f.full_at) else c.seen_at end as seen_at, c.closed_at
         from conversations c left join skills s on s.account = c.account and s.id = c.skill
         left join scans f on f.account = c.account and f.skill = c.skill
         where c.account = $1 and c.id = any ($2) and c.seen_at < '9999-01-01' order by c.started_at desc limit $3",
    )
    .bind(account)
    .bind(ids)
    .bind(MOST)
    .fetch_all(db)
    .await
}

/// Where the consumer of these conversations was written to or can be reached, most recently first.
pub async fn recipients(
    db: impl PgExecutor<'_>,
    account: &AccountId,
    conversations: &[String],
) -> sqlx::Result<Vec<(Channel, AddressHash)>> {
    let rows = sqlx::query(
        "select channel, hash from (
             select channel, recipient_hash as hash, created_at as at from reminders
             where account = $1 and conversation = any ($2)
             union all
             select d.channel, decode(d.hash, 'hex'), c.seen_at from conversations c
             cross join lateral jsonb_each_text(c.address_hashes) as d(channel, hash)
             where c.account = $1 and c.id = any ($2)
         ) known
         where hash is not null group by 1, 2 order by max(at) desc limit $3",
    )
    .bind(account)
    .bind(conversations)
    .bind(MOST)
    .fetch_all(db)
    .await?;
    let known = readable::<(Channel, Vec<u8>)>(&rows)?.into_iter();
    Ok(known
        .filter_map(|(channel, hash)| Some((channel, hash.try_into().ok()?)))
        .collect())
}
