//! The chaos harness: the service's own processes on a real PostgreSQL, a sandbox full of people, and trouble everywhere.
//!
//! The sandbox runs in this process, so it survives everything and is the witness: it knows what was really accepted, read and
//! opted out. At the end its memory is held against the ledger ([`verdict`]). Who arrives, what they do, what is killed when and
//! which requests fail all come from the seed; how the processes interleave with that does not, so a seed replays the trouble,
//! not every microsecond.
//!
//! Leases guard against real crashes and are minutes long. The large run waits them out. The small one cannot: it stops every
//! worker, moves the leases into the past and starts new workers, which to the code is the same as having waited. Nothing in the
//! program is configured differently for it.

mod people;
mod processes;
mod report;
mod skills;
mod strikes;
mod trouble;
mod verdict;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sqlx::PgPool;
use unread::sandbox::smtp::SmtpOptions;
use unread::sandbox::twilio::TwilioOptions;
use unread::sandbox::world::Quirks;
use unread::sandbox::{Options as SandboxOptions, Sandbox};
use unread::{app, db, demo};

use super::servers;
use people::People;
use processes::Processes;
pub use report::Report;
pub use verdict::planted::judge_is_tried;

#[derive(Clone, Debug)]
pub struct Options {
    /// The program that is tried.
    pub program: PathBuf,
    pub seed: u64,
    pub people: u32,
    pub kills: u32,
    pub restarts: u32,
    /// The time over which the reminders fall due and the trouble happens.
    pub spread: Duration,
    pub longest_freeze: Duration,
    /// How often all workers are killed at the moment at which a provider has accepted a message.
    pub strikes: u32,
    /// How often they are frozen then, and others start in their place.
    pub zombies: u32,
    /// The longest that those stay frozen.
    pub longest_trance: Duration,
    /// Share of requests that meet a fault.
    pub fault_share: f64,
    /// Share of agents' messages that do not count as updates of their conversations.
    pub missed_updates: f64,
    /// Wait until every lease has run out by itself, instead of moving it.
    pub wait_out_leases: bool,
}

/// Messages may be late while everything breaks: so long after the last due moment strikes still fall.
const LAST_STRIKE: Duration = Duration::from_secs(20);

/// Nothing more comes when nothing has moved for so long: the last report, and a full pass, which is begun every 15 s.
const SETTLED: Duration = Duration::from_secs(25);

/// How long the rest may take after the trouble is over.
const PATIENCE: Duration = Duration::from_mins(30);

/// Runs it all and judges.
pub async fn run(options: &Options) -> Result<Report> {
    let began = Instant::now();
    let mut server = servers::own_server().await;
    let url = server.server().url("postgres");
    let pool = db::pool(server.server().connect_options("postgres"), 4);
    app::migrate_when_up(&pool).await?;

    let sandbox = Sandbox::start(SandboxOptions {
        smtp: SmtpOptions {
            seed: options.seed,
            ..demo::smtp_options()
        },
        twilio: TwilioOptions {
            seed: options.seed,
            ..TwilioOptions::default()
        },
        seed: options.seed,
        ..SandboxOptions::default()
    })
    .await?;
    sandbox.world().keep_checks();
    sandbox.world().set_quirks(Quirks {
        missed_updates: options.missed_updates,
        ..Quirks::default()
    });
    skills::announce(sandbox.world())?;
    let quiet = people::quiet_from(options);
    skills::rules(&pool, options, quiet).await?;
    let processes = Processes::start(&sandbox, &url, options)?;
    processes.wait_until_at_work(&pool).await?;

    let people = People::invent(options);
    let strikes = strikes::plan(options, &people);
    strikes::arm(&sandbox, &strikes);
    trouble::provider_faults(&sandbox, options);
    let plan = trouble::plan(options);
    let (lives, struck, (), stops, (), twins) = tokio::join!(
        people.live(&sandbox, processes.web()),
        strikes::fall(&sandbox, &processes, &strikes, options.spread + LAST_STRIKE),
        trouble::with_processes(&processes, &plan),
        trouble::with_postgres(&mut server, &plan),
        trouble::with_connections(&pool, &plan),
        trouble::with_doubled_jobs(&pool, options),
    );
    let people = lives?;
    struck?;
    let trouble_lasted = began.elapsed();
    if !options.wait_out_leases {
        trouble::end_of_faults(&sandbox);
        processes.kill_all().await;
        leases_run_out(&pool).await?;
        processes.start_all().await?;
    }
    wait_until_final(&pool, &sandbox, &people, options).await?;
    processes.stop().await?;
    let mut report = verdict::judge(&pool, &sandbox, &people, options, quiet).await?;
    report.add_run(&processes, &stops, &plan, &sandbox);
    report.figure("jobs doubled", twins);
    let missed: i64 =
        sqlx::query_scalar("select coalesce(sum(missed), 0)::bigint from recent_passes")
            .fetch_one(&pool)
            .await?;
    report.figure("messages that only a full pass found", missed);
    report.add_times(trouble_lasted, began.elapsed());
    pool.close().await;
    sandbox.stop().await;
    Ok(report)
}

/// Makes it so that everybody who died has been dead for long. Only while nothing runs.
async fn leases_run_out(pool: &PgPool) -> Result<()> {
    for statement in [
        "update attempts set lease_until = now() - interval '1 s' where outcome is null",
        "update apalis.workers set last_seen = last_seen - interval '10 min'",
    ] {
        sqlx::query(statement).execute(pool).await?;
    }
    Ok(())
}

/// Ends the waits that are only there to be polite: before a retry, and before a look into the provider's list.
async fn hurry(pool: &PgPool) -> Result<()> {
    for statement in [
        "update attempts set settle_at = now() where settle_at > now()",
        "update reminders set next_at = now() where state = 'scheduled' and next_at > now() and due_at < now()",
        "update apalis.jobs j set run_at = now() from reminders r
         where j.job_type = 'deliver_' || r.channel and split_part(j.idempotency_key, '-', 1) = r.id::text and j.lock_by is null
           and j.run_at > now() and r.due_at < now()",
    ] {
        match sqlx::query(statement).execute(pool).await {
            // The workers change the same rows in an order of their own. There is a next time.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("40P01") => {}
            other => {
                other?;
            }
        }
    }
    Ok(())
}

/// What is still open: reminders not final, attempts without an end, deliveries and looks in the queue.
async fn open(pool: &PgPool) -> sqlx::Result<(i64, i64, i64, i64)> {
    sqlx::query_as(
        "select (select count(*) from reminders),
                (select count(*) from reminders where next_at is not null),
                (select count(*) from attempts where outcome is null or settle_at is not null),
                (select count(*) from apalis.jobs where job_type like 'deliver\\_%' or job_type = 'advance')",
    )
    .fetch_one(pool)
    .await
}

/// The last few reminders that are not final: what they wait for, and what was tried.
async fn stragglers(pool: &PgPool) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select format('reminder %s, %s, %s (%s), deadline in %s, next look in %s; attempts: %s; job: %s', r.id, r.channel, r.state,
             r.reason, date_trunc('second', r.deadline - now()), date_trunc('second', r.next_at - now()),
             (select string_agg(format('%s %s at %s ago, looks %s', coalesce(a.outcome, 'open'), a.code,
                  date_trunc('second', now() - a.started_at), a.looks), ', ' order by a.id)
              from attempts a where a.reminder = r.id),
             (select string_agg(format('%s, attempt %s, in %s', j.status, j.attempts, date_trunc('second', j.run_at - now())), ', ')
              from apalis.jobs j where j.job_type = 'deliver_' || r.channel and split_part(j.idempotency_key, '-', 1) = r.id::text))
         from reminders r where r.next_at is not null order by r.next_at limit 5",
    )
    .fetch_all(pool)
    .await
}

async fn wait_until_final(
    pool: &PgPool,
    sandbox: &Sandbox,
    people: &People,
    options: &Options,
) -> Result<()> {
    let began = Instant::now();
    let mut told = Instant::now();
    let (mut before, mut moved) = (None, Instant::now());
    loop {
        let now = open(pool).await;
        if let Ok(counts) = now {
            if before.replace(counts) != Some(counts) {
                moved = Instant::now();
            }
            let (reminders, scheduled, attempts, jobs) = counts;
            let all = reminders >= people.owed_for_certain();
            let over =
                all && scheduled + attempts + jobs == 0 && sandbox.smtp().pending_events() == 0;
            // A report may still come, and a scan find what is next.
            if over && moved.elapsed() > SETTLED {
                return Ok(());
            }
            if told.elapsed() > Duration::from_secs(30) {
                told = Instant::now();
                println!(
                    "after {:.0?}: {reminders} reminders, {scheduled} not final, {attempts} attempts open, {jobs} deliveries queued",
                    began.elapsed()
                );
                for stuck in stragglers(pool).await.unwrap_or_default() {
                    println!("    {stuck}");
                }
            }
        }
        if began.elapsed() > PATIENCE {
            // The verdict names what is still open.
            return now.map(drop).context("counting what is still open");
        }
        if !options.wait_out_leases {
            // A slow machine may take its time, as long as it gets on.
            if moved.elapsed() > Duration::from_mins(3) {
                return now.map(drop).context("counting what is still open");
            }
            hurry(pool).await?;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
