//! Counts of reminders by hour, skill, channel and step, as the overview, the effect page and the metrics show them.
//!
//! The database keeps them by itself (migrations/…_counts.sql says how): every statement that changes reminders appends what it
//! changed, [`roll_up`] adds that up, and sums by the hour and by the day are kept beside it. Reading takes a sum and what is not
//! rolled up yet, so a count is exact at any moment, and costs the same whether the ledger has a thousand rows or a million.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use sqlx::{FromRow, PgExecutor, PgPool};

use super::columns::readable;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::reminder::ReminderState;
use crate::domain::rule::StepId;

/// How long counts are kept: a year and the month to compare it with.
const KEPT: TimeDelta = TimeDelta::days(400);

/// What reminders came to, over whichever span and group was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Sums {
    /// Reminders that came to be owed.
    pub owed: i64,
    /// Taken by a provider, whatever became of them then.
    pub sent: i64,
    /// Of these, those that a consumer's coming back within an hour, and within 24, is put down to.
    pub back_1h: i64,
    pub back_24h: i64,
    /// Episodes of which something was sent: counted with the first message, as is who came back after that.
    pub reminded: i64,
    pub reminded_back_1h: i64,
    pub reminded_back_24h: i64,
    /// Not sent, because the consumer had read or answered.
    pub read: i64,
    /// Not sent for another reason.
    pub cancelled: i64,
    pub expired: i64,
    /// Refused by the provider, or taken and not delivered.
    pub failed: i64,
    /// Of these, taken and not delivered.
    pub undelivered: i64,
    pub unknown: i64,
    /// Not sent because the conversation is in the hold-out share.
    pub held_out: i64,
    pub held_back_1h: i64,
    pub held_back_24h: i64,
}

impl Sums {
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            owed: self.owed + other.owed,
            sent: self.sent + other.sent,
            back_1h: self.back_1h + other.back_1h,
            back_24h: self.back_24h + other.back_24h,
            reminded: self.reminded + other.reminded,
            reminded_back_1h: self.reminded_back_1h + other.reminded_back_1h,
            reminded_back_24h: self.reminded_back_24h + other.reminded_back_24h,
            read: self.read + other.read,
            cancelled: self.cancelled + other.cancelled,
            expired: self.expired + other.expired,
            failed: self.failed + other.failed,
            undelivered: self.undelivered + other.undelivered,
            unknown: self.unknown + other.unknown,
            held_out: self.held_out + other.held_out,
            held_back_1h: self.held_back_1h + other.held_back_1h,
            held_back_24h: self.held_back_24h + other.held_back_24h,
        }
    }
}

/// What happened in each hour on each channel, exact at this moment. A place for the condition, which both parts know.
fn by_hour(condition: &str) -> String {
    format!(
        "(select hour, account, channel, measure, n from reminder_counts_by_hour where {condition}
          union all
          select hour, account, channel, measure, n from count_deltas where {condition}) as t"
    )
}

const SUMS: &str = "
    coalesce(sum(n) filter (where measure = 'owed'), 0)::bigint as owed,
    coalesce(sum(n) filter (where measure = 'accepted'), 0)::bigint as sent,
    coalesce(sum(n) filter (where measure = 'back_1h'), 0)::bigint as back_1h,
    coalesce(sum(n) filter (where measure = 'back_24h'), 0)::bigint as back_24h,
    coalesce(sum(n) filter (where measure = 'reminded'), 0)::bigint as reminded,
    coalesce(sum(n) filter (where measure = 'reminded_back_1h'), 0)::bigint as reminded_back_1h,
    coalesce(sum(n) filter (where measure = 'reminded_back_24h'), 0)::bigint as reminded_back_24h,
    coalesce(sum(n) filter (where measure = 'read'), 0)::bigint as read,
    coalesce(sum(n) filter (where measure = 'cancelled'), 0)::bigint as cancelled,
    coalesce(sum(n) filter (where measure = 'expired'), 0)::bigint as expired,
    coalesce(sum(n) filter (where measure in ('failed', 'undelivered')), 0)::bigint as failed,
    coalesce(sum(n) filter (where measure = 'undelivered'), 0)::bigint as undelivered,
    coalesce(sum(n) filter (where measure = 'unknown'), 0)::bigint as unknown,
    coalesce(sum(n) filter (where measure = 'held_out'), 0)::bigint as held_out,
    coalesce(sum(n) filter (where measure = 'held_back_1h'), 0)::bigint as held_back_1h,
    coalesce(sum(n) filter (where measure = 'held_back_24h'), 0)::bigint as held_back_24h";

/// One piece of a series.
#[derive(Clone, Debug, FromRow)]
pub struct Point {
    /// Its beginning.
    pub at: DateTime<Utc>,
    pub channel: Channel,
    #[sqlx(flatten)]
    pub sums: Sums,
}

/// What happened since `from`, by channel, in pieces of an hour or a day in `zone`. Pieces without any reminder are left out.
pub async fn series(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
    (from, until): (DateTime<Utc>, DateTime<Utc>),
    every: Every,
    zone: &str,
) -> sqlx::Result<Vec<Point>> {
    let counts = by_hour("hour >= $3 and hour < $4 and account = any ($5)");
    let sql = format!(
        "select date_trunc($1, hour, $2) as at, channel, {SUMS} from {counts} group by 1, 2 order by 1, 2"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(every.as_str())
        .bind(zone)
        .bind(from)
        .bind(until)
        .bind(accounts)
        .fetch_all(db)
        .await?;
    readable(&rows)
}

/// The pieces of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    Hour,
    Day,
}

impl Every {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// What reminders of one skill, channel and step came to.
#[derive(Clone, Debug, FromRow)]
pub struct OfSkill {
    pub account: AccountId,
    pub skill: SkillId,
    pub channel: Channel,
    pub step: StepId,
    #[sqlx(flatten)]
    pub sums: Sums,
}

/// What happened from an hour on and before another. Whole days are summed already; what is before and after them is not.
pub async fn by_skill(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
    (from, until): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<Vec<OfSkill>> {
    let (first, last) = whole_days(from, until);
    let sql = format!(
        "select account, skill, channel, step, {SUMS} from (
             select account, skill, channel, step, measure, n from reminder_counts_by_day
             where day >= $3 and day < $4 and account = any ($5)
             union all
             select account, skill, channel, step, measure, n from reminder_counts
             where hour >= $1 and hour < $3 and account = any ($5)
             union all
             select account, skill, channel, step, measure, n from reminder_counts
             where hour >= $4 and hour < $2 and account = any ($5)
             union all
             select account, skill, channel, step, measure, n from count_deltas
             where hour >= $1 and hour < $2 and account = any ($5)) t
         group by 1, 2, 3, 4 order by 1, 2, 3, 4"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(from)
        .bind(until)
        .bind(first)
        .bind(last)
        .bind(accounts)
        .fetch_all(db)
        .await?;
    readable(&rows)
}

/// The whole days (UTC) of a span: when the first begins and when the last ends. Without one, both are the span's end.
fn whole_days(from: DateTime<Utc>, until: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    let day = TimeDelta::days(1);
    // No moment that is counted is so far away that it has no day.
    let begin = |at: DateTime<Utc>| at.duration_trunc(day).unwrap_or(at);
    let first = if begin(from) == from {
        from
    } else {
        begin(from) + day
    };
    let last = begin(until);
    if first < last {
        (first, last)
    } else {
        (until, until)
    }
}

/// Reminders that wait or are being sent now, and those that ended since `from`, by account, channel and state.
pub async fn by_state(
    db: impl PgExecutor<'_>,
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<(AccountId, Channel, ReminderState, i64)>> {
    let open = by_hour("measure in ('scheduled', 'sending')");
    let ended = by_hour(
        "hour >= $1 and measure in ('sent', 'delivered', 'undelivered', 'cancelled', 'read', 'held_out', 'expired', 'failed', 'unknown')",
    );
    let sql = format!(
        "select account, channel, case when measure in ('read', 'held_out') then 'cancelled' else measure end as state, sum(n)::bigint
         from (select account, channel, measure, n from {open} union all select account, channel, measure, n from {ended}) s
         group by 1, 2, 3"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(from)
        .fetch_all(db)
        .await?;
    readable(&rows)
}

/// What lists are headed with: the reminders of these accounts that wait or are being sent now, and those that ended since `from`, by
/// state; over one channel, or over all.
pub async fn by_state_of(
    db: impl PgExecutor<'_>,
    accounts: &[AccountId],
    channel: Option<Channel>,
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<(ReminderState, i64)>> {
    let counts = by_hour(
        "account = any ($2) and ($3::text is null or channel = $3)
         and (measure in ('scheduled', 'sending') or hour >= $1 and measure in
              ('sent', 'delivered', 'undelivered', 'cancelled', 'read', 'held_out', 'expired', 'failed', 'unknown'))",
    );
    let sql = format!(
        "select case when measure in ('read', 'held_out') then 'cancelled' else measure end as state, sum(n)::bigint
         from {counts} group by 1"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(from)
        .bind(accounts)
        .bind(channel)
        .fetch_all(db)
        .await?;
    readable(&rows)
}

/// Reminders sent since `from` whose consumer came back, by account and channel.
pub async fn returns(
    db: impl PgExecutor<'_>,
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<(AccountId, Channel, i64)>> {
    let counts = by_hour("hour >= $1");
    let sql = format!(
        "select account, channel, coalesce(sum(n) filter (where measure = 'back_24h'), 0)::bigint from {counts} group by 1, 2"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(from)
        .fetch_all(db)
        .await?;
    readable(&rows)
}

/// Reminders that wait for their moment or are being sent.
pub async fn waiting(db: impl PgExecutor<'_>, accounts: &[AccountId]) -> sqlx::Result<i64> {
    let open = by_hour("measure in ('scheduled', 'sending') and account = any ($1)");
    let sql = format!("select coalesce(sum(n), 0)::bigint from {open}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(accounts)
        .fetch_one(db)
        .await
}

/// Adds the changes up, in one transaction; they are counted once, however many fold.
pub async fn roll_up(pool: &PgPool) -> sqlx::Result<()> {
    let mut tx = pool.begin().await?;
    sqlx::query(
        "with taken as (delete from count_deltas returning hour, account, skill, channel, step, measure, n)
         insert into reminder_counts as t (hour, account, skill, channel, step, measure, n)
         select hour, account, skill, channel, step, measure, sum(n) from taken group by 1, 2, 3, 4, 5, 6
         order by 1, 2, 3, 4, 5, 6
         on conflict (hour, account, skill, channel, step, measure) do update set n = t.n + excluded.n",
    )
    .execute(&mut *tx)
    .await?;
    for table in [
        "reminder_counts",
        "reminder_counts_by_hour",
        "reminder_counts_by_day",
    ] {
        let sql = format!("delete from {table} where n = 0");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await
}

/// Deletes counts that are past their time.
pub async fn prune(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<u64> {
    sqlx::query(
        "with hours as (delete from reminder_counts_by_hour where hour < $1), days as (delete from reminder_counts_by_day where day < $1)
         delete from reminder_counts where hour < $1",
    )
    .bind(now - KEPT)
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_whole_days_and_what_is_before_and_after_them() {
        let at = |text: &str| {
            format!("2026-03-{text}:00Z")
                .parse::<DateTime<Utc>>()
                .unwrap()
        };
        let days = |from, until| whole_days(at(from), at(until));
        assert_eq!(
            days("01T07:00", "05T09:00"),
            (at("02T00:00"), at("05T00:00"))
        );
        assert_eq!(
            days("01T00:00", "02T00:00"),
            (at("01T00:00"), at("02T00:00"))
        );
        for (from, until) in [
            ("01T07:00", "02T09:00"),
            ("01T07:00", "01T09:00"),
            ("01T07:00", "02T00:00"),
        ] {
            assert_eq!(days(from, until), (at(until), at(until)), "{from} {until}");
        }
    }
}
