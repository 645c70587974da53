//! Looking reminders up: by what a person knows of them, newest first.
//!
//! No filter may make a page slow. What points to few rows (a conversation, a recipient, a consumer) is looked up by it; all else
//! is filtered among the newest `WINDOW` reminders of the state asked for, and the answer says how far that went, so that the
//! next page goes on from there. A page can therefore be short, or empty, and still have a next one.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, PgPool, Postgres, QueryBuilder};

use super::pages::{REMINDER, Reminder};
use super::suppressions::AddressHash;
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::reminder::ReminderState;

/// Reminders that one page looks at.
const WINDOW: i64 = 20_000;

/// What is looked for; what is not given does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those the caller may see.
    pub accounts: Vec<AccountId>,
    pub skill: Option<i64>,
    pub channel: Option<Channel>,
    pub state: Option<ReminderState>,
    pub reason: Option<String>,
    /// Whether the consumer came back.
    pub returned: Option<bool>,
    /// When it came to be owed.
    pub from: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    pub whose: Option<Whose>,
}

/// What points to one person's reminders.
#[derive(Clone, Debug)]
pub enum Whose {
    Conversation(String),
    /// LivePerson's consumer id or the brand's own.
    Consumer(String),
    Recipient(AddressHash),
}

/// The place after which the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Place {
    pub created_at: DateTime<Utc>,
    pub id: i64,
}

/// A page of what was found.
#[derive(Clone, Debug)]
pub struct Page {
    pub reminders: Vec<Reminder>,
    /// Where to go on; `None`: there is no more.
    pub next: Option<Place>,
}

pub async fn search(
    pool: &PgPool,
    filter: &Filter,
    after: Option<Place>,
    most: i64,
) -> sqlx::Result<Page> {
    let mut query =
        QueryBuilder::new("with seen as materialized (select * from reminders where true");
    seen(&mut query, filter, after);
    query
        .push(" order by created_at desc, id desc limit ")
        .push_bind(WINDOW);
    query.push("), found as (select id, created_at from seen where true");
    wanted(&mut query, filter);
    query
        .push(" order by created_at desc, id desc limit ")
        .push_bind(most);
    query.push(") select f.id, f.created_at, (select count(*) from seen) as seen, l.created_at as last_at, l.id as last_id from (
            select created_at, id from seen order by created_at, id limit 1) l left join found f on true
        order by f.created_at desc, f.id desc");
    let rows: Vec<Found> = query.build_query_as().fetch_all(pool).await?;
    let places: Vec<Place> = rows.iter().filter_map(Found::place).collect();
    let next = match (rows.first(), places.last()) {
        (None, _) => None,
        (Some(_), Some(last)) if i64::try_from(places.len()) == Ok(most) => Some(*last),
        (Some(row), _) => (row.seen == WINDOW).then_some(Place {
            created_at: row.last_at,
            id: row.last_id,
        }),
    };
    let ids: Vec<i64> = places.iter().map(|place| place.id).collect();
    Ok(Page {
        reminders: by_ids(pool, &ids).await?,
        next,
    })
}

#[derive(FromRow)]
struct Found {
    id: Option<i64>,
    created_at: Option<DateTime<Utc>>,
    seen: i64,
    last_at: DateTime<Utc>,
    last_id: i64,
}

impl Found {
    fn place(&self) -> Option<Place> {
        Some(Place {
            created_at: self.created_at?,
            id: self.id?,
        })
    }
}

/// What an index answers.
fn seen(query: &mut QueryBuilder<Postgres>, filter: &Filter, after: Option<Place>) {
    match &filter.whose {
        Some(Whose::Conversation(id)) => {
            query.push(" and conversation = ").push_bind(id.clone());
        }
        Some(Whose::Consumer(id)) => {
            query.push(" and (account, conversation) in (select account, conversation from consumers where account = any (");
            query.push_bind(accounts(filter)).push(") and consumer = ");
            query.push_bind(id.clone()).push(")");
        }
        Some(Whose::Recipient(hash)) => {
            query.push(" and counted_at is not null and recipient_hash = ");
            query.push_bind(hash.to_vec());
        }
        None => {}
    }
    if filter.whose.is_some() {
        query
            .push(" and account = any (")
            .push_bind(accounts(filter))
            .push(")");
    }
    if let Some(state) = filter.state {
        query.push(" and state = ").push_bind(state.as_str());
    }
    if let Some(from) = filter.from {
        query.push(" and created_at >= ").push_bind(from);
    }
    if let Some(until) = filter.until {
        query.push(" and created_at < ").push_bind(until);
    }
    if let Some(place) = after {
        // The first condition is the index's, the second is exact.
        query
            .push(" and created_at <= ")
            .push_bind(place.created_at);
        query
            .push(" and (created_at, id) < (")
            .push_bind(place.created_at);
        query.push(", ").push_bind(place.id).push(")");
    }
}

/// What is asked of each row of the window.
fn wanted(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    query
        .push(" and account = any (")
        .push_bind(accounts(filter))
        .push(")");
    if let Some(skill) = filter.skill {
        query.push(" and skill = ").push_bind(skill);
    }
    if let Some(channel) = filter.channel {
        query.push(" and channel = ").push_bind(channel.as_str());
    }
    if let Some(reason) = &filter.reason {
        query.push(" and reason = ").push_bind(reason.clone());
    }
    match filter.returned {
        Some(true) => query.push(" and returned_at is not null"),
        Some(false) => query.push(" and returned_at is null"),
        None => query,
    };
}

fn accounts(filter: &Filter) -> Vec<String> {
    filter.accounts.iter().map(ToString::to_string).collect()
}

async fn by_ids(db: impl PgExecutor<'_>, ids: &[i64]) -> sqlx::Result<Vec<Reminder>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!("{REMINDER} where r.id = any ($1) order by r.created_at desc, r.id desc");
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(ids)
        .fetch_all(db)
        .await
}

/// One reminder.
pub async fn one(db: impl PgExecutor<'_>, id: ReminderId) -> sqlx::Result<Option<Reminder>> {
    Ok(by_ids(db, &[id.0]).await?.pop())
}

/// The keyed hash of whom it went to, while it is kept.
pub async fn recipient(
    db: impl PgExecutor<'_>,
    id: ReminderId,
) -> sqlx::Result<Option<AddressHash>> {
    let hash: Option<Option<Vec<u8>>> =
        sqlx::query_scalar("select recipient_hash from reminders where id = $1")
            .bind(id.0)
            .fetch_optional(db)
            .await?;
    Ok(hash.flatten().and_then(|hash| hash.try_into().ok()))
}

/// The address of an attempt, which is kept only until it is known what became of it.
pub async fn kept_address(db: impl PgExecutor<'_>, id: ReminderId) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "select address from attempts where reminder = $1 and address is not null order by number desc limit 1",
    )
    .bind(id.0)
    .fetch_optional(db)
    .await
}
