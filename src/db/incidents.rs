//! Incidents that are watched and have been told, and the notices that tell of them.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};

use super::columns::readable;
use crate::domain::ids::AccountId;
use crate::domain::incident::{IncidentKind, Trouble, Watched};

/// Whoever has taken notices and is silent for so long has died; they are told again, under the same name.
const LEASE: TimeDelta = TimeDelta::minutes(5);

/// What has been told lies so long between two messages to one target: what happens meanwhile is told together.
const APART: TimeDelta = TimeDelta::minutes(5);

/// Trouble that goes on, or has just gone.
#[derive(Clone, Debug)]
pub struct Incident {
    pub id: i64,
    pub trouble: Trouble,
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
    /// When people were told.
    pub begun_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

impl Incident {
    pub fn watched(&self) -> Watched {
        Watched {
            kind: self.trouble.kind,
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            has_begun: self.begun_at.is_some(),
        }
    }
}

#[derive(FromRow)]
struct IncidentColumns {
    id: i64,
    kind: String,
    about: String,
    account: Option<AccountId>,
    first_seen: DateTime<Utc>,
    last_seen: DateTime<Utc>,
    begun_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "id, kind, about, account, first_seen, last_seen, begun_at, ended_at";

/// Kinds of a newer version are left to it.
fn known(rows: Vec<IncidentColumns>) -> Vec<Incident> {
    let rows = rows.into_iter().filter_map(|row| {
        Some(Incident {
            id: row.id,
            trouble: Trouble {
                kind: IncidentKind::parse(&row.kind)?,
                about: row.about,
                account: row.account,
            },
            first_seen: row.first_seen,
            last_seen: row.last_seen,
            begun_at: row.begun_at,
            ended_at: row.ended_at,
        })
    });
    rows.collect()
}

/// From here to the end of the transaction nobody else judges incidents.
pub async fn lock(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('unread incidents'))")
        .execute(conn)
        .await
        .map(drop)
}

/// What is going on.
pub async fn going_on(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Incident>> {
    let sql = format!("select {COLUMNS} from incidents where ended_at is null order by id");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(db).await?;
    Ok(known(readable(&rows)?))
}

/// Those that people were told of, the newest first; `accounts`: only theirs.
pub async fn told(
    db: impl PgExecutor<'_>,
    accounts: Option<&[AccountId]>,
    most: i64,
) -> sqlx::Result<Vec<Incident>> {
    let sql = format!(
        "select {COLUMNS} from incidents where begun_at is not null and ($1::text[] is null or account = any ($1))
         order by begun_at desc, id desc limit $2"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(accounts)
        .bind(most)
        .fetch_all(db)
        .await?;
    Ok(known(readable(&rows)?))
}

/// Watches trouble that is new.
pub async fn watch(
    conn: &mut PgConnection,
    trouble: &Trouble,
    now: DateTime<Utc>,
) -> sqlx::Result<Incident> {
    let id = sqlx::query_scalar(
        "insert into incidents (kind, about, account, first_seen, last_seen) values ($1, $2, $3, $4, $4) returning id",
    )
    .bind(trouble.kind.as_str())
    .bind(&trouble.about)
    .bind(&trouble.account)
    .bind(now)
    .fetch_one(conn)
    .await?;
    Ok(Incident {
        id,
        trouble: trouble.clone(),
        first_seen: now,
        last_seen: now,
        begun_at: None,
        ended_at: None,
    })
}

pub async fn seen(conn: &mut PgConnection, ids: &[i64], now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("update incidents set last_seen = $2 where id = any ($1)")
        .bind(ids)
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
}

/// What was seen before does not count any more.
pub async fn restart(conn: &mut PgConnection, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("update incidents set first_seen = $2, last_seen = $2 where id = $1")
        .bind(id)
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
}

pub async fn begins(conn: &mut PgConnection, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("update incidents set begun_at = $2, last_seen = $2 where id = $1")
        .bind(id)
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
}

pub async fn ends(conn: &mut PgConnection, id: i64, now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query("update incidents set ended_at = $2 where id = $1")
        .bind(id)
        .bind(now)
        .execute(conn)
        .await
        .map(drop)
}

pub async fn forget(conn: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query("delete from incidents where id = $1")
        .bind(id)
        .execute(conn)
        .await
        .map(drop)
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    Incident,
    Week,
}

impl NoticeKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incident => "incident",
            Self::Week => "week",
        }
    }
}

/// Leaves word for each target, once for each subject.
pub async fn notify(
    conn: &mut PgConnection,
    (kind, subject): (NoticeKind, &str),
    targets: &[String],
    body: &Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into notices (subject, target, kind, body, created_at, next_at)
         select $1, t.target, $2, $4, $5, $5 from unnest($3::text[]) as t(target)
         on conflict (subject, target) do nothing",
    )
    .bind(subject)
    .bind(kind.as_str())
    .bind(targets)
    .bind(body)
    .bind(now)
    .execute(conn)
    .await
    .map(drop)
}

/// Whether word of it was left already.
pub async fn is_noted(db: impl PgExecutor<'_>, subject: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from notices where subject = $1)")
        .bind(subject)
        .fetch_one(db)
        .await
}

/// A notice that has been taken to be told.
#[derive(Clone, Debug, FromRow)]
pub struct Notice {
    pub id: i64,
    pub subject: String,
    pub body: Value,
    /// The message that tells it.
    pub batch: String,
}

/// Takes what is to be told to a target, together under one name; nothing while others tell it something, or just have. What somebody took and
/// did not finish comes again under its own name, by itself. `most`: so many at a time, the oldest first.
pub async fn take(
    pool: &PgPool,
    (target, kind): (&str, NoticeKind),
    (batch, most): (&str, i64),
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Notice>> {
    let mut tx = pool.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtext('unread notices ' || $1))")
        .bind(target)
        .execute(&mut *tx)
        .await?;
    let rows = sqlx::query(
        "with unfinished as (
             select min(batch) as batch from notices
             where target = $1 and kind = $2 and told_at is null and batch is not null and taken_till < now() and next_at <= $5
         ), busy as (
             select exists (select from notices where target = $1 and kind = $2 and told_at is null and taken_till >= now())
                 or exists (select from notices where target = $1 and kind = $2 and told_at > $6) as yes
         ), mine as (
             select n.id from notices n, unfinished u, busy b
             where n.target = $1 and n.kind = $2 and n.told_at is null
               and case when u.batch is not null then n.batch = u.batch else n.batch is null and n.next_at <= $5 end
               and not b.yes
             order by n.id limit $4
         )
         update notices n set batch = coalesce(n.batch, $3), taken_till = now() + make_interval(secs => $7), tries = tries + 1
         from mine where n.id = mine.id
         returning n.id, n.subject, n.body, n.batch",
    )
    .bind(target)
    .bind(kind.as_str())
    .bind(batch)
    .bind(most)
    .bind(now)
    .bind(now - APART)
    .bind(LEASE.as_seconds_f64())
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut taken: Vec<Notice> = readable(&rows)?;
    taken.sort_by_key(|notice| notice.id);
    Ok(taken)
}

pub async fn told_them(
    db: impl PgExecutor<'_>,
    ids: &[i64],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query("update notices set told_at = $2, taken_till = null where id = any ($1)")
        .bind(ids)
        .bind(now)
        .execute(db)
        .await
        .map(drop)
}

/// It did not get through: again later, after growing pauses.
pub async fn put_off(db: impl PgExecutor<'_>, ids: &[i64], now: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query(
        "update notices set taken_till = now() - interval '1 second', next_at = $2 + make_interval(mins => least(tries * tries, 60)) where id = any ($1)",
    )
    .bind(ids)
    .bind(now)
    .execute(db)
    .await
    .map(drop)
}

/// Removes what is older than `before`, and notices that nobody needs to hear any more.
pub async fn prune(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let old = sqlx::query("delete from incidents where ended_at < $1")
        .bind(before)
        .execute(&mut *conn)
        .await?;
    let notices = sqlx::query(
        "delete from notices where created_at < $1 or (told_at is null and created_at < $2 - interval '7 days')",
    )
    .bind(before)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(old.rows_affected() + notices.rows_affected())
}
