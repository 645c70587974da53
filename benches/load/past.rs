//! A ledger with three months behind it, as varied as a real one: what the pages and lists of the dashboard are measured on.

use anyhow::Result;
use sqlx::{Executor as _, PgPool};

use unread::db;

/// The first of twenty skills, each with a rule of its own over both channels.
pub const FIRST_SKILL: i64 = 7001;

/// For `$1` reminders. The n-th is `n * 90 days / $1` old at first, so that numbers and times run the same way. Two of three are the
/// first step of a conversation, the third is the one of the second rung of the conversation before. Of a conversation one at most waits.
///
/// Every statement is one table, so that each can be timed and none is forgotten; what follows from another is selected from it.
const TABLES: &[(&str, &str)] = &[
    (
        "skills",
        "insert into skills (account, id, name) select '12345678', 7000 + n, 'Skill ' || n from generate_series(1, 20) n
         on conflict do nothing",
    ),
    (
        "rules",
        r#"with keys as (
             select 7000 + n as skill, jsonb_set(r.settings, '{steps}', '[
                 {"id": 1, "channel": "email", "after_minutes": 10, "when": "always"},
                 {"id": 2, "channel": "sms", "after_minutes": 10, "when": "if_not_reached"},
                 {"id": 3, "channel": "email", "after_minutes": 1440, "when": "always"},
                 {"id": 4, "channel": "sms", "after_minutes": 1440, "when": "if_not_reached"}]') as settings
             from generate_series(1, 20) n, lateral (select settings from rules limit 1) r
         ), versions as (
             insert into rule_versions (account, skill, version, enabled, settings, changed_by, changed_at)
             select '12345678', k.skill, v, true, k.settings, 'ann', now() - interval '1 day' * (60 - v)
             from keys k, generate_series(1, 50) v
         )
         insert into rules (account, skill, enabled, version, settings, updated_at)
         select '12345678', k.skill, true, 50, k.settings, now() from keys k"#,
    ),
    (
        "scans",
        "insert into scans (account, skill, started_at, finished_at, succeeded_at, duration_ms, conversations, unread)
         select '12345678', 7000 + n, now(), now(), now(), 900, 2500, 500 from generate_series(1, 20) n",
    ),
    // The last 50,000 are open; every fifth of them has something unread.
    (
        "conversations",
        r#"insert into conversations (account, id, skill, started_at, open, read_state, episode, unread_since, unread_count, closed_at,
             reason, step, channel, passed_over, seen_at, changed_at)
         select '12345678', 'c' || n, 7001 + n % 20, now() - age, open, case when unread then 'unread' else 'read' end,
             case when unread then 'e' || n end, case when unread then now() - age end, unread::int,
             case when not open then now() - age end,
             (array['scheduled', 'no_address', 'all_steps_done', 'awaiting_report', 'in_queue'])[1 + n % 5],
             case when n % 5 = 0 then 1 end, case when n % 5 = 0 then 'email' end,
             case when n % 3 = 0 then '{"sms": "no_address"}' else '{}' end::jsonb, now(), now()
         from (select n, interval '90 days' * (1 - n::float8 / $1) as age, n > $1 - 50000 as open,
                   n > $1 - 50000 and n % 5 = 0 as unread
               from generate_series(1, $1) n where n % 3 <> 2) as c"#,
    ),
    (
        "consumers",
        "insert into consumers (account, kind, consumer, conversation)
         select '12345678', 'liveperson', 'u' || n % ($1 / 4), 'c' || n from generate_series(1, $1) n where n % 3 <> 2
         union all
         select '12345678', 'customer', 'customer-' || n % ($1 / 4), 'c' || n from generate_series(1, $1) n where n % 3 = 1",
    ),
    // Of a hundred: 2 expired, 2 failed, 1 undelivered, 1 unknown, 20 cancelled, most of them because they were read, the others sent.
    (
        "reminders",
        "insert into reminders (account, conversation, episode, channel, step, skill, state, reason, episode_since, due_at, deadline,
             next_at, token, recipient_hash, counted_at, provider_id, sent_at, final_at, returned_at, first_of_episode,
             credited, created_at, tries)
         select '12345678', 'c' || c, 'e' || c, channel, 1 + 2 * (n % 3 = 2)::int + (channel = 'sms')::int, 7001 + c % 20,
             state, case state when 'cancelled' then (array['read', 'answered', 'held_out', 'operator'])[1 + n % 4]
                 when 'failed' then '550 5.1.1' when 'undelivered' then '30005' when 'expired' then 'too_late' end,
             at - interval '10 min', at, at + interval '6 hours', case when state = 'scheduled' then at end, md5(n::text),
             case when sent then decode(md5((n % 300000)::text), 'hex') end, case when sent then at end,
             case when sent then 'p' || n end, case when sent and state not in ('failed', 'unknown') then at end,
             case when state <> 'scheduled' then at end,
             case when sent and n % 4 = 0 then at + interval '20 min' end, sent and n % 3 <> 2, sent and n % 4 = 0,
             at - interval '10 min', sent::int
         from (select *, state in ('sent', 'delivered', 'undelivered', 'failed', 'unknown') as sent from (
             select n, n - (n % 3 = 2)::int as c, case when n % 10 < 3 then 'sms' else 'email' end as channel,
                 now() - interval '90 days' * (1 - n::float8 / $1) + case when waits then interval '1 hour' else '0' end as at,
                 case when waits then 'scheduled' when n % 100 < 2 then 'expired' when n % 100 < 4 then 'failed'
                     when n % 100 = 4 then 'undelivered' when n % 100 = 5 then 'unknown' when n % 100 < 26 then 'cancelled'
                     when n % 10 < 3 then 'delivered' else 'sent' end as state
             from (select n, n > $1 - 4500 and n % 3 <> 1 as waits from generate_series(1, $1) n) as numbered) as drawn) as r",
    ),
    (
        "attempts",
        "insert into attempts (reminder, number, sender, started_at, lease_until, ended_at, outcome, code, provider_id)
         select id, 1, 'hello@shop.example', counted_at, counted_at, counted_at,
             case state when 'failed' then 'refused' when 'unknown' then 'unknown' else 'accepted' end, reason, provider_id
         from reminders where counted_at is not null and $1 > 0",
    ),
    (
        "decisions",
        "insert into decisions (at, account, conversation, channel, step, reminder, stage, verdict, reason)
         select created_at, account, conversation, channel, step, id, 'scan', 'schedule', 'scheduled' from reminders where $1 > 0
         union all
         select final_at, account, conversation, channel, step, id, 'deliver', 'cancel', coalesce(reason, 'due')
         from reminders where final_at is not null and sent_at is null",
    ),
    (
        "suppressions",
        "insert into suppressions (account, channel, address_hash, reason, source, created_at)
         select '12345678', case when n % 3 = 0 then 'sms' else 'email' end, decode(md5(n::text), 'hex'),
             case when n % 5000 = 0 then 'complaint' when n % 50 = 0 then 'blocked' when n % 3 = 1 then 'bad_address' else 'opted_out' end,
             'import', now() - interval '90 days' * (n::float8 / $1) from generate_series(1, $1 / 5) n",
    ),
    (
        "audit",
        "insert into audit (at, by, action, account, subject)
         select now() - interval '90 days' * (1 - n::float8 / $1 * 10),
             case when n % 1000 = 0 then 'bob' when n % 3 = 0 then 'token reports' else 'ann' end,
             case when n = 5 then 'user.add' when n % 2 = 0 then 'reminder.cancel' else 'rule.draft' end, '12345678', n::text
         from generate_series(1, $1 / 10) n",
    ),
    (
        "jobs",
        "insert into apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, idempotency_key)
         select 'old-' || id, 'deliver_' || channel, '{}', 'Pending', 0, 25, next_at, 0, 'old-' || id
         from reminders where state = 'scheduled' and $1 > 0",
    ),
];

/// Writes it, and adds the counts up as the sweep would have.
pub async fn write(pool: &PgPool, reminders: i64) -> Result<()> {
    for (table, sql) in TABLES {
        let started = std::time::Instant::now();
        let mut tx = pool.begin().await?;
        // It can be written again.
        tx.execute("set local synchronous_commit = off").await?;
        let query = sqlx::query(*sql);
        let query = if sql.contains("$1") {
            query.bind(reminders)
        } else {
            query
        };
        let rows = query.execute(&mut *tx).await?.rows_affected();
        tx.commit().await?;
        println!(
            "  {table}: {rows} rows in {:.0} s",
            started.elapsed().as_secs_f64()
        );
    }
    db::reminder_counts::roll_up(pool).await?;
    pool.execute("vacuum analyze").await?;
    pool.execute("checkpoint").await?;
    Ok(())
}
