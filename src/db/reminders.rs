//! Looking reminders up: by what a person knows of them, newest first.
//!
//! No filter may make a page slow. What points to few rows (a conversation, a recipient, a consumer) is looked up by it; all else
//! is filtered among the newest `WINDOW` reminders, of the state asked for if it is one that few have, and the answer says how far that
//! went, so that the next page goes on from there. A page can therefore be short, or empty, and still have a next one.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, PgPool, Postgres, QueryBuilder};

use super::columns::readable;
use super::reports::{REMINDER, Reminder};
use super::suppressions::AddressHash;
use crate::domain::decide::Cause;
use crate::domain::ids::{AccountId, Channel, ReminderId};
use crate::domain::reminder::ReminderState;

/// Reminders that one page looks at.
const WINDOW: i64 = 20_000;

/// What is looked for; what is not given does not matter.
#[derive(Clone, Debug, Default)]
pub struct ReminderFilter {
    /// Those the caller may see.
    pub accounts: Vec<AccountId>,
    pub skill: Option<i64>,
    pub channel: Option<Channel>,
    pub state: Option<ReminderState>,
    pub reason: Option<Cause>,
    /// Whether the consumer came back.
    pub returned: Option<bool>,
    /// When it came to be owed.
    pub from: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    pub whose: Option<ReminderOwner>,
}

/// What points to one consumer's reminders.
#[derive(Clone, Debug)]
pub enum ReminderOwner {
    Conversation(String),
    /// LivePerson's consumer id or the brand's own.
    Consumer(String),
    /// Of everything that is known of somebody.
    Conversations(Vec<String>),
}

/// The place after which the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromRow)]
pub struct ReminderCursor {
    pub created_at: DateTime<Utc>,
    pub id: i64,
}

/// A page of what was found.
#[derive(Clone, Debug)]
pub struct ReminderPage {
    pub reminders: Vec<Reminder>,
    /// Where to go on; `None`: there is no more.
    pub next: Option<ReminderCursor>,
}

pub async fn search(
    pool: &PgPool,
    filter: &ReminderFilter,
    after: Option<ReminderCursor>,
    most: i64,
) -> sqlx::Result<ReminderPage> {
    let (places, next) = places(pool, filter, after, most).await?;
    let ids: Vec<i64> = places.iter().map(|place| place.id).collect();
    Ok(ReminderPage {
        reminders: by_ids(pool, &ids).await?,
        next,
    })
}

/// Those of several states, as one list. Each state is looked up by itself, where it is found.
pub async fn search_states(
    pool: &PgPool,
    filter: &ReminderFilter,
    states: &[ReminderState],
    after: Option<ReminderCursor>,
    most: i64,
) -> sqlx::Result<ReminderPage> {
    let mut found = Vec::with_capacity(states.len());
    for state in states {
        let of_state = ReminderFilter {
            state: Some(*state),
            ..filter.clone()
        };
        found.push(places(pool, &of_state, after, most).await?);
    }
    let (places, next) = merged(found, usize::try_from(most).unwrap_or_default());
    let ids: Vec<i64> = places.iter().map(|place| place.id).collect();
    Ok(ReminderPage {
        reminders: by_ids(pool, &ids).await?,
        next,
    })
}

/// One list out of several, newest first. It ends where the first of them ends that goes on.
fn merged(
    lists: Vec<(Vec<ReminderCursor>, Option<ReminderCursor>)>,
    most: usize,
) -> (Vec<ReminderCursor>, Option<ReminderCursor>) {
    let end = lists.iter().filter_map(|(_, next)| *next).max();
    let mut places: Vec<ReminderCursor> =
        lists.into_iter().flat_map(|(places, _)| places).collect();
    places.retain(|place| end.is_none_or(|end| *place >= end));
    places.sort_unstable_by(|one, other| other.cmp(one));
    if places.len() > most {
        places.truncate(most);
        let last = places.last().copied();
        return (places, last);
    }
    (places, end)
}

async fn places(
    pool: &PgPool,
    filter: &ReminderFilter,
    after: Option<ReminderCursor>,
    most: i64,
) -> sqlx::Result<(Vec<ReminderCursor>, Option<ReminderCursor>)> {
    let mut query = QueryBuilder::new("select id, created_at from (");
    window(&mut query, filter, after);
    query.push(") seen where true");
    wanted(&mut query, filter);
    // Said as a number: the planner then knows that it is little, and reads no more than it takes.
    query
        .push(" order by created_at desc, id desc limit ")
        .push(most);
    let places: Vec<ReminderCursor> = query.build_query_as().fetch_all(pool).await?;
    let next = match places.last() {
        Some(last) if i64::try_from(places.len()) == Ok(most) => Some(*last),
        _ => end_of_window(pool, filter, after).await?,
    };
    Ok((places, next))
}

impl ReminderFilter {
    /// The table of those in the state asked for, where they are few among the others.
    fn list(&self) -> Option<&'static str> {
        use ReminderState::{
            Cancelled, Delivered, Expired, Failed, Scheduled, Sending, Sent, Undelivered, Unknown,
        };
        match self.state? {
            _ if self.whose.is_some() => None,
            Scheduled => Some("pending"),
            Failed | Expired | Undelivered | Unknown => Some("unsuccessful"),
            Sending | Sent | Delivered | Cancelled => None,
        }
    }
}

/// The last of the rows that a page looks at; `None`: it has looked at all there are.
async fn end_of_window(
    db: impl PgExecutor<'_>,
    filter: &ReminderFilter,
    after: Option<ReminderCursor>,
) -> sqlx::Result<Option<ReminderCursor>> {
    let mut query = QueryBuilder::new("select id, created_at from (");
    window(&mut query, filter, after);
    query.push(") seen order by created_at desc, id desc offset ");
    query.push(WINDOW - 1).push(" limit 1");
    query.build_query_as().fetch_optional(db).await
}

/// The rows that a page looks at, of which only those are read that it takes to fill it.
fn window(
    query: &mut QueryBuilder<Postgres>,
    filter: &ReminderFilter,
    after: Option<ReminderCursor>,
) {
    let from = match filter.list() {
        None => "select r.id, r.created_at, r.account, r.skill, r.channel, r.state, r.reason, r.returned_at
                 from reminders r where true".to_owned(),
        Some(list) => format!(
            "select l.reminder as id, l.created_at, r.account, r.skill, r.channel, r.state, r.reason, r.returned_at
             from {list} l join reminders r on r.id = l.reminder where true"
        ),
    };
    query.push(from);
    seen(query, filter, after);
    query
        .push(" order by created_at desc, id desc limit ")
        .push(WINDOW);
}

/// What an index answers.
fn seen(
    query: &mut QueryBuilder<Postgres>,
    filter: &ReminderFilter,
    after: Option<ReminderCursor>,
) {
    match &filter.whose {
        Some(ReminderOwner::Conversation(id)) => {
            query.push(" and r.conversation = ").push_bind(id.clone());
        }
        Some(ReminderOwner::Consumer(id)) => {
            query.push(" and (r.account, r.conversation) in (select account, conversation from consumers where account = any (");
            query
                .push_bind(filter.accounts.clone())
                .push(") and consumer = ");
            query.push_bind(id.clone()).push(")");
        }
        Some(ReminderOwner::Conversations(ids)) => {
            query.push(" and r.conversation = any (");
            query.push_bind(ids.clone()).push(")");
        }
        None => {}
    }
    if filter.whose.is_some() {
        query
            .push(" and r.account = any (")
            .push_bind(filter.accounts.clone())
            .push(")");
    }
    let (created_at, id) = match filter.list() {
        None => ("r.created_at", "r.id"),
        Some(_) => ("l.created_at", "l.reminder"),
    };
    match filter.state {
        // Few at any moment: each has an attempt that is under way or is being settled.
        Some(ReminderState::Sending) => {
            query.push(
                " and r.id = any (array(select reminder from attempts where outcome is null
                     union all select reminder from attempts where settle_at is not null))",
            );
        }
        Some(state) if filter.list() == Some("unsuccessful") => {
            query.push(" and l.state = ").push_bind(state);
        }
        _ => {}
    }
    if let Some(from) = filter.from {
        query
            .push(" and ")
            .push(created_at)
            .push(" >= ")
            .push_bind(from);
    }
    if let Some(until) = filter.until {
        query
            .push(" and ")
            .push(created_at)
            .push(" < ")
            .push_bind(until);
    }
    if let Some(place) = after {
        query
            .push(format!(" and ({created_at}, {id}) < ("))
            .push_bind(place.created_at);
        query.push(", ").push_bind(place.id).push(")");
    }
}

/// What is asked of each row of the window.
fn wanted(query: &mut QueryBuilder<Postgres>, filter: &ReminderFilter) {
    query
        .push(" and account = any (")
        .push_bind(filter.accounts.clone())
        .push(")");
    if let Some(state) = filter.state {
        query.push(" and state = ").push_bind(state);
    }
    if let Some(skill) = filter.skill {
        query.push(" and skill = ").push_bind(skill);
    }
    if let Some(channel) = filter.channel {
        query.push(" and channel = ").push_bind(channel);
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

async fn by_ids(db: impl PgExecutor<'_>, ids: &[i64]) -> sqlx::Result<Vec<Reminder>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!("{REMINDER} where r.id = any ($1) order by r.created_at desc, r.id desc");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(ids)
        .fetch_all(db)
        .await?;
    readable(&rows)
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
            .bind(id)
            .fetch_optional(db)
            .await?;
    Ok(hash.flatten().and_then(|hash| hash.try_into().ok()))
}

/// The address of an attempt, which is kept only until it is known what became of it.
pub async fn kept_address(db: impl PgExecutor<'_>, id: ReminderId) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar(
        "select address from attempts where reminder = $1 and address is not null order by number desc limit 1",
    )
    .bind(id)
    .fetch_optional(db)
    .await
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn place((second, id): (i64, i64)) -> ReminderCursor {
        ReminderCursor {
            created_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(second),
            id,
        }
    }

    /// The page of one list from after a place on, as a look-up gives it.
    fn page(
        list: &[ReminderCursor],
        after: Option<ReminderCursor>,
        most: usize,
    ) -> (Vec<ReminderCursor>, Option<ReminderCursor>) {
        let rest = list.iter().copied();
        let rest = rest.filter(|place| after.is_none_or(|after| *place < after));
        let page: Vec<ReminderCursor> = rest.take(most).collect();
        let next = page.last().copied().filter(|_| page.len() == most);
        (page, next)
    }

    proptest! {
        #[test]
        fn pages_of_merged_lists_hold_everything_once_and_in_order(
            seconds in proptest::collection::vec((0..20i64, 0..4usize), 0..60), most in 1..9usize,
        ) {
            let mut lists = vec![Vec::new(); 4];
            for (id, (second, list)) in (0..).zip(seconds) {
                lists[list].push(place((second, id)));
            }
            let mut all: Vec<ReminderCursor> = lists.iter().flatten().copied().collect();
            all.sort_unstable_by(|one, other| other.cmp(one));
            for list in &mut lists {
                list.sort_unstable_by(|one, other| other.cmp(one));
            }
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let found = lists.iter().map(|list| page(list, after, most)).collect();
                let (places, next) = merged(found, most);
                prop_assert!(places.len() <= most);
                seen.extend(places);
                let Some(next) = next else { break };
                prop_assert!(after.is_none_or(|after| next < after), "it goes on");
                after = Some(next);
            }
            prop_assert_eq!(seen, all);
        }
    }
}
