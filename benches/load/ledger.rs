//! The tables as a load run arranges and reads them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Executor as _, PgPool};
use unread::clock::Clock;
use unread::domain::ids::{AccountId, Channel, ReminderId};
use unread::jobs::names;
use unread::jobs::queue::{self, When};

use crate::stage::until;

/// How a round of deliveries went.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Round {
    pub sent: i64,
    /// From the moment the first was due until the last was recorded.
    pub seconds: f64,
    pub late_p50: f64,
    pub late_p99: f64,
    pub late_max: f64,
}

impl Round {
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.seconds
    }
}

/// The reminders that a scan has scheduled.
pub async fn scheduled(pool: &PgPool) -> Result<Vec<ReminderId>> {
    let ids: Vec<i64> =
        sqlx::query_scalar("select id from reminders where state = 'scheduled' order by id")
            .fetch_all(pool)
            .await?;
    Ok(ids.into_iter().map(ReminderId).collect())
}

/// Waits until no scan is under way or about to be, once nobody asks for further ones: it would put the reminders that are made due back to
/// when their rule has them due.
pub async fn scans_ended(pool: &PgPool) -> Result<()> {
    until("the end of the scans", Duration::from_mins(1), async || {
        let ended: bool = sqlx::query_scalar(
            "select not exists (select from apalis.jobs where job_type = $1 and status in ('Pending', 'Running'))",
        )
        .bind(names::SCAN)
        .fetch_one(pool)
        .await?;
        Ok(ended.then_some(()))
    })
    .await
}

/// Makes reminders due as if they had never been sent: the n-th at `due(n)`, with the job that a scan would have written.
pub async fn make_due(
    pool: &PgPool,
    (account, channel): (&AccountId, Channel),
    reminders: &[ReminderId],
    due: impl Fn(usize) -> DateTime<Utc>,
) -> Result<()> {
    let ids: Vec<i64> = reminders.iter().map(|id| id.0).collect();
    let times: Vec<DateTime<Utc>> = (0..ids.len()).map(&due).collect();
    let mut tx = pool.begin().await?;
    sqlx::query("delete from attempts where reminder = any ($1)")
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "update reminders r set state = 'scheduled', reason = null, due_at = i.at, next_at = i.at,
             deadline = i.at + interval '6 hours', tries = 0, soft_failed = false,
             counted_at = null, provider_id = null, sent_at = null, final_at = null, first_of_episode = false
         from unnest($1::bigint[], $2::timestamptz[]) as i(id, at) where r.id = i.id",
    )
    .bind(&ids)
    .bind(&times)
    .execute(&mut *tx)
    .await?;
    let jobs = reminders
        .iter()
        .zip(&times)
        .map(|(id, at)| names::deliver(account, *id, *at));
    queue::schedule(
        &mut tx,
        &Clock::System,
        names::deliver_queue(channel),
        When::At,
        jobs,
    )
    .await?;
    tx.commit().await?;
    // The driver's own dead rows are not the service's fault.
    for table in ["reminders", "pending", "attempts", "apalis.jobs"] {
        pool.execute(sqlx::AssertSqlSafe(format!("vacuum analyze {table}")))
            .await?;
    }
    Ok(())
}

/// Waits until every reminder has been sent.
pub async fn all_sent(pool: &PgPool, reminders: &[ReminderId]) -> Result<Round> {
    let ids: Vec<i64> = reminders.iter().map(|id| id.0).collect();
    until("all reminders sent", Duration::from_mins(10), async || {
        let left: bool = sqlx::query_scalar("select exists (select from reminders where id = any ($1) and next_at is not null)")
            .bind(&ids)
            .fetch_one(pool)
            .await?;
        if left {
            return Ok(None);
        }
        let round = sqlx::query_as(
            "select count(*) filter (where state = 'sent') as sent,
                    extract(epoch from max(sent_at) - min(due_at))::float8 as seconds,
                    percentile_disc(0.5) within group (order by extract(epoch from sent_at - due_at)::float8) as late_p50,
                    percentile_disc(0.99) within group (order by extract(epoch from sent_at - due_at)::float8) as late_p99,
                    max(extract(epoch from sent_at - due_at))::float8 as late_max
             from reminders where id = any ($1)",
        )
        .bind(&ids)
        .fetch_one(pool)
        .await?;
        Ok(Some(round))
    })
    .await
}

/// How late reminders were sent, in seconds: the least, the most, and what lies between in steps of a percent.
pub async fn lateness(pool: &PgPool, reminders: &[ReminderId]) -> Result<Vec<f64>> {
    let ids: Vec<i64> = reminders.iter().map(|id| id.0).collect();
    let steps: Vec<f64> = (0..=100u8)
        .map(|percent| f64::from(percent) / 100.0)
        .collect();
    Ok(sqlx::query_scalar(
        "select percentile_disc($2::float8[]) within group (order by extract(epoch from sent_at - due_at)::float8)
         from reminders where id = any ($1)",
    )
    .bind(&ids)
    .bind(steps)
    .fetch_one(pool)
    .await?)
}

/// A ledger and a queue with a past: `rows` rows in each of their tables. Sent reminders of the last 90 days, each with its
/// attempt and its decision, and jobs of the next 90.
pub async fn age(pool: &PgPool, rows: i64) -> Result<()> {
    for sql in [
        "insert into conversations (account, id, skill, started_at, open, read_state, closed_at, seen_at, changed_at)
         select '12345678', 'old-' || n, 3155411010, now() - interval '90 days', false, 'read', now(), now(), now()
         from generate_series(1, $1) n",
        "insert into reminders (account, conversation, episode, channel, step, skill, state, episode_since, due_at, deadline,
             token, recipient_hash, counted_at, provider_id, sent_at, final_at, first_of_episode, created_at, tries)
         select '12345678', 'old-' || n, 'e' || n, 'email', 1, 3155411010, 'sent', at, at, at, md5(n::text),
             decode(md5((n % 300000)::text), 'hex'), at, 'p' || n, at, at, true, at, 1
         from (select n, now() - make_interval(secs => n * 7776000.0 / $1) as at from generate_series(1, $1) n) as old",
        "insert into attempts (reminder, number, sender, started_at, lease_until, ended_at, outcome, provider_id)
         select id, 1, 'hello@shop.example', sent_at, sent_at, sent_at, 'accepted', provider_id
         from reminders where conversation like 'old-%' limit $1",
        "insert into decisions (at, account, conversation, channel, step, reminder, stage, verdict, reason)
         select created_at, account, conversation, channel, step, id, 'scan', 'schedule', 'scheduled'
         from reminders where conversation like 'old-%' limit $1",
        "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, idempotency_key)
         select 'old-' || n, 'deliver_email', '{}', 'Pending', 0, 25, now() + interval '1 day' + make_interval(secs => n * 7.0),
             0, 'old-' || n
         from generate_series(1, $1) n",
    ] {
        sqlx::query(sql).bind(rows).execute(pool).await?;
    }
    pool.execute("vacuum analyze").await?;
    Ok(())
}

/// The tables of the hot path.
const HOT: [&str; 7] = [
    "conversations",
    "consumers",
    "reminders",
    "pending",
    "attempts",
    "decisions",
    "jobs",
];

/// What PostgreSQL has counted so far, by table.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub table_scans: BTreeMap<String, i64>,
    pub hot_updates: BTreeMap<String, (i64, i64)>,
    /// Bytes of WAL ever written.
    pub wal: i64,
}

impl Counters {
    pub async fn read(pool: &PgPool) -> Result<Self> {
        // Backends report what they counted when they are idle for a second.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let hot = HOT.map(str::to_owned);
        let tables: Vec<(String, i64, i64, i64)> = sqlx::query_as(
            "select relname::text, seq_scan, n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = any ($1)",
        )
        .bind(&hot[..])
        .fetch_all(pool)
        .await?;
        let wal = "select (pg_current_wal_lsn() - '0/0')::bigint";
        Ok(Self {
            wal: sqlx::query_scalar(wal).fetch_one(pool).await?,
            table_scans: tables
                .iter()
                .map(|(name, scans, ..)| (name.clone(), *scans))
                .collect(),
            hot_updates: tables
                .into_iter()
                .map(|(name, _, all, hot)| (name, (hot, all)))
                .collect(),
        })
    }

    /// The tables that were read from end to end since `before`.
    pub fn scanned_since(&self, before: &Self) -> Vec<String> {
        let more = |(name, scans): (&String, &i64)| {
            let by = scans - before.table_scans.get(name).copied().unwrap_or_default();
            (by > 0).then(|| format!("{name} ({by} times)"))
        };
        self.table_scans.iter().filter_map(more).collect()
    }

    /// By table: updates since `before` that touched no index, and all of them.
    pub fn updates_since(&self, before: &Self) -> BTreeMap<String, (i64, i64)> {
        let since = self.hot_updates.iter().map(|(name, (hot, all))| {
            let (old_hot, old_all) = before.hot_updates.get(name).copied().unwrap_or_default();
            (name.clone(), (hot - old_hot, all - old_all))
        });
        since.filter(|(_, (_, all))| *all > 0).collect()
    }
}

/// Statements since the last call; nothing where the server does not count.
pub async fn statements(pool: &PgPool) -> Result<Option<Vec<(String, i64, f64)>>> {
    let found: Result<Vec<(String, i64, f64)>, _> = sqlx::query_as(
        "select left(regexp_replace(query, '\\s+', ' ', 'g'), 70), calls, total_exec_time from pg_stat_statements
         where query not like '%pg_stat_%' order by total_exec_time desc",
    )
    .fetch_all(pool)
    .await;
    let Ok(found) = found else { return Ok(None) };
    pool.execute("select pg_stat_statements_reset()").await?;
    Ok(Some(found))
}

/// A moment soon: the round is set up by then.
pub fn soon() -> DateTime<Utc> {
    Clock::System.now() + TimeDelta::seconds(3)
}
